//! An incident: an alert from begin to end, as it is stored and shown.

use super::channel::AlertChannel;
use super::key::{AlertKey, AlertSeverity};
use super::machine::{AllClear, IncidentMachine};
use super::notice::{NoticeContent, NoticeEvent};
use super::text;
use serde::{Deserialize, Serialize};

/// A channel that was sent the begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotifiedChannel {
    pub channel: AlertChannel,
    pub at_ms: u64,
    /// The time of the last notice to it.
    #[serde(default)]
    pub last_ms: u64,
    /// The severity of the incident at that time.
    #[serde(default = "critical")]
    pub severity: AlertSeverity,
    /// It accepted a notice that the incident fires.
    #[serde(default)]
    pub delivered: bool,
    /// The begin was given up, and no later notice was accepted: the channel knows nothing of the incident.
    #[serde(default)]
    pub lost: bool,
    pub repeats: u32,
    /// It was sent the acknowledgement.
    pub acknowledged: bool,
}

/// The severity in a row that has none.
const fn critical() -> AlertSeverity {
    AlertSeverity::Critical
}

/// The end of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentEnd {
    pub at_ms: u64,
    pub all_clear: AllClear,
}

/// An alert from begin to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// 1, 2, 3 … of this data folder.
    pub number: u64,
    pub key: AlertKey,
    pub severity: AlertSeverity,
    /// The time of the first reading that was over.
    pub since_ms: u64,
    /// The time at which it became an incident; 0 in rows of an earlier version.
    #[serde(default)]
    pub began_ms: u64,
    pub machine: IncidentMachine,
    /// The figures of the newest reading that was over.
    pub text: String,
    pub reference: Option<String>,
    /// An outage of a dependency explains it, or did.
    pub is_effect: bool,
    pub acknowledged_ms: Option<u64>,
    pub notified: Vec<NotifiedChannel>,
    /// Messages about it so far.
    pub steps: u32,
    pub end: Option<IncidentEnd>,
    /// Notices of it were sent while the store could not be reached, so no other instance knows it.
    #[serde(default)]
    pub is_unshared: bool,
    /// Another instance may have sent it while the store could not be reached.
    #[serde(default)]
    pub is_perhaps_sent: bool,
}

impl Incident {
    /// The message about its next step.
    pub(super) fn content(&mut self, event: NoticeEvent, now_ms: u64) -> NoticeContent {
        self.steps += 1;
        NoticeContent {
            event,
            incident: self.number,
            key: self.key.clone(),
            severity: self.severity,
            step: self.steps,
            title: text::title(&self.key),
            text: self.text.clone(),
            since_ms: self.since_ms,
            at_ms: now_ms,
            reference: self.reference.clone(),
            all_clear: self.end.map(|end| end.all_clear),
            is_perhaps_repeated: self.is_perhaps_sent && event == NoticeEvent::Began,
        }
    }

    /// The time of the last notice to any channel.
    pub(super) fn last_notice_ms(&self) -> Option<u64> {
        self.notified.iter().map(|notified| notified.last_ms.max(notified.at_ms)).max()
    }

    /// True exactly if a channel was sent it as critical.
    pub(super) fn was_sent_as_critical(&self) -> bool {
        self.notified.iter().any(|notified| notified.severity == AlertSeverity::Critical)
    }

    /// Goes on after a restart. No time is in the future: the clock may have been set back.
    pub(super) fn resume(&mut self, now_ms: u64) {
        self.machine.resume(now_ms);
        self.since_ms = self.since_ms.min(now_ms);
        self.began_ms = self.began_ms.min(now_ms);
        self.acknowledged_ms = self.acknowledged_ms.map(|at| at.min(now_ms));
        for notified in &mut self.notified {
            notified.at_ms = notified.at_ms.min(now_ms);
            notified.last_ms = notified.last_ms.min(now_ms);
        }
    }

    pub(super) fn was_sent_to(&self, channel: AlertChannel) -> bool {
        self.notified.iter().any(|notified| notified.channel == channel)
    }
}
