//! Names of alerts: fixed words and the name of an objective or a dependency. Never a number or a time, so that an alert has
//! the same key after any restart.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// The urgency of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertSeverity {
    /// Operators read it when they like.
    Info,
    /// Operators look at it during the day.
    Warning,
    /// An operator is called at once.
    Critical,
}

impl AlertSeverity {
    pub const fn as_str(self) -> &'static str {
        match self {
            AlertSeverity::Info => "info",
            AlertSeverity::Warning => "warning",
            AlertSeverity::Critical => "critical",
        }
    }
}

/// The kind of an alert. Causes come first, so that they are sent before their effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlertKind {
    /// A dependency is down.
    Dependency,
    /// The canary of one of several instances fails.
    Instance,
    /// An instance has little room for more connections.
    Capacity,
    /// The clock of an instance differs from the one of the store.
    Clock,
    /// Most of the events of an objective fail now.
    Burn,
    /// More events fail than the objective allows.
    Leak,
    /// The budget of an objective is spent.
    Spent,
    /// Less than a tenth of a budget is left.
    Low,
    /// Notices do not reach a channel.
    Alerting,
    /// The canary of an instance has stopped.
    Canary,
    /// The certificate of the listener expires soon.
    Certificate,
    /// `slo.db` cannot be written.
    Disk,
    /// More critical incidents than operators can read.
    Storm,
    /// An operator tests a channel.
    Test,
    /// The report of a week.
    Report,
}

impl AlertKind {
    /// All kinds, in declaration order.
    pub const ALL: [AlertKind; 15] = [
        AlertKind::Dependency,
        AlertKind::Instance,
        AlertKind::Capacity,
        AlertKind::Clock,
        AlertKind::Burn,
        AlertKind::Leak,
        AlertKind::Spent,
        AlertKind::Low,
        AlertKind::Alerting,
        AlertKind::Canary,
        AlertKind::Certificate,
        AlertKind::Disk,
        AlertKind::Storm,
        AlertKind::Test,
        AlertKind::Report,
    ];

    /// The words before and after the name.
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            AlertKind::Dependency => ("dependency/", ""),
            AlertKind::Instance => ("instance/", ""),
            AlertKind::Capacity => ("capacity/", ""),
            AlertKind::Clock => ("clock/", ""),
            AlertKind::Canary => ("canary/", ""),
            AlertKind::Burn => ("slo/", "/burn"),
            AlertKind::Leak => ("slo/", "/leak"),
            AlertKind::Spent => ("slo/", "/spent"),
            AlertKind::Low => ("slo/", "/low"),
            AlertKind::Alerting => ("alerting/", ""),
            AlertKind::Certificate => ("certificate", ""),
            AlertKind::Disk => ("disk/", ""),
            AlertKind::Storm => ("storm", ""),
            AlertKind::Test => ("test/", ""),
            AlertKind::Report => ("report", ""),
        }
    }

    const fn has_name(self) -> bool {
        !matches!(self, AlertKind::Certificate | AlertKind::Storm | AlertKind::Report)
    }
}

/// An alert: its kind, and the name of what it is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlertKey {
    pub kind: AlertKind,
    /// Empty for the kinds that exist once.
    pub name: Arc<str>,
}

impl AlertKey {
    pub fn new(kind: AlertKind, name: &str) -> AlertKey {
        AlertKey { kind, name: if kind.has_name() { Arc::from(name) } else { Arc::from("") } }
    }

    /// Reads the text of a key.
    pub fn parse(text: &str) -> Option<AlertKey> {
        AlertKind::ALL.into_iter().find_map(|kind| {
            let (before, after) = kind.words();
            let name = text.strip_prefix(before)?.strip_suffix(after)?;
            (name.is_empty() != kind.has_name()).then(|| AlertKey::new(kind, name))
        })
    }

    /// The heading of its runbook in `docs/outages.md`, as the fragment of a link.
    pub fn runbook(&self) -> String {
        let heading = match (self.kind, &*self.name) {
            (AlertKind::Dependency, "store") => "store-postgresql",
            (AlertKind::Dependency, "bus") => "bus-redis",
            (AlertKind::Dependency, "auth") => "auth-introspection-jwks",
            (AlertKind::Dependency, "clickhouse" | "analytics") => "clickhouse-analytics",
            (AlertKind::Dependency, _) => "backend-and-every-other-http-service",
            (AlertKind::Burn | AlertKind::Leak | AlertKind::Spent | AlertKind::Low, name) => {
                return format!("runbook-slo-{name}");
            }
            (AlertKind::Instance, _) => "instance",
            (AlertKind::Capacity, _) => "capacity",
            (AlertKind::Clock, _) => "clock",
            (AlertKind::Canary, _) => "canary",
            (AlertKind::Alerting, _) => "alerting",
            (AlertKind::Certificate, _) => "certificate",
            (AlertKind::Disk, _) => "disk",
            (AlertKind::Storm, _) => "storm",
            (AlertKind::Test, _) => "test",
            (AlertKind::Report, _) => "report",
        };
        format!("runbook-{heading}")
    }
}

impl fmt::Display for AlertKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, after) = self.kind.words();
        write!(f, "{before}{}{after}", self.name)
    }
}

impl Serialize for AlertKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AlertKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<AlertKey, D::Error> {
        let text = String::deserialize(deserializer)?;
        AlertKey::parse(&text).ok_or_else(|| serde::de::Error::custom("an unknown alert"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn keys_are_unique_and_read_as_they_are_written() {
        let names = [
            "connection",
            "delivery",
            "latency",
            "health",
            "explained",
            "recovery",
            "answers",
            "promptness",
            "store",
            "bus",
            "auth",
            "slack",
        ];
        let (mut keys, mut texts) = (BTreeSet::new(), BTreeSet::new());
        for kind in AlertKind::ALL {
            for name in names {
                let key = AlertKey::new(kind, name);
                let text = key.to_string();
                assert!(!text.is_empty() && !text.ends_with('/') && !text.contains("//"), "{text}");
                assert_eq!(AlertKey::parse(&text), Some(key.clone()), "{text}");
                keys.insert(key);
                texts.insert(text);
            }
        }
        assert_eq!(keys.len(), texts.len());
        assert_eq!(keys.len(), 12 * names.len() + 3);
        for wrong in ["", "slo/", "slo//burn", "dependency/", "certificate/x", "storm ", "other"] {
            assert_eq!(AlertKey::parse(wrong), None, "{wrong:?}");
        }
    }

    /// The fragment that a heading gets: lower case, blanks as dashes, nothing else but letters, digits and dashes.
    fn fragment(heading: &str) -> String {
        let kept = heading
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .collect::<String>();
        kept.replace(' ', "-")
    }

    #[test]
    fn every_alert_has_a_runbook() {
        let page = include_str!("../../docs/outages.md");
        let headings: BTreeSet<String> =
            page.lines().filter_map(|line| line.strip_prefix("## ")).map(fragment).collect();
        let objectives =
            ["connection", "delivery", "latency", "health", "explained", "recovery", "answers", "promptness"];
        let dependencies = ["store", "bus", "auth", "backend", "clickhouse", "analytics", "mine"];
        for kind in AlertKind::ALL {
            let names: &[&str] = match kind {
                AlertKind::Burn | AlertKind::Leak | AlertKind::Spent | AlertKind::Low => &objectives,
                AlertKind::Dependency => &dependencies,
                AlertKind::Instance
                | AlertKind::Capacity
                | AlertKind::Clock
                | AlertKind::Canary
                | AlertKind::Alerting
                | AlertKind::Certificate
                | AlertKind::Disk
                | AlertKind::Storm
                | AlertKind::Test
                | AlertKind::Report => &["slack"],
            };
            for name in names {
                let runbook = AlertKey::new(kind, name).runbook();
                assert!(
                    headings.contains(&runbook),
                    "docs/outages.md has no heading #{runbook}: {headings:?}"
                );
            }
        }
    }
}
