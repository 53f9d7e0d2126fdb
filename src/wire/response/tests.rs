//! Answers parsed as a client would.

use super::*;
use crate::wire::fault::{Allow, Handshake, Malformed};
use crate::wire::upgrade::Site;

/// The status, the header lines and the bytes after the head.
fn read(bytes: &[u8]) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let mut lines = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut lines);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        other => panic!("{other:?}"),
    };
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).expect("ASCII");
    let lines = response.headers.iter().map(|h| (h.name.to_string(), text(h.value))).collect();
    (response.code.expect("a status"), lines, bytes[length..].to_vec())
}

fn values<'a>(lines: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    lines.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect()
}

const FAULTS: [HttpFault; 21] = [
    HttpFault::Malformed(Malformed::HostMissing),
    HttpFault::Handshake(Handshake::KeyMissing),
    HttpFault::Unauthorized,
    HttpFault::OriginForbidden,
    HttpFault::HostForbidden,
    HttpFault::UnknownPath,
    HttpFault::MethodNotAllowed(Allow::Get),
    HttpFault::MethodNotAllowed(Allow::GetHead),
    HttpFault::HeadTimeout { bound_ms: 5_000 },
    HttpFault::BodyNotTaken,
    HttpFault::UriTooLong { bound: 2_048 },
    HttpFault::Expectation,
    HttpFault::UpgradeRequired,
    HttpFault::UpgradeVersion,
    HttpFault::TooManyConnections { bound: 100 },
    HttpFault::TooFast { retry_ms: 1_001 },
    HttpFault::HeadTooLarge { bound: 16_384 },
    HttpFault::TooManyHeaders { bound: 64 },
    HttpFault::UnknownMethod,
    HttpFault::Unavailable { retry_ms: 0 },
    HttpFault::Version,
];

#[test]
fn every_refusal_is_a_complete_answer_with_a_json_body() {
    for refusal in FAULTS {
        let mut out = Vec::new();
        let after = fault(&mut out, refusal, Method::Get, After::KeepAlive);
        let (status, lines, body) = read(&out);
        assert_eq!(status, refusal.status());
        assert_ne!(reason(status), "", "{status}");
        assert_eq!(values(&lines, "Content-Length"), [body.len().to_string()]);
        assert_eq!(values(&lines, "Content-Type"), ["application/json"]);
        assert_eq!(values(&lines, "Cache-Control"), ["no-store"]);
        assert_eq!(values(&lines, "X-Content-Type-Options"), ["nosniff"]);
        assert_eq!(values(&lines, "Connection").contains(&"close"), after == After::Close, "{refusal:?}");
        let json: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(json["error"], refusal.word());
        assert_eq!(json["message"], refusal.to_string());
    }
}

#[test]
fn refusal_has_the_header_lines_that_its_status_requires() {
    let line = |refusal, name: &str| {
        let mut out = Vec::new();
        fault(&mut out, refusal, Method::Get, After::Close);
        let (_, lines, _) = read(&out);
        values(&lines, name).join("; ")
    };
    assert_eq!(line(HttpFault::MethodNotAllowed(Allow::Get), "Allow"), "GET");
    assert_eq!(line(HttpFault::MethodNotAllowed(Allow::GetHead), "Allow"), "GET, HEAD");
    assert_eq!(line(HttpFault::UpgradeVersion, "Sec-WebSocket-Version"), "13");
    assert_eq!(line(HttpFault::UpgradeRequired, "Upgrade"), "websocket");
    assert_eq!(line(HttpFault::UpgradeRequired, "Connection"), "Upgrade; close");
    assert_eq!(line(HttpFault::TooFast { retry_ms: 1_001 }, "Retry-After"), "2");
    assert_eq!(line(HttpFault::Unavailable { retry_ms: 0 }, "Retry-After"), "1");
    assert_eq!(line(HttpFault::Unauthorized, "WWW-Authenticate"), "Bearer");
    assert_eq!(line(HttpFault::UnknownPath, "Retry-After"), "");
}

#[test]
fn uncertain_next_request_closes_but_an_ordinary_fault_does_not() {
    let mut out = Vec::new();
    let mut after = |refusal, head| fault(&mut out, refusal, Method::Get, head);
    assert_eq!(after(HttpFault::BodyNotTaken, After::KeepAlive), After::Close);
    assert_eq!(after(HttpFault::Malformed(Malformed::HostMissing), After::KeepAlive), After::Close);
    assert_eq!(after(HttpFault::UnknownPath, After::KeepAlive), After::KeepAlive);
    assert_eq!(after(HttpFault::UnknownPath, After::Close), After::Close);
}

#[test]
fn head_and_304_have_the_length_but_no_body() {
    let length = |status, method| {
        let mut out = b"before".to_vec();
        answer(&mut out, status, "text/plain", b"body", &ResponseOptions::plain(method, After::KeepAlive));
        let (found, lines, body) = read(&out[6..]);
        assert_eq!(found, status);
        (values(&lines, "Content-Length").join(","), body)
    };
    assert_eq!(length(200, Method::Get), ("4".to_string(), b"body".to_vec()));
    assert_eq!(length(200, Method::Head), ("4".to_string(), vec![]));
    assert_eq!(length(304, Method::Get), ("4".to_string(), vec![]));
    assert_eq!(length(204, Method::Get), (String::new(), vec![]));
}

#[test]
fn options_become_header_lines() {
    let headers = [("ETag", "\"a\""), ("X-Frame-Options", "DENY")];
    let options = ResponseOptions {
        headers: &headers,
        cache_control: "no-cache",
        ..ResponseOptions::plain(Method::Get, After::Close)
    };
    let mut out = Vec::new();
    answer(&mut out, 200, "text/html; charset=utf-8", b"", &options);
    let (_, lines, _) = read(&out);
    assert_eq!(values(&lines, "ETag"), ["\"a\""]);
    assert_eq!(values(&lines, "X-Frame-Options"), ["DENY"]);
    assert_eq!(values(&lines, "Cache-Control"), ["no-cache"]);
    assert_eq!(values(&lines, "Connection"), ["close"]);
}

#[test]
fn upgrade_echoes_the_version_and_never_the_token() {
    let lines = |version| {
        let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_string();
        let mut out = Vec::new();
        let upgrade = Upgrade { accept, version, token: Some("SECRET"), site: Site::Admitted };
        switching(&mut out, &upgrade);
        assert!(!out.windows(6).any(|w| w == b"SECRET"));
        let (status, lines, rest) = read(&out);
        assert_eq!((status, rest.len()), (101, 0));
        assert_eq!(values(&lines, "Upgrade"), ["websocket"]);
        assert_eq!(values(&lines, "Connection"), ["Upgrade"]);
        assert_eq!(values(&lines, "Sec-WebSocket-Accept"), ["s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]);
        values(&lines, "Sec-WebSocket-Protocol").join(",")
    };
    assert_eq!(lines(OfferedVersion::V1Named), "seawall.v1");
    assert_eq!(lines(OfferedVersion::Unsupported("seawall.v7")), "seawall.v7");
    assert_eq!(lines(OfferedVersion::NotNamed), "");
}
