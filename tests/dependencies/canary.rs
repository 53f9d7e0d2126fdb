//! The canary: what it sees of a store that fails, and that nothing of it counts as a user's.

use crate::dependencies::outage::with_store;
use crate::dependencies::proxied;
use crate::support::client::Upgrade;
use crate::support::line::Certificate;
use crate::support::token::{SECRET, claims, token, token_of};
use crate::support::wait::{LATE, SOON, until};
use crate::support::{Client, Gateway};
use seawall_fault::Mode;
use serde_json::json;

fn events(gateway: &Gateway, slo: &str, part: &str, outcome: &str) -> f64 {
    let wanted = ["slo", "part", "outcome"].into_iter().zip([slo, part, outcome]);
    let labels: Vec<String> = wanted.map(|(label, value)| format!("{label}=\"{value}\"")).collect();
    let metrics = gateway.metrics();
    let mut found = metrics.iter().filter(|(name, _)| {
        let is_counter =
            name.starts_with("seawall_slo_events_total{") || name.starts_with("seawall_slo_seconds_total{");
        is_counter && labels.iter().all(|label| name.contains(label.as_str()))
    });
    found
        .next()
        .map(|(_, value)| *value)
        .unwrap_or_else(|| panic!("{labels:?} is not in {:?}", metrics.keys()))
}

fn upgrade(token: &str) -> Upgrade {
    Upgrade::default().header("authorization", &format!("Bearer {token}"))
}

#[test]
fn canary_sees_a_store_that_fails_and_nothing_of_it_counts_as_a_users() {
    let store = proxied::postgres();
    let gateway = with_store(&store)
        .tls(Certificate::new())
        .env("SEAWALL_AUTH_SECRET", SECRET)
        .env("SEAWALL_SERVER_INSTANCE", "gw-1")
        .env("SEAWALL_HEALTH_ADMISSION", "observe")
        .env("SEAWALL_SLO_CANARY_MS", "1000")
        .start();
    // The sixth round recovers its message on another connection.
    until(2 * SOON, "seven rounds are good", || events(&gateway, "delivery", "canary", "good") >= 7.0);
    assert!(events(&gateway, "connection", "canary", "good") >= 7.0);
    assert!(events(&gateway, "latency", "canary", "good") >= 7.0);
    assert!(events(&gateway, "health", "probe", "good") >= 7.0);
    for (slo, part) in [
        ("connection", "attempt"),
        ("connection", "session"),
        ("delivery", "publish"),
        ("delivery", "fanout"),
        ("latency", "command"),
        ("latency", "fanout"),
        ("health", "request"),
        ("explained", "endings"),
    ] {
        let counted: f64 = ["good", "bad", "excluded"].map(|it| events(&gateway, slo, part, it)).iter().sum();
        assert_eq!(counted, 0.0, "{slo} {part}");
    }
    for metric in ["seawall_slo_attempts_total", "seawall_sessions_open", "seawall_users"] {
        assert_eq!(gateway.metric(metric), 0.0, "{metric}");
    }

    let mut ann = Client::open_with(gateway.address, &upgrade(&token_of("ann"))).with_connect(json!({}));
    for command in [
        json!({"subscribe": {"channel": "$seawall.canary.gw-1"}}),
        json!({"publish": {"channel": "$seawall.canary.gw-1", "data": 1}}),
        json!({"history": {"channel": "$seawall.canary.gw-1"}}),
    ] {
        ann.refused(command, "forbidden");
    }
    let impostor = upgrade(&token(&claims("$canary")));
    let mut impostor = Client::open_with(gateway.address, &impostor);
    impostor.send(json!({"connect": {}}));
    impostor.expect_close().is(4501, "unauthenticated");

    let before = events(&gateway, "connection", "canary", "bad");
    store.proxy.set(Mode::Refuse);
    store.proxy.cut();
    until(2 * SOON, "messages of the canary fail", || events(&gateway, "delivery", "canary", "bad") >= 2.0);
    let since = events(&gateway, "connection", "canary", "bad");
    assert_eq!(since, before, "{LATE}: it is admitted all the same");
    gateway.logs("canary failed");
}
