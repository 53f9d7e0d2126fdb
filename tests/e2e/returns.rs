//! Clients that return after they lost their connection.

use crate::support::{Client, Gateway, SOON, until};
use serde_json::{Value, json};

/// A report on this connection.
fn previous(connection: &Value, offline_ms: u64) -> Value {
    json!({"client": "web 1.4", "previous": {"connection": connection, "code": 1006, "reason": "lost", "attempts": 3,
        "offline_ms": offline_ms, "failed": {"never_opened": 2}}})
}

#[test]
fn return_of_a_lost_client_counts_and_a_word_alone_does_not() {
    let gateway = Gateway::start();
    let lost = Client::connect(&gateway);
    let connection = lost.connected["connection"].clone();
    // Without a close frame.
    drop(lost);
    let _back = Client::open(&gateway).with_connect(previous(&connection, 1_200));
    let count = |name: &str| gateway.metrics().get(name).copied().unwrap_or(0.0);
    until(SOON, "the return is counted", || count(r#"seawall_client_returns_total{cause="lost"}"#) == 1.0);
    for (name, value) in [
        (r#"seawall_client_attempts_failed_total{how="never_opened"}"#, 2.0),
        (r#"seawall_client_return_attempts_bucket{le="3.0"}"#, 1.0),
        (r#"seawall_slo_events_total{slo="recovery",part="returns",outcome="good"}"#, 1.0),
    ] {
        until(SOON, name, || count(name) == value);
    }
    until(SOON, "its version is counted", || count(r#"seawall_clients{version="web 1.4"}"#) == 1.0);

    let _again = Client::open(&gateway).with_connect(previous(&connection, 60_000));
    until(SOON, "one return is proven by an end", || count("seawall_client_returns_unproven_total") == 1.0);
    assert_eq!(count(r#"seawall_slo_events_total{slo="recovery",part="returns",outcome="bad"}"#), 0.0);

    let bad = json!({"previous": {"connection": 7}});
    let _refused_nothing = Client::open(&gateway).with_connect(bad);
}
