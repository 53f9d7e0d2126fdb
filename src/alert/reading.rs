//! A reading: the state of what one alert watches, as its source sees it.

use super::key::{AlertKey, AlertSeverity};
use super::machine::{AlertCondition, AlertRule, EventEvidence};

/// The state of what one alert watches.
#[derive(Clone, Debug)]
pub struct AlertReading {
    pub key: AlertKey,
    pub severity: AlertSeverity,
    pub rule: AlertRule,
    pub condition: AlertCondition,
    pub events: EventEvidence,
    /// The figures, in a sentence or two.
    pub text: String,
    pub reference: Option<String>,
    /// An outage of a critical dependency explains it.
    pub is_explained: bool,
}
