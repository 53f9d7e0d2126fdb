//! Metrics of TLS.

use super::sheet::Sheet;
use super::values::Scrape;
use crate::metrics::Cell;
use crate::metrics::tls::{HANDSHAKE_KINDS, TlsFault};
use prometheus_client::metrics::MetricType;
use std::fmt;
use std::time::Duration;

impl Scrape {
    pub(super) fn tls(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let kinds = HANDSHAKE_KINDS.map(|kind| [("kind", kind)]);
        let handshakes = kinds.iter().enumerate().map(|(index, label)| {
            let total =
                self.reactors.iter().filter_map(|r| r.tls_handshakes.get(index)).map(Cell::read).sum();
            (&label[..], total)
        });
        sheet.labelled(
            "tls_handshakes",
            "TLS handshakes completed, by kind",
            MetricType::Counter,
            handshakes,
        )?;
        let causes = TlsFault::ALL.map(|fault| [("cause", fault.as_str())]);
        let failures = causes.iter().enumerate().map(|(index, label)| {
            let total = self.reactors.iter().filter_map(|r| r.tls_faults.get(index)).map(Cell::read).sum();
            (&label[..], total)
        });
        sheet.labelled(
            "tls_failures",
            "TLS connections that failed, by cause",
            MetricType::Counter,
            failures,
        )?;
        sheet.counter_seconds(
            "tls_handshake_seconds",
            "Time the reactors spent in TLS handshakes, in seconds",
            Duration::from_micros(self.sum(|r| &r.tls_handshake_us)),
        )?;
        sheet.counter(
            "tls_truncated",
            "TLS connections that the peer closed without close_notify",
            self.sum(|r| &r.tls_truncated),
        )?;
        match self.tls.not_after() {
            Some(unix_s) => sheet.gauge(
                "tls_certificate_not_after_seconds",
                "Unix time at which the served certificate expires, in seconds",
                unix_s,
            ),
            None => Ok(()),
        }
    }
}
