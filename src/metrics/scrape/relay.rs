//! Metrics of the relay, by route.

use super::sheet::Sheet;
use super::values::read;
use crate::metrics::answers::AnswerCounters;
use crate::metrics::relay::RelayMeters;
use prometheus_client::metrics::MetricType;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// Writes nothing without a route. `now_ms`: Unix milliseconds.
pub(super) fn encode(
    meters: &RelayMeters,
    answers: &AnswerCounters,
    now_ms: u64,
    sheet: &mut Sheet<'_>,
) -> fmt::Result {
    let routes = meters.all();
    if routes.is_empty() {
        return Ok(());
    }
    self::answers(answers, sheet)?;
    let names: Vec<_> = routes.iter().map(|meter| [("route", &*meter.name)]).collect();
    let each = || names.iter().map(|label| &label[..]).zip(routes.iter());
    let waiting = each().map(|(label, meter)| (label, read(&meter.waiting)));
    let help = "Channels whose messages wait for the backend, in the store";
    sheet.labelled("relay_waiting", help, MetricType::Gauge, waiting)?;
    let letters = each().map(|(label, meter)| (label, read(&meter.dead_letters)));
    sheet.labelled("relay_dead_letters", "Dead letters in the store", MetricType::Gauge, letters)?;
    let inflight = each().map(|(label, meter)| (label, read(&meter.inflight)));
    let help = "Requests in progress, and responses that are being read";
    sheet.labelled("relay_inflight", help, MetricType::Gauge, inflight)?;
    let paused = each().map(|(label, meter)| (label, u64::from(meter.is_paused())));
    sheet.labelled(
        "relay_paused",
        "1 while the backend wants no requests (410)",
        MetricType::Gauge,
        paused,
    )?;
    let age = |oldest_ms: &AtomicU64| match read(oldest_ms) {
        0 => 0.0,
        at => Duration::from_millis(now_ms.saturating_sub(at)).as_secs_f64(),
    };
    let ages = each().map(|(label, meter)| (label, age(&meter.oldest_ms)));
    sheet.fractions("relay_oldest_seconds", "Age of the oldest message that waits for the backend", ages)?;
    let requests = routes.iter().flat_map(|meter| {
        meter.requests().map(|(outcome, total)| ([("route", &*meter.name), ("outcome", outcome)], total))
    });
    let requests: Vec<_> = requests.collect();
    let requests = requests.iter().map(|(labels, total)| (&labels[..], *total));
    sheet.labelled("relay_requests", "Requests to backends, by outcome", MetricType::Counter, requests)?;
    let dead = routes.iter().flat_map(|meter| {
        let causes = [("refused", &meter.dead_refused), ("not_delivered", &meter.dead_not_delivered)];
        causes.map(|(cause, total)| ([("route", &*meter.name), ("cause", cause)], read(total)))
    });
    let dead: Vec<_> = dead.collect();
    let dead = dead.iter().map(|(labels, total)| (&labels[..], *total));
    sheet.labelled("relay_dead", "Messages that were given up here, by cause", MetricType::Counter, dead)?;
    let broken = each().map(|(label, meter)| (label, read(&meter.broken_bodies)));
    sheet.labelled("relay_broken_bodies", "Responses that broke off", MetricType::Counter, broken)?;
    let dropped = each().map(|(label, meter)| (label, read(&meter.cancels_dropped)));
    let help = "Requests about cancelled answers that were not sent";
    sheet.labelled("relay_cancels_dropped", help, MetricType::Counter, dropped)?;
    let seconds = routes.iter().map(|meter| ([("route", &*meter.name)], &meter.request_seconds));
    sheet.histograms(
        "relay_request_seconds",
        "From the begin of a request to the head of its response",
        seconds,
    )?;
    let seconds = routes.iter().map(|meter| ([("route", &*meter.name)], &meter.wait_seconds));
    sheet.histograms(
        "relay_wait_seconds",
        "From the commit of a message to the begin of its first request",
        seconds,
    )
}

/// The answers of all routes: the store knows no route.
fn answers(counters: &AnswerCounters, sheet: &mut Sheet<'_>) -> fmt::Result {
    let ends: Vec<_> = counters
        .ends()
        .map(|([state, cause], total)| ([("state", state), ("cause", cause)], total))
        .collect();
    let ends = ends.iter().map(|(labels, total)| (&labels[..], *total));
    let help = "Answers that ended, by the state of the end and the reason of the gateway";
    sheet.labelled("relay_answers", help, MetricType::Counter, ends)?;
    let help = "From the commit of a question to the commit of the first piece of its answer";
    sheet.bounds_of("relay_first_piece_seconds", help, &counters.first_piece, 0.001)
}
