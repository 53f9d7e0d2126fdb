//! The lines of incidents in the log.

use crate::alert::incident::Incident;
use crate::alert::key::AlertSeverity;
use crate::alert::report::runbook;
use crate::alert::text::{span, title};

pub(super) fn log_begin(incident: &Incident, docs_url: &str) {
    let Incident { number, key, severity, text, reference, .. } = incident;
    let (what, reference) = (title(key), reference.as_deref().unwrap_or(""));
    let runbook = runbook(docs_url, &key.runbook());
    match severity {
        AlertSeverity::Critical => {
            tracing::error!(incident = number, alert = %key, what, text, reference, runbook, "critical incident began");
        }
        AlertSeverity::Warning | AlertSeverity::Info => {
            tracing::warn!(incident = number, alert = %key, what, text, reference, runbook, "incident began");
        }
    }
}

pub(super) fn log_end(incident: &Incident) {
    let lasted = incident.end.map_or(0, |end| end.at_ms.saturating_sub(incident.since_ms));
    tracing::info!(incident = incident.number, alert = %incident.key, lasted = span(lasted), "incident ended");
}
