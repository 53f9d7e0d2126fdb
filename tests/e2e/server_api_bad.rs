//! Bad requests to the server API: each has its status, and the connection is then what the answer says.

use crate::support::RawClient;
use crate::support::backend::{KEY, address_of, setup};
use std::net::TcpStream;

/// A request with a right head up to its last lines.
fn post(path: &str, lines: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n{lines}\r\n{body}"
    )
}

fn publish(body: &str) -> String {
    post("/v1/publish", "", body)
}

fn get(path: &str, lines: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {KEY}\r\n{lines}\r\n")
}

/// A head whose body is not sent.
fn head(method: &str, path: &str, lines: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: api\r\n{lines}\r\n")
}

fn heads() -> Vec<(u16, String)> {
    let (json, bearer) = ("Content-Type: application/json\r\n", format!("Authorization: Bearer {KEY}\r\n"));
    let with = |lines: &str| head("POST", "/v1/publish", &format!("{bearer}{json}{lines}"));
    let long = |count: usize| "x".repeat(count);
    vec![
        (400, "nonsense\r\n\r\n".into()),
        (400, "GET  /v1/channels/a HTTP/1.1\r\nHost: api\r\n\r\n".into()),
        (400, "GET /v1/channels/a HTTP/1.1\r\n\r\n".into()),
        (400, get("/v1/channels/a", "Host: other\r\n")),
        (400, get("/v1/channels/a", "Bad Name: x\r\n")),
        (400, get("/v1/channels/a", "No-Colon\r\n")),
        (400, get("/v1/channels/a", "A: b\r\n folded\r\n")),
        (400, get("/v1/channels/a", "A: b\u{1}c\r\n")),
        (400, with("Content-Length: 1\r\nContent-Length: 2\r\n")),
        (400, with("Content-Length: +1\r\n")),
        (400, with("Content-Length: -1\r\n")),
        (400, with("Content-Length: 0x10\r\n")),
        (400, with("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n")),
        (414, get(&format!("/v1/channels/{}", long(3_000)), "")),
        (431, get("/v1/channels/a", &format!("A: {}\r\n", long(17_000)))),
        (431, get("/v1/channels/a", &(0..90).map(|n| format!("A{n}: b\r\n")).collect::<String>())),
        (505, "GET /v1/channels/a HTTP/2.0\r\nHost: api\r\n\r\n".into()),
        (411, with("Transfer-Encoding: chunked\r\n")),
        (413, with("Content-Length: 99999999999999999999\r\n")),
        (413, with("Content-Length: 4194305\r\n")),
        (415, head("POST", "/v1/publish", &format!("{bearer}Content-Length: 2\r\n"))),
        (
            415,
            head(
                "POST",
                "/v1/publish",
                &format!("{bearer}Content-Type: text/plain\r\nContent-Length: 2\r\n"),
            ),
        ),
        (401, head("POST", "/v1/publish", &format!("{json}Content-Length: 2\r\n"))),
        (401, head("GET", &format!("/v1/channels/a?key={KEY}"), "")),
        (401, head("GET", &format!("/v1/channels/a?api_key={KEY}"), "")),
        (401, head("GET", &format!("/v1/channels/a?access_token={KEY}"), "")),
        (401, head("GET", "/v1/channels/a", &format!("Authorization: Basic {KEY}\r\n"))),
        (401, head("GET", "/v1/channels/a", &format!("Authorization: {KEY}\r\n"))),
        (401, head("GET", "/v1/channels/a", "Authorization: Bearer \r\n")),
        (401, head("GET", "/v1/channels/a", &format!("{bearer}{bearer}"))),
        (401, head("GET", "/v1/channels/a", &format!("Authorization: Bearer {}\r\n", long(8_000)))),
        (401, head("GET", "/v1/channels/a", &format!("Authorization: Bearer {}x\r\n", KEY))),
        (403, get("/v1/channels/a", "Origin: http://localhost\r\n")),
        (403, get("/v1/openapi.json", "Origin: null\r\n")),
        (403, head("OPTIONS", "/v1/publish", "Origin: http://a\r\nAccess-Control-Request-Method: POST\r\n")),
        (400, get("/v1/channels/a", "Content-Length: 2\r\n")),
        (400, post("/v1/publish", "Idempotency-Key: a b\r\n", r#"{"channel":"a","data":1}"#)),
    ]
}

fn paths() -> Vec<(u16, String)> {
    let methods = ["PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "GET"];
    let mut requests: Vec<(u16, String)> =
        methods.map(|method| (405, head(method, "/v1/publish", ""))).into();
    requests.extend(
        ["/", "/v1", "/v1/", "/v2/publish", "/v1/publish/", "/v1//publish"].map(|path| (404, get(path, ""))),
    );
    requests.extend(
        ["%FF", "a%20b", "%24status", "%2e%2e%2f", "", "a%00", "%zz"]
            .map(|name| (400, get(&format!("/v1/channels/{name}"), ""))),
    );
    requests.extend(
        ["after=-1", "after=1&before=2", "limit=x", "x=1", "after=1&after=1"]
            .map(|query| (400, get(&format!("/v1/channels/a/history?{query}"), ""))),
    );
    requests
}

fn bodies() -> Vec<(u16, String)> {
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let channels = vec!["\"a\""; 1_001].join(",");
    let long = |count: usize| "x".repeat(count);
    vec![
        (400, publish("")),
        (400, publish(" ")),
        (400, publish("null")),
        (400, publish("[]")),
        (400, publish("{")),
        (400, publish("{}")),
        (400, publish(r#"{"channel":"a","data":1}{}"#)),
        (400, publish(r#"{"channel":"a","data":1,"data":2}"#)),
        (400, publish(r#"{"channel":"a","data":1,"dаta":2}"#)),
        (400, publish(r#"{"channel":"a","data":NaN}"#)),
        (400, publish("{\"channel\":\"a\",\"data\":\"\u{1}\"}")),
        (400, publish(r#"{"channel":1,"data":1}"#)),
        (400, publish(r#"{"channel":"","data":1}"#)),
        (400, publish(r#"{"channel":"$status","data":1}"#)),
        (400, publish(&format!(r#"{{"channel":"{}","data":1}}"#, long(129)))),
        (400, publish(&format!(r#"{{"channel":"a","key":"{}","data":1}}"#, long(65)))),
        (400, publish(r#"{"channel":"a","key":"a b","data":1}"#)),
        (400, publish(r#"{"channel":"a","user":"","data":1}"#)),
        (400, publish(r#"{"channel":"a","user":"$api:b","data":1}"#)),
        (400, publish(r#"{"channel":"a","data":1,"edits":0}"#)),
        (400, publish(r#"{"channel":"a","data":1,"edits":1.5}"#)),
        (400, publish(r#"{"channel":"a","data":1,"edits":1,"deletes":1}"#)),
        (400, publish(&format!(r#"{{"channel":"a","data":{}}}"#, deep(10_000)))),
        (413, publish(&format!(r#"{{"channel":"a","data":"{}"}}"#, long(70_000)))),
        (400, post("/v1/batch", "", "{}")),
        (400, post("/v1/batch", "", r#"{"items":1}"#)),
        (400, post("/v1/batch", "", r#"{"items":[1]}"#)),
        (413, post("/v1/broadcast", "", &format!(r#"{{"channels":[{channels}],"data":1}}"#))),
        (400, post("/v1/broadcast", "", r#"{"channels":"a","data":1}"#)),
        (400, post("/v1/signal", "", r#"{"channel":"a","data":1,"key":"k"}"#)),
    ]
}

#[test]
fn bad_requests_have_their_status_and_leave_the_connection_as_they_say() {
    let gateway = setup().start();
    let requests: Vec<(u16, String)> = heads().into_iter().chain(paths()).chain(bodies()).collect();
    assert!(requests.len() >= 60);
    let mut wrong = Vec::new();
    for (status, request) in &requests {
        let shown: String = request.chars().take(120).collect();
        let mut raw = RawClient::from(TcpStream::connect(address_of(&gateway)).expect("it listens"));
        raw.write(request.as_bytes());
        let response = if request.starts_with("HEAD") { raw.head() } else { raw.response() };
        if response.status != *status {
            wrong.push(format!("{} instead of {status}: {shown:?} {}", response.status, response.body));
        }
        match response.header("connection") {
            Some("close") => raw.expect_end(),
            _ => {
                raw.write(get("/v1/channels/room.7", "").as_bytes());
                assert_eq!(raw.response().status, 200, "after {shown:?}: {response:?}");
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(!gateway.output().contains("panicked"), "{}", gateway.output());
}
