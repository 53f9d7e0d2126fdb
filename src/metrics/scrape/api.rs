//! Metrics of the server API.

use super::sheet::Sheet;
use super::values::read;
use crate::metrics::api::{ApiCounters, CLASSES, ENDPOINTS, ItemOutcome};
use prometheus_client::metrics::MetricType;
use std::fmt;

pub(super) fn encode(api: &ApiCounters, sheet: &mut Sheet<'_>) -> fmt::Result {
    let pairs = ENDPOINTS.iter().zip(&api.requests).flat_map(|(endpoint, classes)| {
        CLASSES
            .iter()
            .zip(classes)
            .map(|(class, cell)| ([("endpoint", *endpoint), ("class", *class)], read(cell)))
    });
    let pairs: Vec<_> = pairs.collect();
    sheet.labelled(
        "api_requests",
        "Requests to the server API, by endpoint and class of status",
        MetricType::Counter,
        pairs.iter().map(|(labels, value)| (&labels[..], *value)),
    )?;
    let labels = ItemOutcome::ALL.map(|outcome| [("outcome", outcome.word())]);
    let items = labels.iter().zip(&api.items).map(|(label, cell)| (&label[..], read(cell)));
    sheet.labelled("api_items", "Publications by the server API, by outcome", MetricType::Counter, items)?;
    sheet.counter("api_unauthorized", "API requests without a valid key", read(&api.unauthorized))?;
    sheet.counter(
        "api_handshakes_failed",
        "TLS handshakes of API connections that did not complete",
        read(&api.handshakes_failed),
    )?;
    sheet.counter(
        "api_turned_out",
        "API connections closed to make room for new ones",
        read(&api.turned_out),
    )?;
    sheet.gauge(
        "api_in_flight",
        "Publications of the server API in the store's queue",
        read(&api.in_flight),
    )?;
    sheet.gauge(
        "api_body_bytes",
        "Bytes of API bodies that are received or worked on",
        read(&api.body_bytes),
    )?;
    sheet.counter("api_commands", "Commands of POST /v1/commands", read(&api.commands))?;
    sheet.counter(
        "api_commands_refused",
        "Commands of POST /v1/commands that were refused",
        read(&api.commands_refused),
    )?;
    sheet.gauge(
        "api_open_bodies",
        "Bodies of commands that are read while they arrive",
        read(&api.open_bodies),
    )?;
    sheet.histogram(
        "api_seconds",
        "Time from the last byte of an API request to its answer, in seconds",
        &api.latency,
    )
}
