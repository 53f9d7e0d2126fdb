//! Requests from other sites are refused by `Origin`, and on loopback by `Host`.

use crate::support::token::SECRET;
use crate::support::{Client, Closed, Gateway, RawClient, SOON, Setup, Upgrade, until};

fn open(gateway: &Gateway, host: &str, origin: Option<&str>) -> Client {
    let upgrade = Upgrade::default().header("Host", host);
    let upgrade = origin.into_iter().fold(upgrade, |upgrade, origin| upgrade.header("Origin", origin));
    Client::open_with(gateway.address, &upgrade)
}

fn is_served(gateway: &Gateway, host: &str, origin: Option<&str>) -> bool {
    let mut client = open(gateway, host, origin);
    client.send(serde_json::json!({"connect": {}}));
    client.try_reply(1).is_some_and(|reply| reply.get("connected").is_some())
}

/// The end of a client that says nothing: it is refused before it sends `connect`.
fn refusal(gateway: &Gateway, host: &str, origin: Option<&str>) -> Closed {
    open(gateway, host, origin).expect_close()
}

#[test]
fn on_loopback_only_loopback_and_configured_hosts_are_answered() {
    let gateway = Setup::new().toml("[server]\nhosts = [\"chat.local\"]").start();
    let port = gateway.address.port();
    for host in ["localhost", "LOCALHOST", "127.0.0.1", "[::1]", "chat.local"] {
        assert!(is_served(&gateway, host, None), "{host}");
        assert!(is_served(&gateway, &format!("{host}:{port}"), None), "{host}");
    }
    for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "127.0.0.2"]
    {
        let closed = refusal(&gateway, host, None);
        closed.is(4506, "host_forbidden");
        assert!(!closed.reason.contains(host), "{closed:?}");
    }
}

#[test]
fn with_auth_any_host_is_answered() {
    let gateway = Setup::new().env("SEAWALL_AUTH_SECRET", SECRET).start();
    let mut client = open(&gateway, "chat.example", None);
    assert!(client.is_open());
}

#[test]
fn only_the_hosts_own_or_a_configured_origin_is_admitted() {
    let gateway = Setup::new().plain().toml("[server]\norigins = [\"https://chat.example\"]").start();
    let port = gateway.address.port();
    let host = format!("localhost:{port}");
    for origin in [format!("http://localhost:{port}"), "https://chat.example".into()] {
        assert!(is_served(&gateway, &host, Some(&origin)), "{origin}");
    }
    for origin in [
        "http://evil.example",
        "null",
        "http://chat.example",
        "https://chat.example:8443",
        "https://chat.example.evil.example",
        "http://localhost:1",
        "nonsense",
    ] {
        let closed = refusal(&gateway, &host, Some(origin));
        closed.is(4506, "origin_forbidden");
        let named = if origin.contains("://") { origin } else { "the page's origin" };
        let message = format!("{named} is not in server.origins");
        assert_eq!(closed.bye.as_ref().map(|bye| bye["message"].clone()), Some(message.into()));
    }
    for name in
        [r#"http_refused_total{class="4xx",reason="origin_forbidden"}"#, r#"closes_total{code="4506"}"#]
    {
        let counted = || gateway.metrics().get(&format!("seawall_{name}")).copied();
        until(SOON, name, || counted() >= Some(7.0));
        assert_eq!(counted(), Some(7.0), "{name}");
    }
}

#[test]
fn refused_origin_is_logged_once_a_minute() {
    let gateway = Setup::new().plain().start();
    for _ in 0..20 {
        refusal(&gateway, "backend", Some("https://chat.example"));
        refusal(&gateway, "localhost", Some("https://chat.example"));
    }
    until(SOON, "both refusals are logged", || {
        let output = gateway.output();
        output.contains("origin refused") && output.contains("host refused")
    });
    let output = gateway.output();
    assert_eq!(output.matches("origin refused").count(), 1, "{output}");
    assert_eq!(output.matches("host refused").count(), 1, "{output}");
    let line = output.lines().find(|line| line.contains("origin refused")).unwrap_or_default();
    for field in ["WARN", "https://chat.example", "host=", "localhost", "127.0.0.1", "count=1"] {
        assert!(line.contains(field), "{field}: {line}");
    }
}

#[test]
fn health_and_metrics_of_an_open_loopback_gateway_are_hidden_from_other_names() {
    let status = |gateway: &Gateway, path: &str, rest: &str| {
        let mut client = RawClient::to(gateway);
        client.write(format!("GET {path} HTTP/1.{rest}\r\n\r\n").as_bytes());
        client.response().status
    };
    let paths = ["/health", "/health/live", "/health/ready", "/health/dependencies", "/metrics"];
    let gateway = Gateway::start();
    for path in paths {
        assert_eq!(status(&gateway, path, "1\r\nHost: rebound.example"), 403, "{path}");
        assert_eq!(status(&gateway, path, "1\r\nHost: localhost"), 200, "{path}");
        assert_eq!(status(&gateway, path, "0"), 200, "{path}: a probe without a host");
    }
    let gateway = Setup::new().env("SEAWALL_AUTH_SECRET", SECRET).start();
    for path in paths {
        assert_eq!(status(&gateway, path, "1\r\nHost: pod-7.internal"), 200, "{path}");
    }
}
