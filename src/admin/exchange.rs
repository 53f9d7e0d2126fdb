//! One request over a blocking socket, with a deadline for each step.

use super::request::{self, BodyWait, ReceivedRequest, RequestStep};
use super::route::AdminRefusal;
use crate::clock::{Moment, Now};
use crate::wire::request::{HeadLimits, HttpFault, Method};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// From the first byte of an answer to its last: a scrape fits into the socket's buffer.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to read on after our last byte, so that a reset does not overtake it.
const LINGER_TIMEOUT: Duration = Duration::from_millis(500);
/// Bytes read and discarded meanwhile.
const LINGER_BYTES_MAX: usize = 64 << 10;

/// The reason why there is no request to answer.
#[derive(Debug)]
pub(super) enum Unheard {
    /// The peer is gone.
    Gone,
    /// The head is malformed; nothing more is read.
    Malformed(HttpFault),
    /// The head is refused, whatever it asks for.
    Refused(Method, AdminRefusal),
}

/// Reads one request. `knows` tests the token: without the right one nothing more is read.
pub(super) fn receive(
    mut stream: &TcpStream,
    limits: HeadLimits,
    within: Duration,
    clock: &impl Fn() -> Now,
    knows: impl Fn(&[u8]) -> bool,
) -> Result<ReceivedRequest, Unheard> {
    let deadline = clock().at + within;
    let bound_ms = u32::try_from(within.as_millis()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(1_024);
    let mut continued = false;
    loop {
        match request::read(&bytes, limits, &knows) {
            RequestStep::Complete(request) => return Ok(request),
            RequestStep::Malformed(fault) => return Err(Unheard::Malformed(fault)),
            RequestStep::Refused(method, refusal) => return Err(Unheard::Refused(method, refusal)),
            RequestStep::Body(BodyWait::Continue) if !std::mem::replace(&mut continued, true) => {
                stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").map_err(|_| Unheard::Gone)?;
            }
            RequestStep::Head | RequestStep::Body(_) => {}
        }
        more(stream, &mut bytes, deadline, clock)
            .map_err(|silence| silence.unheard(HttpFault::HeadTimeout { bound_ms }))?;
    }
}

/// The reason why no more bytes came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadFailure {
    /// The peer left, or its seat was taken.
    Ended,
    /// The deadline passed.
    TimedOut,
}

impl ReadFailure {
    fn unheard(self, late: HttpFault) -> Unheard {
        match self {
            ReadFailure::Ended => Unheard::Gone,
            ReadFailure::TimedOut => Unheard::Malformed(late),
        }
    }
}

/// Takes what has arrived, or waits for it until the deadline.
fn more(
    mut stream: &TcpStream,
    bytes: &mut Vec<u8>,
    deadline: Moment,
    clock: &impl Fn() -> Now,
) -> Result<(), ReadFailure> {
    let mut chunk = [0; 2_048];
    loop {
        let left = deadline.since(clock().at);
        if left.is_zero() {
            return Err(ReadFailure::TimedOut);
        }
        stream.set_read_timeout(Some(left)).map_err(|_| ReadFailure::Ended)?;
        match stream.read(&mut chunk) {
            Ok(0) => return Err(ReadFailure::Ended),
            Ok(count) => {
                bytes.extend_from_slice(chunk.get(..count).unwrap_or_default());
                return Ok(());
            }
            Err(error) if is_timeout(error.kind()) || error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Err(ReadFailure::Ended),
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

/// Signals that nothing follows, and waits for the peer to close the connection.
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
