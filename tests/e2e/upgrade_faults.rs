//! Invalid opening handshakes (RFC 6455 section 4.2.1) are refused with the matching status.

use crate::support::raw::{Response, UPGRADE};
use crate::support::{Gateway, RawClient};

fn answer(gateway: &Gateway, request: &str) -> Response {
    let mut client = RawClient::to(gateway);
    client.write(request.as_bytes());
    client.response()
}

/// The valid upgrade with one part of it replaced.
fn with(from: &str, to: &str) -> String {
    assert!(UPGRADE.contains(from), "{from}");
    UPGRADE.replacen(from, to, 1)
}

#[test]
fn each_handshake_fault_is_answered_with_its_status() {
    let gateway = Gateway::start();
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let version = "Sec-WebSocket-Version: 13\r\n";
    for (status, request) in [
        (426, with("Upgrade: websocket\r\n", "")),
        (426, with("Upgrade: websocket", "Upgrade: h2c")),
        (426, with("Version: 13", "Version: 8")),
        (426, with("HTTP/1.1", "HTTP/1.0")),
        (400, with("Connection: Upgrade\r\n", "")),
        (400, with("Connection: Upgrade", "Connection: keep-alive")),
        (400, with(key, "")),
        (400, with(key, &key.repeat(2))),
        (400, with("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ=")),
        (400, with("dGhlIHNhbXBsZSBub25jZQ==", "not base64 at all!!!!!!!")),
        (400, with(version, "")),
        (400, with(version, &version.repeat(2))),
        (405, with("GET", "POST")),
        (404, with("/ws", "/wss")),
        (404, with("/ws", "/echo")),
        (101, with("Connection: Upgrade", "connection: keep-alive, UPGRADE")),
        (101, with("Upgrade: websocket", "upgrade: WebSocket")),
    ] {
        let response = answer(&gateway, &request);
        assert_eq!(response.status, status, "{request:?}: {response:?}");
    }
}

#[test]
fn response_426_names_the_upgrade_and_version() {
    let gateway = Gateway::start();
    let plain = answer(&gateway, "GET /ws HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!((plain.status, plain.header("upgrade")), (426, Some("websocket")));
    let old = answer(&gateway, &with("Version: 13", "Version: 8"));
    assert_eq!((old.status, old.header("sec-websocket-version")), (426, Some("13")));
}
