//! The shares of the waiting room: made-up tokens, revoked ones, and clients that come meanwhile.

use crate::auth_service::issuer::{Issuer, active, connect, refused};
use crate::servers::Answer;
use crate::support::wait::{LATE, SOON, in_time, until};
use crate::support::{Client, Gateway, Upgrade};
use serde_json::json;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// The time that the service takes to refuse a made-up token, long enough that a busy machine cannot be taken for a wait.
const REFUSED_AFTER: Duration = Duration::from_millis(900);
/// The time that it takes to admit bob: his clients are to meet in the waiting room, and none waits for longer than three seconds.
const BOB_AFTER: Duration = Duration::from_millis(1_500);
const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);

/// Presents `count` made-up tokens from one address.
fn made_up(issuer: &Issuer, gateway: &Gateway, count: usize) -> Vec<Client> {
    let came = |n: usize| {
        let token = format!("madeup{n}");
        issuer.says(&token, Answer::json(200, r#"{"active":false}"#).after(REFUSED_AFTER));
        let mut client = Client::open_with(gateway.address, &Upgrade::default().from(ATTACKER));
        client.send(json!({"connect": {"token": token}}));
        client
    };
    (0..count).map(came).collect()
}

fn waiting(gateway: &Gateway) -> f64 {
    gateway.metric("seawall_tokens_waiting")
}

#[test]
fn revoked_token_is_refused_while_the_waiting_room_is_full() {
    let issuer = Issuer::start();
    issuer.knows("ann", "ann");
    let gateway = issuer
        .introspected()
        .env("SEAWALL_AUTH_WAITING", "16")
        .env("SEAWALL_AUTH_CACHE_MS", "1")
        .env("SEAWALL_AUTH_TIMEOUT_MS", "3000")
        .start();
    connect(&gateway, "ann");
    issuer.says("ann", Answer::json(200, r#"{"active":false}"#));
    let _attack = made_up(&issuer, &gateway, 40);
    until(SOON, "the share of made-up tokens is used up", || waiting(&gateway) >= 7.0);
    refused(&gateway, "ann").is(4501, "unauthenticated");
    issuer.knows("bob", "bob");
    connect(&gateway, "bob");
    issuer.says("bob", Answer::json(200, &active("bob").to_string()).after(BOB_AFTER));
    let mut clients: Vec<Client> = (0..20).map(|_| Client::open(&gateway)).collect();
    let began = Instant::now();
    let asked: Vec<u64> =
        clients.iter_mut().map(|client| client.send(json!({"connect": {"token": "bob"}}))).collect();
    let fault = if began.elapsed() < BOB_AFTER / 2 { "wrong places" } else { LATE };
    let mut over = 0;
    for (client, id) in clients.iter_mut().zip(asked) {
        if client.try_reply(id).is_none() {
            let closed = client.expect_close();
            assert_ne!(closed.code, 1011, "{LATE}: the answer of the service: {closed:?}");
            closed.is(1013, "over_capacity");
            assert!(
                closed.bye.is_some_and(|bye| bye["retry_ms"].as_u64() > Some(0)),
                "an invitation to return"
            );
            over += 1;
        }
    }
    assert!(over >= 4, "{fault}: {over} of 20 found all places taken");
    let stale = gateway.metrics()["seawall_introspection_cache_total{found=\"stale_used\"}"];
    assert_eq!(stale, 0.0, "a full waiting room is no outage");
}

#[test]
fn made_up_tokens_of_one_address_keep_no_newcomer_out() {
    let issuer = Issuer::start();
    issuer.knows("good", "bob");
    issuer.knows("new", "ann");
    let gateway =
        issuer.introspected().env("SEAWALL_AUTH_WAITING", "64").env("SEAWALL_AUTH_CACHE_MS", "1").start();
    connect(&gateway, "good");
    let _attack = made_up(&issuer, &gateway, 100);
    until(SOON, "the share of made-up tokens is used up", || waiting(&gateway) >= 25.0);
    // A caller is kept for known tokens.
    in_time(REFUSED_AFTER, || {
        let began = Instant::now();
        assert_eq!(connect(&gateway, "good").connected["user"], "bob");
        began.elapsed()
    });
    let began = Instant::now();
    assert_eq!(connect(&gateway, "new").connected["user"], "ann");
    let took = began.elapsed();
    assert!(took < REFUSED_AFTER * 4, "{LATE}: its call is the next but few: {took:?}");
    assert!(waiting(&gateway) > 4.0, "{LATE}: the made-up tokens still wait");
}

#[test]
fn token_of_another_form_than_the_services_causes_no_call() {
    let issuer = Issuer::start();
    issuer.knows("gwt_abc123", "ann");
    let gateway = issuer.introspected().env("SEAWALL_AUTH_TOKEN_PATTERN", "gwt_[a-z0-9]{6}").start();
    assert_eq!(connect(&gateway, "gwt_abc123").connected["user"], "ann");
    for token in ["gwt_abc12", "gwt_ABC123", "x"] {
        let closed = refused(&gateway, token);
        closed.is(4501, "unauthenticated");
        assert!(closed.reason.contains("auth.token_pattern"), "{closed:?}");
        assert_eq!(issuer.asked(token), 0, "{token}");
    }
}
