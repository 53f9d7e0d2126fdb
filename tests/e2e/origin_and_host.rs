//! Requests from other sites are refused by `Origin`, and on loopback by `Host`.

use crate::support::raw::UPGRADE;
use crate::support::token::SECRET;
use crate::support::{Gateway, RawClient, Setup};

fn status(gateway: &Gateway, host: &str, origin: Option<&str>) -> u16 {
    let mut lines = format!("Host: {host}\r\n");
    if let Some(origin) = origin {
        lines.push_str(&format!("Origin: {origin}\r\n"));
    }
    let mut client = RawClient::to(gateway);
    client.write(UPGRADE.replace("Host: localhost\r\n", &lines).as_bytes());
    client.response().status
}

#[test]
fn on_loopback_only_loopback_and_configured_hosts_are_answered() {
    let gateway = Setup::new().toml("[server]\nhosts = [\"chat.local\"]").start();
    let port = gateway.address.port();
    for host in ["localhost", "LOCALHOST", "127.0.0.1", "[::1]", "chat.local"] {
        assert_eq!(status(&gateway, host, None), 101, "{host}");
        assert_eq!(status(&gateway, &format!("{host}:{port}"), None), 101, "{host}");
    }
    for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "127.0.0.2"]
    {
        assert_eq!(status(&gateway, host, None), 403, "{host}");
    }
}

#[test]
fn with_auth_any_host_is_answered() {
    let gateway = Setup::new().env("SEAWALL_AUTH_SECRET", SECRET).start();
    assert_eq!(status(&gateway, "chat.example", None), 101);
}

#[test]
fn only_the_hosts_own_or_a_configured_origin_is_admitted() {
    let gateway = Setup::new().plain().toml("[server]\norigins = [\"https://chat.example\"]").start();
    let port = gateway.address.port();
    let host = format!("localhost:{port}");
    for origin in [format!("http://localhost:{port}"), "https://chat.example".into()] {
        assert_eq!(status(&gateway, &host, Some(&origin)), 101, "{origin}");
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
        assert_eq!(status(&gateway, &host, Some(origin)), 403, "{origin}");
    }
}

#[test]
fn health_is_answered_for_any_host() {
    let gateway = Gateway::start();
    let mut client = RawClient::to(&gateway);
    client.write(b"GET /health/live HTTP/1.1\r\nHost: pod-7.internal\r\n\r\n");
    assert_eq!(client.response().status, 200);
}
