//! The service is gone: who is known, who is not, and how it is over.

use crate::auth_service::issuer::{INTROSPECT, Issuer, active, connect, logged, refused, state};
use crate::servers::Answer;
use crate::support::token::unix_s;
use crate::support::wait::{SOON, until};
use crate::support::{Client, Gateway};
use seawall_fault::Mode;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A way in which the service fails, and comes back.
struct Way {
    name: &'static str,
    fail: fn(&mut Issuer),
    mend: fn(&mut Issuer),
}

const WAYS: [Way; 4] = [
    Way { name: "killed", fail: |issuer| issuer.server.stop(), mend: |issuer| issuer.server.start_again() },
    Way {
        name: "frozen",
        fail: |issuer| issuer.proxy.set(Mode::Stall),
        mend: |issuer| issuer.proxy.set(Mode::Pass),
    },
    Way {
        name: "reset",
        fail: |issuer| {
            issuer.proxy.set(Mode::Refuse);
            issuer.proxy.reset();
        },
        mend: |issuer| issuer.proxy.set(Mode::Pass),
    },
    Way {
        name: "failing",
        fail: |issuer| issuer.server.answer(INTROSPECT, Answer::json(500, "no")),
        mend: |issuer| issuer.answer_tokens(),
    },
];

#[test]
fn who_is_known_stays_and_who_is_not_is_told_why_until_it_is_over() {
    for way in &WAYS {
        let mut issuer = Issuer::start();
        issuer.knows("known", "ann");
        issuer.knows("other", "bob");
        // Short, so that what is known is old when the service is gone.
        let gateway = issuer.introspected().env("SEAWALL_AUTH_CACHE_MS", "1").start();
        let mut resident = connect(&gateway, "known");
        (way.fail)(&mut issuer);
        tell_the_unknown(&gateway, way.name);
        assert_eq!(connect(&gateway, "known").connected["status"]["level"], "down", "{}", way.name);
        let error = resident.refused(json!({"refresh": {"token": "other"}}), "unavailable");
        assert_eq!(error["dependency"], "auth", "{}: {error}", way.name);
        assert!(error["retry_ms"].as_u64().is_some_and(|wait| wait >= 500), "{}: {error}", way.name);
        resident.subscribe("room");
        resident.publish("room", json!(way.name));
        let calls = gateway.metric("seawall_introspections_total");
        let began = Instant::now();
        refused(&gateway, "unknown").is(1011, "unavailable");
        assert!(began.elapsed() < Duration::from_secs(1), "{}: {:?}", way.name, began.elapsed());
        assert_eq!(gateway.metric("seawall_introspections_total"), calls, "{}: nobody is called", way.name);
        (way.mend)(&mut issuer);
        let mended = Instant::now();
        until(Duration::from_secs(4), "a new token is judged again", || {
            let mut client = Client::open(&gateway);
            let id = client.send(json!({"connect": {"token": "other"}}));
            client.try_reply(id).is_some_and(|reply| reply.get("connected").is_some())
        });
        assert!(mended.elapsed() < Duration::from_secs(3), "{}: {:?}", way.name, mended.elapsed());
        refused(&gateway, "unknown").is(4501, "unauthenticated");
        assert!(resident.is_open(), "{}", way.name);
    }
}

/// The first one meets the fault itself, before anybody has seen an outage.
fn tell_the_unknown(gateway: &Gateway, way: &str) {
    let mut waits = Vec::new();
    for turn in 0..3 {
        let began = Instant::now();
        let closed = refused(gateway, "unknown");
        assert!(began.elapsed() < Duration::from_secs(5), "{way}, {turn}: {:?}", began.elapsed());
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
fn a_known_token_that_expires_in_an_outage_is_4501_as_ever() {
    let mut issuer = Issuer::start();
    let mut short = active("ann");
    short["exp"] = json!(unix_s() + 3);
    issuer.says("short", Answer::json(200, &short.to_string()));
    let gateway =
        issuer.introspected().env("SEAWALL_AUTH_LEEWAY_MS", "0").env("SEAWALL_AUTH_CACHE_MS", "1").start();
    let mut resident = connect(&gateway, "short");
    issuer.server.stop();
    until(SOON, "it is down", || state(&gateway) == "down");
    resident.expect_close().is(4501, "unauthenticated");
    refused(&gateway, "short").is(4501, "unauthenticated");
    refused(&gateway, "unknown").is(1011, "unavailable");
}

#[test]
fn it_starts_while_the_service_is_down_and_observing_lets_no_stranger_in() {
    let mut issuer = Issuer::start();
    issuer.knows("t", "ann");
    issuer.server.stop();
    let gateway = issuer.introspected().env("SEAWALL_HEALTH_ADMISSION", "observe").start();
    until(SOON, "it is down", || state(&gateway) == "down");
    let closed = refused(&gateway, "t");
    closed.is(1011, "unavailable");
    assert_eq!(closed.bye.unwrap()["dependency"], "auth");
    issuer.server.start_again();
    until(SOON, "it is back", || state(&gateway) == "ok");
    assert_eq!(connect(&gateway, "t").connected["user"], "ann");
}

#[test]
fn more_tokens_than_may_wait_are_told_to_come_back() {
    let issuer = Issuer::start();
    issuer.server.answer(INTROSPECT, Answer::Hang);
    let gateway = issuer
        .introspected()
        .env("SEAWALL_AUTH_WAITING", "16")
        .env("SEAWALL_AUTH_TIMEOUT_MS", "3000")
        .start();
    let mut clients: Vec<Client> = (0..40).map(|_| Client::open(&gateway)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(json!({"connect": {"token": format!("t{number}")}}));
    }
    let closed: Vec<_> = clients.iter_mut().map(Client::expect_close).collect();
    let over = closed.iter().filter(|closed| closed.code == 1013).count();
    assert_eq!(over, 24, "{closed:?}");
    let waited = closed.iter().filter(|closed| closed.code == 1011).count();
    assert_eq!(waited, 16);
    let told = closed.iter().find(|closed| closed.code == 1013).unwrap();
    told.is(1013, "over_capacity");
    assert!(told.reason.contains("auth.waiting"), "{told:?}");
}
