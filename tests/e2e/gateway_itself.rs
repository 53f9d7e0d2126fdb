//! The gateway as something that is watched.

use crate::support::wait::SOON;
use crate::support::{Client, Operator, Setup, until};
use serde_json::json;
use std::time::Duration;

/// Errors are those of 10 s, and the gateway looks at itself every 500 ms then.
const FORGOTTEN: Duration = Duration::from_secs(40);

#[test]
fn a_gateway_that_cannot_do_what_it_is_asked_says_so_and_lets_people_in() {
    let gateway = Setup::new().with_admin().unhurried().limit("pending", 1).start();
    let operator = Operator::of(&gateway);
    let mut client = Client::connect(&gateway);
    let entry = || operator.get("/health/dependencies").json()["checks"]["gateway"][0].clone();
    until(SOON, "it has looked at itself", || entry()["state"] == "ok");
    assert_eq!(gateway.metric("seawall_gateway_up"), 1.0);

    // One read, one answer under way: all but a few are answered `overloaded`.
    let publish = |id: u64| json!({"id": id, "publish": {"channel": "c", "data": id}}).to_string();
    let ids: Vec<u64> = (0..400).map(|_| 0).collect();
    for (index, _) in ids.iter().enumerate() {
        client.send_text(&publish(10_000 + index as u64));
    }
    until(SOON, "it is in need", || entry()["state"] == "down");
    let down = entry();
    assert!(down["output"].as_str().is_some_and(|text| text.contains("commands failed")), "{down}");
    let public = gateway.fetch("/health/dependencies");
    assert_eq!((public.status, &public.json()["status"]), (200, &json!("warn")), "{public:?}");
    assert_eq!(public.json()["level"], "ok");
    assert!(public.json()["checks"]["gateway"][0].get("output").is_none());
    assert_eq!(gateway.metric("seawall_gateway_up"), 0.0);
    assert!(gateway.output().contains("gateway degraded"), "{}", gateway.output());
    let newcomer = Client::connect(&gateway);
    assert_eq!(
        newcomer.connected["status"],
        json!({"revision": 1, "level": "ok", "dependencies": [], "lost": []})
    );

    until(FORGOTTEN, "it is well again", || entry()["state"] == "ok");
    until(SOON, "that is told", || gateway.output().contains("gateway recovered"));
    assert_eq!(gateway.metric("seawall_gateway_changes_total"), 3.0);
}

#[test]
fn queues_lanes_and_turns_are_measured() {
    let gateway = Setup::new().start();
    until(SOON, "it has looked at itself", || {
        gateway.metrics().keys().any(|key| key.starts_with("seawall_queue_depth{"))
    });
    for name in ["seawall_queue_depth_max", "seawall_lane_depth", "seawall_turn_longest_seconds"] {
        assert!(gateway.metric(name) >= 0.0, "{name}");
    }
    assert_eq!(gateway.metrics()["seawall_queue_depth_max{queue=\"append\"}"], 8_192.0);
}
