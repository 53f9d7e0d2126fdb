//! Metrics of the drain and of rebalancing. While the process serves, the phase is `serving` and all other values of the drain are 0.

use super::sheet::Sheet;
use super::values::Scrape;
use crate::clock::Moment;
use crate::drain::DrainPhase;
use prometheus_client::metrics::MetricType;
use std::fmt;

impl Scrape {
    pub(super) fn drain(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let progress = self.vitals.drain.progress(Moment::ZERO, self.vitals.connections());
        let phases =
            DrainPhase::ALL.map(|phase| ([("phase", phase.as_str())], u64::from(phase == progress.phase)));
        let phases = phases.iter().map(|(label, is)| (&label[..], *is));
        sheet.labelled(
            "drain_phase",
            "1 for the current phase, 0 for the others",
            MetricType::Gauge,
            phases,
        )?;
        let since = progress.began.map_or(0, |(_, since_ms)| since_ms / 1_000);
        sheet.gauge(
            "drain_timestamp_seconds",
            "Unix time at which the drain began, in seconds; 0 if none",
            since,
        )?;
        let left = if progress.began.is_some() { progress.connections } else { 0 };
        sheet.gauge("drain_connections", "Connections that have not left yet", left)?;
        sheet.counter("drain_told", "Connections that were assigned a time to move", progress.notified)?;
        let help = "Connections that left by themselves after being assigned a time to move";
        sheet.counter("drain_moved", help, progress.moved)?;
        let help = "Connections that were closed because they had not moved";
        sheet.counter("drain_stragglers", help, progress.stragglers)?;
        let moves = self.vitals.rebalance.moves();
        let outcomes = [("moved", moves.moved), ("stayed", moves.stayed), ("returned", moves.returned)]
            .map(|(outcome, total)| ([("outcome", outcome)], total));
        let outcomes = outcomes.iter().map(|(label, total)| (&label[..], *total));
        let help = "Clients asked to move to another instance, by what they did; returned: arrived here although sent elsewhere";
        sheet.labelled("rebalance_moves", help, MetricType::Counter, outcomes)?;
        let unfinished = progress.unfinished;
        let unfinished = [
            ([("what", "appends")], unfinished.appends),
            ([("what", "closes")], unfinished.closes),
            ([("what", "bytes")], unfinished.bytes),
        ];
        let unfinished = unfinished.iter().map(|(label, total)| (&label[..], *total));
        sheet.labelled(
            "drain_unfinished",
            "Appends, closes and outgoing bytes that were abandoned at the deadline",
            MetricType::Counter,
            unfinished,
        )
    }
}
