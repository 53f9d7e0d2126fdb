//! Metrics of connections: accepts, handshakes, upgrades, requests and closes.

use super::sheet::Sheet;
use super::values::Scrape;
use crate::metrics::Cell;
use crate::metrics::reactor::CLOSE_CODES;
use crate::wire::fault::HttpFault;
use crate::wire::proxy::ProxyFault;
use prometheus_client::metrics::MetricType;
use std::fmt;
use std::time::Duration;

impl Scrape {
    pub(super) fn connections(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        sheet.counter("connections_accepted", "Connections accepted", self.sum(|r| &r.accepted))?;
        sheet.gauge("connections", "Open connections", self.sum(|r| &r.connections))?;
        sheet.gauge(
            "connections_max",
            "Bound on open connections: limits.connections, or fewer if descriptors do not suffice",
            self.vitals.connections_max(),
        )?;
        sheet.gauge(
            "connections_unconnected",
            "Open connections that are not connected; at most a quarter of connections_max",
            self.sum(|r| &r.unconnected),
        )?;
        sheet.counter(
            "connections_displaced",
            "Connections ended because unconnected ones used up their share",
            self.sum(|r| &r.unconnected_displaced),
        )?;
        sheet.counter(
            "arrivals_over_share",
            "Accepts and upgrades of addresses over their share of the handshakes, served after the others",
            self.sum(|r| &r.arrivals_over_share),
        )?;
        sheet.counter(
            "arrivals_dropped",
            "Connections of addresses over their share of the handshakes, dropped at the accept",
            self.sum(|r| &r.arrivals_dropped),
        )?;
        sheet.counter(
            "accept_failures",
            "Accepts that failed because no descriptor was free",
            self.sum(|r| &r.accept_failures),
        )?;
        sheet.counter("upgrades", "WebSocket upgrades completed", self.sum(|r| &r.upgrades))?;
        self.returns(sheet)?;
        self.handshakes(sheet)?;
        sheet.counter(
            "upgrades_turned_away",
            "Upgrades completed only to report that a critical dependency is down",
            self.sum(|r| &r.turned_away),
        )?;
        sheet.counter(
            "upgrades_observed",
            "Upgrades admitted that health.admission = enforce would have rejected",
            self.sum(|r| &r.observed),
        )?;
        sheet.counter(
            "http_requests",
            "Plain HTTP requests served, including health reports with status 503",
            self.sum(|r| &r.requests),
        )?;
        self.refused(sheet)?;
        self.proxy_headers(sheet)?;
        let codes: Vec<String> =
            CLOSE_CODES.iter().map(u16::to_string).chain(["other".to_string()]).collect();
        let labels: Vec<[(&str, &str); 1]> = codes.iter().map(|code| [("code", code.as_str())]).collect();
        let closes = labels.iter().enumerate().map(|(index, label)| {
            let total = self.reactors.iter().filter_map(|r| r.closes.get(index)).map(Cell::read).sum();
            (&label[..], total)
        });
        sheet.labelled("closes", "Close frames sent, by code", MetricType::Counter, closes)?;
        sheet.counter(
            "sessions_lost",
            "Sessions whose connection broke, or whose client left without a close frame",
            self.sum(|r| &r.lost),
        )
    }

    fn returns(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let (hinted, other) = (self.sum(|r| &r.returns_hinted), self.sum(|r| &r.returns_other));
        let none = self.sum(|r| &r.upgrades).saturating_sub(hinted + other);
        let returns = [([("to", "hinted")], hinted), ([("to", "other")], other), ([("to", "none")], none)];
        let returns = returns.iter().map(|(label, total)| (&label[..], *total));
        sheet.labelled(
            "returns",
            "WebSocket upgrades by the instance that the client asked for (?to=NAME): this one, another one, none",
            MetricType::Counter,
            returns,
        )
    }

    fn refused(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let labels = HttpFault::REASONS
            .map(|(status, word)| [("class", if status >= 500 { "5xx" } else { "4xx" }), ("reason", word)]);
        let refused = labels.iter().enumerate().map(|(index, label)| {
            let total = self.reactors.iter().filter_map(|r| r.requests_refused.get(index)).map(Cell::read);
            (&label[..], total.sum())
        });
        sheet.labelled(
            "http_refused",
            "HTTP requests refused, by status class and reason; an upgrade completed only to refuse its site counts",
            MetricType::Counter,
            refused,
        )
    }

    fn proxy_headers(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let causes = ProxyFault::ALL.map(|fault| [("cause", fault.as_str())]);
        let refused = causes.iter().enumerate().map(|(index, label)| {
            let total = self.reactors.iter().filter_map(|r| r.proxy_faults.get(index)).map(Cell::read);
            (&label[..], total.sum())
        });
        sheet.labelled(
            "proxy_header_refused",
            "Connections dropped because no trusted proxy sent a valid PROXY header, by cause",
            MetricType::Counter,
            refused,
        )
    }

    fn handshakes(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        sheet.counter(
            "connected",
            "Sessions that reached the state connected",
            self.sum(|r| &r.connected),
        )?;
        sheet.counter("handshakes_admitted", "Handshakes admitted", self.sum(|r| &r.handshakes_admitted))?;
        sheet.counter(
            "handshakes_deferred",
            "Upgrades completed only to send a retry time (close code 1013)",
            self.sum(|r| &r.handshakes_deferred),
        )?;
        sheet.counter(
            "handshakes_refused",
            "Upgrades refused with 503 because there were too many even to send retry times",
            self.sum(|r| &r.handshakes_refused),
        )?;
        let cost_us = self.reactors.iter().map(|r| r.handshake_cost_us.read()).max().unwrap_or(0);
        sheet.seconds(
            "handshake_cost_seconds",
            "Measured cost of a handshake in seconds, on the reactor where it is highest",
            Duration::from_micros(cost_us),
        )?;
        sheet.gauge(
            "admissions_per_second",
            "Handshakes per second that the reactors can admit, by their own measurement",
            self.sum(|r| &r.admissions_per_s),
        )
    }
}
