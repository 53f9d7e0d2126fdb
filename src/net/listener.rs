//! A listener whose connections are served by blocking threads, and their reads and writes with deadlines.

use super::seats::{Seat, Seats};
use crate::clock::{Moment, Now};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

/// From the first byte of an answer to its last.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to read on after our last byte, so that a reset does not overtake it.
const LINGER_TIMEOUT: Duration = Duration::from_millis(500);
/// Bytes read and discarded meanwhile.
const LINGER_BYTES_MAX: usize = 64 << 10;
/// The pause before accepting again after the system gave no descriptor.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// Bytes read at once at first, and at most.
const READ_BYTES: std::ops::RangeInclusive<usize> = 2 << 10..=64 << 10;

/// Bytes read at once from a socket that does not block.
const READ_NOW_BYTES: usize = 16 << 10;

/// Accepts for ever, and serves each connection on a thread of its own, as many at once as there are seats. `turned_out` counts
/// the connections that had to leave for another.
pub fn accept(
    listener: &TcpListener,
    seats: &Arc<Seats>,
    thread: &'static str,
    turned_out: impl Fn(u64),
    serve: impl Fn(&Seat, SocketAddr) + Clone + Send + 'static,
) {
    loop {
        let (stream, peer) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, thread, "accept failed");
                std::thread::park_timeout(ACCEPT_RETRY);
                continue;
            }
        };
        // An answer is one write. A peer that waits for it must not wait for its own acknowledgement as well.
        let _ = stream.set_nodelay(true);
        let (seat, count) = Seats::take(seats, stream);
        turned_out(count);
        let serve = serve.clone();
        let started = Builder::new().name(thread.into()).spawn(move || serve(&seat, peer));
        if let Err(error) = started {
            tracing::debug!(%error, thread, "thread could not start");
        }
    }
}

/// The reason why no more bytes came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFailure {
    /// The peer left, or its seat was taken.
    Ended,
    /// The deadline passed.
    TimedOut,
}

/// Appends what has arrived, or waits for it until the deadline.
pub fn read_more(
    mut stream: &TcpStream,
    bytes: &mut Vec<u8>,
    deadline: Moment,
    clock: &impl Fn() -> Now,
) -> Result<(), ReadFailure> {
    let before = bytes.len();
    let chunk = before.clamp(*READ_BYTES.start(), *READ_BYTES.end());
    loop {
        let left = deadline.since(clock().at);
        if left.is_zero() {
            return Err(ReadFailure::TimedOut);
        }
        stream.set_read_timeout(Some(left)).map_err(|_| ReadFailure::Ended)?;
        bytes.resize(before + chunk, 0);
        let read = stream.read(bytes.get_mut(before..).unwrap_or_default());
        bytes.truncate(before + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => return Err(ReadFailure::Ended),
            Ok(_) => return Ok(()),
            Err(error) if is_passing(&error) => {}
            Err(_) => return Err(ReadFailure::Ended),
        }
    }
}

/// Sends an answer. False if the peer did not take it in time.
pub fn send(stream: &TcpStream, bytes: &[u8], clock: &impl Fn() -> Now) -> bool {
    send_until(stream, bytes, send_deadline(clock), clock)
}

/// The deadline of an answer that is sent now.
pub fn send_deadline(clock: &impl Fn() -> Now) -> Moment {
    clock().at + SEND_TIMEOUT
}

/// Sends bytes. False if the peer did not take them by the deadline.
pub fn send_until(
    mut stream: &TcpStream,
    mut bytes: &[u8],
    deadline: Moment,
    clock: &impl Fn() -> Now,
) -> bool {
    while !bytes.is_empty() {
        let left = deadline.since(clock().at);
        if left.is_zero() || stream.set_write_timeout(Some(left)).is_err() {
            return false;
        }
        match stream.write(bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if is_passing(&error) => {}
            Err(_) => return false,
        }
    }
    true
}

/// Appends what has arrived on a socket that does not block; 0 if nothing has.
pub fn read_now(mut stream: &TcpStream, bytes: &mut Vec<u8>) -> Result<usize, ReadFailure> {
    let before = bytes.len();
    loop {
        bytes.resize(before + READ_NOW_BYTES, 0);
        let read = stream.read(bytes.get_mut(before..).unwrap_or_default());
        bytes.truncate(before + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => return Err(ReadFailure::Ended),
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if is_passing(&error) => return Ok(0),
            Err(_) => return Err(ReadFailure::Ended),
        }
    }
}

/// Sends what a socket takes that does not block. `None` if the peer is gone.
pub fn send_now(mut stream: &TcpStream, bytes: &[u8]) -> Option<usize> {
    let mut sent = 0;
    while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
        match stream.write(rest) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if is_passing(&error) => break,
            Err(_) => return None,
        }
    }
    Some(sent)
}

/// Signals that nothing follows, and waits for the peer to close the connection.
pub fn linger(stream: &TcpStream, clock: &impl Fn() -> Now) {
    if stream.shutdown(Shutdown::Write).is_err() {
        return;
    }
    let deadline = clock().at + LINGER_TIMEOUT;
    let mut discarded = Vec::new();
    while discarded.len() < LINGER_BYTES_MAX && read_more(stream, &mut discarded, deadline, clock).is_ok() {}
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
