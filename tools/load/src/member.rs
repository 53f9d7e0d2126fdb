//! One connection of the crowd.

use crate::frame;
use crate::leave::Leave;
use crate::tls::Tls;
use mio::net::TcpStream;
use socket2::SockRef;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::time::{Duration, Instant};

/// What it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// `/echo`
    Echo,
    /// `/ws`, without a subscription.
    Speaker,
    /// `/ws`, subscribed to the channel with this number.
    Subscriber(u32),
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Not dialled, or lost.
    Away,
    /// The upgrade was sent; what its answer must accept.
    Upgrading(String),
    /// `connect` was sent.
    Connecting,
    /// `subscribe` was sent.
    Subscribing,
    /// `subscribed` came.
    Syncing,
    /// It does what it is for.
    Ready,
    /// We ended it, and read what still comes.
    Leaving {
        /// In which way.
        how: Leave,
        /// Whether our close frame was answered.
        answered: bool,
    },
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Member {
    /// What it is for.
    pub(crate) role: Role,
    /// How far it is.
    pub(crate) stage: Stage,
    /// Counts its sockets: who holds an older number speaks of one that is gone.
    pub(crate) serial: u32,
    /// When the present socket was dialled.
    pub(crate) dialed: Instant,
    /// Attempts since it was last ready.
    pub(crate) attempts: u32,
    /// What the server said about coming back.
    pub(crate) retry_ms: Option<u64>,
    /// The head of its channel when it subscribed.
    pub(crate) head: u64,
    /// The beginning of a frame or a head.
    pub(crate) partial: Vec<u8>,
    /// True exactly when it is on the list of those to flush.
    pub(crate) dirty: bool,
    stream: Option<TcpStream>,
    tls: Option<Box<Tls>>,
    waiting: Vec<u8>,
}

/// What one read gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    /// So many bytes, and the socket is empty.
    Drained(usize),
    /// The whole buffer.
    Full,
    /// The peer is gone.
    Closed(Option<ErrorKind>),
}

impl Member {
    /// A member that was not dialled yet.
    pub(crate) fn new(role: Role, now: Instant) -> Member {
        Member {
            role,
            stage: Stage::Away,
            serial: 0,
            dialed: now,
            attempts: 0,
            retry_ms: None,
            head: 0,
            partial: Vec::new(),
            dirty: false,
            stream: None,
            tls: None,
            waiting: Vec::new(),
        }
    }

    /// A new socket, and the first bytes for it.
    pub(crate) fn start(
        &mut self,
        (stream, tls): (TcpStream, Option<Box<Tls>>),
        accept: String,
        request: &[u8],
        now: Instant,
    ) {
        self.stream = Some(stream);
        self.tls = tls;
        self.stage = Stage::Upgrading(accept);
        self.dialed = now;
        self.waiting.extend_from_slice(request);
    }

    /// Closes the socket, if there is one.
    pub(crate) fn drop_socket(&mut self) {
        self.stream = None;
        self.tls = None;
        self.stage = Stage::Away;
        self.serial += 1;
        self.partial = Vec::new();
        self.waiting.clear();
    }

    /// Queues a frame.
    pub(crate) fn queue(&mut self, opcode: u8, payload: &[u8]) {
        frame::write(&mut self.waiting, opcode, payload, fastrand::u32(..));
    }

    /// Whether nothing of ours waits.
    pub(crate) fn has_sent_all(&self) -> bool {
        self.waiting.is_empty() && self.tls.as_ref().is_none_or(|tls| tls.has_sent_all())
    }

    /// Whether its TLS handshake resumed an earlier connection; `None` without TLS.
    pub(crate) fn resumed(&self) -> Option<bool> {
        self.tls.as_ref().map(|tls| tls.resumed())
    }

    /// Ends our half of the stream.
    pub(crate) fn end_half(&self) -> io::Result<()> {
        self.stream.as_ref().map_or(Ok(()), |stream| stream.shutdown(Shutdown::Write))
    }

    /// Closes the socket with a reset.
    pub(crate) fn reset(&mut self) -> io::Result<()> {
        if let Some(stream) = &self.stream {
            SockRef::from(stream).set_linger(Some(Duration::ZERO))?;
        }
        self.drop_socket();
        Ok(())
    }

    /// Sends what waits, as far as the kernel takes it: so many bytes.
    pub(crate) fn flush(&mut self) -> io::Result<usize> {
        let Some(stream) = &mut self.stream else { return Ok(0) };
        if let Some(tls) = &mut self.tls {
            return tls.flush(stream, &mut self.waiting);
        }
        let mut sent = 0;
        while let Some(rest) = self.waiting.get(sent..)
            && !rest.is_empty()
        {
            match stream.write(rest) {
                Ok(bytes) => sent += bytes,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        self.waiting.drain(..sent);
        Ok(sent)
    }

    /// One read.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Got {
        let Some(stream) = &mut self.stream else { return Got::Drained(0) };
        let read = match &mut self.tls {
            None => stream.read(buffer),
            Some(tls) => tls.read(stream, buffer),
        };
        match read {
            Ok(0) => Got::Closed(None),
            Ok(bytes) if bytes == buffer.len() => Got::Full,
            Ok(bytes) => Got::Drained(bytes),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Got::Drained(0),
            Err(error) => Got::Closed(Some(error.kind())),
        }
    }
}
