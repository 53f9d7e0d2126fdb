//! TLS on a blocking connection that a thread serves, with a deadline for each step.
//!
//! The socket is read and written by [`listener`]; rustls only turns its bytes into plain ones and back. So a peer
//! that sends one byte at a time meets the same deadline as without TLS.

use super::listener::{self, ReadFailure};
use crate::clock::{Moment, Now};
use rustls::{ServerConfig, ServerConnection};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

/// Plain bytes taken at once.
const CHUNK_BYTES: usize = 16 << 10;

/// A connection after its handshake.
#[derive(Debug)]
pub struct SecuredStream<'a> {
    socket: &'a TcpStream,
    session: Box<ServerConnection>,
    /// Plain bytes that came with the handshake.
    early: Vec<u8>,
}

impl<'a> SecuredStream<'a> {
    /// Completes the handshake. Fails if the peer is no TLS client, accepts no version or cipher, leaves, or is too slow.
    pub fn accept(
        socket: &'a TcpStream,
        config: &Arc<ServerConfig>,
        deadline: Moment,
        clock: &impl Fn() -> Now,
    ) -> Result<SecuredStream<'a>, ReadFailure> {
        let session = ServerConnection::new(Arc::clone(config)).map_err(|_| ReadFailure::Ended)?;
        let mut stream = SecuredStream { socket, session: Box::new(session), early: Vec::new() };
        let mut early = Vec::new();
        while stream.session.is_handshaking() {
            stream.exchange(&mut early, deadline, clock)?;
        }
        stream.early = early;
        Ok(stream)
    }

    /// Appends plain bytes that have arrived, or waits for them until the deadline.
    pub fn read_more(
        &mut self,
        bytes: &mut Vec<u8>,
        deadline: Moment,
        clock: &impl Fn() -> Now,
    ) -> Result<(), ReadFailure> {
        let before = bytes.len();
        bytes.append(&mut self.early);
        while bytes.len() == before {
            let ended = self.exchange(bytes, deadline, clock);
            // A peer may end its side with its last request.
            if bytes.len() == before {
                ended?;
            }
        }
        Ok(())
    }

    /// Sends plain bytes. False if the peer did not take them by the deadline.
    pub fn send(&mut self, mut bytes: &[u8], deadline: Moment, clock: &impl Fn() -> Now) -> bool {
        while !bytes.is_empty() {
            // It takes what fits into its buffer.
            let Ok(count @ 1..) = self.session.writer().write(bytes) else { return false };
            bytes = bytes.get(count..).unwrap_or_default();
            if !self.flush(deadline, clock) {
                return false;
            }
        }
        true
    }

    /// Appends plain bytes that have arrived, on a socket that does not block. Returns the number of bytes read from it.
    pub fn read_now(&mut self, bytes: &mut Vec<u8>) -> Result<usize, ReadFailure> {
        let before = bytes.len();
        if !self.early.is_empty() {
            bytes.append(&mut self.early);
            return Ok(bytes.len() - before);
        }
        let mut received = Vec::new();
        let count = listener::read_now(self.socket, &mut received)?;
        let mut rest = received.as_slice();
        while !rest.is_empty() {
            if !matches!(self.session.read_tls(&mut rest), Ok(1..)) {
                return Err(ReadFailure::Ended);
            }
            let state = self.session.process_new_packets();
            // An alert about a fault is sent as well.
            let is_sent = self.send_pending();
            let ended = !is_sent || state.map_err(|_| ReadFailure::Ended)?.peer_has_closed();
            self.take(bytes);
            // A peer may end its side with its last bytes.
            if ended {
                return if bytes.len() > before { Ok(count) } else { Err(ReadFailure::Ended) };
            }
        }
        Ok(count)
    }

    /// Sends plain bytes that a socket takes that does not block. Returns their number; `None` if the peer is gone.
    pub fn send_now(&mut self, bytes: &[u8]) -> Option<usize> {
        if !self.send_pending() {
            return None;
        }
        let mut sent = 0;
        // Encrypted bytes that the socket has not taken wait in the session, which takes no more meanwhile.
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty())
            && !self.session.wants_write()
        {
            sent += self.session.writer().write(rest).ok().filter(|count| *count > 0)?;
            if !self.send_pending() {
                return None;
            }
        }
        Some(sent)
    }

    /// Sends what TLS has to send and the socket takes. False if the peer is gone.
    fn send_pending(&mut self) -> bool {
        while self.session.wants_write() {
            match self.session.write_tls(&mut &*self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
        true
    }

    /// Signals that nothing follows.
    pub fn close(&mut self, deadline: Moment, clock: &impl Fn() -> Now) {
        self.session.send_close_notify();
        self.flush(deadline, clock);
    }

    /// Reads from the socket once, and answers what TLS has to answer.
    fn exchange(
        &mut self,
        bytes: &mut Vec<u8>,
        deadline: Moment,
        clock: &impl Fn() -> Now,
    ) -> Result<(), ReadFailure> {
        let mut received = Vec::new();
        listener::read_more(self.socket, &mut received, deadline, clock)?;
        let mut rest = received.as_slice();
        while !rest.is_empty() {
            if !matches!(self.session.read_tls(&mut rest), Ok(1..)) {
                return Err(ReadFailure::Ended);
            }
            let state = self.session.process_new_packets();
            // An alert about a fault is sent as well.
            let is_sent = self.flush(deadline, clock);
            let ended = !is_sent || state.map_err(|_| ReadFailure::Ended)?.peer_has_closed();
            self.take(bytes);
            if ended {
                return Err(ReadFailure::Ended);
            }
        }
        Ok(())
    }

    /// Takes the plain bytes that rustls has.
    fn take(&mut self, bytes: &mut Vec<u8>) {
        let mut chunk = [0; CHUNK_BYTES];
        while let Ok(count @ 1..) = self.session.reader().read(&mut chunk) {
            bytes.extend_from_slice(chunk.get(..count).unwrap_or_default());
        }
    }

    fn flush(&mut self, deadline: Moment, clock: &impl Fn() -> Now) -> bool {
        let mut out = Vec::new();
        while self.session.wants_write() {
            if self.session.write_tls(&mut out).is_err() {
                return false;
            }
        }
        listener::send_until(self.socket, &out, deadline, clock)
    }
}
