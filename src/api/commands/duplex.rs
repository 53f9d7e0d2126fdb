//! A connection that is read and written by one thread at the same time.
//!
//! The socket does not block while this exists. The thread waits in a poll for the socket, or for the waker of its mailbox.

use crate::net::listener::ReadFailure;
use crate::net::served::ServedStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::Duration;

const SOCKET: Token = Token(0);
const MAILBOX: Token = Token(1);

/// A direction of the socket. The poll reports only changes, so the last one is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SocketDirection {
    Ready,
    /// It would block.
    Blocked,
}

/// The connection.
pub(super) struct Duplex<'a, 's> {
    stream: &'a mut ServedStream<'s>,
    socket: &'a TcpStream,
    poll: Poll,
    events: Events,
    reading: SocketDirection,
    writing: SocketDirection,
}

impl<'a, 's> Duplex<'a, 's> {
    /// Takes over a connection, and returns the waker of its thread as well.
    pub(super) fn new(
        stream: &'a mut ServedStream<'s>,
        socket: &'a TcpStream,
    ) -> io::Result<(Duplex<'a, 's>, Waker)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), MAILBOX)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut SourceFd(&socket.as_raw_fd()), SOCKET, interest)?;
        socket.set_nonblocking(true)?;
        let (reading, writing) = (SocketDirection::Ready, SocketDirection::Ready);
        Ok((Duplex { stream, socket, poll, events: Events::with_capacity(4), reading, writing }, waker))
    }

    /// Appends what has arrived. Returns the number of bytes that came.
    pub(super) fn read(&mut self, received: &mut Vec<u8>) -> Result<usize, ReadFailure> {
        if self.reading == SocketDirection::Blocked {
            return Ok(0);
        }
        let came = self.stream.read_now(received)?;
        if came == 0 {
            self.reading = SocketDirection::Blocked;
        }
        Ok(came)
    }

    /// Sends what the peer takes, and returns the number of bytes; `None` if the peer is gone.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Option<usize> {
        if self.writing == SocketDirection::Blocked {
            return Some(0);
        }
        let sent = self.stream.send_now(bytes)?;
        if sent < bytes.len() {
            self.writing = SocketDirection::Blocked;
        }
        Some(sent)
    }

    /// Waits until the socket or the mailbox has something, or for this time.
    pub(super) fn wait(&mut self, most: Duration) {
        if let Err(error) = self.poll.poll(&mut self.events, Some(most))
            && error.kind() != io::ErrorKind::Interrupted
        {
            tracing::error!(%error, "poll failed");
            std::thread::park_timeout(most);
        }
        for event in self.events.iter().filter(|event| event.token() == SOCKET) {
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                self.reading = SocketDirection::Ready;
            }
            if event.is_writable() || event.is_write_closed() || event.is_error() {
                self.writing = SocketDirection::Ready;
            }
        }
    }
}

impl Drop for Duplex<'_, '_> {
    fn drop(&mut self) {
        // Everything after it on the connection has deadlines for blocking calls.
        let _ = self.socket.set_nonblocking(false);
    }
}
