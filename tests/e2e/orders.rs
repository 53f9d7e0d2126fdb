//! Disconnect, block, unblock and revoke on one instance with SQLite.

use crate::support::backend::{Backend, READER, is_problem, setup};
use crate::support::token::{SECRET, claims, token, token_of, unix_s};
use crate::support::wait::{SOON, until};
use crate::support::{Client, Closed, Gateway, Operator};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

fn gateway() -> Gateway {
    setup().with_admin().env("SEAWALL_AUTH_SECRET", SECRET).env("SEAWALL_SERVER_REACTORS", "3").start()
}

fn connect(gateway: &Gateway, token: &str) -> Client {
    Client::open(gateway).with_connect(json!({"token": token}))
}

fn connect_as(gateway: &Gateway, user: &str) -> Client {
    connect(gateway, &token_of(user))
}

fn refused(gateway: &Gateway, token: &str) -> Closed {
    let mut client = Client::open(gateway);
    client.send(json!({"connect": {"token": token}}));
    client.expect_close()
}

fn name(client: &Client) -> Value {
    client.connected["connection"].clone()
}

/// Waits until this instance, the only one, has carried an order out: the answer to it waits for a second at most.
#[track_caller]
fn carried_out(backend: &mut Backend, answer: &Value) -> Value {
    let mut report = answer.clone();
    until(SOON, "it is carried out", || {
        let is_complete = report["complete"] == true;
        if !is_complete {
            report = backend.get(&format!("/v1/orders/{}", answer["order"])).json();
        }
        is_complete
    });
    report
}

/// The answer to an order, which this instance, the only one, carries out.
#[track_caller]
fn done(backend: &mut Backend, answer: &Value, kind: &str, closed: u64) {
    assert_eq!(answer["kind"], kind, "{answer}");
    let answer = carried_out(backend, answer);
    assert_eq!(answer["closed"], closed, "{answer}");
    assert_eq!(answer["instances"].as_array().map(Vec::len), Some(1), "{answer}");
}

#[test]
fn disconnect_ends_the_sessions_that_it_means_and_no_others() {
    let gateway = gateway();
    let mut backend = Backend::of(&gateway);
    let mut ann: Vec<Client> = (0..12).map(|_| connect_as(&gateway, "ann")).collect();
    let (mut kept, mut bob) = (connect_as(&gateway, "ann"), connect_as(&gateway, "bob"));
    let body = json!({"reason": "password changed", "except": [name(&kept)]});
    let answer = backend.post("/v1/users/ann/disconnect", &body).json();
    done(&mut backend, &answer, "disconnect", 12);
    for client in &mut ann {
        let closed = client.expect_close();
        closed.is(4410, "disconnected");
        assert_eq!(closed.bye.expect("a bye")["message"], "password changed");
    }
    assert!(kept.is_open() && bob.is_open());

    let mut other = connect_as(&gateway, "ann");
    let body = json!({"connection": name(&kept), "reconnect": false});
    let answer = backend.post("/v1/users/ann/disconnect", &body).json();
    done(&mut backend, &answer, "disconnect", 1);
    kept.expect_close().is(4504, "disconnected");
    assert!(other.is_open() && bob.is_open());
    let answer = backend.post("/v1/users/stranger/disconnect", &json!({})).json();
    done(&mut backend, &answer, "disconnect", 0);
    gateway.shows("seawall_orders_total", 3.0);
    gateway.shows("seawall_orders_lag", 0.0);
    gateway.logs("order given");
    gateway.logs("by=\"api:shop\"");
}

#[test]
fn blocked_user_is_out_until_the_block_ends_also_after_a_restart() {
    let gateway = gateway();
    let mut backend = Backend::of(&gateway);
    let mut ann = connect_as(&gateway, "ann");
    let answer = backend.put("/v1/users/ann/block", &json!({"reason": "spam"})).json();
    done(&mut backend, &answer, "block", 1);
    ann.expect_close().is(4503, "forbidden");
    refused(&gateway, &token_of("ann")).is(4503, "forbidden");
    let shown = backend.get("/v1/users/ann/block").json();
    assert_eq!((&shown["blocked"], &shown["reason"]), (&json!(true), &json!("spam")), "{shown}");
    gateway.shows("seawall_blocks", 1.0);
    let mut bob = connect_as(&gateway, "bob");
    let soon = (unix_s() + 12) * 1_000;
    backend.put("/v1/users/bob/block", &json!({"until": soon}));
    for closed in [bob.expect_close(), refused(&gateway, &token_of("bob"))] {
        closed.is(4403, "blocked");
        let wait = closed.bye.expect("a bye")["retry_ms"].as_u64().expect("a time to return");
        assert!((1_000..=12_000).contains(&wait), "{wait}");
    }

    let gateway = gateway.kill9().start();
    refused(&gateway, &token_of("ann")).is(4503, "forbidden");
    let mut backend = Backend::of(&gateway);
    until(SOON, "the block of bob ends", || {
        let mut bob = Client::open(&gateway);
        let id = bob.send(json!({"connect": {"token": token_of("bob")}}));
        bob.try_reply(id).is_some()
    });
    let listed = backend.get(&format!("/v1/orders/{}", answer["order"])).json();
    assert_eq!(listed["kind"], "block", "{listed}");
    carried_out(&mut backend, &listed);
    let answer = backend.delete("/v1/users/ann/block").json();
    done(&mut backend, &answer, "unblock", 0);
    assert_eq!(backend.get("/v1/users/ann/block").json(), json!({"user": "ann", "blocked": false}));
    connect_as(&gateway, "ann");
}

#[test]
fn client_that_reconnects_all_the_time_is_never_connected_after_the_answer() {
    const CLIENTS: usize = 24;
    let gateway = gateway();
    let (blocked, over) = (AtomicBool::new(false), AtomicBool::new(false));
    let (before, after) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    let was_blocked = blocked.load(Ordering::SeqCst);
                    let mut client = Client::open(&gateway);
                    let id = client.send(json!({"connect": {"token": token_of("ann")}}));
                    if client.try_reply(id).is_some() {
                        let count = if was_blocked { &after } else { &before };
                        count.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
        until(SOON, "they connect", || before.load(Ordering::SeqCst) > 2 * CLIENTS);
        let mut backend = Backend::of(&gateway);
        let answer = backend.put("/v1/users/ann/block", &json!({})).json();
        carried_out(&mut backend, &answer);
        blocked.store(true, Ordering::SeqCst);
        let refused = || gateway.metric("seawall_users_blocked_total");
        let (first, enough) = (refused(), 4.0 * CLIENTS as f64);
        until(SOON, "they are refused", || refused() > first + enough);
        let mut open = Value::Null;
        // The reactors of a busy machine may not answer within a second.
        until(SOON, "the reactors answer", || {
            let response = Operator::of(&gateway).get("/lookup/user/ann");
            open = response.json();
            response.status == 200
        });
        let open: Vec<_> = open["sessions"]
            .as_array()
            .expect("a list")
            .iter()
            .filter(|one| one["state"] == "open")
            .collect();
        assert!(open.is_empty(), "{open:?}");
        over.store(true, Ordering::SeqCst);
    });
    assert_eq!(after.load(Ordering::SeqCst), 0);
}

#[test]
fn revoked_tokens_are_out_and_other_tokens_of_the_user_stay() {
    let gateway = gateway();
    let mut backend = Backend::of(&gateway);
    let with = |name: &str, value: Value, base: &str| {
        let mut claims = claims(base);
        claims[name] = value;
        claims
    };
    let until_ms = (unix_s() + 3_600) * 1_000;
    let (one, two) = (token(&with("jti", json!("t-1"), "ann")), token(&with("jti", json!("t-2"), "ann")));
    let (mut first, mut second) = (connect(&gateway, &one), connect(&gateway, &two));
    let body = json!({"jti": "t-1", "until": until_ms});
    let answer = backend.post("/v1/tokens/revoke", &body).json();
    done(&mut backend, &answer, "revoke", 1);
    first.expect_close().is(4501, "unauthenticated");
    refused(&gateway, &one).is(4501, "unauthenticated");
    second.refused(json!({"refresh": {"token": one}}), "unauthorized");
    assert!(second.is_open());

    let now = unix_s();
    let (old, new) =
        (token(&with("iat", json!(now - 60), "bob")), token(&with("iat", json!(now + 1), "bob")));
    let (mut older, mut newer) = (connect(&gateway, &old), connect(&gateway, &new));
    let mut bare = connect_as(&gateway, "bob");
    let body = json!({"user": "bob", "issued_before": now * 1_000, "until": until_ms});
    let answer = backend.post("/v1/tokens/revoke", &body).json();
    done(&mut backend, &answer, "revoke", 2);
    older.expect_close().is(4501, "unauthenticated");
    bare.expect_close().is(4501, "unauthenticated");
    assert!(newer.is_open() && second.is_open());
    newer.refused(json!({"refresh": {"token": old}}), "unauthorized");
    gateway.shows("seawall_revocations", 2.0);
    let gateway = gateway.kill9().start();
    for revoked in [&one, &old, &token_of("bob")] {
        refused(&gateway, revoked).is(4501, "unauthenticated");
    }
    for token in [&two, &new, &token_of("ann")] {
        connect(&gateway, token);
    }
}

#[test]
fn wrong_request_is_refused_and_gives_no_order() {
    let gateway = gateway();
    let mut backend = Backend::of(&gateway);
    for (path, body) in [
        ("/v1/users/ann/disconnect", json!({"reason": "x".repeat(65)})),
        ("/v1/users/ann/disconnect", json!({"why": 1})),
        ("/v1/tokens/revoke", json!({"jti": "a"})),
        ("/v1/tokens/revoke", json!({"jti": "a", "until": 1})),
    ] {
        is_problem(&backend.post(path, &body), 400, "malformed");
    }
    is_problem(&backend.put("/v1/users/ann/block", &json!({"until": 1})), 400, "malformed");
    is_problem(&backend.get("/v1/orders/x"), 400, "malformed");
    is_problem(&backend.get("/v1/orders/1"), 404, "not_found");
    let response = backend.post("/v1/users/ann/block", &json!({}));
    is_problem(&response, 405, "method_not_allowed");
    assert_eq!(response.header("allow"), Some("PUT, GET, DELETE"));
    // A refused request with a body ends its connection.
    let reader = || Backend::with(&gateway, READER);
    is_problem(&reader().post("/v1/users/ann/disconnect", &json!({})), 403, "forbidden");
    is_problem(&reader().get("/v1/users/ann/block"), 403, "forbidden");
    is_problem(&reader().get("/v1/orders/1"), 403, "forbidden");
    gateway.shows("seawall_orders_total", 0.0);
}

#[test]
fn operator_gives_orders_and_sees_their_progress() {
    let gateway = gateway();
    let run = |arguments: &[&str]| {
        let output = gateway.setup().run_with(arguments, &[]);
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{text}");
        text
    };
    let mut ann = connect_as(&gateway, "ann b");
    let text = run(&["user", "disconnect", "ann b", "--reason", "bye", "--stay-away"]);
    assert!(text.contains("(disconnect): 1 session closed"), "{text}");
    ann.expect_close().is(4504, "disconnected");
    let mut ann = connect_as(&gateway, "ann b");
    assert!(run(&["user", "block", "ann b", "--reason", "spam"]).contains("(block): 1 session closed"));
    ann.expect_close().is(4503, "forbidden");
    assert!(run(&["user", "show", "ann b"]).contains("until unblocked: spam"));
    run(&["user", "unblock", "ann b"]);
    assert!(run(&["user", "show", "ann b"]).contains("is not blocked"));
    connect_as(&gateway, "ann b");
    let operator = Operator::of(&gateway);
    let body = json!({"jti": "t", "until": (unix_s() + 60) * 1_000});
    assert_eq!(operator.send("POST", "/tokens/revoke", Some(body)).json()["kind"], "revoke");
    let orders = operator.get("/orders").json();
    let kinds: Vec<&str> =
        orders["orders"].as_array().expect("a list").iter().filter_map(|one| one["kind"].as_str()).collect();
    assert_eq!(kinds, ["revoke", "unblock", "block", "disconnect"]);
    let number = orders["orders"][3]["order"].to_string();
    assert!(run(&["order", &number]).contains("(disconnect): 1 session closed"));
    until(SOON, "it is logged", || gateway.output().contains("by=\"operator\""));
}
