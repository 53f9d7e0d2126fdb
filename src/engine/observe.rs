//! The end of a turn: its counts, its measurements, and the release of its memory.

use super::Engine;
use super::order::{Notice, Subject};
use super::peer::{Listed, Peer, Queued, Reading, Role, Stage, WebSocket};
use super::slots::SlotId;
use crate::close::{CloseReason, Reported};
use crate::hub::Slot;
use crate::limits::{ARENA_BYTES_KEPT, ARENA_BYTES_MAX};
use crate::session::Effect;
use std::time::Duration;

/// Engines with more peers are not checked as a whole after each turn, or debug builds would take quadratic time in a storm.
const CHECKED_PEERS_MAX: usize = 256;

impl Engine {
    /// True exactly when this turn has written as much for single peers as it should before it flushes.
    pub fn turn_is_full(&self) -> bool {
        self.scratch.arena.bytes() + self.scratch.sharing.bytes() > ARENA_BYTES_MAX
    }

    /// Ends a turn that took `busy` since [`begin_turn`](Engine::begin_turn).
    pub fn end_turn(&mut self, busy: Duration) {
        self.scratch.arena.clear(ARENA_BYTES_KEPT);
        self.scratch.sharing.clear();
        let others = self.measure_arrivals(busy);
        // The time of handshakes is left out, because a wait does not reduce it.
        self.gathering.measure(self.tally.runs.read(), others);
        self.end_promises(busy);
        self.look_at_returns();
        let tally = &self.tally;
        for code in self.scratch.refused.drain(..) {
            tally.count_error(code);
        }
        tally.connections.set(self.peers.len() as u64);
        tally.pending.set(self.pending.len() as u64);
        tally.outbox_bytes.set(self.memory.relief.waiting_bytes);
        tally.recoveries_waiting.set(self.reads.recoveries.waiting() as u64);
        tally.inbound_bytes.set(self.memory.inbound_bytes);
        tally.turns_waiting.set(self.turns.len() as u64);
        let (channels, subscriptions, tail_bytes) = self.hub.sizes();
        tally.channels.set(channels as u64);
        tally.subscriptions.set(subscriptions as u64);
        tally.tail_bytes.set(tail_bytes as u64);
        if cfg!(debug_assertions) && self.peers.len() <= CHECKED_PEERS_MAX {
            self.check_invariants();
        }
    }

    /// Checks what a session asked for at once: it closes once, and asks for nothing afterwards but to leave rosters and to
    /// release its user.
    #[inline]
    pub(super) fn check_effects(&mut self, id: SlotId) {
        let effects = &self.scratch.effects;
        if cfg!(debug_assertions)
            && let Some(close) =
                effects.iter().position(|effect| matches!(effect, Effect::Close(_) | Effect::Deny(_)))
        {
            let after = &effects[close + 1..];
            let releases = after.iter().filter(|effect| matches!(effect, Effect::ReleaseUser(_))).count();
            let departures = after.iter().filter(|effect| matches!(effect, Effect::Roster(_))).count();
            assert!(releases + departures == after.len() && releases <= 1, "after a close: {after:?}");
            let chat = self.peers.get(id).and_then(Peer::chat);
            let serves = chat.is_some_and(|chat| chat.session.is_open() || chat.session.awaits_connect());
            assert!(!serves, "a session that closed serves on");
        }
    }

    pub(super) fn report_limit(&mut self, id: SlotId, bound: &'static str) {
        if let Some(subject) = self.subject(id) {
            self.out.notices.push(Notice::OverLimit(bound, subject));
        }
    }

    /// Reports the end of a session that concerns security.
    pub(super) fn report_end(&mut self, id: SlotId, reason: &CloseReason) {
        let Some(subject) = self.subject(id) else { return };
        match reason.reported() {
            Reported::None => {}
            Reported::Limit(bound) => self.out.notices.push(Notice::OverLimit(bound, subject)),
            Reported::Cause | Reported::Silence => {
                self.out.notices.push(Notice::SessionEnded(reason.clone(), subject))
            }
        }
    }

    fn subject(&self, id: SlotId) -> Option<Box<Subject>> {
        let peer = self.peers.get(id)?;
        let user = peer.chat().and_then(|chat| chat.session.user()).cloned();
        Some(Box::new(Subject { user, address: peer.address }))
    }

    /// Checks one peer after a mutation, in debug builds.
    #[inline]
    pub(super) fn check(&mut self, id: SlotId) {
        if cfg!(debug_assertions)
            && let Some(peer) = self.peers.get_mut(id)
        {
            peer.check_invariants();
        }
    }

    /// Panics if the engine's parts contradict each other. It looks at every peer.
    pub fn check_invariants(&self) {
        let (mut waiting_bytes, mut inbound_bytes, mut dirty, mut listed, mut dead) = (0, 0, 0, 0, 0);
        for (id, peer) in self.peers.iter() {
            peer.check_invariants();
            waiting_bytes += u64::from(peer.counted_bytes);
            inbound_bytes += u64::from(peer.counted_inbound);
            dirty += usize::from(peer.queued == Queued::Dirty);
            listed += usize::from(peer.listed == Listed::Ready);
            dead += usize::from(peer.reading == Reading::Dead);
            if let Stage::WebSocket(WebSocket { role: Role::Chat(chat), .. }) = &peer.stage {
                for subscription in chat.session.subscriptions() {
                    let slot = self.hub.slot(*subscription);
                    assert_eq!(slot, Some(Slot(id.index)), "a subscription of another peer: {peer:?}");
                }
            }
        }
        let here =
            |ids: &mut dyn Iterator<Item = &SlotId>| ids.filter(|id| self.peers.contains(**id)).count();
        assert_eq!(waiting_bytes, self.memory.relief.waiting_bytes, "the total of waiting bytes");
        assert_eq!(inbound_bytes, self.memory.inbound_bytes, "the total of unfinished messages");
        assert_eq!(
            dirty,
            here(&mut self.due.dirty.iter().chain(&self.arrivals.dirty)),
            "peers to be flushed"
        );
        assert_eq!(
            listed,
            here(&mut self.due.ready.iter().chain(self.arrivals.listed())),
            "peers to be read"
        );
        assert_eq!(dead, here(&mut self.out.dead.iter()), "peers to be removed");
        assert!(self.scratch.effects.is_empty(), "effects that were not performed");
        let (attempts, decided) = (self.tally.slo.attempts(), self.tally.slo.decided_attempts());
        assert_eq!(attempts, decided + self.open_attempts(), "attempts, with and without an outcome");
        self.pending.check_invariants();
        self.reads.recoveries.check_invariants();
    }
}
