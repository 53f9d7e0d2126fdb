//! Values that are each in bounds and cannot stand together.

use super::error::Fault;
use super::{Draft, ProxyProtocol};
use crate::drain::{CLOSING_MIN, Plan};
use crate::limits::Limits;
use std::collections::BTreeSet;
use std::time::Duration;

/// One limit that must not be below another, and why.
struct Order {
    larger: Limit,
    smaller: Limit,
    reason: &'static str,
}

/// A limit's name and value.
#[derive(Clone, Copy)]
struct Limit(&'static str, fn(&Limits) -> u64);

const FRAME: Limit = Limit("limits.frame_bytes", |limits| limits.frame_bytes as u64);
const MESSAGE: Limit = Limit("limits.message_bytes", |limits| limits.message_bytes as u64);
const HEAD: Limit = Limit("limits.head_bytes", |limits| limits.head_bytes as u64);
const URI: Limit = Limit("limits.uri_bytes", |limits| limits.uri_bytes as u64);
const OUTBOX: Limit = Limit("limits.outbox_bytes", |limits| limits.outbox_bytes as u64);
const OUTBOX_HARD: Limit = Limit("limits.outbox_bytes_hard", |limits| limits.outbox_bytes_hard as u64);
const OUTBOX_TOTAL: Limit = Limit("limits.outbox_bytes_total", |limits| limits.outbox_bytes_total);

const ORDERS: [Order; 5] = [
    Order { larger: MESSAGE, smaller: FRAME, reason: "since a message may be one frame" },
    Order { larger: HEAD, smaller: URI, reason: "since the request target is part of the head" },
    Order { larger: OUTBOX, smaller: MESSAGE, reason: "or a publication would never fit in an outbox" },
    Order { larger: OUTBOX_HARD, smaller: OUTBOX, reason: "since lag comes before a socket is left unread" },
    Order { larger: OUTBOX_TOTAL, smaller: OUTBOX_HARD, reason: "since all outboxes together hold each one" },
];

/// Reports every contradiction between values that were not themselves refused.
pub(super) fn find(draft: &mut Draft) {
    ORDERS.iter().for_each(|order| check_order(draft, order));
    check_proxies(draft);
    check_bus(draft);
    check_takeover(draft);
    check_drain(draft);
    check_auth(draft);
    super::auth::check(draft);
}

fn check_order(draft: &mut Draft, order: &Order) {
    let Order { larger: Limit(larger, larger_of), smaller: Limit(smaller, smaller_of), reason } = *order;
    let (value, other_value) = (larger_of(&draft.config.limits), smaller_of(&draft.config.limits));
    if value >= other_value || !untouched(&draft.refused, &[larger, smaller]) {
        return;
    }
    let other_origin = draft.config.origins.of(smaller).clone();
    report(draft, larger, Fault::Below { value, other: smaller, other_value, other_origin, reason });
}

fn check_proxies(draft: &mut Draft) {
    let server = &draft.config.server;
    let alone = server.proxy_protocol == ProxyProtocol::Required && server.trusted_proxies.is_empty();
    if alone && untouched(&draft.refused, &["server.trusted_proxies"]) {
        report(draft, "server.proxy_protocol", Fault::NobodyTrusted);
    }
}

fn check_bus(draft: &mut Draft) {
    let alone = draft.config.bus.url.is_some() && draft.config.store.postgres().is_none();
    if alone && untouched(&draft.refused, &["store.url"]) {
        report(draft, "bus.url", Fault::NobodyToReach);
    }
}

fn check_takeover(draft: &mut Draft) {
    let one_owner = draft.config.server.takeover && draft.config.store.postgres().is_none();
    if one_owner && untouched(&draft.refused, &["store.url"]) {
        report(draft, "server.takeover", Fault::OneOwner);
    }
}

/// The phases of a drain follow each other: accept, spread, close, exit.
fn check_drain(draft: &mut Draft) {
    const NAMES: [&str; 4] = ["drain.accept_ms", "drain.spread_ms", "drain.close_ms", "drain.exit_ms"];
    if !untouched(&draft.refused, &NAMES) {
        return;
    }
    let Plan { accept, spread, close, exit, returns: _ } = draft.config.drain;
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (spread_end, exit_least) =
        ((accept + spread).max(accept + Duration::from_millis(1)), close + CLOSING_MIN);
    if close < spread_end {
        let (value, least) = (ms(close), ms(spread_end));
        let sum = "drain.accept_ms + drain.spread_ms";
        let reason = "since nobody is closed before the last slot";
        report(draft, "drain.close_ms", Fault::TooEarly { value, least, sum, reason });
    }
    if exit < exit_least {
        let (value, least) = (ms(exit), ms(exit_least));
        let sum = "drain.close_ms + 1000";
        let reason = "since what is in flight is answered and the store is closed in between";
        report(draft, "drain.exit_ms", Fault::TooEarly { value, least, sum, reason });
    }
}

fn check_auth(draft: &mut Draft) {
    let switches = ["auth.keys", "auth.secret", super::auth::INTROSPECTION_URL, super::auth::JWKS_URL];
    if draft.config.auth.is_on() || !untouched(&draft.refused, &switches) {
        return;
    }
    let listen = draft.config.server.listen;
    if !listen.ip().to_canonical().is_loopback() && untouched(&draft.refused, &["server.listen"]) {
        report(draft, "server.listen", Fault::OpenToNetwork { listen: listen.to_string() });
    }
    if draft.config.auth.audience.is_some() {
        report(draft, "auth.audience", Fault::NoKey);
    }
    if draft.config.auth.issuer.is_some() {
        report(draft, "auth.issuer", Fault::NoKey);
    }
}

fn untouched(refused: &BTreeSet<&'static str>, names: &[&str]) -> bool {
    names.iter().all(|name| !refused.contains(name))
}

fn report(draft: &mut Draft, name: &'static str, fault: Fault) {
    let origin = draft.config.origins.of(name).clone();
    draft.report(origin, name, fault);
}
