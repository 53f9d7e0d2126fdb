//! A notice: a step of an incident for one channel. It has everything that its text needs, and no secret.

use super::channel::AlertChannel;
use super::key::{AlertKey, AlertSeverity};
use super::machine::AllClear;
use serde::{Deserialize, Serialize};

/// The step of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeEvent {
    Began,
    /// It still fires, and no operator has acknowledged it.
    Continues,
    Acknowledged,
    Ended,
    /// The report of a week, which belongs to no incident.
    Reported,
}

impl NoticeEvent {
    pub const fn as_str(self) -> &'static str {
        match self {
            NoticeEvent::Began => "began",
            NoticeEvent::Continues => "continues",
            NoticeEvent::Acknowledged => "acknowledged",
            NoticeEvent::Ended => "ended",
            NoticeEvent::Reported => "reported",
        }
    }
}

/// A message about an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeContent {
    pub event: NoticeEvent,
    /// The number of the incident; 0 in a report.
    pub incident: u64,
    pub key: AlertKey,
    pub severity: AlertSeverity,
    /// The step of the incident; its number and the step name the message.
    pub step: u32,
    /// One line for people.
    pub title: String,
    /// The figures in a sentence or two.
    pub text: String,
    pub since_ms: u64,
    /// The time of this step.
    pub at_ms: u64,
    /// The reference of an outage, as in the log.
    pub reference: Option<String>,
    pub all_clear: Option<AllClear>,
    /// Another instance may have sent the same, because the two could not agree.
    #[serde(default)]
    pub is_perhaps_repeated: bool,
}

/// A message that is due, and its channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeDraft {
    pub channel: AlertChannel,
    pub content: NoticeContent,
}

/// A message on its way to one channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertNotice {
    pub id: u64,
    pub channel: AlertChannel,
    pub content: NoticeContent,
    /// Tries that were begun.
    pub tries: u32,
    /// The time of the next try.
    pub due_ms: u64,
}

impl AlertNotice {
    pub fn new(id: u64, channel: AlertChannel, content: NoticeContent) -> AlertNotice {
        AlertNotice { id, channel, due_ms: content.at_ms, content, tries: 0 }
    }
}
