//! One connection of the crowd.

use crate::frame;
use crate::leave::Leave;
use crate::tls::Tls;
use mio::net::TcpStream;
use socket2::SockRef;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::time::{Duration, Instant};

/// The purpose of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// `/echo`
    Echo,
    /// `/ws` without a subscription.
    Publisher,
    /// `/ws`, subscribed to the channel with this number.
    Subscriber(u32),
    /// The same, and watches the members of its roster.
    Watcher(u32),
}

/// The state of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Not dialled yet, or lost.
    Away,
    /// The upgrade was sent; holds the accept key the answer must contain.
    Upgrading(String),
    Connecting,
    Subscribing,
    /// `subscribed` arrived; its replay is not complete.
    Syncing,
    Ready,
    /// We ended it and read what still arrives.
    Leaving {
        how: Leave,
        /// True once our close frame was answered.
        answered: bool,
    },
}

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) role: Role,
    pub(crate) stage: Stage,
    /// Incremented for each socket, so that references to an earlier socket can be recognised.
    pub(crate) serial: u32,
    /// When the current socket was dialled.
    pub(crate) dialed: Instant,
    /// Attempts since it was last ready.
    pub(crate) attempts: u32,
    /// The reconnect delay the server asked for.
    pub(crate) retry_ms: Option<u64>,
    /// The channel's head at the time of the subscription.
    pub(crate) head: u64,
    /// The start of an incomplete frame or HTTP head.
    pub(crate) partial: Vec<u8>,
    /// True exactly while it is on the list of members to flush.
    pub(crate) dirty: bool,
    stream: Option<TcpStream>,
    tls: Option<Box<Tls>>,
    waiting: Vec<u8>,
}

/// The result of one read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    /// This number of bytes, and the socket is empty.
    Drained(usize),
    /// The buffer is full.
    Full,
    /// The peer has closed, with the error if there was one.
    Closed(Option<ErrorKind>),
}

impl Member {
    /// Creates a member that is not dialled yet.
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

    /// Starts on a new socket and queues the first bytes for it.
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

    pub(crate) fn queue(&mut self, opcode: u8, payload: &[u8]) {
        frame::write(&mut self.waiting, opcode, payload, fastrand::u32(..));
    }

    /// True if all queued bytes have been written.
    pub(crate) fn has_sent_all(&self) -> bool {
        self.waiting.is_empty() && self.tls.as_ref().is_none_or(|tls| tls.has_sent_all())
    }

    /// True if its TLS handshake resumed an earlier session; `None` without TLS.
    pub(crate) fn resumed(&self) -> Option<bool> {
        self.tls.as_ref().map(|tls| tls.resumed())
    }

    /// Shuts down our half of the stream.
    pub(crate) fn end_half(&self) -> io::Result<()> {
        self.stream.as_ref().map_or(Ok(()), |stream| stream.shutdown(Shutdown::Write))
    }

    pub(crate) fn reset(&mut self) -> io::Result<()> {
        if let Some(stream) = &self.stream {
            SockRef::from(stream).set_linger(Some(Duration::ZERO))?;
        }
        self.drop_socket();
        Ok(())
    }

    /// Writes queued bytes until the kernel takes no more. Returns the number of bytes written.
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

    /// Reads once into `buffer`.
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
