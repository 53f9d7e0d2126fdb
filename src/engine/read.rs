//! The readiness of sockets, and the bytes read from them.

use super::Engine;
use super::ended::SessionEnding;
use super::peer::{Awaited, Closing, Listed, Reading, Stage};
use super::slots::SlotId;
use crate::clock::Moment;
use crate::slo::ending::ReasonFate;
use crate::wire::frames::{Frame, FrameLimits, Input};

/// The poll's report on one socket.
#[derive(Clone, Copy, Debug, Default)]
pub struct Readiness {
    pub readable: bool,
    pub writable: bool,
    /// The peer's half has ended, or will after the bytes that wait.
    pub read_closed: bool,
    pub error: bool,
}

/// The extent to which the shell reads a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadExtent {
    Nothing,
    /// Until a short read: the poll reports further bytes.
    UntilShort,
    /// Until nothing is left, because the end of the peer's half may not be reported again.
    ToEnd,
}

impl Engine {
    /// Notes that a socket became ready.
    pub fn handle_readiness(&mut self, id: SlotId, readiness: Readiness) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        let writable = readiness.writable && peer.wants_flush();
        if readiness.error && matches!(peer.reading, Reading::Paused | Reading::Held) {
            // Nothing would find the reset before the next write.
            return self.kill(id);
        }
        if readiness.readable || readiness.read_closed || readiness.error {
            if readiness.read_closed && peer.reading == Reading::Open {
                peer.reading = Reading::Ending;
            }
            self.mark_ready(id);
        }
        if writable {
            self.mark_dirty(id);
        }
    }

    /// The number of peers to read in this turn. Peers that become ready meanwhile wait for the next turn.
    pub fn ready(&self) -> usize {
        self.due.ready.len()
    }

    /// The next peer to read, of the `left` first ones on the list; `None` if there is none, or the turn has written so much
    /// that the rest waits for the next.
    pub fn next_ready(&mut self, left: &mut usize) -> Option<SlotId> {
        while *left > 0
            && !self.turn_is_full()
            && let Some(id) = self.due.ready.pop_front()
        {
            *left -= 1;
            if self.unlist(id) {
                return Some(id);
            }
        }
        None
    }

    /// Takes a peer off its list; false if it is not to be read.
    pub(super) fn unlist(&mut self, id: SlotId) -> bool {
        let holds = self.rounds.draining.holds_commands();
        self.peers.get_mut(id).is_some_and(|peer| {
            peer.listed = Listed::No;
            !(holds && peer.is_upgraded())
        })
    }

    /// Notes that a peer used up its quota of reads, and is read again in the next turn.
    pub fn handle_more(&mut self, id: SlotId) {
        self.mark_ready(id);
    }

    pub fn reads(&mut self, id: SlotId) -> ReadExtent {
        match self.peers.get_mut(id).map(|peer| peer.reading) {
            Some(Reading::Open) => ReadExtent::UntilShort,
            Some(Reading::Ending) => ReadExtent::ToEnd,
            Some(Reading::Paused | Reading::Held | Reading::Ended | Reading::Dead) | None => {
                ReadExtent::Nothing
            }
        }
    }

    /// Takes decrypted bytes that a peer sent.
    pub fn handle_bytes(&mut self, id: SlotId, bytes: &mut [u8]) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        match &mut peer.stage {
            Stage::Head(_) => self.head_bytes(id, bytes),
            Stage::Address(admission) => {
                admission.rest.extend_from_slice(bytes);
                // Bytes before the answer are kept within a bound; the socket keeps the rest.
                if admission.rest.len() > self.setup.policy.limits.head_bytes as usize {
                    peer.reading = Reading::Paused;
                }
            }
            Stage::WebSocket(_) => self.frames(id, bytes),
            Stage::Closing(closing) => {
                if closing.heard_close(bytes, self.basis.frames, self.now.at) {
                    self.finish_if_sent(id);
                }
            }
            Stage::Lingering { bytes_left, .. } => {
                *bytes_left = bytes_left.saturating_sub(bytes.len());
                if *bytes_left == 0 {
                    self.kill(id);
                }
            }
        }
        self.pause_if_full(id);
        self.count_inbound(id);
        self.check(id);
    }

    /// Stops reading a peer that does not read its responses.
    fn pause_if_full(&mut self, id: SlotId) {
        let bytes_max = self.setup.policy.limits.outbox_bytes_hard as usize;
        if let Some(peer) = self.peers.get_mut(id)
            && peer.waiting_bytes() > bytes_max
            && matches!(peer.reading, Reading::Open | Reading::Ending)
        {
            peer.reading = Reading::Paused;
        }
    }

    /// Takes the end of a peer's half. Queued bytes are still sent, and nothing else.
    pub fn handle_end(&mut self, id: SlotId) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        match peer.reading {
            Reading::Dead | Reading::Ended => return,
            Reading::Open | Reading::Ending | Reading::Paused | Reading::Held => {
                peer.reading = Reading::Ended;
            }
        }
        if let Stage::Closing(closing) = &mut peer.stage {
            closing.awaited = Awaited::Nothing;
        } else if !peer.wants_flush() && !peer.owes_done() {
            return self.kill(id);
        } else {
            self.end_session(id, SessionEnding::LOST);
            self.end_when_sent(id);
        }
        self.finish_if_sent(id);
    }

    /// Takes the failure of a peer's TLS: at most an alert is still sent.
    pub fn handle_tls_failure(&mut self, id: SlotId) {
        self.note_answer(id, crate::admission::handshakes::Done::Failed);
        self.settle_reason(id, ReasonFate::PeerGone);
        self.end_session(id, SessionEnding::LOST);
        let Some(peer) = self.peers.get_mut(id) else { return };
        peer.outbox.clear();
        self.mark_dirty(id);
        self.end_when_sent(id);
        self.finish_if_sent(id);
    }

    /// True exactly when the peer has been upgraded and not yet closed.
    pub fn is_upgraded(&mut self, id: SlotId) -> bool {
        self.peers.get_mut(id).is_some_and(|peer| peer.is_upgraded())
    }

    /// True exactly when the peer's bytes are discarded because our half is shut.
    pub fn is_lingering(&mut self, id: SlotId) -> bool {
        self.peers.get_mut(id).is_some_and(|peer| matches!(peer.stage, Stage::Lingering { .. }))
    }
}

impl Closing {
    /// Reads until the peer's close frame; true once nothing is awaited.
    fn heard_close(&mut self, bytes: &mut [u8], limits: FrameLimits, now: Moment) -> bool {
        let Awaited::CloseFrame(decoder) = &mut self.awaited else { return true };
        let mut input = Input::new(bytes);
        loop {
            match decoder.next(&mut input, limits, now) {
                Frame::Incomplete => return false,
                Frame::Text(_) | Frame::Binary(_) | Frame::Ping(_) | Frame::Pong => {}
                Frame::Close(_) | Frame::Violation(_) => break,
            }
        }
        self.awaited = Awaited::Nothing;
        true
    }
}
