//! Metrics of clients: their returns, their versions and their flags.

use super::sheet::Sheet;
use super::values::Scrape;
use crate::metrics::Cell;
use crate::metrics::clients::merge;
use crate::metrics::flags;
use crate::slo::returns::ReturnCause;
use crate::wire::command::FailedAttempt;
use prometheus_client::metrics::MetricType;
use std::fmt;

/// Milliseconds as seconds.
const SECONDS_PER_MS: f64 = 1e-3;

impl Scrape {
    pub(super) fn clients(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let cells = &self.clients;
        let causes: Vec<_> = ReturnCause::ALL.iter().map(|cause| [("cause", cause.as_str())]).collect();
        sheet.labelled(
            "client_returns",
            "Clients that connected again and whose last connection this instance ended or lost, by cause as the client saw it",
            MetricType::Counter,
            causes.iter().map(|label| &label[..]).zip(cells.returns.iter().map(Cell::read)),
        )?;
        sheet.counter(
            "client_returns_unproven",
            "Clients that connected again and named a connection whose end this instance does not know",
            cells.unproven.read(),
        )?;
        sheet.bounds_of(
            "client_return_seconds",
            "Time from the loss of a connection until the client had everything again, without idle time, in seconds",
            &cells.away,
            SECONDS_PER_MS,
        )?;
        sheet.bounds_of(
            "client_return_attempts",
            "Attempts that a client needed to connect again",
            &cells.attempts,
            1.0,
        )?;
        let ways: Vec<_> = FailedAttempt::ALL.iter().map(|way| [("how", way.as_str())]).collect();
        sheet.labelled(
            "client_attempts_failed",
            "Failed attempts of clients that connected again, by how they ended as the client saw it",
            MetricType::Counter,
            ways.iter().map(|label| &label[..]).zip(cells.failed.iter().map(Cell::read)),
        )?;
        sheet.counter(
            "clients_not_returned",
            "Connections that were lost and whose clients did not return to this instance within five minutes",
            cells.not_returned.read(),
        )?;
        sheet.counter(
            "client_events_dropped",
            "Ends and returns of clients that were not examined because too many came at once",
            self.sum(|r| &r.client_events_dropped),
        )?;
        let versions = merge(self.reactors.iter().map(|reactor| &reactor.versions));
        let named = versions.kept.iter().map(|one| ([("version", one.version.as_str())], one.clients));
        let all: Vec<_> = named.chain([([("version", "other")], versions.others)]).collect();
        sheet.labelled(
            "clients",
            "Connected clients by name and version, the most frequent ones; other: all further ones",
            MetricType::Gauge,
            all.iter().map(|(label, clients)| (&label[..], *clients)),
        )?;
        let flags = self.vitals.flags.load();
        let known = flags::merge(&flags, self.reactors.iter().map(|reactor| &reactor.flag_clients));
        let labels: Vec<_> = known.iter().map(|(name, clients)| ([("flag", *name)], *clients)).collect();
        sheet.labelled(
            "flag_clients",
            "Connected clients that were sent this flag as on; none if no flag is configured",
            MetricType::Gauge,
            labels.iter().map(|(label, clients)| (&label[..], *clients)),
        )
    }
}
