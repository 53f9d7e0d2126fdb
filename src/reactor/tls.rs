//! TLS of one connection: encrypted bytes from the socket become plain ones, and the other way round.
//!
//! rustls decides; the buffers are ours, so that an idle connection owns none. What the socket brought is decrypted
//! out of the reactor's one read buffer; only a record that is not whole yet is kept. What goes out is taken from the
//! outbox a record at a time, so that many small frames of a turn share one; only what the socket did not take of that
//! record is kept. So a peer that reads nothing costs its outbox and one record more.
//!
//! Invariant: `rest` holds exactly the bytes that rustls has seen and not consumed. It finds its place in them again by
//! their position, so they go in front of whatever comes next, also where only something is to be written.

use crate::limits::{TLS_HELD_BYTES_MAX, TLS_RECORD_BYTES};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{Error, HandshakeKind, ServerConfig};
use std::sync::Arc;

/// A record's header, nonce, padding and tag, at most (RFC 5246 section 6.2.3 allows 2 KiB; ours take under 64).
const RECORD_OVERHEAD: usize = 64;
/// The first byte of a TLS handshake: the type of its record (RFC 8446 section 5.1).
pub(super) const HANDSHAKE_RECORD: u8 = 0x16;

type Traffic<'a> = WriteTraffic<'a, ServerConnectionData>;

/// See the module.
pub(super) struct Tls {
    connection: UnbufferedServerConnection,
    phase: Phase,
    rest: Vec<u8>,
    /// Encrypted, and from `sent` on not taken by the socket yet.
    unsent: Vec<u8>,
    sent: usize,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing came yet.
    New,
    /// The handshake has begun.
    Handshake,
    /// Both sides may speak.
    Open,
    /// The peer said that it says nothing more; we may.
    PeerDone,
    /// We said so: nothing is encrypted any more, and what comes is not looked at.
    Done,
    /// An alert is all that is still to be sent.
    Failed,
}

/// What came of some bytes.
#[derive(Debug, PartialEq)]
pub(super) enum Opened {
    /// More may come.
    More,
    /// The peer ended its half in order.
    PeerDone,
    /// The connection cannot go on; an alert that says so waits to be sent, unless the peer sent one.
    Failed(Error),
}

/// Nothing can be encrypted: the keys are used up, or the handshake is not complete.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unsealable;

/// Buffers that all connections of a reactor share. They are as large as the largest use so far.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    /// What a read was decrypted to.
    pub(super) opened: Vec<u8>,
    /// Pieces of an outbox, put together for one record.
    pub(super) gathered: Vec<u8>,
    /// A record.
    pub(super) sealed: Vec<u8>,
}

impl Tls {
    /// A connection that speaks first when spoken to.
    pub(super) fn new(config: Arc<ServerConfig>) -> Result<Tls, Error> {
        let connection = UnbufferedServerConnection::new(config)?;
        Ok(Tls { connection, phase: Phase::New, rest: Vec::new(), unsent: Vec::new(), sent: 0 })
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// True exactly while application bytes can neither come nor go because the handshake is not complete.
    pub(super) fn is_shaking_hands(&self) -> bool {
        match self.phase {
            Phase::New | Phase::Handshake => true,
            Phase::Open | Phase::PeerDone | Phase::Done | Phase::Failed => false,
        }
    }

    /// True exactly when the handshake is complete and we may speak.
    pub(super) fn is_established(&self) -> bool {
        match self.phase {
            Phase::Open | Phase::PeerDone => true,
            Phase::New | Phase::Handshake | Phase::Done | Phase::Failed => false,
        }
    }

    /// How the handshake went; `None` until it is complete.
    pub(super) fn handshake_kind(&self) -> Option<HandshakeKind> {
        self.connection.handshake_kind()
    }

    /// Takes what the socket brought, at least a byte, and appends what it means to `opened`. Handshake messages and alerts of our own
    /// are then among [`Tls::unsent`].
    pub(super) fn open(&mut self, bytes: &mut [u8], opened: &mut Vec<u8>) -> Opened {
        match self.phase {
            Phase::New => self.phase = Phase::Handshake,
            Phase::Handshake | Phase::Open | Phase::PeerDone => {}
            Phase::Done | Phase::Failed => return Opened::More,
        }
        let mut rest = std::mem::take(&mut self.rest);
        let outcome = if rest.is_empty() {
            let (consumed, outcome) = self.process(bytes, opened);
            self.rest = bytes.get(consumed..).unwrap_or_default().to_vec();
            outcome
        } else {
            rest.extend_from_slice(bytes);
            let (consumed, outcome) = self.process(&mut rest, opened);
            self.rest = rest.get(consumed..).unwrap_or_default().to_vec();
            outcome
        };
        match outcome {
            Opened::More if self.rest.len() > TLS_HELD_BYTES_MAX => {
                self.fail(Error::General("an incomplete handshake message is too long".into()))
            }
            Opened::More | Opened::PeerDone => outcome,
            Opened::Failed(error) => self.fail(error),
        }
    }

    fn fail(&mut self, error: Error) -> Opened {
        self.phase = Phase::Failed;
        self.rest = Vec::new();
        Opened::Failed(error)
    }

    /// Lets rustls go through `bytes` as far as they reach; says how many it is done with.
    fn process(&mut self, bytes: &mut [u8], opened: &mut Vec<u8>) -> (usize, Opened) {
        let mut consumed = 0;
        loop {
            let unseen = bytes.get_mut(consumed..).unwrap_or_default();
            let UnbufferedStatus { discard, state } = self.connection.process_tls_records(unseen);
            consumed += discard;
            let outcome = match state {
                Ok(ConnectionState::EncodeTlsData(data)) => {
                    encode(data, &mut self.unsent);
                    continue;
                }
                Ok(ConnectionState::TransmitTlsData(transmit)) => {
                    transmit.done();
                    continue;
                }
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(Ok(record)) = traffic.next_record() {
                        consumed += record.discard;
                        opened.extend_from_slice(record.payload);
                    }
                    continue;
                }
                Ok(ConnectionState::WriteTraffic(_)) => {
                    if self.phase == Phase::Handshake {
                        self.phase = Phase::Open;
                    }
                    Opened::More
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.phase = Phase::PeerDone;
                    Opened::PeerDone
                }
                Ok(ConnectionState::BlockedHandshake | ConnectionState::Closed) => Opened::More,
                // Early data is off, and a state of a later rustls is none we asked for.
                Ok(_) => Opened::Failed(Error::General("an unexpected state".into())),
                Err(error) => {
                    self.take_alert(bytes.get_mut(consumed..).unwrap_or_default());
                    Opened::Failed(error)
                }
            };
            return (consumed, outcome);
        }
    }

    /// After an error: what rustls has to say of it. The bytes that it is about must not be looked at again.
    fn take_alert(&mut self, unseen: &mut [u8]) {
        while self.connection.wants_write() {
            match self.connection.process_tls_records(unseen).state {
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, &mut self.unsent),
                Ok(ConnectionState::ReadTraffic(mut traffic)) => while traffic.next_record().is_some() {},
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Encrypts as one record, or as few as it takes, behind what `out` has.
    pub(super) fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Unsealable> {
        let room = plain.len() + RECORD_OVERHEAD * (1 + plain.len() / TLS_RECORD_BYTES);
        self.write(room, out, |traffic, out| traffic.encrypt(plain, out))
    }

    /// Says, once, that nothing more comes from us, so that the end is no cut. True exactly when it now waits to be
    /// sent.
    pub(super) fn say_done(&mut self) -> bool {
        let mut unsent = std::mem::take(&mut self.unsent);
        let said = self.write(RECORD_OVERHEAD, &mut unsent, |traffic, out| traffic.queue_close_notify(out));
        self.unsent = unsent;
        if said.is_ok() {
            self.phase = Phase::Done;
        }
        said.is_ok()
    }

    /// Lets `encrypt` write behind what `out` has, which is given `room`, or what it says it needs.
    fn write(
        &mut self,
        room: usize,
        out: &mut Vec<u8>,
        mut encrypt: impl FnMut(&mut Traffic<'_>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<(), Unsealable> {
        if !self.is_established() {
            return Err(Unsealable);
        }
        let written = loop {
            match self.connection.process_tls_records(&mut self.rest).state {
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, out),
                Ok(ConnectionState::TransmitTlsData(transmit)) => transmit.done(),
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    break append(out, room, |out| match encrypt(&mut traffic, out) {
                        Ok(written) => Ok(written),
                        Err(EncryptError::InsufficientSize(size)) => Err(size.required_size),
                        Err(EncryptError::EncryptExhausted) => Ok(0),
                    });
                }
                Ok(_) | Err(_) => return Err(Unsealable),
            }
        };
        if written.is_some_and(|written| written > 0) { Ok(()) } else { Err(Unsealable) }
    }

    /// What waits for the socket.
    pub(super) fn unsent(&self) -> &[u8] {
        self.unsent.get(self.sent..).unwrap_or_default()
    }

    /// The socket took so many bytes of [`Tls::unsent`].
    pub(super) fn advance(&mut self, taken: usize) {
        self.sent += taken;
        if self.sent >= self.unsent.len() {
            self.unsent = Vec::new();
            self.sent = 0;
        }
    }

    /// Keeps what the socket did not take of a record.
    pub(super) fn keep(&mut self, sealed: &[u8]) {
        debug_assert!(self.unsent.is_empty());
        self.unsent = sealed.to_vec();
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (rest, unsent) = (self.rest.len(), self.unsent().len());
        f.debug_struct("Tls")
            .field("phase", &self.phase)
            .field("rest", &rest)
            .field("unsent", &unsent)
            .finish()
    }
}

fn encode(mut data: EncodeTlsData<'_, ServerConnectionData>, out: &mut Vec<u8>) {
    append(out, RECORD_OVERHEAD, |out| match data.encode(out) {
        Ok(written) => Ok(written),
        Err(EncodeError::InsufficientSize(size)) => Err(size.required_size),
        Err(EncodeError::AlreadyEncoded) => Ok(0),
    });
}

/// Makes `room` behind what `out` has and lets `write` fill it; it is asked again when it says that it needs more. The
/// bytes written, or `None` when it needs more than it said.
fn append(
    out: &mut Vec<u8>,
    room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, usize>,
) -> Option<usize> {
    let start = out.len();
    let mut room = room;
    for _ in 0..2 {
        out.resize(start + room, 0);
        match write(out.get_mut(start..).unwrap_or_default()) {
            Ok(written) => {
                out.truncate(start + written);
                return Some(written);
            }
            Err(needed) => room = needed,
        }
    }
    out.truncate(start);
    None
}

#[cfg(test)]
pub(super) mod tests;
