//! The end of a process: who is here is told when to move, who stays is closed with a `bye`, then the reactor is done.
//!
//! The gateway leads through the phases, see `health::drain`; a reactor follows when it sees that another one holds. Once its
//! listener is closed nobody new comes, so that the connections of that moment are all that will ever have to be told.
//! Telling and closing are paced by the turn: thousands at once would hold up everything else.

use super::Reactor;
use super::connection::{Connection, Reading, Stage};
use super::listener::Leaving;
use super::pending::Request;
use super::slots::SlotId;
use crate::clock::Moment;
use crate::close::CloseReason;
use crate::health::drain::{Phase, slot, whole_ms};
use crate::limits::{CLOSE_TIMEOUT, TELLS_PER_TURN};
use crate::metrics::Cell;
use crate::metrics::drain::ReactorDrain;
use crate::wire::push;
use crate::wire::request::{After, HttpFault, Method};
use crate::wire::response;
use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Why clients are asked to move.
const REASON: &str = "deploy";
/// Who could not be told is tried again after this: not open yet, or without room.
const LATE_PERIOD: Duration = Duration::from_millis(100);

/// How far this reactor has followed.
#[derive(Debug, Default)]
pub(super) struct Draining {
    pub(super) phase: Phase,
    /// Who is to be told when to move; the earliest slots last.
    planned: Vec<(Moment, SlotId)>,
    /// Who could not be told yet.
    late: Vec<SlotId>,
    again: Moment,
    /// Who was told to move, and was not closed since.
    told: HashSet<SlotId, ahash::RandomState>,
    /// Who is to be closed.
    open: Vec<SlotId>,
    /// Who is to be closed and still waits for an answer.
    awaiting: Vec<SlotId>,
    /// Closed so far, and all that are to be: the place of a return among all.
    closed: usize,
    to_close: usize,
}

impl Draining {
    /// Who is here is closed; nobody is told to move any more.
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

    /// Commands that came too late stay in their socket: none is taken that would not be answered.
    pub(super) fn holds_commands(&self) -> bool {
        self.phase == Phase::Closing
    }
}

impl Reactor {
    /// Follows the process to its end.
    pub(super) fn drain(&mut self) {
        let phase = self.setup.vitals.drain.phase();
        if phase != self.draining.phase && self.may_enter(phase) {
            self.enter(phase);
        }
        match self.draining.phase {
            Phase::Serving | Phase::Accepting => {}
            Phase::Moving => self.give_slots(),
            Phase::Closing => self.close_next(),
        }
    }

    /// Leaves the port where the phase wants that; true exactly when nobody else comes who would have to be told.
    fn may_enter(&mut self, phase: Phase) -> bool {
        match phase {
            Phase::Serving | Phase::Accepting => true,
            Phase::Moving | Phase::Closing => self.leave_port() == Leaving::Left,
        }
    }

    /// When the drain has something to do, if nothing else happens.
    pub(super) fn drain_due(&self) -> Option<Moment> {
        match self.draining.phase {
            Phase::Serving | Phase::Accepting => None,
            Phase::Moving => (!self.draining.late.is_empty()).then_some(self.draining.again),
            Phase::Closing => {
                let drain = &self.setup.vitals.drain;
                let answers = (!self.draining.awaiting.is_empty()).then(|| drain.answer_by());
                Some(answers.unwrap_or(drain.end_by()))
            }
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.draining.phase = phase;
        match phase {
            Phase::Serving | Phase::Accepting => {}
            Phase::Moving => {
                self.say_that_nobody_comes();
                self.plan_slots();
            }
            Phase::Closing => {
                self.say_that_nobody_comes();
                let upgraded =
                    |(_, connection): &(SlotId, &Connection)| matches!(connection.stage, Stage::WebSocket(_));
                let upgraded = self.slots.iter().filter(upgraded).count();
                self.draining.close(self.slots.ids(), upgraded);
            }
        }
    }

    /// Counts who is here before it is said that nobody else comes: the gateway ends when it sees neither.
    fn say_that_nobody_comes(&self) {
        let place = usize::from(self.id.0);
        let vitals = &self.setup.vitals;
        if let (Some(own), Some(drain)) = (vitals.reactors.get(place), vitals.drain.reactors.get(place)) {
            own.connections.set(self.slots.len() as u64);
            drain.closed.store(true, Ordering::Release);
        }
    }

    /// Gives everybody who is open a share of the time, in no order: who came together shall not go together.
    fn plan_slots(&mut self) {
        let mut ids = self.slots.ids();
        self.random.shuffle(&mut ids);
        let (open, rest): (Vec<SlotId>, Vec<SlotId>) = ids.into_iter().partition(|id| self.is_open(*id));
        let spread = self.setup.vitals.drain.timetable().slots_until().since(self.now.at);
        let planned = open
            .iter()
            .enumerate()
            .rev()
            .map(|(index, id)| (self.now.at + slot(index, open.len(), spread, self.random.f32()), *id));
        self.draining.planned = planned.collect();
        self.draining.late = rest;
        self.draining.again = self.now.at;
    }

    /// Tells the next of them, the earliest slots first, so that none is over before it is told.
    fn give_slots(&mut self) {
        let from = self.draining.planned.len().saturating_sub(TELLS_PER_TURN);
        for (at, id) in self.draining.planned.split_off(from).into_iter().rev() {
            self.give_slot(id, at);
        }
        if self.draining.late.is_empty() || self.draining.again > self.now.at {
            return;
        }
        self.draining.again = self.now.at + LATE_PERIOD;
        let left = self.setup.vitals.drain.timetable().slots_until().since(self.now.at);
        for id in std::mem::take(&mut self.draining.late) {
            let at = self.now.at + left.mul_f32(self.random.f32());
            self.give_slot(id, at);
        }
    }

    /// Tells one connection when to move. What is told counts from here on, whatever the plan was made at.
    fn give_slot(&mut self, id: SlotId, at: Moment) {
        let bytes_max = self.setup.policy.limits.outbox_bytes as usize;
        let is_open = self.is_open(id);
        let Some(connection) = self.slots.get_mut(id) else { return };
        match &connection.stage {
            Stage::WebSocket(_) if is_open && connection.outbox.bytes() < bytes_max => {
                let slot_ms = whole_ms(at.since(self.now.at));
                let close_at = self.setup.vitals.drain.timetable().close_at();
                let deadline_ms = whole_ms(close_at.since(self.now.at));
                self.write(id, |out| push::drain(out, REASON, slot_ms, deadline_ms));
                self.draining.told.insert(id);
                self.count_drain(|cells| &cells.told, 1);
            }
            // Somebody who asked something before and now only keeps the connection.
            Stage::Head(head) if head.is_idle() => {
                self.end_http(id);
                self.finish_if_sent(id);
            }
            Stage::Head(_) | Stage::Address(_) | Stage::WebSocket(_) => self.draining.late.push(id),
            Stage::Closing(_) | Stage::Lingering { .. } => {}
        }
    }

    fn is_open(&mut self, id: SlotId) -> bool {
        let connection = self.slots.get_mut(id);
        connection.and_then(Connection::chat_mut).is_some_and(|chat| chat.session.is_open())
    }

    /// Closes the next of them, and who has got the last answer.
    fn close_next(&mut self) {
        let given_up = self.setup.vitals.drain.answer_by() <= self.now.at;
        if given_up {
            self.give_answers_up();
        }
        let from = self.draining.open.len().saturating_sub(TELLS_PER_TURN);
        let next = self.draining.open.split_off(from);
        for id in next.into_iter().chain(std::mem::take(&mut self.draining.awaiting)) {
            let connection = self.slots.get_mut(id);
            let awaits =
                connection.and_then(Connection::chat_mut).is_some_and(|chat| chat.session.awaits_answers());
            if awaits && !given_up {
                self.draining.awaiting.push(id);
            } else {
                self.say_good_bye(id);
            }
        }
    }

    /// Nothing came of them in time: each is told that its outcome is not known.
    fn give_answers_up(&mut self) {
        // Some of what the answers lead to is asked for again.
        for _ in 0..self.pending.len() {
            let Some(request) = self.pending.pop_late(Moment::from_micros(u64::MAX)) else { break };
            if matches!(request, Request::Append { .. }) {
                self.count_drain(|cells| &cells.appends, 1);
            }
            self.answer_late(request);
        }
        self.fail_waiting();
    }

    fn say_good_bye(&mut self, id: SlotId) {
        let Some(connection) = self.slots.get_mut(id) else { return };
        match connection.stage {
            Stage::WebSocket(_) => {
                let returns = self.setup.vitals.drain.timetable().plan.returns;
                let (index, count) = (self.draining.closed, self.draining.to_close);
                let retry_ms = whole_ms(slot(index, count, returns, self.random.f32()));
                self.draining.closed += 1;
                self.draining.told.remove(&id);
                self.count_drain(|cells| &cells.stragglers, 1);
                self.close(id, CloseReason::Restart { retry_ms });
                // Its edge may have come while it was held.
                if let Some(connection) = self.slots.get_mut(id)
                    && matches!(connection.reading, Reading::Open | Reading::Ending)
                {
                    connection.reading = Reading::Ending;
                    self.mark_ready(id);
                }
            }
            Stage::Head(_) | Stage::Address(_) => {
                self.refuse_unanswered(id);
                self.end_http(id);
                self.finish_if_sent(id);
            }
            Stage::Closing(_) | Stage::Lingering { .. } => {}
        }
    }

    /// Answers who asks for something and will not get it. Who keeps a connection and asks nothing, or is in the
    /// middle of a TLS handshake, has no answer to get.
    fn refuse_unanswered(&mut self, id: SlotId) {
        let Some(connection) = self.slots.get_mut(id) else { return };
        let asks = match &connection.stage {
            Stage::Head(head) => !head.is_idle(),
            Stage::Address(_) => true,
            Stage::WebSocket(_) | Stage::Closing(_) | Stage::Lingering { .. } => false,
        };
        if !asks || connection.is_shaking_hands() {
            return;
        }
        let returns = self.setup.vitals.drain.timetable().plan.returns;
        let fault = HttpFault::Unavailable { retry_ms: whole_ms(returns.mul_f32(self.random.f32())) };
        self.counters.count_refused(fault.status());
        self.write(id, |out| {
            response::fault(out, fault, Method::Get, After::Close);
        });
    }

    /// True exactly when nothing is left to do, or no time to do it.
    pub(super) fn is_drained(&self) -> bool {
        self.draining.phase == Phase::Closing
            && (self.slots.is_empty() || self.setup.vitals.drain.end_by() <= self.now.at)
    }

    /// The peer took too long to close its half. One that has not taken all that was said may go on with it until the drain
    /// ends; what it lacks then is counted.
    pub(super) fn close_overdue(&mut self, id: SlotId) {
        let end = self.setup.vitals.drain.end_by();
        if self.draining.phase == Phase::Closing
            && let Some(connection) = self.slots.get_mut(id)
            && connection.wants_flush()
            && let Stage::Closing(closing) = &mut connection.stage
            && closing.until < end
        {
            closing.until = end + CLOSE_TIMEOUT;
            return;
        }
        self.kill(id);
    }

    /// Counts what is dropped unfinished.
    pub(super) fn give_up_rest(&mut self) {
        let left: Vec<SlotId> = self.slots.iter().map(|(id, _)| id).collect();
        left.into_iter().for_each(|id| self.count_unsent(id));
    }

    /// Somebody is dropped: what it was not told is counted while the process leaves.
    pub(super) fn count_unsent(&mut self, id: SlotId) {
        let Some(connection) = self.slots.get_mut(id) else { return };
        let lacks = match &connection.stage {
            Stage::WebSocket(_) => true,
            Stage::Closing(_) => connection.wants_flush(),
            Stage::Head(_) | Stage::Address(_) | Stage::Lingering { .. } => false,
        };
        let bytes = connection.waiting_bytes() as u64;
        if lacks && self.draining.phase == Phase::Closing {
            self.count_drain(|cells| &cells.closes, 1);
            self.count_drain(|cells| &cells.bytes, bytes);
        }
    }

    /// Somebody has left: by itself, if it was told to move and not closed.
    pub(super) fn count_left(&mut self, id: SlotId) {
        if self.draining.told.remove(&id) {
            self.count_drain(|cells| &cells.moved, 1);
        }
    }

    fn count_drain(&self, cell: impl Fn(&ReactorDrain) -> &Cell, by: u64) {
        if let Some(cells) = self.setup.vitals.drain.reactors.get(usize::from(self.id.0)) {
            cell(cells).add(by);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_that_overtakes_the_telling_leaves_nothing_to_turn_for() {
        let id = SlotId { index: 0, generation: 1 };
        let mut draining =
            Draining { planned: vec![(Moment::ZERO, id)], late: vec![id], ..Draining::default() };
        draining.close(Vec::new(), 1);
        assert!(draining.is_idle(), "the reactor would not sleep until its end");
    }
}
