//! Who arrives: behind those who are in, a slice of the turn at a time, and measured.
//!
//! Heads, upgrades and `connect` of a storm would fill turns of many milliseconds, and whoever is connected would wait that
//! long for each publication. So connections that arrive have lists of their own. They are read after all others, for as
//! long as the others' work of the last turn took, within [`SLICE`]; those that were upgraded go first, so that what is
//! begun is finished. A publication also passes the store and other processes, which want a core as well: while people
//! publish, slices are short, and what they took is followed by a rest (`Handshakes::rest`). What all of it takes is what admission goes by
//! (`health::handshakes`); a handshake of TLS is part of it by being read here.

use super::Reactor;
use super::connection::{Arrival, Listed};
use super::slots::SlotId;
use crate::clock::Moment;
use crate::health::handshakes::{Done, Passage, Rests};
use crate::limits::{ACCEPTS_PER_TURN, FEW_ACCEPTS_PER_TURN};
use std::collections::VecDeque;
use std::time::Duration;

/// The least and the most that handshakes may take of a turn before the others come again.
const SLICE: std::ops::RangeInclusive<Duration> = Duration::from_micros(500)..=Duration::from_millis(5);
/// The same while people publish.
const SHORT_SLICE: std::ops::RangeInclusive<Duration> =
    Duration::from_micros(100)..=Duration::from_micros(250);
/// People publish when somebody did within this time.
const PUBLISHED_LATELY: Duration = Duration::from_millis(200);
/// Heads that are there to be read; while so many wait, the kernel keeps the next ones. They are also no more than can be
/// answered in half a second: the time for a head runs from the accept.
const HEADS_WAITING: std::ops::RangeInclusive<usize> = 16..=512;

/// Connections that arrive and have something to be done for them.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    /// To be read: upgraded, then not.
    upgraded: VecDeque<SlotId>,
    pub(super) heads: VecDeque<SlotId>,
    /// To be written at the end of the turn.
    pub(super) dirty: Vec<SlotId>,
    /// When somebody published last.
    pub(super) published: Moment,
    /// Nothing is done for those who arrive until then, and how long that is.
    rests_until: Moment,
    rest: Duration,
}

impl Arrivals {
    /// True exactly when nothing is to be read.
    pub(super) fn is_idle(&self) -> bool {
        self.upgraded.is_empty() && self.heads.is_empty()
    }

    /// True exactly when nothing is done for them now.
    pub(super) fn rests(&self, now: Moment) -> bool {
        self.rests_until > now
    }

    /// The end of a rest.
    pub(super) fn rests_until(&self) -> Moment {
        self.rests_until
    }

    /// How long after this turn there is something to do for them.
    pub(super) fn patience(&self) -> Option<Duration> {
        (self.rest > Duration::ZERO && !self.is_idle()).then_some(self.rest)
    }

    /// True exactly when people publish.
    fn hears_publications(&self, now: Moment) -> bool {
        now.since(self.published) < PUBLISHED_LATELY
    }

    /// Connections that may be accepted in this turn.
    pub(super) fn accepts(&self, now: Moment) -> usize {
        if self.hears_publications(now) { FEW_ACCEPTS_PER_TURN } else { ACCEPTS_PER_TURN }
    }

    /// A turn ended; a rest of `rest` is due if people publish.
    fn settle_rest(&mut self, rest: Duration, end: Moment) {
        self.rest = match self.rests_until > end {
            true => self.rests_until.since(end),
            false if self.hears_publications(end) => rest,
            false => Duration::ZERO,
        };
        self.rests_until = end + self.rest;
    }

    /// Lists one that is to be read; false when it is one of those who are in.
    pub(super) fn list(&mut self, id: SlotId, arrival: &mut Arrival) -> bool {
        match arrival {
            Arrival::Head => self.heads.push_back(id),
            Arrival::Upgraded => self.upgraded.push_back(id),
            Arrival::Settling => {
                *arrival = Arrival::In;
                self.upgraded.push_back(id);
            }
            Arrival::In => return false,
        }
        true
    }

    fn next(&mut self) -> Option<SlotId> {
        self.upgraded.pop_front().or_else(|| self.heads.pop_front())
    }
}

impl Reactor {
    /// Reads those who arrive, until their slice of the turn is over.
    pub(super) fn read_arrivals(&mut self, buffer: &mut [u8]) {
        if self.arrivals.is_idle() || self.arrivals.rests(self.now.at) {
            return;
        }
        let began = self.setup.clock.moment();
        let bounds = if self.arrivals.hears_publications(self.now.at) { SHORT_SLICE } else { SLICE };
        let slice = self.others.clamp(*bounds.start(), *bounds.end());
        let mut spent = Duration::ZERO;
        while spent < slice
            && !self.turn_is_full()
            && let Some(id) = self.arrivals.next()
        {
            if let Some(connection) = self.slots.get_mut(id) {
                connection.listed = Listed::No;
                if self.draining.holds_commands() && connection.takes_commands() {
                    continue;
                }
                self.read_connection(id, buffer);
            }
            spent = self.setup.clock.moment().since(began);
        }
        self.spent(spent);
    }

    /// Writes to those who arrive.
    pub(super) fn flush_arrivals(&mut self) {
        if self.arrivals.dirty.is_empty() {
            return;
        }
        let began = self.setup.clock.moment();
        let mut dirty = std::mem::take(&mut self.arrivals.dirty);
        for id in dirty.drain(..) {
            self.flush_connection(id);
        }
        if self.arrivals.dirty.is_empty() {
            self.arrivals.dirty = dirty;
        }
        self.spent(self.setup.clock.moment().since(began));
    }

    /// Time of this turn went into handshakes, whatever for.
    pub(super) fn spent(&mut self, time: Duration) {
        self.handshakes.spent(time);
        self.handshake_time += time;
    }

    /// True exactly when more heads are here than should wait in this process.
    pub(super) fn has_heads_enough(&self) -> bool {
        let most = (self.handshakes.rate() / 2.0) as usize;
        self.arrivals.heads.len() >= most.clamp(*HEADS_WAITING.start(), *HEADS_WAITING.end())
    }

    /// Judges one that asks for an upgrade to the chat.
    pub(super) fn judge_arrival(&mut self) -> Passage {
        let bound = self.setup.policy.limits.admissions_per_s;
        let per_s = (bound > 0).then(|| f64::from(bound) / self.setup.reactors.max(1) as f64);
        let passage = self.handshakes.admit(self.now.at, per_s, self.random.f32());
        match passage {
            Passage::Admit => self.counters.handshakes_admitted.add(1),
            Passage::Later { .. } => self.counters.handshakes_deferred.add(1),
            Passage::Refuse { .. } => self.counters.handshakes_refused.add(1),
        }
        passage
    }

    /// A connection that was upgraded is `connected`: all but what it asks first is that of one who is in.
    pub(super) fn note_arrival(&mut self, id: SlotId) {
        if let Some(connection) = self.slots.get_mut(id)
            && connection.arrival == Arrival::Upgraded
            && connection.chat_mut().is_some_and(|chat| chat.session.is_open())
        {
            connection.arrival = Arrival::Settling;
            self.counters.connected.add(1);
            self.handshakes.done(Done::Connected);
        }
    }

    /// The time of one who arrives and is not upgraded has led to something as well: without it, a flood of requests that are
    /// refused would look like dear handshakes.
    pub(super) fn note_answer(&mut self, id: SlotId, what: Done) {
        if self.slots.get_mut(id).is_some_and(|connection| connection.arrival == Arrival::Head) {
            self.handshakes.done(what);
        }
    }

    /// Bytes of this turn lie in its arena: none may wait there for the next one.
    pub(super) fn settle(&mut self) {
        for id in self.dirty.iter().chain(&self.arrivals.dirty) {
            if let Some(connection) = self.slots.get_mut(*id) {
                connection.outbox.settle(&self.arena);
            }
        }
    }

    /// A turn ends: what it took is measured.
    pub(super) fn measure_arrivals(&mut self, busy: Duration) {
        let spent = std::mem::take(&mut self.handshake_time);
        self.others = busy.saturating_sub(spent);
        let end = self.now.at + busy;
        self.arrivals.settle_rest(self.handshakes.rest(spent), end);
        let rests = if self.arrivals.hears_publications(end) { Rests::Yes } else { Rests::No };
        if self.handshakes.turned(end, busy, rests) {
            self.counters.handshake_cost_us.set(self.handshakes.cost().as_micros() as u64);
            self.counters.admissions_per_s.set(self.handshakes.rate() as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Moment {
        Moment::from_micros(n * 1_000)
    }

    #[test]
    fn handshakes_rest_only_while_people_publish() {
        let rest = Duration::from_millis(3);
        let mut arrivals = Arrivals { published: ms(1_000), ..Arrivals::default() };
        arrivals.list(SlotId { index: 1, generation: 1 }, &mut Arrival::Head);
        arrivals.settle_rest(rest, ms(1_010));
        assert!(arrivals.rests(ms(1_012)) && !arrivals.rests(ms(1_013)));
        assert_eq!(arrivals.patience(), Some(rest));
        // A turn in between, for who is in: it does not begin another rest.
        arrivals.settle_rest(Duration::ZERO, ms(1_012));
        assert_eq!(
            (arrivals.patience(), arrivals.rests_until()),
            (Some(Duration::from_millis(1)), ms(1_013))
        );
        arrivals.settle_rest(Duration::ZERO, ms(1_014));
        assert_eq!(arrivals.patience(), None);
        arrivals.settle_rest(rest, ms(1_000) + PUBLISHED_LATELY);
        assert!(!arrivals.rests(ms(1_200)), "nobody published for a while");
    }
}
