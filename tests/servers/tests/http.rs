//! The HTTP service.

use crate::servers::{Answer, Http};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(30);

fn open(http: &Http) -> TcpStream {
    let stream = TcpStream::connect(http.address()).expect("it listens");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    stream
}

fn send(mut stream: &TcpStream, path: &str) {
    write!(stream, "POST {path} HTTP/1.1\r\nHost: a\r\nX-Who: me\r\nContent-Length: 2\r\n\r\nhi")
        .expect("taken");
}

/// Reads until the text ends in `end`.
fn receive(mut stream: &TcpStream, end: &str) -> String {
    let mut text = String::new();
    let mut byte = [0];
    while !text.ends_with(end) {
        stream.read_exact(&mut byte).unwrap_or_else(|error| panic!("after {text:?}: {error}"));
        text.push(byte[0].into());
    }
    text
}

#[test]
fn scripted_answers_are_sent_and_requests_recorded() {
    let http = Http::start();
    http.answer("/a", Answer::json(503, r#"{"a":1}"#));
    let stream = open(&http);
    send(&stream, "/a?b=c");
    let text = receive(&stream, "}");
    assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
    assert!(text.ends_with("\r\n\r\n{\"a\":1}"), "{text}");
    send(&stream, "/other");
    assert!(receive(&stream, "{}").starts_with("HTTP/1.1 200 "), "one connection serves many requests");
    let requests = http.requests();
    assert_eq!(requests.len(), 2);
    let first = &requests[0];
    assert_eq!((first.method.as_str(), first.path.as_str(), first.body.as_str()), ("POST", "/a?b=c", "hi"));
    assert_eq!(first.headers["x-who"], "me");
}

#[test]
fn answer_is_delayed_or_withheld() {
    let http = Http::start();
    http.answer("", Answer::json(200, "{}").after(Duration::from_millis(120)));
    let stream = open(&http);
    let asked = Instant::now();
    send(&stream, "/");
    receive(&stream, "{}");
    assert!(asked.elapsed() >= Duration::from_millis(120));
    http.answer("", Answer::Hang);
    send(&stream, "/");
    stream.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
    let kind = (&stream).read_exact(&mut [0]).expect_err("no answer").kind();
    assert!(matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{kind}");
}

#[test]
fn answer_is_replaced_or_cut_by_a_reset() {
    let http = Http::start();
    http.answer("", Answer::Reset);
    let stream = open(&http);
    send(&stream, "/");
    assert_eq!((&stream).read_exact(&mut [0]).expect_err("a reset").kind(), ErrorKind::ConnectionReset);
    http.answer("", Answer::HalfThenReset { body: "0123456789".into() });
    let stream = open(&http);
    send(&stream, "/");
    assert!(receive(&stream, "01234").contains("Content-Length: 10\r\n"));
    assert_eq!((&stream).read_exact(&mut [0]).expect_err("a reset").kind(), ErrorKind::ConnectionReset);
}

#[test]
fn stopped_service_refuses_connections_and_restarts_on_its_port() {
    let mut http = Http::start();
    http.answer("", Answer::json(418, "{}"));
    let stream = open(&http);
    http.stop();
    let end = (&stream).read_exact(&mut [0]).expect_err("an orderly end");
    assert_eq!(end.kind(), ErrorKind::UnexpectedEof);
    let refused = TcpStream::connect(http.address()).expect_err("the port is closed");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    http.start_again();
    let stream = open(&http);
    send(&stream, "/");
    assert!(receive(&stream, "{}").starts_with("HTTP/1.1 418 "));
}
