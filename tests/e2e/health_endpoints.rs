//! What probes ask.

use crate::support::{Client, Gateway, RawClient};

#[test]
fn a_running_gateway_is_live_ready_and_healthy() {
    let gateway = Gateway::start();
    for path in ["/health/live", "/livez", "/health/ready", "/readyz", "/health", "/livez?verbose"] {
        let response = gateway.fetch(path);
        assert_eq!(response.status, 200, "{path}: {response:?}");
        let form = response.header("content-type").unwrap_or_default();
        assert!(form.starts_with("application/health+json"), "{path}: {form}");
        assert_eq!(response.json()["status"], "pass", "{path}");
        assert_eq!(response.header("cache-control"), Some("no-store"), "{path}");
    }
}

#[test]
fn probes_may_use_head_and_one_connection() {
    let gateway = Gateway::start();
    let mut probe = RawClient::to(&gateway);
    for _ in 0..50 {
        assert_eq!(probe.fetch("HEAD", "/readyz").status, 200);
    }
}

#[test]
fn health_is_answered_while_every_place_is_taken() {
    let gateway = crate::support::Setup::new().limit("connections", 2).start();
    let _clients = [Client::connect(&gateway), Client::connect(&gateway)];
    let response = gateway.fetch("/health/live");
    assert!([200, 503].contains(&response.status), "an answer, not silence: {response:?}");
}
