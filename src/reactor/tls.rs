//! TLS of one connection: decrypts bytes from the socket, and encrypts bytes for it.
//!
//! rustls decides; the buffers are ours, so that an idle connection owns none. Received bytes are decrypted in the reactor's
//! one read buffer, and only an incomplete record is kept. Outgoing bytes are taken from the outbox a record at a time, so
//! that many small frames of a turn share one record, and only the part of it that the socket did not take is kept. So a peer
//! that reads nothing costs its outbox and one record.
//!
//! Invariant: `rest` holds exactly the bytes that rustls has seen and not consumed. rustls finds its place in them by position,
//! so they precede whatever is processed next, even if that only writes.

use crate::limits::{TLS_HELD_BYTES_MAX, TLS_RECORD_BYTES};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{Error, HandshakeKind, ServerConfig};
use std::sync::Arc;

/// The most bytes of a record's header, nonce, padding and tag (RFC 5246 section 6.2.3 allows 2 KiB; ours take under 64).
const RECORD_OVERHEAD: usize = 64;
/// The first byte of a TLS handshake: its record type (RFC 8446 section 5.1).
pub(super) const HANDSHAKE_RECORD: u8 = 0x16;

type Traffic<'a> = WriteTraffic<'a, ServerConnectionData>;

/// The TLS state of one connection.
pub(super) struct Tls {
    connection: UnbufferedServerConnection,
    phase: Phase,
    rest: Vec<u8>,
    /// Encrypted bytes. The socket has taken the first `sent`.
    unsent: Vec<u8>,
    sent: usize,
}

/// The progress of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing was received yet.
    New,
    Handshake,
    /// Both sides may send.
    Open,
    /// The peer sent its close_notify; we may still send.
    PeerDone,
    /// We sent our close_notify: nothing more is encrypted, and received bytes are ignored.
    Done,
    /// At most an alert is still to be sent.
    Failed,
}

/// The result of decrypting bytes.
#[derive(Debug, PartialEq)]
pub(super) enum Opened {
    /// The connection goes on.
    More,
    /// The peer sent its close_notify.
    PeerDone,
    /// The connection failed. An alert waits to be sent, unless the peer sent one.
    Failed(Error),
}

/// The error that nothing can be encrypted: the keys are used up, or the handshake is not complete.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unsealable;

/// Buffers that all connections of a reactor share, as large as their largest use so far.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    /// The decrypted bytes of one read.
    pub(super) opened: Vec<u8>,
    /// Pieces of an outbox, joined for one record.
    pub(super) gathered: Vec<u8>,
    /// One encrypted record.
    pub(super) sealed: Vec<u8>,
}

impl Tls {
    pub(super) fn new(config: Arc<ServerConfig>) -> Result<Tls, Error> {
        let connection = UnbufferedServerConnection::new(config)?;
        Ok(Tls { connection, phase: Phase::New, rest: Vec::new(), unsent: Vec::new(), sent: 0 })
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// True exactly while the handshake is not complete: application bytes can be neither received nor sent.
    pub(super) fn is_shaking_hands(&self) -> bool {
        matches!(self.phase, Phase::New | Phase::Handshake)
    }

    /// True exactly when the handshake is complete and we may send.
    pub(super) fn is_established(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::PeerDone)
    }

    /// The kind of the handshake; `None` until it is complete.
    pub(super) fn handshake_kind(&self) -> Option<HandshakeKind> {
        self.connection.handshake_kind()
    }

    /// Decrypts received bytes, at least one, and appends the application's to `opened`. Our handshake messages and alerts are
    /// appended to [`Tls::unsent`].
    pub(super) fn open(&mut self, bytes: &mut [u8], opened: &mut Vec<u8>) -> Opened {
        match self.phase {
            Phase::New => self.phase = Phase::Handshake,
            Phase::Handshake | Phase::Open | Phase::PeerDone => {}
            Phase::Done | Phase::Failed => return Opened::More,
        }
        let mut rest = std::mem::take(&mut self.rest);
        let bytes = if rest.is_empty() {
            bytes
        } else {
            rest.extend_from_slice(bytes);
            &mut rest
        };
        let (consumed, outcome) = self.process(bytes, opened);
        self.rest = bytes.get(consumed..).unwrap_or_default().to_vec();
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

    /// Lets rustls process `bytes`; returns how many it consumed.
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
                // Early data is off, and a state of a later rustls is not expected.
                Ok(_) => Opened::Failed(Error::General("an unexpected state".into())),
                Err(error) => {
                    self.take_alert(bytes.get_mut(consumed..).unwrap_or_default());
                    Opened::Failed(error)
                }
            };
            return (consumed, outcome);
        }
    }

    /// Takes the alert that rustls sends after an error. The bytes that caused it must not be processed again.
    fn take_alert(&mut self, unseen: &mut [u8]) {
        while self.connection.wants_write() {
            match self.connection.process_tls_records(unseen).state {
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, &mut self.unsent),
                Ok(ConnectionState::ReadTraffic(mut traffic)) => while traffic.next_record().is_some() {},
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Encrypts `plain` in as few records as possible, and appends them to `out`.
    pub(super) fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Unsealable> {
        let room = plain.len() + RECORD_OVERHEAD * (1 + plain.len() / TLS_RECORD_BYTES);
        self.write(room, out, |traffic, out| traffic.encrypt(plain, out))
    }

    /// Queues our close_notify, so that the end is no truncation. True exactly when it was queued now; it is queued once.
    pub(super) fn say_done(&mut self) -> bool {
        let mut unsent = std::mem::take(&mut self.unsent);
        let said = self.write(RECORD_OVERHEAD, &mut unsent, |traffic, out| traffic.queue_close_notify(out));
        self.unsent = unsent;
        if self.is_established() {
            // After a failure TLS carries nothing more, and no close_notify is ordered again.
            self.phase = if said.is_ok() { Phase::Done } else { Phase::Failed };
        }
        said.is_ok()
    }

    /// Lets `encrypt` append to `out`, with `room` bytes or as many as it asks for.
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

    /// Encrypted bytes that wait for the socket.
    pub(super) fn unsent(&self) -> &[u8] {
        self.unsent.get(self.sent..).unwrap_or_default()
    }

    /// Removes bytes of [`Tls::unsent`] that the socket took.
    pub(super) fn advance(&mut self, taken: usize) {
        self.sent += taken;
        if self.sent >= self.unsent.len() {
            self.unsent = Vec::new();
            self.sent = 0;
        }
    }

    /// Keeps the part of a record that the socket did not take.
    pub(super) fn keep(&mut self, sealed: &[u8]) {
        debug_assert!(self.unsent.is_empty());
        self.unsent = sealed.to_vec();
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tls({:?}, {} bytes kept, {} unsent)", self.phase, self.rest.len(), self.unsent().len())
    }
}

fn encode(mut data: EncodeTlsData<'_, ServerConnectionData>, out: &mut Vec<u8>) {
    append(out, RECORD_OVERHEAD, |out| match data.encode(out) {
        Ok(written) => Ok(written),
        Err(EncodeError::InsufficientSize(size)) => Err(size.required_size),
        Err(EncodeError::AlreadyEncoded) => Ok(0),
    });
}

/// Appends `room` bytes to `out` and lets `write` fill them, a second time with more if it asks for more. Returns the bytes
/// written; `None` if it needs more than it asked for.
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
