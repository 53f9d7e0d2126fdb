//! Incidents over real sockets: a dependency that stops, the services behind channels, and a kill in between.

use crate::servers::{Answer, Http};
use crate::support::{Gateway, Operator, SOON, Setup, until};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const KEY: &[u8] = b"a key of thirty-two random bytes";
/// A critical dependency is down for 15 s, waits 10 s for its cause, and its probes take a few; a busy machine needs more.
const NOTICED: Duration = Duration::from_secs(120);

/// A gateway whose channels are paths of one service.
fn gateway_with(http: &Http, setup: Setup) -> Setup {
    let secret = format!("whsec_{}", STANDARD.encode(KEY));
    setup
        .with_admin()
        .env("SEAWALL_ALERT_SLACK_URL", &http.url("/slack/hunter2"))
        .env("SEAWALL_ALERT_PAGERDUTY_URL", &http.url("/pagerduty"))
        .env("SEAWALL_ALERT_PAGERDUTY_KEY", "hunter2-routing-key")
        .env("SEAWALL_ALERT_WEBHOOK_URL", &http.url("/webhook/hunter2"))
        .env("SEAWALL_ALERT_WEBHOOK_SECRET", &secret)
}

/// The bodies that one path was sent.
fn bodies(http: &Http, path: &str) -> Vec<Value> {
    let of = http.requests().into_iter().filter(|request| request.path.starts_with(path));
    of.map(|request| serde_json::from_str(&request.body).expect("JSON")).collect()
}

fn actions(http: &Http) -> Vec<String> {
    let all = bodies(http, "/pagerduty");
    all.iter().map(|body| body["event_action"].as_str().unwrap_or_default().to_owned()).collect()
}

fn judged(gateway: &Gateway) -> Operator {
    let operator = Operator::of(gateway);
    until(SOON, "the first judgement", || operator.get("/alerts").status == 200);
    operator
}

#[test]
fn dependency_that_stops_is_one_incident_in_every_channel_over_a_kill() {
    let (http, mut shop) = (Http::start(), Http::start());
    let tries = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&tries);
    let busy = Answer::by(move |_| match count.fetch_add(1, Ordering::Relaxed) {
        0 => Answer::retry_after(429, 3),
        _ => Answer::json(200, "ok"),
    });
    http.answer("/slack/hunter2", busy);
    http.answer("/pagerduty", Answer::json(202, r#"{"status":"success"}"#));
    let table = format!(
        "[[dependency]]\nname = \"shop\"\nkind = \"http\"\ncriticality = \"critical\"\nurl = \"{}\"",
        shop.url("/")
    );
    let gateway = gateway_with(&http, Setup::new().toml(&table)).start();
    judged(&gateway);
    shop.stop();
    until(NOTICED, "the incident is sent", || {
        bodies(&http, "/pagerduty").len() == 1 && bodies(&http, "/webhook").len() == 1
    });
    let trigger = &bodies(&http, "/pagerduty")[0];
    assert_eq!(trigger["dedup_key"], "seawall/seawall/dependency/shop");
    assert_eq!(
        (&trigger["event_action"], &trigger["routing_key"]),
        (&json!("trigger"), &json!("hunter2-routing-key"))
    );

    // Slack asked for three seconds.
    until(SOON, "Slack is asked again", || bodies(&http, "/slack").len() == 2);
    let gateway = gateway.kill9().start();
    let operator = judged(&gateway);
    let report = operator.get("/alerts/1").json();
    assert_eq!(report["alert"], "dependency/shop", "{report}");
    let printed = gateway.setup().run(&["alert", "1"]);
    assert_eq!(printed.status.code(), Some(1), "it fires");
    assert!(String::from_utf8_lossy(&printed.stdout).contains("shop is down"), "{printed:?}");
    assert_eq!(gateway.setup().run(&["alert", "ack", "1"]).status.code(), Some(0));
    until(SOON, "PagerDuty knows", || actions(&http) == ["trigger", "acknowledge"]);

    // Without the dependency there is no incident about it, and each channel that was sent the begin is sent the end.
    let path = gateway.setup().folder().join("seawall.toml");
    std::fs::write(path, "").expect("written");
    gateway.signal(Signal::HUP);
    until(SOON, "the end is sent", || {
        let (slack, webhook) = (bodies(&http, "/slack"), bodies(&http, "/webhook"));
        let says = |text: &Value| text.as_str().is_some_and(|text| text.starts_with("OVER #1 shop is down"));
        actions(&http) == ["trigger", "acknowledge", "resolve"]
            && slack.last().is_some_and(|last| says(&last["text"]))
            && webhook.last().is_some_and(|last| last["type"] == "seawall.incident.ended")
    });
    let sent = http.requests().into_iter().filter(|request| request.path.starts_with("/webhook"));
    for request in sent {
        let header = |name: &str| request.headers.get(name).cloned().unwrap_or_default();
        let (id, time) = (header("webhook-id"), header("webhook-timestamp"));
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, KEY);
        let tag = aws_lc_rs::hmac::sign(&key, format!("{id}.{time}.{}", request.body).as_bytes());
        assert_eq!(header("webhook-signature"), format!("v1,{}", STANDARD.encode(tag.as_ref())));
    }
    // The line of the log takes its own way.
    until(SOON, "the end is logged", || gateway.output().contains("incident ended"));
    let output = gateway.output();
    assert!(!output.contains("hunter2"), "{output}");
}

#[test]
fn test_of_channels_prints_their_answers_and_a_redirect_is_not_followed() {
    let http = Http::start();
    let blocks = Answer::by(|request| match request.body.contains("blocks") {
        true => Answer::json(400, "invalid_blocks hunter2"),
        false => Answer::json(200, "ok"),
    });
    http.answer("/slack/hunter2", blocks);
    http.answer("/pagerduty", Answer::json(202, "{}"));
    let moved = format!("text/plain\r\nLocation: {}", http.url("/elsewhere"));
    http.answer(
        "/webhook/hunter2",
        Answer::With { status: 302, content_type: moved, body: String::new(), after: Duration::ZERO },
    );
    let gateway = gateway_with(&http, Setup::new()).start();
    let operator = judged(&gateway);
    let tested = gateway.setup().run(&["alert", "test"]);
    let text = String::from_utf8_lossy(&tested.stdout).into_owned();
    assert_eq!(tested.status.code(), Some(1), "{tested:?}");
    assert!(text.contains("pagerduty: ok") && text.contains("slack: ok"), "{text}");
    assert!(text.contains("webhook: failed") && text.contains("302"), "{text}");
    assert!(bodies(&http, "/elsewhere").is_empty());
    assert_eq!(actions(&http), ["trigger", "resolve"]);
    assert_eq!(bodies(&http, "/slack").len(), 4, "each without its blocks once more");

    // A rejected notice is kept for an operator.
    http.answer("/pagerduty", Answer::json(410, "gone"));
    let tested = gateway.setup().run(&["alert", "test", "pagerduty"]);
    assert_eq!(tested.status.code(), Some(1));
    let dead = |operator: &Operator| {
        let report = operator.get("/alerts").json();
        let channels = report["channels"].as_array().cloned().unwrap_or_default();
        channels
            .iter()
            .find(|channel| channel["channel"] == "pagerduty")
            .map(|channel| channel["dead"].clone())
    };
    until(SOON, "the begin is given up", || dead(&operator) == Some(json!(1)));
    http.answer("/pagerduty", Answer::json(202, "{}"));
    // The incident is over, so its begin is not sent again.
    assert_eq!(gateway.setup().run(&["alert", "resend", "pagerduty"]).status.code(), Some(0));
    assert_eq!(gateway.setup().run(&["alert", "test", "pagerduty"]).status.code(), Some(0));
    let sent = ["trigger", "resolve", "trigger", "trigger", "resolve"];
    assert_eq!(actions(&http), sent, "a channel that rejected a begin is sent no end");
    let dead = "seawall_alert_notices_total{channel=\"pagerduty\",outcome=\"dead\"} 1";
    until(SOON, dead, || operator.get("/metrics").body.contains(dead));

    let shown = gateway
        .setup()
        .run_with(&["check-config"], &[("SEAWALL_ALERT_SLACK_URL", "https://hooks.example/hunter2")]);
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(text.contains("#slack_url") && !text.contains("hunter2"), "{text}");
}
