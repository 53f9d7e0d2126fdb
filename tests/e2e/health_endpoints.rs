//! The health endpoints that probes request.

use crate::support::{Client, Gateway, RawClient};

#[test]
fn running_gateway_is_live_ready_and_healthy() {
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
fn head_requests_on_one_connection_are_answered() {
    let gateway = Gateway::start();
    let mut probe = RawClient::to(&gateway);
    for _ in 0..50 {
        assert_eq!(probe.fetch("HEAD", "/readyz").status, 200);
    }
}

#[test]
fn health_is_answered_while_the_gateway_is_full() {
    let gateway = crate::support::Setup::new().limit("connections", 2).start();
    let _clients = [Client::connect(&gateway), Client::connect(&gateway)];
    let response = gateway.fetch("/health/live");
    assert!([200, 503].contains(&response.status), "the gateway answers: {response:?}");
}
