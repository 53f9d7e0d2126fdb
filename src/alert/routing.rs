//! The channels that an incident is sent to, and when it is sent again.

use super::channel::AlertChannel;
use super::key::AlertSeverity;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// The time between later repeats of a critical incident.
const LATER_MS: u64 = 4 * HOUR_MS;

/// The use of incidents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AlertMode {
    #[default]
    Send,
    /// They are judged and logged, and nothing is sent.
    Observe,
}

impl AlertMode {
    pub const fn as_str(self) -> &'static str {
        match self {
            AlertMode::Send => "send",
            AlertMode::Observe => "observe",
        }
    }
}

/// The configured channels by severity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertRouting {
    pub mode: AlertMode,
    pub critical: Vec<AlertChannel>,
    pub warning: Vec<AlertChannel>,
    /// Reports.
    pub info: Vec<AlertChannel>,
    /// Critical incidents that no operator has acknowledged are sent here again.
    pub escalate: Vec<AlertChannel>,
    /// The time until the first repeat, in milliseconds.
    pub escalate_ms: u64,
}

impl AlertRouting {
    pub fn channels(&self, severity: AlertSeverity) -> &[AlertChannel] {
        match severity {
            AlertSeverity::Critical => &self.critical,
            AlertSeverity::Warning => &self.warning,
            AlertSeverity::Info => &self.info,
        }
    }

    /// The channels of a repeat.
    pub fn repeat_channels(&self, severity: AlertSeverity) -> &[AlertChannel] {
        match severity {
            AlertSeverity::Critical => &self.escalate,
            AlertSeverity::Warning => &self.warning,
            AlertSeverity::Info => &[],
        }
    }

    /// The time from the last notice to the next after `repeats` repeats, in milliseconds: a critical incident after 15 minutes
    /// (by default), an hour after the begin, and every four hours; a warning once a day.
    pub fn repeat_after_ms(&self, severity: AlertSeverity, repeats: u32) -> u64 {
        match (severity, repeats) {
            (AlertSeverity::Info, _) => u64::MAX,
            (AlertSeverity::Warning, _) => DAY_MS,
            (AlertSeverity::Critical, 0) => self.escalate_ms,
            (AlertSeverity::Critical, 1) => {
                HOUR_MS.saturating_sub(self.escalate_ms).max(self.escalate_ms.min(LATER_MS))
            }
            (AlertSeverity::Critical, _) => LATER_MS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn critical_incident_is_repeated_soon_and_then_rarely() {
        let routing = AlertRouting { escalate_ms: 900_000, ..AlertRouting::default() };
        let minutes =
            |severity| [0, 1, 2, 3].map(|repeats| routing.repeat_after_ms(severity, repeats) / 60_000);
        assert_eq!(minutes(AlertSeverity::Critical), [15, 45, 240, 240]);
        assert_eq!(minutes(AlertSeverity::Warning), [1_440; 4]);
    }
}
