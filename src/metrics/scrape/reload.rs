//! Metrics of configuration reloads.

use super::sheet::Sheet;
use super::values::read;
use crate::metrics::reload::{OUTCOMES, ReloadCounters};
use prometheus_client::metrics::MetricType;
use std::fmt;

impl ReloadCounters {
    pub(super) fn encode(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let labels = OUTCOMES.map(|outcome| [("outcome", outcome.as_str())]);
        let totals = labels.iter().zip(&self.outcomes).map(|(label, cell)| (&label[..], read(cell)));
        sheet.labelled("reloads", "Configuration reloads, by outcome", MetricType::Counter, totals)?;
        let seconds = read(&self.good_unix_ms) as f64 / 1e3;
        sheet.fractions(
            "configuration_loaded_seconds",
            "Unix time at which the current configuration was read, at the start or by the last successful reload, in seconds",
            [(&[][..], seconds)],
        )?;
        sheet.gauge(
            "configuration_whole",
            "1 if all threads use the same configuration; 0 after a reload that reached only some of them",
            read(&self.whole),
        )
    }
}
