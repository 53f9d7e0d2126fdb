//! TLS in a reactor: plain bytes to whoever speaks above, and an end in order.

use super::Reactor;
use super::connection::{Closing, Connection, Expects, Flushed, Peer, Reading, Stage};
use super::slots::SlotId;
use super::tls::{Buffers, HANDSHAKE_RECORD, Opened, Phase, Tls};
use crate::health::handshakes::Done;
use crate::limits::{CLOSE_TIMEOUT, TLS_RECORD_BYTES};
use crate::metrics::tls::TlsFault;
use crate::wire::outbox::{Arena, Outbox};
use rustix::net::{SendFlags, send};
use rustls::{Error, HandshakeKind};
use std::io::{self, ErrorKind, IoSlice};

/// A fatal alert, protocol_version (RFC 8446 section 6): no version of TLS is spoken here.
const NO_TLS_HERE: [u8; 7] = [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x46];

/// What a reactor keeps for all its encrypted connections.
#[derive(Debug, Default)]
pub(super) struct Secrecy {
    pub(super) buffers: Buffers,
    told: Told,
}

/// Whether the log has it that somebody speaks TLS to a plain listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Told {
    #[default]
    No,
    Yes,
}

impl Reactor {
    /// Puts TLS between a new socket and everything else, where it is configured.
    pub(super) fn secure(&mut self, id: SlotId) {
        let Some(config) = &self.setup.tls else { return };
        let Some(connection) = self.slots.get_mut(id) else { return };
        match Tls::new(config.clone()) {
            Ok(tls) => connection.tls = Some(Box::new(tls)),
            Err(error) => {
                tracing::error!(%error, "cannot begin a TLS connection; it is dropped");
                self.kill(id);
            }
        }
    }

    /// Bytes came on an encrypted connection. A PROXY header is in front of TLS, in plain.
    pub(super) fn received_sealed(&mut self, id: SlotId, bytes: &mut [u8]) {
        let expects_header = match self.slots.get_mut(id).map(|connection| &mut connection.stage) {
            Some(Stage::Head(head)) => head.expects == Expects::ProxyHeader,
            Some(Stage::Address(_) | Stage::WebSocket(_) | Stage::Closing(_) | Stage::Lingering { .. })
            | None => false,
        };
        if !expects_header {
            return self.unseal(id, bytes);
        }
        let mut all = self.take_head_bytes(id);
        all.extend_from_slice(bytes);
        if let Some(length) = self.proxy_header(id, &all)
            && let Some(rest @ [_, ..]) = all.get_mut(length..)
        {
            self.unseal(id, rest);
        }
    }

    fn unseal(&mut self, id: SlotId, bytes: &mut [u8]) {
        let Some(connection) = self.slots.get_mut(id) else { return };
        let Some(tls) = &mut connection.tls else { return };
        let (phase, first) = (tls.phase(), bytes.first().copied());
        let thrown_away = match &connection.stage {
            Stage::Lingering { .. } => true,
            Stage::Head(_) | Stage::Address(_) | Stage::WebSocket(_) | Stage::Closing(_) => {
                matches!(phase, Phase::Done | Phase::Failed)
            }
        };
        if thrown_away {
            return self.received(id, bytes);
        }
        if phase == Phase::New && first.is_some_and(|first| first.is_ascii_alphabetic()) {
            connection.tls = None;
            self.counters.count_tls_fault(TlsFault::PlainHttp);
            return self.refuse_plain(id);
        }
        let mut opened = std::mem::take(&mut self.secrecy.buffers.opened);
        opened.clear();
        let outcome = self.open(id, bytes, &mut opened);
        match outcome {
            Ok(Opened::More) => self.hand_on(id, &mut opened),
            Ok(Opened::PeerDone) => {
                self.hand_on(id, &mut opened);
                self.peer_done(id);
            }
            Ok(Opened::Failed(error)) => self.tls_failed(id, fault(&error, phase, first), &error),
            Err(Gone) => {}
        }
        self.secrecy.buffers.opened = opened;
    }

    /// Decrypts, and notes what a handshake costs and comes to.
    fn open(&mut self, id: SlotId, bytes: &mut [u8], opened: &mut Vec<u8>) -> Result<Opened, Gone> {
        let connection = self.slots.get_mut(id).ok_or(Gone)?;
        let tls = connection.tls.as_mut().ok_or(Gone)?;
        if tls.is_shaking_hands() {
            let began = self.setup.clock.read().at;
            let outcome = tls.open(bytes, opened);
            let spent = self.setup.clock.read().at.since(began);
            let counters = &self.counters;
            counters.tls_handshake_us.add(u64::try_from(spent.as_micros()).unwrap_or(0));
            let resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
            if tls.is_established()
                && let Some(cell) = counters.tls_handshakes.get(usize::from(resumed))
            {
                cell.add(1);
            }
            self.mark_dirty(id);
            return Ok(outcome);
        }
        let outcome = tls.open(bytes, opened);
        if !tls.unsent().is_empty() {
            self.mark_dirty(id);
        }
        Ok(outcome)
    }

    fn hand_on(&mut self, id: SlotId, opened: &mut [u8]) {
        if !opened.is_empty() {
            self.received(id, opened);
        }
    }

    /// The peer said that it says nothing more: as if its half of the socket had ended.
    fn peer_done(&mut self, id: SlotId) {
        let Some(connection) = self.slots.get_mut(id) else { return };
        match connection.reading {
            Reading::Dead | Reading::Ended => return,
            Reading::Open | Reading::Ending | Reading::Paused => connection.reading = Reading::Ended,
        }
        self.peer_ended(id);
    }

    /// An alert says why, if one is to be sent; then the connection ends.
    fn tls_failed(&mut self, id: SlotId, fault: TlsFault, error: &Error) {
        self.counters.count_tls_fault(fault);
        self.note_answer(id, Done::Failed);
        tracing::debug!(cause = fault.as_str(), %error, "a TLS connection failed");
        self.end_session(id);
        let until = self.now.at + CLOSE_TIMEOUT;
        let Some(connection) = self.slots.get_mut(id) else { return };
        connection.outbox.clear();
        connection.stage = Stage::Closing(Closing { until, peer: Peer::Nothing });
        self.mark_dirty(id);
        self.schedule(id);
        self.finish_if_sent(id);
    }

    /// The socket ended; without a word before it that is a cut. Whoever came and said nothing at all, as probes of
    /// load balancers do, is no failure.
    pub(super) fn note_cut(&mut self, id: SlotId) {
        let Some(connection) = self.slots.get_mut(id) else { return };
        let Some(tls) = &connection.tls else { return };
        match (tls.phase(), &connection.stage) {
            (Phase::Handshake, _) => self.counters.count_tls_fault(TlsFault::Abandoned),
            (Phase::Open, Stage::WebSocket(_)) => self.counters.tls_truncated.add(1),
            (
                Phase::Open,
                Stage::Head(_) | Stage::Address(_) | Stage::Closing(_) | Stage::Lingering { .. },
            )
            | (Phase::New | Phase::PeerDone | Phase::Done | Phase::Failed, _) => {}
        }
    }

    /// Nothing can be said before a handshake is complete.
    pub(super) fn shook_too_long(&mut self, id: SlotId) {
        let dead = self.slots.get_mut(id).is_none_or(|connection| connection.reading == Reading::Dead);
        if !dead {
            self.counters.count_tls_fault(TlsFault::Timeout);
            self.kill(id);
        }
    }

    /// Somebody speaks TLS to a plain listener: told in the one way that such a peer understands.
    pub(super) fn refuse_hello(&mut self, id: SlotId) {
        self.counters.count_tls_fault(TlsFault::HelloOnPlain);
        if self.secrecy.told == Told::No {
            self.secrecy.told = Told::Yes;
            tracing::warn!(
                "a TLS handshake came, and this listener is plain: its client uses wss:// or https:// where ws:// or \
                 http:// is served, or [tls] is to be configured; more of them are only counted (tls_failures_total)"
            );
        }
        self.write(id, |out| out.extend_from_slice(&NO_TLS_HERE));
    }
}

/// The connection is gone, or plain.
struct Gone;

/// What to count an error as that came while a connection was in this phase, with this byte first.
fn fault(error: &Error, phase: Phase, first: Option<u8>) -> TlsFault {
    match (error, phase) {
        (Error::AlertReceived(_), _) => TlsFault::RefusedByPeer,
        (_, Phase::New) if first != Some(HANDSHAKE_RECORD) => TlsFault::NotTls,
        (Error::PeerIncompatible(_) | Error::NoApplicationProtocol, Phase::New | Phase::Handshake) => {
            TlsFault::Incompatible
        }
        (_, Phase::New | Phase::Handshake) => TlsFault::Protocol,
        (_, Phase::Open | Phase::PeerDone | Phase::Done | Phase::Failed) => TlsFault::Broken,
    }
}

impl Connection {
    /// True exactly while a TLS handshake is not complete.
    pub(super) fn is_shaking_hands(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_shaking_hands())
    }

    /// True exactly when TLS wants to say that nothing more comes from us.
    pub(super) fn owes_done(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_established())
    }

    /// As [`Connection::flush`], a record at a time: what is encrypted and does not go is kept, at most one record.
    pub(super) fn flush_sealed(&mut self, arena: &Arena, buffers: &mut Buffers) -> (usize, Flushed) {
        let Connection { socket, tls, outbox, .. } = self;
        let Some(tls) = tls else { return (0, Flushed::Broken) };
        let mut total = 0;
        loop {
            while !tls.unsent().is_empty() {
                match sent(send(&*socket, tls.unsent(), SendFlags::NOSIGNAL)) {
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
            let went = match sent(send(&*socket, &buffers.sealed, SendFlags::NOSIGNAL)) {
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
}

/// A connection that goes says so in TLS, also where nothing was left to wait for; where the socket does not take it at
/// once, the peer sees a cut.
impl Drop for Connection {
    fn drop(&mut self) {
        let Some(tls) = &mut self.tls else { return };
        if tls.say_done() {
            let _cut = send(&self.socket, tls.unsent(), SendFlags::NOSIGNAL);
        }
    }
}

/// The plain bytes of the next record: all that waits, or as much as one takes.
fn record<'a>(outbox: &'a Outbox, arena: &'a Arena, gathered: &'a mut Vec<u8>) -> &'a [u8] {
    if let Some(single) = outbox.single(arena) {
        return single.get(..TLS_RECORD_BYTES).unwrap_or(single);
    }
    let mut slices = [IoSlice::new(&[]); crate::limits::IOVECS_MAX];
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

fn sent(result: rustix::io::Result<usize>) -> Sent {
    match result.map_err(io::Error::from) {
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
    fn what_waits_in_pieces_is_one_record_and_a_record_is_never_too_long() {
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
