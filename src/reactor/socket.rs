//! One accepted socket, and TLS between it and the engine's bytes.

use super::tls::{Buffers, Tls};
use crate::engine::{Flushed, SlotId, Transport, Written};
use crate::limits::{IOVECS_MAX, TLS_RECORD_BYTES};
use crate::wire::outbox::{Arena, Outbox};
use mio::Token;
use mio::net::TcpStream;
use rustix::net::{SendFlags, send};
use std::io::{self, ErrorKind, IoSlice, Write};

/// A socket and its TLS. An idle one owns no buffer.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) stream: TcpStream,
    /// `None` if bytes are plain.
    pub(super) tls: Option<Box<Tls>>,
}

/// The sockets of a reactor, at the places of the engine's peers.
///
/// The engine decides which peers exist and never reuses a place before its socket was removed, so an index is enough here.
#[derive(Debug, Default)]
pub(super) struct Sockets(Vec<Option<Socket>>);

impl Sockets {
    pub(super) fn insert(&mut self, id: SlotId, socket: Socket) {
        let index = id.index as usize;
        if self.0.len() <= index {
            self.0.resize_with(index + 1, || None);
        }
        if let Some(place) = self.0.get_mut(index) {
            *place = Some(socket);
        }
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: SlotId) -> Option<&mut Socket> {
        self.0.get_mut(id.index as usize)?.as_mut()
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Socket> {
        self.0.iter().flatten()
    }

    /// Closes the socket.
    pub(super) fn remove(&mut self, id: SlotId) {
        if let Some(place) = self.0.get_mut(id.index as usize) {
            *place = None;
        }
    }

    /// Gives memory back once there is no socket, so that nothing of a storm stays.
    pub(super) fn shrink(&mut self) {
        self.0 = Vec::new();
    }
}

/// The name of a peer's socket for the poll.
pub(super) fn token_of(id: SlotId) -> Token {
    Token((id.generation as usize) << 32 | id.index as usize)
}

/// The reverse of [`token_of`].
pub(super) fn slot_of(token: Token) -> SlotId {
    SlotId { index: token.0 as u32, generation: (token.0 >> 32) as u32 }
}

impl Socket {
    pub(super) fn transport(&self) -> Transport {
        self.tls.as_ref().map_or(Transport::Plain, |tls| tls.transport())
    }

    /// The encrypted bytes that wait for the socket.
    pub(super) fn sealed_bytes(&self) -> u32 {
        self.tls.as_ref().map_or(0, |tls| tls.unsent().len() as u32)
    }

    /// Writes an outbox until it is empty or the socket takes no more.
    #[inline]
    pub(super) fn flush(&mut self, outbox: &mut Outbox, arena: &Arena, buffers: &mut Buffers) -> Written {
        let (bytes, flushed) = match &mut self.tls {
            None => flush_plain(&mut self.stream, outbox, arena),
            Some(tls) => flush_sealed(&self.stream, tls, outbox, arena, buffers),
        };
        Written { bytes, flushed, sealed_bytes: self.sealed_bytes() }
    }
}

/// Writes plain bytes. It continues after a short write, because the poll reports new room only after a would-block.
fn flush_plain(stream: &mut TcpStream, outbox: &mut Outbox, arena: &Arena) -> (usize, Flushed) {
    let mut total = 0;
    while !outbox.is_empty() {
        let written = match outbox.single(arena) {
            // Not through the C library, which makes each call a cancellation point at a cost of some 40 instructions.
            Some(bytes) => send(&*stream, bytes, SendFlags::NOSIGNAL).map_err(io::Error::from),
            None => {
                let mut slices = [IoSlice::new(&[]); IOVECS_MAX];
                let filled = outbox.fill(arena, &mut slices);
                stream.write_vectored(&slices[..filled])
            }
        };
        match sent(written) {
            Sent::Some(bytes) => {
                total += bytes;
                outbox.advance(bytes);
            }
            Sent::Again => {}
            Sent::Blocked => return (total, Flushed::Blocked),
            Sent::Broken => return (total, Flushed::Broken),
        }
    }
    (total, Flushed::Empty)
}

/// Encrypts and writes one record at a time. Encrypted bytes that the socket does not take are kept: at most one record.
fn flush_sealed(
    stream: &TcpStream,
    tls: &mut Tls,
    outbox: &mut Outbox,
    arena: &Arena,
    buffers: &mut Buffers,
) -> (usize, Flushed) {
    let mut total = 0;
    loop {
        while !tls.unsent().is_empty() {
            match sent(send(stream, tls.unsent(), SendFlags::NOSIGNAL).map_err(io::Error::from)) {
                Sent::Some(bytes) => {
                    total += bytes;
                    tls.advance(bytes);
                }
                Sent::Again => {}
                Sent::Blocked => return (total, Flushed::Blocked),
                Sent::Broken => return (total, Flushed::Broken),
            }
        }
        if outbox.is_empty() {
            return (total, Flushed::Empty);
        }
        buffers.sealed.clear();
        let plain = record(outbox, arena, &mut buffers.gathered);
        let length = plain.len();
        if tls.seal(plain, &mut buffers.sealed).is_err() {
            return (total, Flushed::Broken);
        }
        outbox.advance(length);
        let went = match sent(send(stream, &buffers.sealed, SendFlags::NOSIGNAL).map_err(io::Error::from)) {
            Sent::Some(bytes) => bytes,
            Sent::Again | Sent::Blocked => 0,
            Sent::Broken => return (total, Flushed::Broken),
        };
        total += went;
        if let Some(rest @ [_, ..]) = buffers.sealed.get(went..) {
            tls.keep(rest);
        }
    }
}

/// Sends a close_notify if none was sent. If the socket does not take it at once, the peer sees a truncated connection.
impl Drop for Socket {
    fn drop(&mut self) {
        let Some(tls) = &mut self.tls else { return };
        if tls.say_done() {
            let _truncated = send(&self.stream, tls.unsent(), SendFlags::NOSIGNAL);
        }
    }
}

/// The plain bytes of the next record: everything that waits, or as much as a record holds.
fn record<'a>(outbox: &'a Outbox, arena: &'a Arena, gathered: &'a mut Vec<u8>) -> &'a [u8] {
    if let Some(single) = outbox.single(arena) {
        return single.get(..TLS_RECORD_BYTES).unwrap_or(single);
    }
    let mut slices = [IoSlice::new(&[]); IOVECS_MAX];
    let filled = outbox.fill(arena, &mut slices);
    gathered.clear();
    for slice in slices.iter().take(filled) {
        let room = TLS_RECORD_BYTES - gathered.len();
        gathered.extend_from_slice(slice.get(..room).unwrap_or(slice));
    }
    gathered
}

enum Sent {
    Some(usize),
    Again,
    Blocked,
    Broken,
}

#[inline]
fn sent(result: io::Result<usize>) -> Sent {
    match result {
        Ok(0) => Sent::Broken,
        Ok(bytes) => Sent::Some(bytes),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Sent::Blocked,
        Err(error) if error.kind() == ErrorKind::Interrupted => Sent::Again,
        Err(_) => Sent::Broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    #[test]
    fn waiting_pieces_become_one_record_of_bounded_length() {
        let (mut outbox, mut arena, mut gathered) = (Outbox::default(), Arena::default(), Vec::new());
        outbox.push_shared(Rc::from(*b"ab"));
        outbox.push(&mut arena, |out| out.extend_from_slice(b"cd"));
        outbox.push_shared(Rc::from(*b"ef"));
        assert_eq!(record(&outbox, &arena, &mut gathered), b"abcdef");
        outbox.push_shared(Rc::from(vec![b'x'; TLS_RECORD_BYTES]));
        outbox.push_shared(Rc::from(*b"gh"));
        let full = record(&outbox, &arena, &mut gathered);
        assert!(full.len() == TLS_RECORD_BYTES && full.starts_with(b"abcdefx") && full.ends_with(b"x"));
        outbox.advance(6);
        assert_eq!(record(&outbox, &arena, &mut gathered), [b'x'; TLS_RECORD_BYTES]);
    }
}
