//! Requests over a blocking connection that stays open, with a deadline for each step.

use crate::clock::{Moment, Now};
use crate::job::places::TakenPlaces;
use crate::net::listener::ReadFailure;
use crate::net::served::ServedStream;
use crate::wire::api::problem::{ApiProblem, ProblemCode};
use crate::wire::request::{After, Body, Head, HeadLimits, HttpFault, Method, Parsed, Version, parse};
use std::time::Duration;

/// How long a connection may be silent between two requests.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// From the first byte of a body to its last.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// A request without its body.
#[derive(Debug)]
pub(super) struct ApiHead {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: String,
    /// The bearer token, if there is exactly one.
    pub(super) bearer: Option<Vec<u8>>,
    /// The value of `Idempotency-Key`.
    pub(super) key: Option<String>,
    pub(super) content: ContentType,
    pub(super) sender: Sender,
    pub(super) body: DeclaredBody,
    pub(super) version: Version,
    /// The state of the connection after the answer, if the body was read.
    pub(super) after: After,
    length: usize,
    pub(super) expects: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContentType {
    Json,
    /// `application/x-ndjson`: one JSON text per line.
    Lines,
    Other,
}

/// The kind of program that sends the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    Backend,
    /// A web page: it has an `Origin`.
    Page,
}

/// The length of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeclaredBody {
    None,
    Bytes(usize),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// Another `Transfer-Encoding`.
    Unknown,
}

/// The reason why there is no request to answer.
#[derive(Debug)]
pub(super) enum NoRequest {
    /// The peer is gone, was idle for too long, or had to give way.
    Gone,
    /// The head is malformed; nothing more is read.
    Malformed(HttpFault),
}

/// A connection. It keeps what was read beyond the current request.
pub(super) struct Exchange<'a, C> {
    stream: ServedStream<'a>,
    clock: &'a C,
    limits: HeadLimits,
    head_timeout: Duration,
    bytes: Vec<u8>,
    /// Freed when the connection has ended.
    place: Option<TakenPlaces>,
}

impl<'a, C: Fn() -> Now> Exchange<'a, C> {
    pub(super) fn new(
        stream: ServedStream<'a>,
        clock: &'a C,
        limits: HeadLimits,
        head_timeout: Duration,
    ) -> Exchange<'a, C> {
        Exchange { stream, clock, limits, head_timeout, bytes: Vec::new(), place: None }
    }

    /// Reads the head of the next request.
    pub(super) fn head(&mut self) -> Result<ApiHead, NoRequest> {
        if self.bytes.is_empty() {
            // Between requests a connection costs no buffer.
            self.bytes = Vec::new();
            let idle = (self.clock)().at + IDLE_TIMEOUT;
            self.more(idle).map_err(|_| NoRequest::Gone)?;
        }
        let deadline = (self.clock)().at + self.head_timeout;
        let bound_ms = u32::try_from(self.head_timeout.as_millis()).unwrap_or(u32::MAX);
        loop {
            match parse(&self.bytes, self.limits) {
                Parsed::Refused(fault) => return Err(NoRequest::Malformed(fault)),
                Parsed::Partial => self.more(deadline).map_err(|failure| match failure {
                    ReadFailure::Ended => NoRequest::Gone,
                    ReadFailure::TimedOut => NoRequest::Malformed(HttpFault::HeadTimeout { bound_ms }),
                })?,
                Parsed::Complete(head) => return Ok(ApiHead::of(&head)),
            }
        }
    }

    /// Reads the body that follows the head, and removes both from the buffer.
    pub(super) fn body(&mut self, head: &ApiHead, length: usize) -> Result<Vec<u8>, Option<ApiProblem>> {
        let wanted = head.length + length;
        if self.bytes.len() < wanted && head.expects {
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let deadline = (self.clock)().at + BODY_TIMEOUT;
        while self.bytes.len() < wanted {
            self.more(deadline).map_err(|failure| match failure {
                ReadFailure::Ended => None,
                ReadFailure::TimedOut => {
                    let detail = format!("the body was not complete within {} s", BODY_TIMEOUT.as_secs());
                    Some(ApiProblem::lasting(ProblemCode::Malformed, detail))
                }
            })?;
        }
        let rest = self.bytes.split_off(wanted);
        let mut request = std::mem::replace(&mut self.bytes, rest);
        request.drain(..head.length);
        Ok(request)
    }

    /// Removes the head from the buffer, and returns what was received after it.
    pub(super) fn take_rest(&mut self, head: &ApiHead) -> Vec<u8> {
        let mut received = std::mem::take(&mut self.bytes);
        received.drain(..head.length);
        received
    }

    /// Answers `Expect: 100-continue`, for which curl waits.
    pub(super) fn invite(&mut self, head: &ApiHead) {
        if head.expects {
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
    }

    /// The connection.
    pub(super) fn stream(&mut self) -> &mut ServedStream<'a> {
        &mut self.stream
    }

    /// Sends an answer. False if the peer does not take it in time.
    pub(super) fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.send(bytes, self.clock)
    }

    /// Holds a place until the connection has ended.
    pub(super) fn hold(&mut self, place: TakenPlaces) {
        self.place = Some(place);
    }

    /// Signals that nothing follows, and waits for the peer to close the connection.
    pub(super) fn linger(self) {
        self.stream.linger(self.clock);
    }

    fn more(&mut self, deadline: Moment) -> Result<(), ReadFailure> {
        self.stream.read_more(&mut self.bytes, deadline, self.clock)
    }
}

impl ApiHead {
    fn of(head: &Head<'_>) -> ApiHead {
        let text = |name| head.values(name).next().and_then(|value| std::str::from_utf8(value).ok());
        let has = |name| head.values(name).next().is_some();
        let kind = text("content-type").and_then(|value| value.split(';').next()).unwrap_or_default().trim();
        let content = match kind {
            kind if kind.eq_ignore_ascii_case("application/json") => ContentType::Json,
            kind if kind.eq_ignore_ascii_case("application/x-ndjson") => ContentType::Lines,
            _ => ContentType::Other,
        };
        let body = match (head.body, text("content-length")) {
            (Body::None, _) => DeclaredBody::None,
            (Body::Declared, Some(digits)) => {
                digits.parse().map_or(DeclaredBody::Bytes(usize::MAX), DeclaredBody::Bytes)
            }
            (Body::Declared, None) if is_chunked(head) => DeclaredBody::Chunked,
            (Body::Declared, None) => DeclaredBody::Unknown,
        };
        ApiHead {
            method: head.method,
            path: head.path.to_owned(),
            query: head.query.unwrap_or_default().to_owned(),
            bearer: head.bearer().map(<[u8]>::to_vec),
            key: idempotency_key(head),
            content,
            sender: if has("origin") { Sender::Page } else { Sender::Backend },
            body,
            version: head.version,
            after: head.after_body,
            length: head.length,
            expects: has("expect"),
        }
    }
}

/// True if `chunked` is the only transfer coding. Any other would have to be decoded first.
fn is_chunked(head: &Head<'_>) -> bool {
    let mut codings = head.values("transfer-encoding");
    let only = codings.next().filter(|_| codings.next().is_none());
    only.is_some_and(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

/// The value of `Idempotency-Key`. Several lines, and bytes that are no text, become a value that is no key: a key must not be ignored.
fn idempotency_key(head: &Head<'_>) -> Option<String> {
    let lines: Vec<_> = head.values("idempotency-key").map(String::from_utf8_lossy).collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}
