//! TLS in a reactor: decrypts bytes for the engine, and reports the state of TLS to it.

use super::Reactor;
use super::tls::{Buffers, HANDSHAKE_RECORD, Opened, Phase, Tls};
use crate::engine::{SlotId, Transport};
use crate::metrics::tls::TlsFault;
use rustls::{Error, HandshakeKind};

/// Memory that all encrypted connections of a reactor share.
#[derive(Debug, Default)]
pub(super) struct Secrecy {
    pub(super) buffers: Buffers,
    /// The warning about TLS on a plain listener is logged once.
    pub(super) warned: Warned,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Warned {
    #[default]
    No,
    Yes,
}

impl Reactor {
    /// TLS for a new connection; `None` if none is configured.
    pub(super) fn new_tls(&self) -> Result<Option<Box<Tls>>, Error> {
        self.setup.tls.as_ref().map(|config| Tls::new(config.clone()).map(Box::new)).transpose()
    }

    /// Takes bytes of an encrypted connection. A PROXY header comes before TLS, unencrypted.
    pub(super) fn received_sealed(&mut self, id: SlotId, bytes: &mut [u8]) {
        if !self.engine.expects_proxy_header(id) {
            return self.unseal(id, bytes);
        }
        if let Some(mut rest) = self.engine.strip_proxy_header(id, bytes) {
            self.unseal(id, &mut rest);
        }
    }

    fn unseal(&mut self, id: SlotId, bytes: &mut [u8]) {
        let lingering = self.engine.is_lingering(id);
        let Some(socket) = self.sockets.get_mut(id) else { return };
        let Some(tls) = &socket.tls else { return };
        let (phase, first) = (tls.phase(), bytes.first().copied());
        if lingering || matches!(phase, Phase::Done | Phase::Failed) {
            // The engine discards them.
            return self.engine.handle_bytes(id, bytes);
        }
        if phase == Phase::New && first.is_some_and(|first| first.is_ascii_alphabetic()) {
            socket.tls = None;
            return self.engine.handle_plain_on_tls(id);
        }
        let mut opened = std::mem::take(&mut self.secrecy.buffers.opened);
        opened.clear();
        match self.open(id, bytes, &mut opened) {
            Some(Opened::More) => self.hand_on(id, &mut opened),
            Some(Opened::PeerDone) => {
                self.hand_on(id, &mut opened);
                // As if its half of the socket had ended.
                self.engine.handle_end(id);
            }
            Some(Opened::Failed(error)) => {
                let fault = fault(&error, phase, first);
                self.counters.count_tls_fault(fault);
                tracing::debug!(cause = fault.as_str(), %error, "TLS connection failed");
                self.engine.handle_tls_failure(id);
            }
            None => {}
        }
        self.secrecy.buffers.opened = opened;
    }

    /// Decrypts bytes, and measures the time while they belong to a handshake. `None` if the connection is gone.
    fn open(&mut self, id: SlotId, bytes: &mut [u8], opened: &mut Vec<u8>) -> Option<Opened> {
        let tls = self.sockets.get_mut(id)?.tls.as_mut()?;
        let outcome = if tls.is_shaking_hands() {
            let began = self.setup.clock.moment();
            let outcome = tls.open(bytes, opened);
            let spent = self.setup.clock.moment().since(began);
            self.counters.tls_handshake_us.add(u64::try_from(spent.as_micros()).unwrap_or(0));
            let resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
            if tls.is_established()
                && let Some(cell) = self.counters.tls_handshakes.get(usize::from(resumed))
            {
                cell.add(1);
            }
            outcome
        } else {
            tls.open(bytes, opened)
        };
        self.report_transport(id);
        Some(outcome)
    }

    /// Reports the state of a connection's TLS to the engine.
    pub(super) fn report_transport(&mut self, id: SlotId) {
        if let Some(socket) = self.sockets.get_mut(id) {
            self.engine.handle_transport(id, socket.transport(), socket.sealed_bytes());
        }
    }

    fn hand_on(&mut self, id: SlotId, opened: &mut [u8]) {
        if !opened.is_empty() {
            self.engine.handle_bytes(id, opened);
            // A close_notify is queued at once: bytes that the client still sends must not bring a shutdown before it.
            self.obey();
        }
    }

    /// Counts a socket that ended without a close_notify: an abandoned handshake or a truncated connection. A peer that sent
    /// nothing at all, as probes of load balancers do, is no failure.
    pub(super) fn note_truncated(&mut self, id: SlotId) {
        let upgraded = self.engine.is_upgraded(id);
        let Some(tls) = self.sockets.get_mut(id).and_then(|socket| socket.tls.as_ref()) else { return };
        match tls.phase() {
            Phase::Handshake => self.counters.count_tls_fault(TlsFault::Abandoned),
            Phase::Open if upgraded => self.counters.tls_truncated.add(1),
            Phase::Open | Phase::New | Phase::PeerDone | Phase::Done | Phase::Failed => {}
        }
    }
}

impl Tls {
    pub(super) fn transport(&self) -> Transport {
        match self.phase() {
            Phase::New | Phase::Handshake => Transport::Handshaking,
            Phase::Open | Phase::PeerDone => Transport::Encrypted,
            Phase::Done | Phase::Failed => Transport::Done,
        }
    }
}

/// The class of an error on a connection that was in `phase` and received `first` as its first byte.
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
