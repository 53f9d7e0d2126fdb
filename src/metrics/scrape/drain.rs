//! The part of a scrape about the end of the process. While it serves, the phase says so and the rest is 0.

use super::{Scrape, Sheet};
use crate::clock::Moment;
use crate::drain::Phase;
use prometheus_client::metrics::MetricType;
use std::fmt;

impl Scrape {
    pub(super) fn drain(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let progress = self.vitals.drain.progress(Moment::ZERO, self.vitals.connections());
        let phases =
            Phase::ALL.map(|phase| ([("phase", phase.as_str())], u64::from(phase == progress.phase)));
        let phases = phases.iter().map(|(label, is)| (&label[..], *is));
        sheet.labelled("drain_phase", "1 for the phase that holds", MetricType::Gauge, phases)?;
        let since = progress.began.map_or(0, |(_, since_ms)| since_ms / 1_000);
        sheet.gauge(
            "drain_timestamp_seconds",
            "When the drain began, since 1970; 0: there is none",
            since,
        )?;
        let left = if progress.began.is_some() { progress.connections } else { 0 };
        sheet.gauge("drain_connections", "Connections that have not left yet", left)?;
        sheet.counter("drain_told", "Connections that were told when to move", progress.told)?;
        let help = "Connections that left by themselves after the listener closed";
        sheet.counter("drain_moved", help, progress.moved)?;
        let help = "Connections that were closed since they had not moved";
        sheet.counter("drain_stragglers", help, progress.stragglers)?;
        let unfinished = progress.unfinished;
        let unfinished = [
            ([("what", "appends")], unfinished.appends),
            ([("what", "closes")], unfinished.closes),
            ([("what", "bytes")], unfinished.bytes),
        ];
        let unfinished = unfinished.iter().map(|(label, total)| (&label[..], *total));
        sheet.labelled(
            "drain_unfinished",
            "What was given up at the deadline",
            MetricType::Counter,
            unfinished,
        )
    }
}
