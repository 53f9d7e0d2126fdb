//! One write for each peer that got something in this turn, and the consequences of how much of it the socket took.

use super::Engine;
use super::holders::{Holder, victims};
use super::order::Order;
use super::peer::{Awaited, Closing, Flushed, Peer, Queued, Reading, Replays, Stage, Transport};
use super::slots::SlotId;
use super::stall::Stall;
use crate::clock::Moment;
use crate::close::CloseReason;
use crate::limits::{LINGER_BYTES_MAX, LINGER_TIMEOUT, REPLAY_PAGE_BYTES_MAX};
use crate::slo::ending::ReasonFate;
use crate::wire::outbox::{Arena, Outbox};
use std::time::Duration;

/// The pause between two searches for the longest stalled peers, because each looks at all peers.
const RELIEF_PERIOD: Duration = Duration::from_millis(100);

/// The bytes that wait for all sockets, and the earliest time of the next search.
#[derive(Debug)]
pub(super) struct Relief {
    pub(super) waiting_bytes: u64,
    next: Moment,
}

impl Relief {
    pub(super) fn new(now: Moment) -> Relief {
        Relief { waiting_bytes: 0, next: now }
    }
}

/// The result of writing an outbox to its socket.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// Bytes that the socket took.
    pub bytes: usize,
    pub flushed: Flushed,
    /// Encrypted bytes that the shell still holds for the socket.
    pub sealed_bytes: u32,
}

impl Engine {
    /// Flushes every peer that is served and got something in this turn. `write` moves bytes from an outbox to its socket.
    pub fn flush(&mut self, mut write: impl FnMut(SlotId, &mut Outbox, &Arena) -> Written) {
        // Sessions that end meanwhile may queue further peers; each peer is written once.
        let mut dirty = std::mem::take(&mut self.due.dirty);
        for id in dirty.drain(..) {
            self.flush_peer(id, &mut write);
        }
        if self.due.dirty.is_empty() {
            self.due.dirty = dirty;
        }
    }

    /// The same for the peers that are still arriving.
    pub fn flush_arrivals(&mut self, mut write: impl FnMut(SlotId, &mut Outbox, &Arena) -> Written) {
        let mut dirty = std::mem::take(&mut self.arrivals.dirty);
        for id in dirty.drain(..) {
            self.flush_peer(id, &mut write);
        }
        if self.arrivals.dirty.is_empty() {
            self.arrivals.dirty = dirty;
        }
    }

    /// True exactly when [`flush_arrivals`](Engine::flush_arrivals) has work.
    pub fn has_dirty_arrivals(&self) -> bool {
        !self.arrivals.dirty.is_empty()
    }

    /// Enforces the total bound on waiting bytes, and prepares the end of the turn's arena.
    pub fn finish_flush(&mut self) {
        self.relieve();
        self.settle();
    }

    #[inline]
    fn flush_peer(&mut self, id: SlotId, write: &mut impl FnMut(SlotId, &mut Outbox, &Arena) -> Written) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        peer.queued = Queued::No;
        let written = write(id, &mut peer.outbox, &self.scratch.arena);
        peer.sealed_bytes = written.sealed_bytes;
        if written.flushed == Flushed::Empty && peer.keeps_up() {
            // The common case of a fan-out, which needs only one look at the peer.
            if let Some(websocket) = peer.websocket_mut() {
                websocket.heartbeat.sent(self.now.at);
            }
            return;
        }
        self.flushed(id, written);
    }

    fn flushed(&mut self, id: SlotId, written: Written) {
        let now = self.now.at;
        let Some(peer) = self.peers.get_mut(id) else { return };
        if written.bytes > 0
            && let Stage::WebSocket(websocket) = &mut peer.stage
        {
            websocket.heartbeat.sent(now);
            // A full socket has room again because the peer read. Its own bytes may be stuck meanwhile behind a ping that
            // is still in the queue.
            if peer.stalled_since.is_some() {
                websocket.heartbeat.received(now);
            }
        }
        match written.flushed {
            Flushed::Broken => {
                peer.outbox.clear();
                peer.sealed_bytes = 0;
                peer.stalled_since = None;
                self.settle_reason(id, ReasonFate::PeerGone);
                self.kill(id);
            }
            Flushed::Empty => {
                peer.stalled_since = None;
                self.drained(id);
            }
            Flushed::Blocked => {
                peer.outbox.settle(&self.scratch.arena);
                let newly_stalled = peer.stalled_since.is_none();
                if written.bytes > 0 || newly_stalled {
                    peer.stalled_since = Some(Stall::at(now));
                }
                if newly_stalled {
                    self.schedule(id);
                }
                self.drained(id);
            }
        }
        self.count_waiting(id);
    }

    fn count_waiting(&mut self, id: SlotId) {
        if let Some(peer) = self.peers.get_mut(id) {
            let bytes = peer.waiting_bytes() as u32;
            let total = &mut self.memory.relief.waiting_bytes;
            *total = *total + u64::from(bytes) - u64::from(peer.counted_bytes);
            peer.counted_bytes = bytes;
        }
    }

    /// Continues reading and replays if there is room again, and ends a closing peer whose last bytes are sent.
    fn drained(&mut self, id: SlotId) {
        let outbox_bytes = self.setup.policy.limits.outbox_bytes as usize;
        let Some(peer) = self.peers.get_mut(id) else { return };
        let bytes = peer.waiting_bytes();
        let behind = peer.chat_mut().is_some_and(|chat| chat.replays != Replays::None);
        if behind && bytes < REPLAY_PAGE_BYTES_MAX {
            self.reads.rooms.push(id);
        }
        if peer.reading == Reading::Paused && bytes < outbox_bytes && !matches!(peer.stage, Stage::Address(_))
        {
            // The poll may have reported the peer's end meanwhile, so it is read to the end.
            peer.reading = Reading::Ending;
            self.mark_ready(id);
        }
        if bytes == 0 {
            self.settle_reason(id, ReasonFate::Sent);
            self.finish_if_sent(id);
        }
    }

    /// Shuts our half once everything is sent and nothing is awaited of the peer.
    pub(super) fn finish_if_sent(&mut self, id: SlotId) {
        let until = self.now.at + LINGER_TIMEOUT;
        let Some(peer) = self.peers.get_mut(id) else { return };
        let sent = !peer.wants_flush();
        let Stage::Closing(Closing { awaited: Awaited::Nothing, .. }) = &peer.stage else { return };
        if !sent {
            return;
        }
        if peer.owes_done() {
            peer.transport = Transport::Done;
            self.out.orders.push(Order::SayDone(id));
            return;
        }
        if matches!(peer.reading, Reading::Ended | Reading::Dead) {
            return self.kill(id);
        }
        self.out.orders.push(Order::Shutdown(id));
        peer.stage = Stage::Lingering { until, bytes_left: LINGER_BYTES_MAX };
        // A paused peer is read again: its remaining bytes are discarded.
        if matches!(peer.reading, Reading::Paused | Reading::Held) {
            peer.reading = Reading::Ending;
        }
        self.mark_ready(id);
        self.schedule(id);
    }

    /// Takes the state of the shell's TLS, and the number of encrypted bytes that wait for the socket.
    pub fn handle_transport(&mut self, id: SlotId, transport: Transport, sealed_bytes: u32) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        (peer.transport, peer.sealed_bytes) = (transport, sealed_bytes);
        if sealed_bytes > 0 { self.mark_dirty(id) } else { self.finish_if_sent(id) }
    }

    /// Over the total bound, ends peers until a tenth is free again: those of the user with the most bytes, and of these the one
    /// that has stalled longest.
    fn relieve(&mut self) {
        let bytes_max = self.outbox_bytes_max();
        let waiting_bytes = self.memory.relief.waiting_bytes;
        if waiting_bytes <= bytes_max || self.now.at < self.memory.relief.next {
            return;
        }
        self.memory.relief.next = self.now.at + RELIEF_PERIOD;
        let stalled = |(id, peer): (SlotId, &Peer)| {
            let party = Some(peer.party());
            let rank = peer.stalled_since?.moment().micros();
            Some(Holder { party, rank, id, bytes: u64::from(peer.counted_bytes) })
        };
        let stalled = self.peers.iter().filter_map(stalled).collect();
        for id in victims(stalled, waiting_bytes - bytes_max + bytes_max / 10) {
            self.give_up(id);
        }
    }

    /// Ends a peer whose socket takes no bytes: no `bye` would reach it.
    pub(super) fn give_up(&mut self, id: SlotId) {
        self.count_unsent(id);
        self.close(id, CloseReason::WriteStalled);
        self.kill(id);
    }
}
