//! The end of a process: clients are asked to move at given times, the remaining ones are closed with a `bye`, and then the
//! engine is done.
//!
//! The gateway determines the phases (`drain`), and the engine enters each when the shell reports it. By then the listener is
//! closed, so no peers are added. A turn notifies or closes only some peers, because thousands at once would hold up everything
//! else.

use super::Engine;
use super::peer::{Reading, Stage, Transport};
use super::pending::{Request, Unanswered};
use super::slots::SlotId;
use crate::clock::Moment;
use crate::close::CloseReason;
use crate::drain::{DrainPhase, slot, whole_ms};
use crate::limits::{CLOSE_TIMEOUT, TELLS_PER_TURN};
use crate::metrics::Cell;
use crate::metrics::drain::ReactorDrain;
use crate::wire::push;
use crate::wire::request::{After, HttpFault, Method};
use std::collections::HashSet;
use std::time::Duration;

/// The reason that clients get.
const REASON: &str = "deploy";
/// The delay after which a peer that could not be notified is retried: it was not `connected`, or its outbox was full.
const LATE_PERIOD: Duration = Duration::from_millis(100);

/// The engine's progress through the drain.
#[derive(Debug, Default)]
pub(super) struct Draining {
    pub(super) phase: DrainPhase,
    /// Peers to be notified, with the time to move; the earliest slots last.
    planned: Vec<(Moment, SlotId)>,
    /// Peers that could not be notified yet.
    late: Vec<SlotId>,
    again: Moment,
    /// Peers that were asked to move and are not closed yet.
    notified: HashSet<SlotId, ahash::RandomState>,
    /// Peers to be closed.
    open: Vec<SlotId>,
    /// Peers to be closed that still wait for an answer.
    awaiting: Vec<SlotId>,
    /// The number of peers closed so far, and of all to be closed: together the place of a return among all.
    closed: usize,
    to_close: usize,
}

impl Draining {
    /// Begins to close all peers; none is asked to move any more.
    fn close(&mut self, open: Vec<SlotId>, upgraded: usize) {
        self.planned.clear();
        self.late.clear();
        self.open = open;
        self.to_close = upgraded;
    }

    /// True exactly when nothing is left for the next turn.
    pub(super) fn is_idle(&self) -> bool {
        self.planned.is_empty() && self.open.is_empty()
    }

    /// True exactly when commands stay in their sockets: none is read that would not be answered.
    pub(super) fn holds_commands(&self) -> bool {
        self.phase == DrainPhase::Closing
    }
}

impl Engine {
    /// Enters `phase` if it is new, and does the next part of its work. The shell reports `Moving` and `Closing` only once its
    /// listener is closed.
    pub fn drain(&mut self, phase: DrainPhase) {
        if phase != self.rounds.draining.phase {
            self.enter(phase);
        }
        match self.rounds.draining.phase {
            DrainPhase::Serving | DrainPhase::Accepting => {}
            DrainPhase::Moving => self.give_slots(),
            DrainPhase::Closing => self.close_next(),
        }
    }

    /// The engine's phase, which may be behind the process's.
    pub fn phase(&self) -> DrainPhase {
        self.rounds.draining.phase
    }

    /// The moment at which the drain next has something to do by itself.
    pub(super) fn drain_due(&self) -> Option<Moment> {
        match self.rounds.draining.phase {
            DrainPhase::Serving | DrainPhase::Accepting => None,
            DrainPhase::Moving => {
                (!self.rounds.draining.late.is_empty()).then_some(self.rounds.draining.again)
            }
            DrainPhase::Closing => {
                let drain = &self.setup.vitals.drain;
                let answers = (!self.rounds.draining.awaiting.is_empty()).then(|| drain.answer_by());
                Some(answers.unwrap_or(drain.end_by()))
            }
        }
    }

    fn enter(&mut self, phase: DrainPhase) {
        self.rounds.draining.phase = phase;
        match phase {
            DrainPhase::Serving | DrainPhase::Accepting => {}
            DrainPhase::Moving => self.plan_slots(),
            DrainPhase::Closing => {
                let upgraded = self.peers.iter().filter(|(_, peer)| peer.is_upgraded()).count();
                self.rounds.draining.close(self.peers.ids(), upgraded);
            }
        }
    }

    /// Gives every `connected` peer a slot, in random order, because clients that came together must not leave together.
    fn plan_slots(&mut self) {
        let mut ids = self.peers.ids();
        self.random.shuffle(&mut ids);
        let (open, rest): (Vec<SlotId>, Vec<SlotId>) = ids.into_iter().partition(|id| self.is_open(*id));
        let spread = self.setup.vitals.drain.timetable().slots_until().since(self.now.at);
        let planned = open
            .iter()
            .enumerate()
            .rev()
            .map(|(index, id)| (self.now.at + slot(index, open.len(), spread, self.random.f32()), *id));
        self.rounds.draining.planned = planned.collect();
        self.rounds.draining.late = rest;
        self.rounds.draining.again = self.now.at;
    }

    /// Notifies the next peers, the earliest slots first, so that no slot has passed before its peer is notified.
    fn give_slots(&mut self) {
        let from = self.rounds.draining.planned.len().saturating_sub(TELLS_PER_TURN);
        for (at, id) in self.rounds.draining.planned.split_off(from).into_iter().rev() {
            self.give_slot(id, at);
        }
        if self.rounds.draining.late.is_empty() || self.rounds.draining.again > self.now.at {
            return;
        }
        self.rounds.draining.again = self.now.at + LATE_PERIOD;
        let left = self.setup.vitals.drain.timetable().slots_until().since(self.now.at);
        for id in std::mem::take(&mut self.rounds.draining.late) {
            let at = self.now.at + left.mul_f32(self.random.f32());
            self.give_slot(id, at);
        }
    }

    /// Notifies one peer when to move. The time is sent relative to now, whenever it was planned.
    fn give_slot(&mut self, id: SlotId, at: Moment) {
        let bytes_max = self.setup.policy.limits.outbox_bytes as usize;
        let Some(peer) = self.peers.get_mut(id) else { return };
        match &peer.stage {
            Stage::WebSocket(_) if peer.is_open() && peer.outbox.bytes() < bytes_max => {
                let slot_ms = whole_ms(at.since(self.now.at));
                let close_at = self.setup.vitals.drain.timetable().close_at();
                let deadline_ms = whole_ms(close_at.since(self.now.at));
                self.write(id, |out| push::drain(out, REASON, slot_ms, deadline_ms, None));
                self.rounds.draining.notified.insert(id);
                self.count_drain(|cells| &cells.notified, 1);
            }
            // A client that was answered and only keeps its connection open.
            Stage::Head(head) if head.is_idle() => {
                self.end_when_sent(id);
                self.finish_if_sent(id);
            }
            Stage::Head(_) | Stage::Address(_) | Stage::WebSocket(_) => self.rounds.draining.late.push(id),
            Stage::Closing(_) | Stage::Lingering { .. } => {}
        }
    }

    /// Closes the next peers, and the peers that meanwhile got their last answer.
    fn close_next(&mut self) {
        let given_up = self.setup.vitals.drain.answer_by() <= self.now.at;
        if given_up {
            self.give_answers_up();
        }
        let from = self.rounds.draining.open.len().saturating_sub(TELLS_PER_TURN);
        let next = self.rounds.draining.open.split_off(from);
        for id in next.into_iter().chain(std::mem::take(&mut self.rounds.draining.awaiting)) {
            let awaits = self.chat_mut(id).is_some_and(|chat| chat.session.awaits_answers());
            if awaits && !given_up {
                self.rounds.draining.awaiting.push(id);
            } else {
                self.say_good_bye(id);
            }
        }
    }

    /// Answers all outstanding requests as late: their outcome is not known.
    fn give_answers_up(&mut self) {
        // Some of these answers lead to further requests.
        for _ in 0..self.pending.len() {
            let Some(request) = self.pending.pop_late(Moment::from_micros(u64::MAX)) else { break };
            if matches!(request, Request::Append { .. }) {
                self.count_drain(|cells| &cells.appends, 1);
            }
            self.answer_without_worker(request, Unanswered::Late);
        }
        self.fail_waiting();
    }

    fn say_good_bye(&mut self, id: SlotId) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        match peer.stage {
            Stage::WebSocket(_) => {
                let returns = self.setup.vitals.drain.timetable().plan.returns;
                let (index, count) = (self.rounds.draining.closed, self.rounds.draining.to_close);
                let retry_ms = whole_ms(slot(index, count, returns, self.random.f32()));
                self.rounds.draining.closed += 1;
                self.rounds.draining.notified.remove(&id);
                self.count_drain(|cells| &cells.stragglers, 1);
                self.close(id, CloseReason::Restart { retry_ms });
                // The poll may have reported it readable while its commands were held.
                if let Some(peer) = self.peers.get_mut(id)
                    && matches!(peer.reading, Reading::Open | Reading::Ending)
                {
                    peer.reading = Reading::Ending;
                    self.mark_ready(id);
                }
            }
            Stage::Head(_) | Stage::Address(_) => {
                self.refuse_unanswered(id);
                self.end_when_sent(id);
                self.finish_if_sent(id);
            }
            Stage::Closing(_) | Stage::Lingering { .. } => {}
        }
    }

    /// Refuses the open request of a peer. A peer without one, or in the middle of a TLS handshake, can get no answer.
    fn refuse_unanswered(&mut self, id: SlotId) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        let asks = match &peer.stage {
            Stage::Head(head) => !head.is_idle(),
            Stage::Address(_) => true,
            Stage::WebSocket(_) | Stage::Closing(_) | Stage::Lingering { .. } => false,
        };
        if !asks || peer.transport == Transport::Handshaking {
            return;
        }
        let returns = self.setup.vitals.drain.timetable().plan.returns;
        let retry_ms = whole_ms(returns.mul_f32(self.random.f32()));
        let fault = HttpFault::Unavailable { retry_ms };
        self.close_attempt(id, &CloseReason::Restart { retry_ms });
        self.write_fault(id, fault, Method::Get, After::Close);
    }

    /// True exactly when nothing is left to do, or no time is left to do it.
    pub fn is_drained(&self) -> bool {
        self.rounds.draining.phase == DrainPhase::Closing
            && (self.peers.is_empty() || self.setup.vitals.drain.end_by() <= self.now.at)
    }

    /// Removes a peer that took too long to close its half. In a drain, a peer that is still reading has until the drain ends;
    /// its unsent bytes are then counted.
    pub(super) fn close_overdue(&mut self, id: SlotId) {
        let end = self.setup.vitals.drain.end_by();
        if self.rounds.draining.phase == DrainPhase::Closing
            && let Some(peer) = self.peers.get_mut(id)
            && peer.wants_flush()
            && let Stage::Closing(closing) = &mut peer.stage
            && closing.until < end
        {
            closing.until = end + CLOSE_TIMEOUT;
            return;
        }
        self.kill(id);
    }

    /// Counts the peers that are dropped before they were sent everything.
    pub fn give_up_rest(&mut self) {
        for id in self.peers.ids() {
            self.count_unsent(id);
            self.drop_reason(id);
        }
    }

    /// Counts a peer that is dropped during a drain before it was sent everything.
    pub(super) fn count_unsent(&mut self, id: SlotId) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        let lacks = match &peer.stage {
            Stage::WebSocket(_) => true,
            Stage::Closing(_) => peer.wants_flush(),
            Stage::Head(_) | Stage::Address(_) | Stage::Lingering { .. } => false,
        };
        let bytes = peer.waiting_bytes() as u64;
        if lacks && self.rounds.draining.phase == DrainPhase::Closing {
            self.count_drain(|cells| &cells.closes, 1);
            self.count_drain(|cells| &cells.bytes, bytes);
        }
    }

    /// Counts a peer that left by itself after it was asked to move.
    pub(super) fn count_left(&mut self, id: SlotId) {
        if self.rounds.draining.notified.remove(&id) {
            self.count_drain(|cells| &cells.moved, 1);
        }
    }

    fn count_drain(&self, cell: impl Fn(&ReactorDrain) -> &Cell, by: u64) {
        if let Some(cells) = self.setup.vitals.drain.reactors.get(usize::from(self.basis.id.0)) {
            cell(cells).add(by);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_before_all_slots_are_sent_leaves_no_work_for_the_next_turn() {
        let id = SlotId { index: 0, generation: 1 };
        let mut draining =
            Draining { planned: vec![(Moment::ZERO, id)], late: vec![id], ..Draining::default() };
        draining.close(Vec::new(), 1);
        assert!(draining.is_idle(), "the shell would not sleep until the end");
    }
}
