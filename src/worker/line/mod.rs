//! A connection that keeps a deadline.
//!
//! A stopped server's kernel still acknowledges, so nothing but our own clock ends a wait. Every read and write here is bounded
//! by what is left until the deadline of the whole look, never by a timeout that starts anew with each byte. So a look needs no
//! thread that could be left behind. What a peer may send in one look is bounded as well.
//!
//! The libraries of each protocol work over it as codecs. That is also what lets every connection leave from a configured address.

pub(in crate::worker) mod binding;
pub(in crate::worker) mod postgres;
pub(in crate::worker) mod resolve;
pub(in crate::worker) mod tls;
pub(in crate::worker) mod trouble;

use self::resolve::Resolver;
use self::tls::Trust;
use self::trouble::Trouble;
use crate::health::finding::Fault;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::retry_on_intr;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What one look may read: an answer is some hundred bytes, an HTTP body is cut at 64 KiB.
const LOOK_BYTES_MAX: usize = 256 * 1024;

/// Least time a socket call is given: zero would mean "for ever".
const LEAST_WAIT: Duration = Duration::from_millis(1);

/// The clock of whoever waits on a line.
#[allow(
    clippy::disallowed_methods,
    reason = "a line is used by a worker's thread and keeps its own deadline"
)]
pub(in crate::worker) fn now() -> Instant {
    Instant::now()
}

/// Time until `deadline`.
pub(in crate::worker) fn left(deadline: Instant, now: Instant) -> Duration {
    deadline.saturating_duration_since(now)
}

/// Where a connection leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::worker) enum Peer {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

impl std::fmt::Display for Peer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Peer::Tcp { host, port } => write!(formatter, "{host}:{port}"),
            Peer::Unix(path) => write!(formatter, "{}", path.display()),
        }
    }
}

/// Opens connections for one thread.
#[derive(Debug)]
pub(in crate::worker) struct Dialer {
    pub(in crate::worker) source: Option<IpAddr>,
    pub(in crate::worker) trust: Trust,
    pub(in crate::worker) resolver: Resolver,
}

impl Dialer {
    /// Connects; with several addresses each gets its share of the time that is left.
    pub(in crate::worker) fn dial(&mut self, peer: &Peer, deadline: Instant) -> Result<Line, Trouble> {
        let (host, port) = match peer {
            Peer::Unix(path) => return dial_unix(peer, path, deadline),
            Peer::Tcp { host, port } => (host, *port),
        };
        let addresses = self.resolver.resolve(host, port, deadline)?;
        let fitting: Vec<SocketAddr> = addresses
            .into_iter()
            .filter(|address| self.source.is_none_or(|source| source.is_ipv4() == address.is_ipv4()))
            .collect();
        let mut trouble = Trouble::no_route(&peer.to_string());
        let count = fitting.len();
        for (index, address) in fitting.into_iter().enumerate() {
            let share = left(deadline, now()) / u32::try_from(count - index).unwrap_or(u32::MAX);
            match self.connect(address, share.max(LEAST_WAIT)) {
                Ok(socket) => return Ok(Line::new(socket, peer, deadline)),
                Err(error) => trouble = Trouble::of_io(&peer.to_string(), &error),
            }
        }
        Err(trouble)
    }

    fn connect(&self, address: SocketAddr, timeout: Duration) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(source) = self.source {
            socket
                .bind(&SocketAddr::new(source, 0).into())
                .map_err(|error| Trouble::of_source(source, &error).into_io())?;
        }
        socket.connect_timeout(&address.into(), timeout)?;
        Ok(socket)
    }
}

fn dial_unix(peer: &Peer, path: &PathBuf, deadline: Instant) -> Result<Line, Trouble> {
    let connect = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.connect_timeout(&SockAddr::unix(path)?, left(deadline, now()).max(LEAST_WAIT))?;
        Ok(socket)
    };
    let socket = connect().map_err(|error: io::Error| Trouble::of_io(&peer.to_string(), &error))?;
    Ok(Line::new(socket, peer, deadline))
}

/// See the module.
#[derive(Debug)]
pub(in crate::worker) struct Line {
    stream: Stream,
    peer: String,
    bytes_left: usize,
    /// What ended a read or a write, for codecs that do not pass it on.
    trouble: Option<Trouble>,
    /// The peer has ended its side.
    has_ended: bool,
}

#[derive(Debug)]
enum Stream {
    Plain(Plain),
    Tls(Box<StreamOwned<ClientConnection, Plain>>),
}

impl Line {
    fn new(socket: Socket, peer: &Peer, deadline: Instant) -> Line {
        let stream = Stream::Plain(Plain { socket, deadline, waits: Waits::ToDeadline });
        Line { stream, peer: peer.to_string(), bytes_left: LOOK_BYTES_MAX, trouble: None, has_ended: false }
    }

    /// Begins a look on a kept connection.
    pub(in crate::worker) fn begin(&mut self, deadline: Instant) {
        self.set_deadline(deadline);
        self.bytes_left = LOOK_BYTES_MAX;
        self.trouble = None;
    }

    pub(in crate::worker) fn set_deadline(&mut self, deadline: Instant) {
        match &mut self.stream {
            Stream::Plain(plain) => plain.deadline = deadline,
            Stream::Tls(tls) => tls.sock.deadline = deadline,
        }
    }

    /// Whether reads wait. Writes always do.
    pub(in crate::worker) fn set_waits(&mut self, waits: Waits) {
        match &mut self.stream {
            Stream::Plain(plain) => plain.waits = waits,
            Stream::Tls(tls) => tls.sock.waits = waits,
        }
    }

    /// What ended the last read or write; a codec's own error where it was not the line.
    pub(in crate::worker) fn trouble_or(&mut self, error: impl std::fmt::Display) -> Trouble {
        self.trouble.take().unwrap_or_else(|| {
            Trouble::new(Fault::Protocol, format!("{} answers with something else: {error}", self.peer))
        })
    }

    /// Speaks TLS from here on; the certificate must be valid for `name`.
    pub(in crate::worker) fn secure(self, trust: &Trust, name: &str) -> Result<Line, Trouble> {
        let Line { stream, peer, bytes_left, .. } = self;
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
        let stream = Stream::Tls(Box::new(StreamOwned::new(tls, plain)));
        Ok(Line { stream, peer, bytes_left, trouble: None, has_ended: false })
    }

    /// The certificate that the peer showed, in DER.
    pub(in crate::worker) fn certificate(&self) -> Option<&[u8]> {
        match &self.stream {
            Stream::Plain(_) => None,
            Stream::Tls(tls) => tls.conn.peer_certificates()?.first().map(AsRef::as_ref),
        }
    }

    pub(in crate::worker) fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// True exactly when a read met the end of what the peer sends. That is an error here, since most codecs wait for more.
    pub(in crate::worker) fn has_ended(&self) -> bool {
        self.has_ended
    }

    pub(in crate::worker) fn peer(&self) -> &str {
        &self.peer
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
            let text = format!("{} sends more than {LOOK_BYTES_MAX} bytes in one look", self.peer);
            return Err(self.keep(Trouble::new(Fault::Protocol, text).into_io()));
        }
        let bound = buffer.len().min(self.bytes_left);
        let buffer = buffer.get_mut(..bound).unwrap_or_default();
        let read = match &mut self.stream {
            Stream::Plain(plain) => plain.read(buffer),
            Stream::Tls(tls) => tls.read(buffer),
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
            Stream::Tls(tls) => tls.write(bytes),
        };
        written.map_err(|error| self.keep(error))
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = match &mut self.stream {
            Stream::Plain(_) => Ok(()),
            Stream::Tls(tls) => tls.flush(),
        };
        flushed.map_err(|error| self.keep(error))
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.stream {
            Stream::Plain(plain) => plain.socket.as_fd(),
            Stream::Tls(tls) => tls.sock.socket.as_fd(),
        }
    }
}

/// How long a read waits for bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::worker) enum Waits {
    /// Until they come, at most to the deadline.
    ToDeadline,
    /// Not at all: where none are there it ends as it does at the deadline.
    Never,
}

/// The socket, each of whose calls ends at the deadline.
#[derive(Debug)]
struct Plain {
    socket: Socket,
    deadline: Instant,
    waits: Waits,
}

impl Plain {
    fn wait(&self) -> io::Result<Duration> {
        let left = left(self.deadline, now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left.max(LEAST_WAIT)) }
    }
}

impl Read for Plain {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.waits == Waits::Never {
            // One that is closed is readable as well.
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
