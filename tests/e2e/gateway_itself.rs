//! The gateway as a watched component.

use crate::support::wait::SOON;
use crate::support::{Client, Operator, Setup, until};
use serde_json::json;
use std::time::{Duration, Instant};

/// Time for the errors to leave their 10 s window, with a self-probe every 500 ms.
const FORGOTTEN: Duration = Duration::from_secs(120);

#[test]
fn overloaded_gateway_reports_itself_degraded_and_still_admits_clients() {
    let gateway = Setup::new().with_admin().unlimited().limit("pending", 1).start();
    let operator = Operator::of(&gateway);
    let mut client = Client::connect(&gateway);
    let entry = || operator.get("/health/dependencies").json()["checks"]["gateway"][0].clone();
    until(SOON, "the gateway has probed itself", || entry()["state"] == "ok");
    gateway.shows("seawall_gateway_up", 1.0);

    let mut overloaded = None;
    // The errors are forgotten after ten seconds, in which a busy machine may not look at everything.
    until(2 * SOON, "the gateway is degraded everywhere", || {
        if overloaded.is_none_or(|at: Instant| at.elapsed() > Duration::from_secs(5)) {
            // One read holds them all but one answer may be pending, so all but a few get `overloaded`.
            for n in 0..400 {
                client.send(json!({"publish": {"channel": "c", "data": n}}));
            }
            overloaded = Some(Instant::now());
        }
        assert!(client.is_open());
        let down = entry();
        let public = gateway.fetch("/health/dependencies");
        assert_eq!((public.status, &public.json()["level"]), (200, &json!("ok")), "{public:?}");
        assert!(public.json()["checks"]["gateway"][0].get("output").is_none());
        down["state"] == "down"
            && down["output"].as_str().is_some_and(|text| text.contains("commands failed"))
            && public.json()["status"] == "warn"
            && gateway.metric("seawall_gateway_up") == 0.0
    });
    gateway.logs("gateway degraded");
    let newcomer = Client::connect(&gateway);
    let status = &newcomer.connected["status"];
    assert_eq!((&status["level"], &status["dependencies"]), (&json!("ok"), &json!([])), "{status}");

    until(FORGOTTEN, "the gateway has recovered", || entry()["state"] == "ok");
    until(SOON, "the recovery is logged", || gateway.output().contains("gateway recovered"));
    // A busy machine may degrade it once more.
    until(SOON, "the changes are counted", || gateway.metric("seawall_gateway_changes_total") >= 3.0);
}

#[test]
fn queues_lanes_and_turns_have_metrics() {
    let gateway = Setup::new().start();
    until(SOON, "the gateway has probed itself", || {
        gateway.metrics().keys().any(|key| key.starts_with("seawall_queue_depth{"))
    });
    for name in ["seawall_queue_depth_max", "seawall_lane_depth", "seawall_turn_longest_seconds"] {
        assert!(gateway.metric(name) >= 0.0, "{name}");
    }
    assert_eq!(gateway.metrics()["seawall_queue_depth_max{queue=\"append\"}"], 8_192.0);
}
