//! One connection through the proxy: two sockets and the bytes in transit between them.

use crate::mode::{Direction, Mode, Treatment};
use crate::pipe::{End, Noise, Pipe, Ready};
use crate::stats::{Counters, add};
use mio::net::TcpStream;
use socket2::SockRef;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

/// The maximum bytes read from a connection before it is cut; unread bytes would make the kernel send a reset.
const CUT_READ_MAX: usize = 1 << 20;

/// The maximum number of read and write rounds of a connection per turn.
const ROUNDS: usize = 32;

/// The connection to the server.
#[derive(Debug)]
enum Upstream {
    /// Not dialed yet, because nothing may pass.
    Waiting,
    Dialing(TcpStream),
    Open(TcpStream),
    /// Never dialed: the mode was a black hole.
    Never,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// One of its sides ended it.
    Own,
    /// A fault closed it in order.
    Cut,
    /// A fault reset it.
    Reset,
    /// A fault that applies once reset it.
    ResetOnce,
    /// It was reset because the server cannot be reached.
    Unreachable,
}

/// The result of a look at a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// It continues; it needs another look at this time even without an event.
    Alive(Option<Instant>),
    Ended(Ending),
}

/// Two sockets, a pipe in each direction, and the effect of the mode on this connection.
#[derive(Debug)]
pub(crate) struct Connection {
    number: u64,
    client: TcpStream,
    upstream: Upstream,
    requests: Pipe,
    answers: Pipe,
    /// Bytes of answers before a reset.
    answers_left: Option<u64>,
    noise: Option<Noise>,
    /// When it needs a look even without an event.
    pub(crate) due: Option<Instant>,
}

/// The context of a turn.
pub(crate) struct Turn<'a> {
    pub(crate) mode: Mode,
    pub(crate) now: Instant,
    pub(crate) buffer: &'a mut [u8],
    pub(crate) counters: &'a Counters,
}

impl Connection {
    pub(crate) fn new(number: u64, client: TcpStream, mode: Mode) -> Connection {
        let upstream = match mode.treatment() {
            Treatment::Swallow => Upstream::Never,
            Treatment::Serve | Treatment::Wait | Treatment::Cut | Treatment::Reset => Upstream::Waiting,
        };
        let mut connection = Connection {
            number,
            client,
            upstream,
            requests: Pipe::new(),
            answers: Pipe::new(),
            answers_left: None,
            noise: None,
            due: None,
        };
        connection.apply(mode);
        connection
    }

    /// Applies a new mode.
    pub(crate) fn apply(&mut self, mode: Mode) {
        self.answers_left = mode.answers_max();
        self.noise = mode.garble().map(|garble| Noise::new(garble, self.number));
    }

    pub(crate) fn client(&mut self) -> &mut TcpStream {
        &mut self.client
    }

    /// Dials the server if that is due, and returns the socket to register.
    pub(crate) fn dial(&mut self, mode: Mode, to: SocketAddr) -> std::io::Result<Option<&mut TcpStream>> {
        if !matches!(self.upstream, Upstream::Waiting) || mode.treatment() == Treatment::Wait {
            return Ok(None);
        }
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        self.upstream = Upstream::Dialing(stream);
        match &mut self.upstream {
            Upstream::Dialing(stream) => Ok(Some(stream)),
            Upstream::Waiting | Upstream::Open(_) | Upstream::Never => Ok(None),
        }
    }

    /// Moves bytes until nothing more can move or the turn's rounds are used up.
    pub(crate) fn look(&mut self, turn: &mut Turn<'_>) -> Look {
        if let Some(ending) = self.settle() {
            return Look::Ended(ending);
        }
        // A peer that sends continuously waits for the next turn, so that orders are handled in between.
        self.due = Some(turn.now);
        for _ in 0..ROUNDS {
            let read = self.take(turn);
            let (sent, due, ending) = self.give(turn);
            if let Some(ending) = ending {
                return Look::Ended(ending);
            }
            if !read && !sent {
                self.due = due;
                break;
            }
        }
        self.pass_ends(turn.mode)
    }

    /// Completes the dial, if its result is known.
    fn settle(&mut self) -> Option<Ending> {
        let Upstream::Dialing(stream) = &mut self.upstream else { return None };
        if !matches!(stream.take_error(), Ok(None)) {
            return Some(Ending::Unreachable);
        }
        if stream.peer_addr().is_ok() {
            match std::mem::replace(&mut self.upstream, Upstream::Waiting) {
                Upstream::Dialing(stream) => self.upstream = Upstream::Open(stream),
                Upstream::Waiting | Upstream::Open(_) | Upstream::Never => {}
            }
        }
        None
    }

    /// Reads both sides while there is room. True if anything arrived.
    fn take(&mut self, turn: &mut Turn<'_>) -> bool {
        if matches!(self.upstream, Upstream::Never) {
            return swallow(&mut self.client, &mut self.requests, turn);
        }
        let mut came = read(&mut self.client, &mut self.requests, None, turn);
        if let Upstream::Open(stream) = &mut self.upstream {
            came |= read(stream, &mut self.answers, self.noise.as_mut(), turn);
        }
        came
    }

    /// Writes what may pass to both sides. Returns whether anything moved, when more is due, and the ending if it ended.
    fn give(&mut self, turn: &mut Turn<'_>) -> (bool, Option<Instant>, Option<Ending>) {
        let Upstream::Open(stream) = &mut self.upstream else { return (false, None, None) };
        let mut went = (0, None);
        if !turn.mode.holds(Direction::Requests) {
            let Ok(written) = write(stream, &mut self.requests, None, turn) else {
                // The server's remaining bytes go first, then its end.
                self.requests = Pipe::over();
                return (true, None, None);
            };
            went = written;
            add(&turn.counters.request_bytes, went.0);
        }
        if turn.mode.holds(Direction::Answers) {
            return (went.0 > 0, went.1, None);
        }
        if self.answers_left == Some(0) && !self.answers.is_empty() {
            return (true, None, Some(reset_by(turn.mode)));
        }
        let Ok((count, due)) = write(&mut self.client, &mut self.answers, self.answers_left, turn) else {
            return (true, None, Some(Ending::Own));
        };
        add(&turn.counters.answer_bytes, count);
        let due = [went.1, due].into_iter().flatten().min();
        if let Some(left) = &mut self.answers_left {
            *left -= count.min(*left);
            if *left == 0 && count > 0 {
                return (true, None, Some(reset_by(turn.mode)));
            }
        }
        (went.0 + count > 0, due, None)
    }

    /// Forwards the end of each side to the other, after all its bytes.
    fn pass_ends(&mut self, mode: Mode) -> Look {
        let swallowed = matches!(self.upstream, Upstream::Never);
        if swallowed && self.requests.end != End::Open {
            return Look::Ended(Ending::Own);
        }
        let Upstream::Open(stream) = &mut self.upstream else { return Look::Alive(self.due) };
        let ways = [
            (&mut self.requests, Direction::Requests, &*stream),
            (&mut self.answers, Direction::Answers, &self.client),
        ];
        for (pipe, direction, to) in ways {
            if mode.holds(direction) || !pipe.is_empty() {
                continue;
            }
            match pipe.end {
                End::Broken => return Look::Ended(Ending::Own),
                End::Seen => {
                    // The other side may have closed as well.
                    let _ = to.shutdown(Shutdown::Write);
                    pipe.end = End::Forwarded;
                }
                End::Open | End::Forwarded => {}
            }
        }
        let over = |pipe: &Pipe| pipe.end == End::Forwarded;
        if over(&self.requests) && over(&self.answers) {
            Look::Ended(Ending::Own)
        } else {
            Look::Alive(self.due)
        }
    }

    /// Ends both sides in this way.
    pub(crate) fn end(mut self, ending: Ending, buffer: &mut [u8]) {
        let mut server = match self.upstream {
            Upstream::Dialing(stream) | Upstream::Open(stream) => Some(stream),
            Upstream::Waiting | Upstream::Never => None,
        };
        let broken = [self.requests.end, self.answers.end].contains(&End::Broken);
        match ending {
            Ending::Own if !broken => {}
            Ending::Cut => {
                drain(&mut self.client, buffer);
                if let Some(stream) = &mut server {
                    drain(stream, buffer);
                }
            }
            Ending::Own | Ending::Reset | Ending::ResetOnce | Ending::Unreachable => {
                for stream in std::iter::once(&self.client).chain(&server) {
                    // Closing now sends a reset (socket(7), SO_LINGER).
                    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
                }
            }
        }
    }
}

fn reset_by(mode: Mode) -> Ending {
    if matches!(mode, Mode::ResetOnce(_)) { Ending::ResetOnce } else { Ending::Reset }
}

/// Reads and discards what is available, up to a bound.
fn drain(stream: &mut TcpStream, buffer: &mut [u8]) {
    let mut left = CUT_READ_MAX;
    while let Ok(count @ 1..) = stream.read(buffer) {
        left = left.saturating_sub(count);
        if left == 0 {
            break;
        }
    }
    // The peer may have closed already.
    let _ = stream.shutdown(Shutdown::Write);
}

/// Reads into a pipe while it has room. True if anything arrived, including the end.
fn read(from: &mut TcpStream, into: &mut Pipe, mut noise: Option<&mut Noise>, turn: &mut Turn<'_>) -> bool {
    let mut came = false;
    while into.end == End::Open && into.room() > 0 {
        let room = into.room().min(turn.buffer.len());
        match from.read(&mut turn.buffer[..room]) {
            Ok(0) => into.end = End::Seen,
            Ok(count) => {
                let bytes = &mut turn.buffer[..count];
                if let Some(noise) = &mut noise {
                    add(&turn.counters.garbled, noise.over(bytes));
                }
                into.push(bytes, turn.now);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return came,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => into.end = End::Broken,
        }
        came = true;
    }
    came
}

/// Reads once and discards. True if anything arrived.
fn swallow(from: &mut TcpStream, pipe: &mut Pipe, turn: &mut Turn<'_>) -> bool {
    if pipe.end != End::Open {
        return false;
    }
    match from.read(turn.buffer) {
        Ok(0) => pipe.end = End::Seen,
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
        Err(error) if error.kind() == ErrorKind::Interrupted => {}
        Err(_) => pipe.end = End::Broken,
    }
    true
}

/// Writes what may pass, at most `bytes_max`. Returns the bytes written and when more is due.
fn write(
    to: &mut TcpStream,
    from: &mut Pipe,
    bytes_max: Option<u64>,
    turn: &Turn<'_>,
) -> std::io::Result<(u64, Option<Instant>)> {
    let mut went = 0;
    let pace = turn.mode.pace();
    loop {
        let left = bytes_max.map_or(u64::MAX, |most| most - went);
        let count = match from.ready(turn.now, pace) {
            Ready::At(at) => return Ok((went, Some(at))),
            Ready::Empty => return Ok((went, None)),
            Ready::Bytes(_) if left == 0 => return Ok((went, None)),
            Ready::Bytes(count) => count.min(usize::try_from(left).unwrap_or(usize::MAX)),
        };
        match to.write(from.first(count)) {
            Ok(count) => {
                from.went(count, turn.now, pace);
                went += count as u64;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok((went, None)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
