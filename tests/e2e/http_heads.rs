//! Plain HTTP from good and bad clients: each request is answered, and none costs more than its bound.

use crate::support::raw::{Response, UPGRADE};
use crate::support::wait::LATE;
use crate::support::{Frame, Gateway, RawClient, Setup};
use std::time::{Duration, Instant};

fn answer(gateway: &Gateway, request: &[u8]) -> Response {
    let mut client = RawClient::to(gateway);
    client.write(request);
    client.response()
}

fn with_header(line: &str) -> String {
    format!("GET /health/live HTTP/1.1\r\nHost: localhost\r\n{line}\r\n\r\n")
}

#[test]
fn bad_heads_are_answered_with_their_status() {
    let gateway = Gateway::start();
    let long = |count: usize| "x".repeat(count);
    let table: Vec<(u16, String)> = vec![
        (200, with_header("Accept: */*")),
        (404, "GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n".into()),
        (404, "GET /health/nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n".into()),
        (405, "POST /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n".into()),
        (405, "DELETE /ws HTTP/1.1\r\nHost: localhost\r\n\r\n".into()),
        (501, "BREW /ws HTTP/1.1\r\nHost: localhost\r\n\r\n".into()),
        (400, "GET /health/live HTTP/1.1\r\n\r\n".into()),
        (400, with_header("Host: other")),
        (400, with_header("Bad Name: x")),
        (400, with_header("No-Colon")),
        (400, with_header("Space : x")),
        (400, with_header("A: b\r\n folded")),
        (400, with_header("A: b\u{1}c")),
        (400, with_header("Content-Length: 1\r\nContent-Length: 2")),
        (400, with_header("Content-Length: +1")),
        (400, with_header("Content-Length: 1\r\nTransfer-Encoding: chunked")),
        (400, "GET  /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n".into()),
        (400, "nonsense\r\n\r\n".into()),
        (413, with_header("Content-Length: 5")),
        (413, with_header("Transfer-Encoding: chunked")),
        (414, format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", long(2_100))),
        (431, with_header(&format!("A: {}", long(16_400)))),
        (431, with_header(&(0..80).map(|n| format!("A{n}: b")).collect::<Vec<_>>().join("\r\n"))),
        (505, "GET /health/live HTTP/2.0\r\nHost: localhost\r\n\r\n".into()),
    ];
    for (status, request) in table {
        let response = answer(&gateway, request.as_bytes());
        let shown: String = request.chars().take(90).collect();
        assert_eq!(response.status, status, "{shown:?}: {response:?}");
        if status != 200 {
            assert!(!response.body.is_empty(), "{shown:?} has a body with the reason");
        }
    }
    assert_eq!(gateway.fetch("/health/live").status, 200);
}

#[test]
fn response_arrives_although_more_is_sent() {
    let gateway = Gateway::start();
    for _ in 0..20 {
        let mut client = RawClient::to(&gateway);
        client.write(format!("GET /{} HTTP/1.1\r\n{}", "x".repeat(3_000), "y".repeat(100_000)).as_bytes());
        assert_eq!(client.response().status, 414);
    }
}

#[test]
fn head_has_no_body_and_405_names_the_allowed_methods() {
    let gateway = Gateway::start();
    let mut client = RawClient::to(&gateway);
    let head = client.fetch("HEAD", "/health/live");
    assert_eq!(head.status, 200);
    assert!(
        head.header("content-length").is_some_and(|length| length != "0"),
        "the same length as for GET: {head:?}"
    );
    let next = client.fetch("POST", "/health/live");
    assert_eq!(
        (next.status, next.header("allow")),
        (405, Some("GET, HEAD")),
        "no body lies between: {next:?}"
    );
}

#[test]
fn connection_is_kept_alive_and_pipelined_requests_are_answered() {
    let gateway = Gateway::start();
    let mut client = RawClient::to(&gateway);
    let request = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n";
    client.write([request, request, &request.replace("/health/live", "/nowhere")].concat().as_bytes());
    assert_eq!([0; 3].map(|_| client.response().status), [200, 200, 404]);
    client.write(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_eq!(client.response().header("connection"), Some("close"));
    client.expect_end();
    let mut old = RawClient::to(&gateway);
    old.write(b"GET /health/live HTTP/1.0\r\n\r\n");
    assert_eq!(old.response().status, 200);
    old.expect_end();
}

#[test]
fn idle_connection_is_closed_after_keep_alive() {
    let gateway = Setup::new().limit("keep_alive_ms", 300).limit("head_ms", 120_000).start();
    let mut client = RawClient::to(&gateway);
    assert_eq!(client.fetch("GET", "/health/live").status, 200);
    client.expect_end();
}

#[test]
fn head_sent_byte_by_byte_is_answered_with_408_in_time() {
    let gateway = Setup::new().limit("head_ms", 500).start();
    let mut client = RawClient::to(&gateway);
    let start = Instant::now();
    for byte in UPGRADE.bytes().cycle() {
        if !client.is_quiet_for(Duration::from_millis(20)) || client.try_write(&[byte]).is_err() {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{LATE}: single bytes do not extend the deadline");
    }
    assert_eq!(client.response().status, 408);
    client.expect_end();
}

#[test]
fn second_head_has_the_same_deadline_as_the_first() {
    let gateway = Setup::new().limit("head_ms", 2_500).limit("keep_alive_ms", 60_000).start();
    let mut client = RawClient::to(&gateway);
    client.write(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let first = client.response().status;
    assert_ne!(first, 408, "{LATE}: the first head");
    assert_eq!(first, 200);
    let start = Instant::now();
    while client.is_quiet_for(Duration::from_millis(20)) && client.try_write(b"G").is_ok() {
        assert!(start.elapsed() < Duration::from_secs(20), "{LATE}: single bytes do not extend the deadline");
    }
    assert_eq!(client.response().status, 408);
    client.expect_end();
}

#[test]
fn silent_connection_is_closed_in_time() {
    let gateway = Setup::new().limit("head_ms", 300).limit("keep_alive_ms", 300).start();
    let mut client = RawClient::to(&gateway);
    client.drain();
}

#[test]
fn head_sent_byte_by_byte_is_accepted() {
    let gateway = Gateway::start();
    let mut client = RawClient::to(&gateway);
    for byte in UPGRADE.bytes() {
        client.write(&[byte]);
    }
    assert_eq!(client.response().status, 101);
}

#[test]
fn nothing_is_served_behind_a_refused_upgrade() {
    let gateway = Gateway::start();
    let wrong_key = UPGRADE.replace("dGhlIHNhbXBsZSBub25jZQ==", "x");
    let h2c = UPGRADE.replace("websocket", "h2c");
    for request in [wrong_key, h2c.clone(), h2c.replace("/ws", "/livez")] {
        let mut client = RawClient::to(&gateway);
        client.write(format!("{request}GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        let response = client.response();
        assert!(response.headers.iter().any(|(_, value)| value == "close"), "{response:?}");
        client.expect_end();
    }
}

#[test]
fn bytes_after_an_upgrade_are_read_as_frames() {
    let gateway = Gateway::start();
    let mut client = RawClient::to(&gateway);
    let connect = Frame::text(r#"{"id":1,"connect":{}}"#).bytes();
    let publish = Frame::text(r#"{"id":2,"publish":{"channel":"c","data":1}}"#).bytes();
    client.write(&[UPGRADE.as_bytes(), &connect, &publish].concat());
    assert_eq!(client.response().status, 101);
    assert!(client.next_json().get("connected").is_some());
    assert_eq!(client.next_json()["published"]["offset"], 1);
    let mut after_plain = RawClient::to(&gateway);
    let plain = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n";
    after_plain.write(&[plain.as_bytes(), UPGRADE.as_bytes(), &connect].concat());
    assert_eq!(after_plain.response().status, 200);
    assert_eq!(after_plain.response().status, 101);
    assert!(after_plain.next_json().get("connected").is_some());
}

#[test]
fn unread_responses_are_bounded() {
    let gateway = Setup::new().limit("stall_ms", 1_500).start();
    let before = gateway.rss_bytes();
    let stream = crate::support::raw::dial(gateway.address, None, Some(4096)).expect("accepted");
    let mut client = RawClient::from(stream);
    let requests = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1_000);
    // Far more requests than the kernel buffers, each with a response of some kilobytes.
    let mut rounds = 0;
    while rounds < 1_000 && client.try_write(requests.as_bytes()).is_ok() {
        rounds += 1;
    }
    let grown = gateway.rss_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more");
    assert!(rounds < 1_000, "all requests were read although no response was");
    assert_eq!(gateway.fetch("/health/live").status, 200);
}
