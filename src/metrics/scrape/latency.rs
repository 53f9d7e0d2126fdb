//! Histograms of latencies that clients notice.

use super::sheet::Sheet;
use super::values::Scrape;
use crate::metrics::latency::{LatencyCells, LatencyCounts};
use crate::metrics::vitals::ReactorVitals;
use std::fmt;

/// Reads the cells of a reactor.
type LatencyReading = fn(&ReactorVitals) -> &LatencyCells;

/// Names, descriptions and cells.
const HISTOGRAMS: [(&str, &str, LatencyReading); 4] = [
    (
        "publish_seconds",
        "From reading a publish command to its reply, if the publication is stored",
        |reactor| &reactor.publishes,
    ),
    (
        "delivery_seconds",
        "From the commit of a publication to the queue of each live subscriber",
        |reactor| &reactor.deliveries,
    ),
    (
        "handshake_seconds",
        "From a well-formed upgrade of /ws to connected, without the wait for the client",
        |reactor| &reactor.handshakes,
    ),
    ("token_check_seconds", "From reading a token to the verdict on it", |reactor| &reactor.tokens),
];

impl Scrape {
    pub(super) fn latencies(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        for (name, help, cells) in HISTOGRAMS {
            sheet.latencies(name, help, &LatencyCounts::of(self.vitals.reactors.iter().map(cells)))?;
        }
        Ok(())
    }
}
