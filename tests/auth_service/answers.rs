//! What the service says of a token, good or garbage, and how often it is asked.

use crate::auth_service::issuer::{INTROSPECT, Issuer, active, connect, logged, refused, state};
use crate::servers::Answer;
use crate::support::token::{SECRET, token_of, unix_s};
use crate::support::wait::{SOON, until};
use crate::support::{Client, Setup};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

#[test]
fn who_is_active_is_let_in_and_who_is_not_gets_4501() {
    let issuer = Issuer::start();
    issuer.knows("good", "ann");
    let mut expired = active("ann");
    expired["exp"] = json!(unix_s() - 100);
    issuer.says("expired", Answer::json(200, &expired.to_string()));
    issuer.says("nobody", Answer::json(200, r#"{"active":true}"#));
    let gateway = issuer.introspected().start();
    let mut client = connect(&gateway, "good");
    assert_eq!(client.connected["user"], "ann");
    client.subscribe("room");
    client.publish("room", json!("hello"));
    for (token, words) in [
        ("unknown", "not active"),
        ("expired", "expired"),
        ("nobody", "no sub"),
        ("", "send a token"),
        ("\u{7f}", "not a JWT"),
    ] {
        let closed = refused(&gateway, token);
        closed.is(4501, "unauthenticated");
        assert!(closed.reason.contains(words), "{token}: {closed:?}");
    }
    assert_eq!(issuer.asked("\u{7f}"), 0, "what is no token is not asked about");
}

#[test]
fn the_client_shows_who_it_is_and_other_members_may_be_read() {
    let issuer = Issuer::start();
    let answer =
        json!({"active": true, "username": "ann", "chat": [{"pattern": "a", "rights": ["publish"]}]});
    issuer.says("t", Answer::json(200, &answer.to_string()));
    let gateway = issuer
        .introspected()
        .env("SEAWALL_AUTH_CLIENT_ID", "chat gateway")
        .env("SEAWALL_AUTH_CLIENT_SECRET", "hunter2:hunter2")
        .env("SEAWALL_AUTH_INTROSPECTION_USER", "username")
        .env("SEAWALL_AUTH_INTROSPECTION_CHANNELS", "chat")
        .start();
    let mut client = connect(&gateway, "t");
    assert_eq!(client.connected["user"], "ann");
    client.publish("a", json!(1));
    client.refused(json!({"publish": {"channel": "b", "data": 1}}), "forbidden");
    let requests = issuer.server.requests();
    let request = requests.iter().find(|request| request.body.starts_with("token=t&")).expect("it was asked");
    assert_eq!(request.method, "POST");
    assert_eq!(request.headers["content-type"], "application/x-www-form-urlencoded");
    assert_eq!(request.headers["authorization"], "Basic Y2hhdCtnYXRld2F5Omh1bnRlcjIlM0FodW50ZXIy");
    assert!(!gateway.output().contains("hunter2"), "{}", gateway.output());
}

#[test]
fn configured_keys_come_first_and_cost_no_call() {
    let issuer = Issuer::start();
    let gateway = issuer.introspected().env("SEAWALL_AUTH_SECRET", SECRET).start();
    assert_eq!(connect(&gateway, &token_of("ann")).connected["user"], "ann");
    assert_eq!(gateway.metric("seawall_introspections_total"), 0.0);
}

#[test]
fn a_hundred_clients_with_one_token_are_one_call() {
    let issuer = Issuer::start();
    issuer.says("t", Answer::json(200, &active("ann").to_string()).after(Duration::from_millis(500)));
    let gateway = issuer.introspected().limit("connections_per_user", 0).start();
    let mut clients: Vec<Client> = (0..100).map(|_| Client::open(&gateway)).collect();
    let asked: Vec<u64> =
        clients.iter_mut().map(|client| client.send(json!({"connect": {"token": "t"}}))).collect();
    for (client, id) in clients.iter_mut().zip(asked) {
        assert_eq!(client.reply(id)["connected"]["user"], "ann");
    }
    assert_eq!(issuer.asked("t"), 1);
    connect(&gateway, "t");
    assert_eq!(issuer.asked("t"), 1, "what is known is not asked again");
    let saved = gateway.metric("seawall_introspections_joined_total");
    let hits = gateway.metrics()["seawall_introspection_cache_total{found=\"fresh\"}"];
    assert_eq!(saved + hits, 100.0);
}

#[test]
fn the_cache_is_bounded_and_old_answers_are_asked_for_again() {
    let issuer = Issuer::start();
    let gateway = issuer
        .introspected()
        .env("SEAWALL_AUTH_CACHE_ENTRIES", "16")
        .env("SEAWALL_AUTH_CACHE_MS", "1000")
        .start();
    for number in 0..40 {
        issuer.knows(&format!("t{number}"), &format!("u{number}"));
        connect(&gateway, &format!("t{number}"));
        refused(&gateway, &format!("bad{number}")).is(4501, "unauthenticated");
    }
    assert_eq!(gateway.metric("seawall_introspection_cache_entries"), 16.0 + 4.0);
    until(SOON, "an answer that is old is asked for again", || {
        connect(&gateway, "t39");
        issuer.asked("t39") >= 2
    });
}

/// Answers that are none. None of them says anything of the token, so none may be 4501.
#[test]
fn garbage_is_no_answer_and_nobody_is_called_unauthenticated_for_it() {
    let huge = format!("{{\"active\":true,\"sub\":\"ann\",\"x\":\"{}\"}}", "x".repeat(100_000));
    let with = |status: u16, content_type: &str, body: &str| Answer::With {
        status,
        content_type: content_type.into(),
        body: body.into(),
        after: Duration::ZERO,
    };
    let redirect = "text/plain\r\nLocation: /elsewhere";
    let garbage = [
        ("html", with(200, "text/html", "<html>active</html>")),
        ("types", Answer::json(200, r#"{"active":"true","sub":"ann"}"#)),
        ("times", Answer::json(200, r#"{"active":true,"sub":"ann","exp":"soon"}"#)),
        ("failure", Answer::json(500, r#"{"active":true,"sub":"ann"}"#)),
        ("huge", Answer::json(200, &huge)),
        ("redirect", with(302, redirect, "")),
        ("denied", Answer::json(401, "{}")),
        ("half", Answer::HalfThenReset { body: active("ann").to_string() }),
        ("reset", Answer::Reset),
        ("slow", Answer::json(200, &active("ann").to_string()).after(Duration::from_secs(20))),
        ("bad", Answer::json(400, "{}")),
    ];
    std::thread::scope(|scope| {
        for (name, answer) in &garbage {
            scope.spawn(move || {
                let issuer = Issuer::start();
                issuer.says(name, answer.clone());
                issuer.server.answer("/elsewhere", Answer::json(200, &active("ann").to_string()));
                let gateway = issuer.introspected().start();
                let began = Instant::now();
                let closed = refused(&gateway, name);
                assert!(began.elapsed() < Duration::from_secs(5), "{name}: {:?}", began.elapsed());
                closed.is(1011, "unavailable");
                assert_eq!(closed.bye.as_ref().unwrap()["dependency"], "auth", "{name}: {closed:?}");
                let reference = closed.bye.unwrap()["reference"].as_str().unwrap().to_owned();
                logged(&gateway, &reference);
                assert!(!gateway.output().contains("ann"), "{}", gateway.output());
                let elsewhere = issuer.server.requests().iter().any(|request| request.path == "/elsewhere");
                assert!(!elsewhere, "a redirect is not followed");
            });
        }
    });
}

#[test]
fn a_service_that_believes_everything_is_seen_by_its_probe() {
    let issuer = Issuer::start();
    issuer.server.answer(INTROSPECT, Answer::json(200, &active("root").to_string()));
    let gateway = issuer.introspected().start();
    until(SOON, "it is down", || state(&gateway) == "down");
    logged(&gateway, "which nobody issued");
}

#[test]
fn no_token_is_in_the_log_whatever_becomes_of_it() {
    let issuer = Issuer::start();
    issuer.knows("TOPSECRETgood", "ann");
    let echo = Answer::by(|request| Answer::json(503, &request.body));
    issuer.says("TOPSECRETechoed", echo.clone());
    let gateway = issuer.introspected().env("SEAWALL_LOG_LEVEL", "debug").start();
    connect(&gateway, "TOPSECRETgood");
    refused(&gateway, "TOPSECRETbad").is(4501, "unauthenticated");
    issuer.server.answer(INTROSPECT, echo);
    refused(&gateway, "TOPSECRETechoed").is(1011, "unavailable");
    assert!(!gateway.output().contains("TOPSECRET"), "{}", gateway.output());
}

#[test]
fn auth_is_on_with_a_service_alone_and_what_has_no_effect_is_refused() {
    let without = |setup: Setup| setup.try_start().err().expect("it must not start").output;
    let told = without(Setup::new().env("SEAWALL_AUTH_CLIENT_SECRET", "hunter2"));
    assert!(told.contains("auth.client_secret") && told.contains("auth.introspection_url"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
    let issuer = Issuer::start();
    let told = without(issuer.introspected().env("SEAWALL_AUTH_CLIENT_ID", "chat"));
    assert!(told.contains("auth.client_id") && told.contains("auth.client_secret"), "{told}");
    let told = without(issuer.trusted().env("SEAWALL_AUTH_JWKS_REFRESH_MS", "1000"));
    assert!(told.contains("auth.jwks_refresh_ms") && told.contains("auth.jwks_pause_ms"), "{told}");
    let gateway = issuer.trusted().listen(([0, 0, 0, 0], 0).into()).start();
    logged(&gateway, "serving");
}
