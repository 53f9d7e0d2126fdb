//! Good and malformed introspection answers, and how many calls are made.

use crate::auth_service::issuer::{INTROSPECT, Issuer, active, connect, logged, refused, state};
use crate::servers::Answer;
use crate::support::token::{SECRET, token_of, unix_s};
use crate::support::wait::{LATE, SOON, until};
use crate::support::{Client, Setup};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

#[test]
fn active_token_is_admitted_and_any_other_is_closed_with_4501() {
    let issuer = Issuer::start();
    issuer.knows("good", "ann");
    let mut expired = active("ann");
    expired["exp"] = json!(unix_s() - 100);
    issuer.says("expired", Answer::json(200, &expired.to_string()));
    issuer.says("nameless", Answer::json(200, r#"{"active":true}"#));
    let gateway = issuer.introspected().start();
    let mut client = connect(&gateway, "good");
    assert_eq!(client.connected["user"], "ann");
    client.subscribe("room");
    client.publish("room", json!("hello"));
    for (token, words) in [
        ("unknown", "not active"),
        ("expired", "expired"),
        ("nameless", "no sub"),
        ("", "send a token"),
        ("\u{7f}", "not a JWT"),
    ] {
        let closed = refused(&gateway, token);
        closed.is(4501, "unauthenticated");
        assert!(closed.reason.contains(words), "{token}: {closed:?}");
    }
    assert_eq!(issuer.asked("\u{7f}"), 0, "bytes that cannot be a token cause no call");
}

#[test]
fn gateway_authenticates_to_the_service_and_reads_the_configured_members() {
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
    let request =
        requests.iter().find(|request| request.body.starts_with("token=t&")).expect("the service was called");
    assert_eq!(request.method, "POST");
    assert_eq!(request.headers["content-type"], "application/x-www-form-urlencoded");
    assert_eq!(request.headers["authorization"], "Basic Y2hhdCtnYXRld2F5Omh1bnRlcjIlM0FodW50ZXIy");
    assert!(!gateway.output().contains("hunter2"), "{}", gateway.output());
}

#[test]
fn token_signed_by_a_configured_key_causes_no_call() {
    let issuer = Issuer::start();
    let gateway = issuer.introspected().env("SEAWALL_AUTH_SECRET", SECRET).start();
    assert_eq!(connect(&gateway, &token_of("ann")).connected["user"], "ann");
    assert_eq!(gateway.metric("seawall_introspections_total"), 0.0);
}

#[test]
fn hundred_clients_with_one_token_cause_one_call() {
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
    assert_eq!(issuer.asked("t"), 1, "a cached token causes no second call");
    let saved = || gateway.metric("seawall_introspections_joined_total");
    let hits = || gateway.metrics()["seawall_introspection_cache_total{found=\"fresh\"}"];
    until(SOON, "all others are counted", || saved() + hits() == 100.0);
}

#[test]
fn cache_is_bounded_and_expired_answers_are_fetched_again() {
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
    gateway.shows("seawall_introspection_cache_entries", 16.0 + 4.0);
    until(SOON, "an expired answer is fetched again", || {
        connect(&gateway, "t39");
        issuer.asked("t39") >= 2
    });
}

/// Malformed answers. None of them says anything about the token, so none may lead to 4501.
#[test]
fn malformed_answer_is_unavailable_and_never_unauthenticated() {
    let huge = format!("{{\"active\":true,\"sub\":\"hildegard\",\"x\":\"{}\"}}", "x".repeat(100_000));
    let with = |status: u16, content_type: &str, body: &str| Answer::With {
        status,
        content_type: content_type.into(),
        body: body.into(),
        after: Duration::ZERO,
    };
    let redirect = "text/plain\r\nLocation: /elsewhere";
    let garbage = [
        ("html", with(200, "text/html", "<html>active</html>")),
        ("types", Answer::json(200, r#"{"active":"true","sub":"hildegard"}"#)),
        ("times", Answer::json(200, r#"{"active":true,"sub":"hildegard","exp":"soon"}"#)),
        ("failure", Answer::json(500, r#"{"active":true,"sub":"hildegard"}"#)),
        ("huge", Answer::json(200, &huge)),
        ("redirect", with(302, redirect, "")),
        ("denied", Answer::json(401, "{}")),
        ("half", Answer::HalfThenReset { body: active("hildegard").to_string() }),
        ("reset", Answer::Reset),
        ("slow", Answer::json(200, &active("hildegard").to_string()).after(Duration::from_secs(20))),
        ("bad", Answer::json(400, "{}")),
    ];
    std::thread::scope(|scope| {
        for (name, answer) in &garbage {
            scope.spawn(move || {
                let issuer = Issuer::start();
                issuer.says(name, answer.clone());
                issuer.server.answer("/elsewhere", Answer::json(200, &active("hildegard").to_string()));
                let gateway = issuer.introspected().start();
                let began = Instant::now();
                let closed = refused(&gateway, name);
                assert!(began.elapsed() < Duration::from_secs(16), "{LATE}: {name}: {:?}", began.elapsed());
                closed.is(1011, "unavailable");
                assert_eq!(closed.bye.as_ref().unwrap()["dependency"], "auth", "{name}: {closed:?}");
                let reference = closed.bye.unwrap()["reference"].as_str().unwrap().to_owned();
                logged(&gateway, &reference);
                assert!(!gateway.output().contains("hildegard"), "{}", gateway.output());
                let elsewhere = issuer.server.requests().iter().any(|request| request.path == "/elsewhere");
                assert!(!elsewhere, "a redirect is not followed");
            });
        }
    });
}

#[test]
fn probe_detects_a_service_that_accepts_every_token() {
    let issuer = Issuer::start();
    issuer.server.answer(INTROSPECT, Answer::json(200, &active("root").to_string()));
    let gateway = issuer.introspected().start();
    until(SOON, "it is down", || state(&gateway) == "down");
    logged(&gateway, "reports a made-up token as active");
}

#[test]
fn tokens_are_never_logged() {
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
fn service_alone_turns_auth_on_and_settings_without_effect_are_rejected() {
    let without = |setup: Setup| setup.try_start().err().expect("it must not start").output;
    let output = without(Setup::new().env("SEAWALL_AUTH_CLIENT_SECRET", "hunter2"));
    assert!(output.contains("auth.client_secret") && output.contains("auth.introspection_url"), "{output}");
    assert!(!output.contains("hunter2"), "{output}");
    let issuer = Issuer::start();
    let output = without(issuer.introspected().env("SEAWALL_AUTH_CLIENT_ID", "chat"));
    assert!(output.contains("auth.client_id") && output.contains("auth.client_secret"), "{output}");
    let output = without(issuer.trusted().env("SEAWALL_AUTH_JWKS_REFRESH_MS", "1000"));
    assert!(output.contains("auth.jwks_refresh_ms") && output.contains("auth.jwks_pause_ms"), "{output}");
    let output = without(Setup::new().env("SEAWALL_AUTH_JWKS_URL", "http://127.0.0.1:9/jwks"));
    assert!(output.contains("auth.issuer: is missing"), "{output}");
    let gateway = issuer.trusted().listen(([0, 0, 0, 0], 0).into()).start();
    logged(&gateway, "serving");
}
