//! Who comes, and how it ends.

use super::{CLOSE_CODES, Cell, Scrape, Sheet};
use prometheus_client::metrics::MetricType;
use std::fmt;

impl Scrape {
    pub(super) fn connections(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        sheet.counter("connections_accepted", "Connections accepted", self.sum(|r| &r.accepted))?;
        sheet.gauge("connections", "Connections at once", self.sum(|r| &r.connections))?;
        sheet.gauge(
            "connections_max",
            "limits.connections, or what descriptors allow",
            self.vitals.connections_max(),
        )?;
        sheet.counter("accept_failures", "Accepts that failed", self.sum(|r| &r.accept_failures))?;
        sheet.counter("upgrades", "Upgrades completed", self.sum(|r| &r.upgrades))?;
        self.handshakes(sheet)?;
        sheet.counter(
            "upgrades_turned_away",
            "Upgrades completed to say that a critical dependency is down",
            self.sum(|r| &r.turned_away),
        )?;
        sheet.counter(
            "upgrades_observed",
            "Upgrades let in that would be turned away if health.admission were enforce",
            self.sum(|r| &r.observed),
        )?;
        sheet.counter(
            "http_requests",
            "Plain requests served, health reports of 503 among them",
            self.sum(|r| &r.requests),
        )?;
        let class = |index: usize| -> u64 {
            self.reactors.iter().filter_map(|r| r.requests_refused.get(index)).map(Cell::read).sum()
        };
        let classes = [[("class", "4xx")], [("class", "5xx")]];
        let refused = classes.iter().enumerate().map(|(index, label)| (&label[..], class(index)));
        sheet.labelled("http_refused", "Requests refused", MetricType::Counter, refused)?;
        let codes: Vec<String> =
            CLOSE_CODES.iter().map(u16::to_string).chain(["other".to_string()]).collect();
        let labels: Vec<[(&str, &str); 1]> = codes.iter().map(|code| [("code", code.as_str())]).collect();
        let closes = labels.iter().enumerate().map(|(index, label)| {
            let total = self.reactors.iter().filter_map(|r| r.closes.get(index)).map(Cell::read).sum();
            (&label[..], total)
        });
        sheet.labelled("closes", "Close frames sent, by code", MetricType::Counter, closes)
    }

    fn handshakes(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        sheet.counter("connected", "Sessions that reached connected", self.sum(|r| &r.connected))?;
        sheet.counter("handshakes_admitted", "Handshakes let in", self.sum(|r| &r.handshakes_admitted))?;
        sheet.counter(
            "handshakes_deferred",
            "Upgrades completed to tell a client when to come back (1013)",
            self.sum(|r| &r.handshakes_deferred),
        )?;
        sheet.counter(
            "handshakes_refused",
            "Upgrades refused with 503: too many came even to be told",
            self.sum(|r| &r.handshakes_refused),
        )?;
        let cost_us = self.reactors.iter().map(|r| r.handshake_cost_us.read()).max().unwrap_or(0);
        sheet.gauge(
            "handshake_cost_us",
            "Microseconds of a handshake, on the reactor where it is dearest",
            cost_us,
        )?;
        sheet.gauge(
            "admissions_per_s",
            "Handshakes a second that the reactors measured that they can do",
            self.sum(|r| &r.admissions_per_s),
        )
    }
}
