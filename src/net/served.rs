//! A connection that a thread serves: plain, or with TLS.

use super::listener::{self, ReadFailure};
use super::secured::SecuredStream;
use crate::clock::{Moment, Now};
use std::net::TcpStream;

/// Reads and writes with deadlines.
#[derive(Debug)]
pub enum ServedStream<'a> {
    Plain(&'a TcpStream),
    Secured(SecuredStream<'a>, &'a TcpStream),
}

impl ServedStream<'_> {
    /// Appends what has arrived, or waits for it until the deadline.
    pub fn read_more(
        &mut self,
        bytes: &mut Vec<u8>,
        deadline: Moment,
        clock: &impl Fn() -> Now,
    ) -> Result<(), ReadFailure> {
        match self {
            ServedStream::Plain(socket) => listener::read_more(socket, bytes, deadline, clock),
            ServedStream::Secured(stream, _) => stream.read_more(bytes, deadline, clock),
        }
    }

    /// Sends an answer. False if the peer did not take it in time.
    pub fn send(&mut self, bytes: &[u8], clock: &impl Fn() -> Now) -> bool {
        match self {
            ServedStream::Plain(socket) => listener::send(socket, bytes, clock),
            ServedStream::Secured(stream, _) => stream.send(bytes, listener::send_deadline(clock), clock),
        }
    }

    /// Appends what has arrived, on a socket that does not block. Returns the number of bytes that were read from the socket: 0 if none
    /// has arrived.
    pub fn read_now(&mut self, bytes: &mut Vec<u8>) -> Result<usize, ReadFailure> {
        match self {
            ServedStream::Plain(socket) => listener::read_now(socket, bytes),
            ServedStream::Secured(stream, _) => stream.read_now(bytes),
        }
    }

    /// Sends what a socket takes that does not block. Returns the number of bytes that were taken; `None` if the peer is gone.
    pub fn send_now(&mut self, bytes: &[u8]) -> Option<usize> {
        match self {
            ServedStream::Plain(socket) => listener::send_now(socket, bytes),
            ServedStream::Secured(stream, _) => stream.send_now(bytes),
        }
    }

    /// Signals that nothing follows, and waits for the peer to close the connection.
    pub fn linger(self, clock: &impl Fn() -> Now) {
        match self {
            ServedStream::Plain(socket) => listener::linger(socket, clock),
            ServedStream::Secured(mut stream, socket) => {
                stream.close(listener::send_deadline(clock), clock);
                listener::linger(socket, clock);
            }
        }
    }
}
