//! One socket: its state, and the few bytes that could not be processed at once.

use crate::upgrade::Path;
use mio::net::TcpStream;
use std::io::{self, ErrorKind, Read as _, Write as _};

/// The input a connection expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The upgrade request.
    Head,
    /// Frames, on this path.
    Frames(Path),
}

/// One connection. It allocates only after an incomplete frame or when the kernel's send buffer is full.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    pub(crate) stage: Stage,
    /// The start of an incomplete frame.
    pub(crate) partial: Vec<u8>,
    /// Its one channel, and its index among the channel's subscribers.
    pub(crate) subscription: Option<(usize, usize)>,
    waiting: Vec<u8>,
}

/// The result of one read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    /// This number of bytes, and the socket is empty.
    Drained(usize),
    /// The buffer is full; there may be more.
    Full(usize),
    /// The peer has closed.
    Closed,
}

impl Connection {
    /// Creates the state of an accepted connection.
    pub(crate) fn new(stream: TcpStream) -> Connection {
        Connection {
            stream,
            stage: Stage::Head,
            partial: Vec::new(),
            subscription: None,
            waiting: Vec::new(),
        }
    }

    /// Reads once into `buffer`.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Got {
        match self.stream.read(buffer) {
            Ok(0) => Got::Closed,
            Ok(bytes) if bytes == buffer.len() => Got::Full(bytes),
            Ok(bytes) => Got::Drained(bytes),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Got::Drained(0),
            Err(_) => Got::Closed,
        }
    }

    /// Sends once; bytes the kernel does not take are queued.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let taken = if self.waiting.is_empty() { self.stream.write(bytes) } else { Ok(0) };
        let taken = match taken {
            Ok(taken) => taken,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            // The next read sees the error too and ends the connection.
            Err(_) => return,
        };
        if let Some(rest) = bytes.get(taken..)
            && !rest.is_empty()
        {
            self.waiting.extend_from_slice(rest);
        }
    }

    /// Sends queued bytes when the socket is writable again.
    pub(crate) fn writable(&mut self) {
        while !self.waiting.is_empty() {
            match self.stream.write(&self.waiting) {
                Ok(0) | Err(_) => return,
                Ok(taken) => drop(self.waiting.drain(..taken)),
            }
        }
        self.waiting = Vec::new();
    }

    /// Registers the socket with the poll.
    pub(crate) fn register(&mut self, registry: &mio::Registry, token: mio::Token) -> io::Result<()> {
        registry.register(&mut self.stream, token, mio::Interest::READABLE | mio::Interest::WRITABLE)
    }
}
