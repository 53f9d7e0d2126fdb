//! The answers to `GET /alerts` and `GET /alerts/N`.

use super::channel::AlertChannel;
use super::hold::HoldReason;
use super::incident::{Incident, IncidentEnd, NotifiedChannel};
use super::key::AlertSeverity;
use super::silence::Silence;
use super::text;
use serde::Serialize;

/// Incidents, silences and channels of one gateway.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AlertReport {
    /// Unix milliseconds of the newest reading; 0: none yet.
    pub judged: u64,
    pub instance: String,
    pub deployment: String,
    /// `send` or `observe`.
    pub mode: &'static str,
    /// False while another instance of the cluster sends.
    pub sends: bool,
    /// Open ones first, the newest first.
    pub incidents: Vec<IncidentReport>,
    pub silences: Vec<Silence>,
    pub channels: Vec<ChannelReport>,
}

/// An incident for people and programs.
#[derive(Clone, Debug, Serialize)]
pub struct IncidentReport {
    pub number: u64,
    pub alert: String,
    pub severity: AlertSeverity,
    pub title: String,
    pub text: String,
    pub since: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<IncidentEnd>,
    /// Why its notices are held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<HoldReason>,
    pub runbook: String,
    pub notified: Vec<NotifiedChannel>,
    /// The newest answer of each channel to a notice about it.
    pub answers: Vec<ChannelAnswer>,
}

/// The newest outcome of a notice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChannelAnswer {
    pub channel: AlertChannel,
    pub event: &'static str,
    /// `sent`, `waiting`, `merged` or `dead`.
    pub fate: &'static str,
    /// The answer of the service, or the fault, without secrets.
    pub answer: String,
    pub took_ms: u64,
}

/// A configured channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChannelReport {
    pub channel: AlertChannel,
    pub waiting: usize,
    /// Unix milliseconds of the oldest of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest: Option<u64>,
    /// Unix milliseconds of the last accepted notice.
    pub sent: Option<u64>,
    /// The newest fault; absent after a success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// Notices that were given up, and can be sent again.
    pub dead: usize,
}

impl IncidentReport {
    pub fn new(incident: &Incident, held: Option<HoldReason>, docs_url: &str) -> IncidentReport {
        IncidentReport {
            number: incident.number,
            alert: incident.key.to_string(),
            severity: incident.severity,
            title: text::title(&incident.key),
            text: incident.text.clone(),
            since: incident.since_ms,
            reference: incident.reference.clone(),
            acknowledged: incident.acknowledged_ms,
            end: incident.end,
            held,
            runbook: runbook(docs_url, &incident.key.runbook()),
            notified: incident.notified.clone(),
            answers: Vec::new(),
        }
    }
}

/// The address of a runbook under the place where the documents are served.
pub fn runbook(docs_url: &str, fragment: &str) -> String {
    let base = if docs_url.is_empty() { "docs" } else { docs_url.trim_end_matches('/') };
    format!("{base}/outages.md#{fragment}")
}

impl AlertReport {
    /// The whole report as JSON.
    pub fn json(&self) -> String {
        line(self)
    }

    /// One incident as JSON; `None` if none of this number is known.
    pub fn json_of(&self, number: u64) -> Option<String> {
        self.incidents.iter().find(|incident| incident.number == number).map(line)
    }

    /// The silences as JSON.
    pub fn silences_json(&self) -> String {
        line(&self.silences)
    }
}

fn line(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string(value).unwrap_or_default();
    text.push('\n');
    text
}
