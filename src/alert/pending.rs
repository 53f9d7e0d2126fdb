//! Alerts that are over and have no incident yet.
//!
//! Each waits for others before its incident begins ([`GROUP_WAIT_MS`]). When one begins, the ones with nothing but this wait left begin with
//! it, so that operators read of all in one message.

use super::key::AlertKey;
use super::machine::{AlertCondition, AlertRule, GROUP_WAIT_MS, IncidentMachine, IncidentPhase};
use super::reading::AlertReading;
use std::collections::BTreeMap;

/// Alerts at once. A gateway has six objectives and few dependencies.
const ALERTS_MAX: usize = 256;
/// An older reading says nothing about now, in milliseconds. Objectives are read every ten seconds.
const FRESH_MS: u64 = 15_000;
/// An alert without a reading for this long is forgotten, in milliseconds: what it watched is gone.
const FORGOTTEN_MS: u64 = 600_000;

/// An alert that is over.
#[derive(Clone, Debug)]
struct PendingAlert {
    machine: IncidentMachine,
    /// The newest one, and its time.
    reading: AlertReading,
    read_ms: u64,
}

impl PendingAlert {
    /// The reading that begins the incident, if it has only the wait for others left.
    fn ripe(&self, now_ms: u64) -> Option<AlertReading> {
        let IncidentPhase::Pending { since_ms } = self.machine.phase else { return None };
        let begin_after_ms = self.reading.rule.begin_after_ms.saturating_sub(GROUP_WAIT_MS);
        let is_fresh = now_ms <= self.read_ms + FRESH_MS;
        let is_over = self.reading.condition == AlertCondition::Over;
        (is_over && is_fresh && now_ms >= since_ms + begin_after_ms).then(|| AlertReading {
            rule: AlertRule { begin_after_ms, ..self.reading.rule },
            ..self.reading.clone()
        })
    }
}

/// The alerts that wait, at most [`ALERTS_MAX`].
#[derive(Clone, Debug, Default)]
pub(super) struct PendingAlerts(BTreeMap<AlertKey, PendingAlert>);

impl PendingAlerts {
    /// The machine of an alert, which is quiet if it does not wait. It waits no more.
    pub(super) fn take(&mut self, key: &AlertKey) -> IncidentMachine {
        self.0.remove(key).map(|pending| pending.machine).unwrap_or_default()
    }

    /// Keeps a machine that is not quiet.
    pub(super) fn keep(&mut self, machine: IncidentMachine, reading: &AlertReading, now_ms: u64) {
        if machine.phase != IncidentPhase::Quiet && self.0.len() < ALERTS_MAX {
            let pending = PendingAlert { machine, reading: reading.clone(), read_ms: now_ms };
            self.0.insert(reading.key.clone(), pending);
        }
    }

    pub(super) fn has(&self, key: &AlertKey) -> bool {
        self.0.contains_key(key)
    }

    pub(super) fn retain(&mut self, is_known: impl Fn(&AlertKey) -> bool) {
        self.0.retain(|key, _| is_known(key));
    }

    /// Forgets alerts that are not read any more.
    pub(super) fn forget_unread(&mut self, now_ms: u64) {
        self.0.retain(|_, pending| now_ms <= pending.read_ms + FORGOTTEN_MS);
    }

    /// The readings of alerts that begin with another one now.
    pub(super) fn ripe(&self, now_ms: u64) -> Vec<AlertReading> {
        self.0.values().filter_map(|pending| pending.ripe(now_ms)).collect()
    }
}
