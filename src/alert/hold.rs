//! Reasons to hold the notices of an incident. It goes on meanwhile, and what still fires when the reason is gone is sent.

use super::incident::Incident;
use super::key::{AlertKey, AlertKind, AlertSeverity};
use super::routing::AlertMode;
use super::silence::SilenceList;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};

/// An effect of an outage is sent if it outlasts the outage by this, in milliseconds.
const AFTER_CAUSE_MS: u64 = 300_000;
/// A burning objective holds what its budget would say for this long, in milliseconds.
const BURN_COVERS_MS: u64 = 1_800_000;
const HOUR_MS: u64 = 3_600_000;
/// Critical incidents that are sent one by one within an hour. The others are held, and the storm is sent.
const CRITICAL_PER_HOUR: usize = 6;

/// Why the notices of an incident are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldReason {
    /// `alert.mode` is `observe`.
    Observed,
    /// Another instance leads the cluster, and sends.
    NotLeader,
    Silenced,
    /// An outage of a dependency explains it.
    Effect,
    /// Another incident of the same objective says it.
    Covered,
    /// Too many critical incidents.
    Storm,
}

/// The right to send for the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SenderRole {
    /// This instance leads, or is alone.
    Sends,
    Follows,
}

/// The present reasons to hold notices.
#[derive(Debug)]
pub(super) struct HoldCheck<'a> {
    pub(super) mode: AlertMode,
    pub(super) role: SenderRole,
    pub(super) silences: &'a SilenceList,
    pub(super) open: &'a BTreeMap<AlertKey, Incident>,
    /// The last time at which an alert of a critical dependency was not quiet.
    pub(super) cause_ms: Option<u64>,
    pub(super) now_ms: u64,
}

impl HoldCheck<'_> {
    /// The reason to hold an incident, apart from a storm.
    pub(super) fn reason(&self, incident: &Incident) -> Option<HoldReason> {
        if self.mode == AlertMode::Observe {
            Some(HoldReason::Observed)
        } else if self.role == SenderRole::Follows {
            Some(HoldReason::NotLeader)
        } else if self.silences.cover(&incident.key, self.now_ms) {
            Some(HoldReason::Silenced)
        } else if incident.is_effect && self.cause_ms.is_some_and(|at| self.now_ms < at + AFTER_CAUSE_MS) {
            Some(HoldReason::Effect)
        } else if self.is_covered(incident) {
            Some(HoldReason::Covered)
        } else {
            None
        }
    }

    fn is_covered(&self, incident: &Incident) -> bool {
        let other = |kind| self.open.get(&AlertKey::new(kind, &incident.key.name));
        let burns = other(AlertKind::Burn);
        let burns_lately = || burns.is_some_and(|burn| self.now_ms < burn.since_ms + BURN_COVERS_MS);
        match incident.key.kind {
            AlertKind::Leak => burns.is_some(),
            AlertKind::Spent => burns_lately(),
            AlertKind::Low => burns_lately() || other(AlertKind::Spent).is_some(),
            AlertKind::Dependency
            | AlertKind::Instance
            | AlertKind::Capacity
            | AlertKind::Clock
            | AlertKind::Canary
            | AlertKind::Burn
            | AlertKind::Alerting
            | AlertKind::Certificate
            | AlertKind::Disk
            | AlertKind::Storm
            | AlertKind::Test
            | AlertKind::Report => false,
        }
    }
}

/// The critical incidents of the last hour that were sent one by one: times and numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct StormGauge(VecDeque<(u64, u64)>);

impl StormGauge {
    /// Counts incidents that were sent before.
    pub(super) fn add(&mut self, sent: Vec<(u64, u64)>) {
        self.0.extend(sent);
        self.0.make_contiguous().sort_unstable();
    }

    /// True exactly if the incident may be sent by itself; it then counts.
    pub(super) fn admit(&mut self, incident: &Incident, now_ms: u64) -> bool {
        let is_free = matches!(incident.key.kind, AlertKind::Storm | AlertKind::Test);
        if is_free || incident.severity != AlertSeverity::Critical || incident.was_sent_as_critical() {
            return true;
        }
        while self.0.front().is_some_and(|(at, _)| at + HOUR_MS <= now_ms) {
            self.0.pop_front();
        }
        if self.0.iter().any(|(_, number)| *number == incident.number) {
            return true;
        }
        let has_room = self.0.len() < CRITICAL_PER_HOUR;
        if has_room {
            self.0.push_back((now_ms, incident.number));
        }
        has_room
    }
}
