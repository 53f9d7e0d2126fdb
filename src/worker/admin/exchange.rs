//! One request over a blocking socket, with a deadline for each step of it.

use super::route::Refusal;
use crate::clock::{Moment, Now};
use crate::wire::request::{Body, Head, HeadLimits, HttpFault, Method, Parsed, parse};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// Bytes of a body: no action needs more than a line.
const BODY_BYTES_MAX: usize = 1_024;
/// From the first byte of an answer to its last: a scrape fits in the socket's buffer.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// Reading on after our last byte, so that a reset does not overtake it.
const LINGER_TIMEOUT: Duration = Duration::from_millis(500);
/// Bytes read and thrown away meanwhile.
const LINGER_BYTES_MAX: usize = 64 << 10;

/// A request by somebody who has the token.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    /// As it was sent.
    pub(super) path: String,
    pub(super) body: Vec<u8>,
}

/// Why there is no request to answer.
#[derive(Debug)]
pub(super) enum Unheard {
    /// Nobody is there to be told.
    Gone,
    /// No head we read on from.
    Malformed(HttpFault),
    /// A head that is refused, whatever it asks for.
    Refused(Method, Refusal),
}

/// Reads one request. `knows` says whether a token is the right one: without it nothing more is read.
pub(super) fn receive(
    mut stream: &TcpStream,
    limits: HeadLimits,
    within: Duration,
    clock: &impl Fn() -> Now,
    knows: impl Fn(&[u8]) -> bool,
) -> Result<Request, Unheard> {
    let deadline = clock().at + within;
    let bound_ms = u32::try_from(within.as_millis()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(1_024);
    loop {
        match parse(&bytes, limits) {
            Parsed::Refused(fault) => return Err(Unheard::Malformed(fault)),
            Parsed::Partial => more(stream, &mut bytes, deadline, clock)
                .map_err(|silence| silence.unheard(HttpFault::HeadTimeout { bound_ms }))?,
            Parsed::Complete(head) => {
                let method = head.method;
                let refuse = |refusal| Unheard::Refused(method, refusal);
                if !token_of(&head).is_some_and(knows) {
                    return Err(refuse(Refusal::unauthorized()));
                }
                let wanted = head.length + body_bytes(&head).map_err(refuse)?;
                let (path, length) = (head.path.to_owned(), head.length);
                if bytes.len() < wanted && head.values("expect").next().is_some() {
                    stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").map_err(|_| Unheard::Gone)?;
                }
                while bytes.len() < wanted {
                    more(stream, &mut bytes, deadline, clock)
                        .map_err(|silence| silence.unheard(HttpFault::HeadTimeout { bound_ms }))?;
                }
                let body = bytes.get(length..wanted).unwrap_or_default().to_vec();
                return Ok(Request { method, path, body });
            }
        }
    }
}

/// The one token that a head shows.
fn token_of<'a>(head: &Head<'a>) -> Option<&'a [u8]> {
    let mut shown = head.values("authorization");
    let (Some(value), None) = (shown.next(), shown.next()) else { return None };
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

/// How long the body is that follows.
fn body_bytes(head: &Head<'_>) -> Result<usize, Refusal> {
    match head.body {
        Body::None => Ok(0),
        Body::Declared => {
            let digits = head.values("content-length").next().ok_or_else(Refusal::no_length)?;
            let length = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<usize>().ok());
            length
                .filter(|length| *length <= BODY_BYTES_MAX)
                .ok_or_else(|| Refusal::body_too_large(BODY_BYTES_MAX))
        }
    }
}

/// Why no more bytes came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Silence {
    /// The peer went, or was shown out.
    Ended,
    /// Its time is over.
    TimedOut,
}

impl Silence {
    fn unheard(self, late: HttpFault) -> Unheard {
        match self {
            Silence::Ended => Unheard::Gone,
            Silence::TimedOut => Unheard::Malformed(late),
        }
    }
}

/// Takes in what has come, or waits for it until the deadline.
fn more(
    mut stream: &TcpStream,
    bytes: &mut Vec<u8>,
    deadline: Moment,
    clock: &impl Fn() -> Now,
) -> Result<(), Silence> {
    let mut chunk = [0; 2_048];
    loop {
        let left = deadline.since(clock().at);
        if left.is_zero() {
            return Err(Silence::TimedOut);
        }
        stream.set_read_timeout(Some(left)).map_err(|_| Silence::Ended)?;
        match stream.read(&mut chunk) {
            Ok(0) => return Err(Silence::Ended),
            Ok(count) => {
                bytes.extend_from_slice(chunk.get(..count).unwrap_or_default());
                return Ok(());
            }
            Err(error) if is_timeout(error.kind()) || error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Err(Silence::Ended),
        }
    }
}

/// Sends an answer; a peer that does not take it loses it at the deadline.
pub(super) fn send(mut stream: &TcpStream, mut bytes: &[u8], clock: &impl Fn() -> Now) {
    let deadline = clock().at + SEND_TIMEOUT;
    while !bytes.is_empty() {
        let left = deadline.since(clock().at);
        if left.is_zero() || stream.set_write_timeout(Some(left)).is_err() {
            return;
        }
        match stream.write(bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if is_timeout(error.kind()) || error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// Says that nothing follows, and waits for the peer to end the connection.
pub(super) fn linger(stream: &TcpStream, clock: &impl Fn() -> Now) {
    if stream.shutdown(Shutdown::Write).is_err() {
        return;
    }
    let deadline = clock().at + LINGER_TIMEOUT;
    let mut thrown_away = Vec::new();
    while thrown_away.len() < LINGER_BYTES_MAX && more(stream, &mut thrown_away, deadline, clock).is_ok() {}
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
