//! A connection that keeps a deadline.
//!
//! A stopped server's kernel still acknowledges, so only our own clock ends a wait. Every read and write here is bounded by
//! the time until the deadline of the whole look, never by a timeout that restarts with each byte. Therefore, a look needs no
//! thread that could remain after it. The bytes that a peer may send in one look are bounded as well.
//!
//! The libraries of each protocol work over it as codecs. That also lets every connection leave from a configured address.

use super::deadline::{LEAST_WAIT, left, now};
use super::peer::PeerAddress;
use super::tls::TlsTrust;
use super::trouble::Trouble;
use crate::health::finding::Fault;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::retry_on_intr;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use socket2::{Domain, Socket, TcpKeepalive};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// The bytes one look may read: an answer is some hundred bytes, an HTTP body is cut at 64 KiB.
const LOOK_BYTES_MAX: usize = 256 * 1024;
/// The time for the last bytes of a connection, and for the peer's end. It is short because a frozen peer takes all of it.
const FAREWELL_MAX: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Line {
    stream: Stream,
    peer: String,
    /// The bound on what is read between two calls of `begin`.
    bytes_max: usize,
    bytes_left: usize,
    /// The error that ended a read or a write, for codecs that do not pass it on.
    trouble: Option<Trouble>,
    /// The peer has closed its side.
    has_ended: bool,
}

#[derive(Debug)]
enum Stream {
    Plain(Plain),
    Tls(Box<Encrypted>),
}

impl Line {
    pub(super) fn new(socket: Socket, peer: &PeerAddress, deadline: Instant) -> Line {
        let stream = Stream::Plain(Plain { socket, deadline, waits: ReadWait::ToDeadline });
        let (peer, bytes_max) = (peer.to_string(), LOOK_BYTES_MAX);
        Line { stream, peer, bytes_max, bytes_left: bytes_max, trouble: None, has_ended: false }
    }

    /// Sets how much may be read after each `begin`.
    pub(crate) fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    /// Makes the kernel end a TCP connection if the peer acknowledges nothing for this long, or ignores keepalive probes.
    pub(crate) fn keep_alive(&self, unacknowledged_max: Duration) -> io::Result<()> {
        let Stream::Plain(Plain { socket, .. }) = &self.stream else { return Ok(()) };
        if socket.domain()? == Domain::UNIX {
            return Ok(());
        }
        socket.set_tcp_user_timeout(Some(unacknowledged_max))?;
        let alive = TcpKeepalive::new().with_time(Duration::from_secs(10));
        socket.set_tcp_keepalive(&alive.with_interval(Duration::from_secs(2)).with_retries(3))
    }

    /// Begins a look on a kept connection.
    pub(crate) fn begin(&mut self, deadline: Instant) {
        self.set_deadline(deadline);
        self.bytes_left = self.bytes_max;
        self.trouble = None;
    }

    pub(crate) fn set_deadline(&mut self, deadline: Instant) {
        match &mut self.stream {
            Stream::Plain(plain) => plain.deadline = deadline,
            Stream::Tls(tls) => tls.0.sock.deadline = deadline,
        }
    }

    /// Sets how long reads wait. Writes always wait.
    pub(crate) fn set_waits(&mut self, waits: ReadWait) {
        match &mut self.stream {
            Stream::Plain(plain) => plain.waits = waits,
            Stream::Tls(tls) => tls.0.sock.waits = waits,
        }
    }

    /// The error of the last read or write; the codec's own error if the line had none.
    pub(crate) fn trouble_or(&mut self, error: impl std::fmt::Display) -> Trouble {
        self.trouble.take().unwrap_or_else(|| {
            Trouble::new(Fault::Protocol, format!("{} answers with something else: {error}", self.peer))
        })
    }

    /// Starts TLS on the connection; the certificate must be valid for `name`.
    pub(crate) fn secure(self, trust: &TlsTrust, name: &str) -> Result<Line, Trouble> {
        let Line { stream, peer, bytes_max, bytes_left, .. } = self;
        let Stream::Plain(mut plain) = stream else {
            return Err(Trouble::new(Fault::Tls, format!("{peer} speaks TLS already")));
        };
        let name = name.trim_matches(['[', ']']).to_string();
        let server = ServerName::try_from(name.clone()).map_err(|_| {
            Trouble::new(Fault::Tls, format!("{name} is not a name that a certificate can have"))
        })?;
        let mut tls = ClientConnection::new(trust.config()?, server)
            .map_err(|error| Trouble::new(Fault::Tls, format!("TLS with {peer} failed: {error}")))?;
        while tls.is_handshaking() {
            tls.complete_io(&mut plain).map_err(|error| match Trouble::of_io(&peer, &error) {
                Trouble { fault: Fault::Reset, .. } => {
                    Trouble::new(Fault::Tls, format!("{peer} ended the connection in the TLS handshake"))
                }
                other => other,
            })?;
        }
        let stream = Stream::Tls(Box::new(Encrypted(StreamOwned::new(tls, plain))));
        Ok(Line { stream, peer, bytes_max, bytes_left, trouble: None, has_ended: false })
    }

    /// The peer's certificate in DER.
    pub(crate) fn certificate(&self) -> Option<&[u8]> {
        match &self.stream {
            Stream::Plain(_) => None,
            Stream::Tls(tls) => tls.0.conn.peer_certificates()?.first().map(AsRef::as_ref),
        }
    }

    pub(crate) fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// True if as much was read since the last `begin` as may be.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.bytes_left == 0
    }

    /// True if a read met the end of the peer's data. That is an error here, because most codecs expect more.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// True if the peer has sent nothing, not even its end.
    pub(crate) fn is_silent(&self) -> bool {
        let mut ready = [PollFd::new(self, PollFlags::IN)];
        retry_on_intr(|| rustix::event::poll(&mut ready, Some(&Timespec::default())))
            .is_ok_and(|count| count == 0)
    }

    pub(crate) fn peer(&self) -> &str {
        &self.peer
    }

    /// Sends the last bytes of the protocol, without failing, within [`FAREWELL_MAX`].
    pub(crate) fn say_last(&mut self, bytes: &[u8]) {
        self.set_deadline(now() + FAREWELL_MAX);
        // The peer may be gone.
        let _ = self.write_all(bytes).and_then(|()| self.flush());
    }

    /// Waits until the peer has closed, for what is left of [`FAREWELL_MAX`]. A peer that sends something to a closed socket
    /// gets a reset, and reports that as a fault.
    pub(crate) fn await_end(&mut self) {
        self.bytes_left = self.bytes_max;
        let mut thrown_away = [0; 1024];
        while self.read(&mut thrown_away).is_ok() {}
    }

    fn keep(&mut self, error: io::Error) -> io::Error {
        let trouble = Trouble::of_io(&self.peer, &error);
        self.trouble = Some(trouble.clone());
        trouble.into_io()
    }
}

impl Read for Line {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.bytes_left == 0 {
            let text = format!("{} sends more than {} bytes in one look", self.peer, self.bytes_max);
            return Err(self.keep(Trouble::new(Fault::Protocol, text).into_io()));
        }
        let bound = buffer.len().min(self.bytes_left);
        let buffer = buffer.get_mut(..bound).unwrap_or_default();
        let read = match &mut self.stream {
            Stream::Plain(plain) => plain.read(buffer),
            Stream::Tls(tls) => tls.0.read(buffer),
        };
        match read {
            Ok(0) if bound > 0 => {
                self.has_ended = true;
                Err(self.keep(io::ErrorKind::UnexpectedEof.into()))
            }
            Ok(count) => {
                self.bytes_left -= count;
                Ok(count)
            }
            Err(error) => Err(self.keep(error)),
        }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.stream {
            Stream::Plain(plain) => plain.write(bytes),
            Stream::Tls(tls) => tls.0.write(bytes),
        };
        written.map_err(|error| self.keep(error))
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = match &mut self.stream {
            Stream::Plain(_) => Ok(()),
            Stream::Tls(tls) => tls.0.flush(),
        };
        flushed.map_err(|error| self.keep(error))
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.stream {
            Stream::Plain(plain) => plain.socket.as_fd(),
            Stream::Tls(tls) => tls.0.sock.socket.as_fd(),
        }
    }
}

/// A connection with TLS, which ends with a close_notify: without one, the peer cannot tell an end from an attack.
#[derive(Debug)]
struct Encrypted(StreamOwned<ClientConnection, Plain>);

impl Drop for Encrypted {
    fn drop(&mut self) {
        self.0.sock.deadline = now() + FAREWELL_MAX;
        self.0.conn.send_close_notify();
        // The peer may be gone.
        let _ = self.0.flush();
    }
}

/// How long a read waits for bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadWait {
    /// At most until the deadline.
    ToDeadline,
    /// Not at all: without bytes it ends as it does at the deadline.
    Never,
}

/// The socket, each of whose calls ends at the deadline.
#[derive(Debug)]
struct Plain {
    socket: Socket,
    deadline: Instant,
    waits: ReadWait,
}

impl Plain {
    fn wait(&self) -> io::Result<Duration> {
        let left = left(self.deadline, now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left.max(LEAST_WAIT)) }
    }
}

impl Read for Plain {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.waits == ReadWait::Never {
            // A closed connection is readable as well.
            let mut ready = [PollFd::new(&self.socket, PollFlags::IN)];
            if retry_on_intr(|| rustix::event::poll(&mut ready, Some(&Timespec::default())))? == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        loop {
            self.socket.set_read_timeout(Some(self.wait()?))?;
            match self.socket.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

impl Write for Plain {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            self.socket.set_write_timeout(Some(self.wait()?))?;
            match self.socket.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
