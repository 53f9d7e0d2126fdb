//! An outage of the auth service: known tokens, unknown tokens, and the recovery.

use crate::auth_service::issuer::{INTROSPECT, Issuer, active, connect, logged, refused, state};
use crate::servers::Answer;
use crate::support::token::unix_s;
use crate::support::wait::{LATE, SOON, until};
use crate::support::{Client, Gateway};
use seawall_fault::Mode;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// One way for the service to fail, and how to repair it.
struct Way {
    name: &'static str,
    fail: fn(&mut Issuer),
    repair: fn(&mut Issuer),
}

const WAYS: [Way; 4] = [
    Way { name: "killed", fail: |issuer| issuer.server.stop(), repair: |issuer| issuer.server.start_again() },
    Way {
        name: "frozen",
        fail: |issuer| issuer.proxy.set(Mode::Stall),
        repair: |issuer| issuer.proxy.set(Mode::Pass),
    },
    Way {
        name: "reset",
        fail: |issuer| {
            issuer.proxy.set(Mode::Refuse);
            issuer.proxy.reset();
        },
        repair: |issuer| issuer.proxy.set(Mode::Pass),
    },
    Way {
        name: "failing",
        fail: |issuer| issuer.server.answer(INTROSPECT, Answer::json(500, "no")),
        repair: |issuer| issuer.answer_tokens(),
    },
];

#[test]
fn known_token_is_admitted_and_unknown_token_is_unavailable_until_recovery() {
    for way in &WAYS {
        let mut issuer = Issuer::start();
        issuer.knows("known", "ann");
        issuer.knows("other", "bob");
        // Short, so that cached answers have expired when the outage begins.
        let gateway = issuer.introspected().env("SEAWALL_AUTH_CACHE_MS", "1").start();
        let mut resident = connect(&gateway, "known");
        (way.fail)(&mut issuer);
        unknown_tokens_are_refused(&gateway, way.name);
        until(SOON, "auth is down", || state(&gateway) == "down");
        assert_eq!(connect(&gateway, "known").connected["status"]["level"], "down", "{}", way.name);
        let error = resident.refused(json!({"refresh": {"token": "other"}}), "unavailable");
        assert_eq!(error["dependency"], "auth", "{}: {error}", way.name);
        assert!(error["retry_ms"].as_u64().is_some_and(|wait| wait >= 500), "{}: {error}", way.name);
        resident.subscribe("room");
        resident.publish("room", json!(way.name));
        let calls = gateway.metric("seawall_introspections_total");
        let began = Instant::now();
        refused(&gateway, "unknown").is(1011, "unavailable");
        assert!(
            began.elapsed() < Duration::from_millis(4_000),
            "{LATE}: {}: {:?}",
            way.name,
            began.elapsed()
        );
        assert_eq!(gateway.metric("seawall_introspections_total"), calls, "{}: no call is made", way.name);
        (way.repair)(&mut issuer);
        let repaired = Instant::now();
        until(SOON, "a new token is judged again", || {
            let mut client = Client::open(&gateway);
            let id = client.send(json!({"connect": {"token": "other"}}));
            client.try_reply(id).is_some_and(|reply| reply.get("connected").is_some())
        });
        assert!(
            repaired.elapsed() < Duration::from_secs(20),
            "{LATE}: {}: {:?}",
            way.name,
            repaired.elapsed()
        );
        refused(&gateway, "unknown").is(4501, "unauthenticated");
        assert!(resident.is_open(), "{}", way.name);
    }
}

/// Checks that unknown tokens are refused with a reason. The first meets the fault before the outage is detected.
fn unknown_tokens_are_refused(gateway: &Gateway, way: &str) {
    let mut waits = Vec::new();
    for turn in 0..3 {
        let began = Instant::now();
        let closed = refused(gateway, "unknown");
        assert!(began.elapsed() < Duration::from_secs(16), "{LATE}: {way}, {turn}: {:?}", began.elapsed());
        closed.is(1011, "unavailable");
        let bye = closed.bye.clone().unwrap();
        assert_eq!(bye["dependency"], "auth", "{way}: {closed:?}");
        let reference = bye["reference"].as_str().unwrap();
        logged(gateway, reference);
        let log = gateway.output();
        let lines = log.lines().filter(|line| line.contains(reference)).count();
        assert_eq!(lines, 1, "{way}, {turn}: {reference} is in the log once: {log}");
        assert!(closed.reason.contains(reference), "{way}: {closed:?}");
        waits.push(bye["retry_ms"].as_u64().unwrap());
    }
    assert!(waits.iter().all(|wait| (1_000..=15_000).contains(wait)), "{way}: {waits:?}");
}

#[test]
fn known_token_that_expires_during_an_outage_is_closed_with_4501() {
    let mut issuer = Issuer::start();
    let gateway =
        issuer.introspected().env("SEAWALL_AUTH_LEEWAY_MS", "0").env("SEAWALL_AUTH_CACHE_MS", "1").start();
    let mut short = active("ann");
    short["exp"] = json!(unix_s() + 8);
    issuer.says("short", Answer::json(200, &short.to_string()));
    let mut resident = connect(&gateway, "short");
    issuer.server.stop();
    until(SOON, "auth is down", || state(&gateway) == "down");
    resident.expect_close().is(4501, "unauthenticated");
    refused(&gateway, "short").is(4501, "unauthenticated");
    refused(&gateway, "unknown").is(1011, "unavailable");
}

#[test]
fn gateway_starts_during_an_outage_and_observe_admits_no_unknown_token() {
    let mut issuer = Issuer::start();
    issuer.knows("t", "ann");
    issuer.server.stop();
    let gateway = issuer.introspected().env("SEAWALL_HEALTH_ADMISSION", "observe").start();
    until(SOON, "auth is down", || state(&gateway) == "down");
    let closed = refused(&gateway, "t");
    closed.is(1011, "unavailable");
    assert_eq!(closed.bye.unwrap()["dependency"], "auth");
    issuer.server.start_again();
    until(SOON, "auth has recovered", || state(&gateway) == "ok");
    assert_eq!(connect(&gateway, "t").connected["user"], "ann");
}

#[test]
fn tokens_beyond_the_waiting_limit_are_closed_as_over_capacity() {
    let issuer = Issuer::start();
    issuer.server.answer(INTROSPECT, Answer::Hang);
    let gateway = issuer
        .introspected()
        .env("SEAWALL_AUTH_WAITING", "16")
        .env("SEAWALL_AUTH_TIMEOUT_MS", "3000")
        .start();
    let mut clients: Vec<Client> = (0..40).map(|_| Client::open(&gateway)).collect();
    let began = Instant::now();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(json!({"connect": {"token": format!("t{number}")}}));
    }
    let over = || gateway.metrics().get("seawall_closes_total{code=\"1013\"}").copied().unwrap_or_default();
    until(SOON, "the others are closed", || over() >= 32.0 || began.elapsed() > Duration::from_secs(3));
    // Later, places are free again.
    let fault = if began.elapsed() < Duration::from_millis(2_500) { "wrong places" } else { LATE };
    let closed: Vec<_> = clients.iter_mut().map(Client::expect_close).collect();
    let over = closed.iter().filter(|closed| closed.code == 1013).count();
    assert_eq!(over, 32, "{fault}: half of the places is for tokens that were good before: {closed:?}");
    let waited = closed.iter().filter(|closed| closed.code == 1011).count();
    assert_eq!(waited, 8, "{fault}");
    let refusal = closed.iter().find(|closed| closed.code == 1013).unwrap();
    refusal.is(1013, "over_capacity");
    assert!(refusal.reason.contains("auth.waiting"), "{refusal:?}");
}
