//! One socket: what it is for, and the few bytes that could not be dealt with at once.

use crate::upgrade::Path;
use mio::net::TcpStream;
use std::io::{self, ErrorKind, Read as _, Write as _};

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its upgrade.
    Head,
    /// Frames.
    Frames(Path),
}

/// One socket. Nothing is allocated for it but after half a frame, or when the kernel takes no more.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    /// What it waits for.
    pub(crate) stage: Stage,
    /// The beginning of a frame.
    pub(crate) partial: Vec<u8>,
    /// The one channel it is subscribed to, and its place among the subscribers there.
    pub(crate) subscription: Option<(usize, usize)>,
    waiting: Vec<u8>,
}

/// What one read gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    /// So many bytes, and the socket is empty.
    Drained(usize),
    /// The whole buffer; there may be more.
    Full(usize),
    /// The peer is gone.
    Closed,
}

impl Connection {
    /// A connection that was just accepted.
    pub(crate) fn new(stream: TcpStream) -> Connection {
        Connection {
            stream,
            stage: Stage::Head,
            partial: Vec::new(),
            subscription: None,
            waiting: Vec::new(),
        }
    }

    /// One read.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Got {
        match self.stream.read(buffer) {
            Ok(0) => Got::Closed,
            Ok(bytes) if bytes == buffer.len() => Got::Full(bytes),
            Ok(bytes) => Got::Drained(bytes),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Got::Drained(0),
            Err(_) => Got::Closed,
        }
    }

    /// One send; what the kernel does not take waits for it.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let taken = if self.waiting.is_empty() { self.stream.write(bytes) } else { Ok(0) };
        let taken = match taken {
            Ok(taken) => taken,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            // The read that follows meets the same and ends the connection.
            Err(_) => return,
        };
        if let Some(rest) = bytes.get(taken..)
            && !rest.is_empty()
        {
            self.waiting.extend_from_slice(rest);
        }
    }

    /// The kernel takes bytes again.
    pub(crate) fn writable(&mut self) {
        while !self.waiting.is_empty() {
            match self.stream.write(&self.waiting) {
                Ok(0) | Err(_) => return,
                Ok(taken) => drop(self.waiting.drain(..taken)),
            }
        }
        self.waiting = Vec::new();
    }

    /// What it is registered by.
    pub(crate) fn register(&mut self, registry: &mio::Registry, token: mio::Token) -> io::Result<()> {
        registry.register(&mut self.stream, token, mio::Interest::READABLE | mio::Interest::WRITABLE)
    }
}
