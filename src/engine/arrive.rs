//! Schedules peers that are still arriving: after all others, in bounded slices of the turn, with their cost measured.
//!
//! The heads, upgrades and `connect` commands of a storm would fill turns of many milliseconds, and every connected client
//! would wait that long for each publication. So arriving peers have lists of their own. They are read after all others, for
//! as long as the others' work took in the last turn, within [`SLICE`]; upgraded ones go first, so that handshakes under
//! way are finished. A publication also passes through the store and other processes, which need a core as well: while clients
//! publish, slices are short, and a slice is followed by a rest (`Handshakes::rest`). Admission depends on the cost of all this
//! (`admission::handshakes`); TLS handshakes are part of it because they are read here.

use super::Engine;
use super::peer::Arrival;
use super::slots::SlotId;
use super::strangers::Strangers;
use crate::admission::handshakes::{Done, HandshakeDecision, Handshakes, Publishing};
use crate::clock::Moment;
use crate::limits::{ACCEPTS_PER_TURN, FEW_ACCEPTS_PER_TURN, REFUSALS_AT_ONCE};
use crate::slo::SloPart;
use std::collections::VecDeque;
use std::time::Duration;

/// The least and the most time of a turn that handshakes may take before the other peers are served again.
const SLICE: std::ops::RangeInclusive<Duration> = Duration::from_micros(500)..=Duration::from_millis(5);
/// The same while clients publish.
const SHORT_SLICE: std::ops::RangeInclusive<Duration> =
    Duration::from_micros(100)..=Duration::from_micros(250);
/// The pause of accepting while even refusals would take too much time.
const ACCEPT_REST: Duration = Duration::from_millis(50);
/// Clients count as publishing for this time after a publication.
const PUBLISHED_LATELY: Duration = Duration::from_millis(200);
/// Bounds of the number of heads that may wait to be read; the kernel keeps further connections. Within them it is as many as
/// can be answered in half a second, because the time for a head runs from the accept.
const HEADS_WAITING: std::ops::RangeInclusive<usize> = 16..=512;

/// Arriving peers that have work, and the cost of handshakes.
#[derive(Debug)]
pub(super) struct Arrivals {
    /// Peers to be read. Upgraded ones come first.
    upgraded: VecDeque<SlotId>,
    pub(super) heads: VecDeque<SlotId>,
    /// Peers to be written at the end of the turn.
    pub(super) dirty: Vec<SlotId>,
    pub(super) strangers: Strangers,
    /// The last time that a client published.
    pub(super) published: Moment,
    /// The end of the current rest, and its length.
    rests_until: Moment,
    rest: Duration,
    pub(super) handshakes: Handshakes,
    /// The time of handshakes in this turn, and of all other work in the last one.
    handshake_time: Duration,
    others: Duration,
    /// The number of sessions that were given a name.
    pub(super) named: u64,
}

/// The number of connections that may be accepted now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptQuota {
    /// At most this many; check [`Engine::is_crowded`] before each.
    Now(usize),
    /// None before this moment: the kernel keeps waiting connections.
    After(Moment),
}

impl Arrivals {
    pub(super) fn new(now: Moment) -> Arrivals {
        Arrivals {
            upgraded: VecDeque::new(),
            heads: VecDeque::new(),
            dirty: Vec::new(),
            strangers: Strangers::default(),
            published: Moment::ZERO,
            rests_until: Moment::ZERO,
            rest: Duration::ZERO,
            handshakes: Handshakes::new(now),
            handshake_time: Duration::ZERO,
            others: Duration::ZERO,
            named: 0,
        }
    }

    /// True exactly when nothing is to be read.
    pub(super) fn is_idle(&self) -> bool {
        self.upgraded.is_empty() && self.heads.is_empty()
    }

    /// True exactly during a rest, in which arriving peers are not read.
    pub(super) fn rests(&self, now: Moment) -> bool {
        self.rests_until > now
    }

    /// The time from this turn's end until arriving peers are read; `None` if none waits for the end of a rest.
    pub(super) fn patience(&self) -> Option<Duration> {
        (self.rest > Duration::ZERO && !self.is_idle()).then_some(self.rest)
    }

    /// True exactly when clients publish.
    fn hears_publications(&self, now: Moment) -> bool {
        now.since(self.published) < PUBLISHED_LATELY
    }

    /// Begins a rest of `rest` at the end of a turn if clients publish.
    fn settle_rest(&mut self, rest: Duration, end: Moment) {
        self.rest = match self.rests_until > end {
            true => self.rests_until.since(end),
            false if self.hears_publications(end) => rest,
            false => Duration::ZERO,
        };
        self.rests_until = end + self.rest;
    }

    /// Lists a peer to be read; false if it is not arriving any more.
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

    /// All listed peers.
    pub(super) fn listed(&self) -> impl Iterator<Item = &SlotId> {
        self.upgraded.iter().chain(&self.heads)
    }

    fn next(&mut self) -> Option<SlotId> {
        self.upgraded.pop_front().or_else(|| self.heads.pop_front())
    }
}

impl Engine {
    /// The number of connections that the shell may accept in this turn.
    pub fn accept_quota(&self) -> AcceptQuota {
        let (arrivals, now) = (&self.arrivals, self.now.at);
        if arrivals.rests(now) {
            AcceptQuota::After(arrivals.rests_until)
        } else if arrivals.handshakes.rests(now) {
            // Refusals alone would take too much time.
            AcceptQuota::After(now + ACCEPT_REST)
        } else if arrivals.hears_publications(now) {
            AcceptQuota::Now(FEW_ACCEPTS_PER_TURN)
        } else {
            AcceptQuota::Now(ACCEPTS_PER_TURN)
        }
    }

    /// True exactly when the process is full and the kernel keeps further connections. A few past the bound are accepted, only
    /// to be refused with a reason.
    pub fn is_crowded(&self) -> bool {
        self.connections() >= self.setup.vitals.connections_max() + REFUSALS_AT_ONCE as u64
    }

    /// True exactly when more heads wait in this process than should.
    pub fn has_heads_enough(&self) -> bool {
        let most = (self.arrivals.handshakes.rate() / 2.0) as usize;
        self.arrivals.heads.len() >= most.clamp(*HEADS_WAITING.start(), *HEADS_WAITING.end())
    }

    /// The time for which arriving peers may be read in this turn; `None` if none is due.
    pub fn arrival_slice(&self) -> Option<Duration> {
        let arrivals = &self.arrivals;
        if arrivals.is_idle() || arrivals.rests(self.now.at) {
            return None;
        }
        let bounds = if arrivals.hears_publications(self.now.at) { SHORT_SLICE } else { SLICE };
        Some(arrivals.others.clamp(*bounds.start(), *bounds.end()))
    }

    /// The next arriving peer to read.
    pub fn next_arrival(&mut self) -> Option<SlotId> {
        while !self.turn_is_full()
            && let Some(id) = self.arrivals.next()
        {
            if self.unlist(id) {
                return Some(id);
            }
        }
        None
    }

    /// Adds time of this turn that handshakes took.
    pub fn handle_handshake_time(&mut self, time: Duration) {
        self.arrivals.handshakes.spent(time);
        self.arrivals.handshake_time += time;
    }

    /// The admission decision for one upgrade to the chat.
    pub(super) fn judge_arrival(&mut self) -> HandshakeDecision {
        let bound = self.setup.policy.limits.admissions_per_s;
        let per_s = (bound > 0).then(|| f64::from(bound) / self.setup.reactors.max(1) as f64);
        let passage = self.arrivals.handshakes.admit(self.now.at, per_s, self.random.f32());
        match passage {
            HandshakeDecision::Admit => self.tally.handshakes_admitted.add(1),
            HandshakeDecision::Defer { .. } => self.tally.handshakes_deferred.add(1),
            HandshakeDecision::Refuse { .. } => self.tally.handshakes_refused.add(1),
        }
        passage
    }

    /// Notes that an upgraded peer is `connected`: only its first commands still count as arriving.
    pub(super) fn note_arrival(&mut self, id: SlotId) {
        let now = self.now.at;
        let Some(peer) = self.peers.get_mut(id).filter(|peer| peer.arrival == Arrival::Upgraded) else {
            return;
        };
        let Some(chat) = peer.chat_mut() else { return };
        if let Some(clock) = &mut chat.attempt
            && !chat.session.awaits_connect()
        {
            clock.resume(now);
        }
        if !chat.session.is_open() {
            return;
        }
        if let Some(clock) = chat.attempt.take() {
            self.tally.slo.count(SloPart::Attempt, clock.connected(now), 1);
        }
        peer.arrival = Arrival::Settling;
        self.tally.connected.add(1);
        self.out.opened.push(id);
        self.arrivals.handshakes.done(Done::Connected);
        self.open_session_time();
        self.admit_stranger(id);
    }

    /// Notes that an arriving peer was answered without an upgrade. Otherwise a flood of refused requests would look like
    /// expensive handshakes.
    pub(super) fn note_answer(&mut self, id: SlotId, what: Done) {
        if self.peers.get_mut(id).is_some_and(|peer| peer.arrival == Arrival::Head) {
            self.arrivals.handshakes.done(what);
        }
    }

    /// Copies what was queued after the flush out of the turn's arena, which must not outlive the turn.
    pub(super) fn settle(&mut self) {
        for id in self.due.dirty.iter().chain(&self.arrivals.dirty) {
            if let Some(peer) = self.peers.get_mut(*id) {
                peer.outbox.settle(&self.scratch.arena);
            }
        }
    }

    /// Measures a turn that took `busy`. Returns the part of it that was not handshakes.
    pub(super) fn measure_arrivals(&mut self, busy: Duration) -> Duration {
        let arrivals = &mut self.arrivals;
        let spent = std::mem::take(&mut arrivals.handshake_time);
        arrivals.others = busy.saturating_sub(spent);
        let end = self.now.at + busy;
        arrivals.settle_rest(arrivals.handshakes.rest(spent), end);
        let rests = if arrivals.hears_publications(end) { Publishing::Yes } else { Publishing::No };
        if arrivals.handshakes.turned(end, busy, rests) {
            self.tally.handshake_cost_us.set(arrivals.handshakes.cost().as_micros() as u64);
            self.tally.admissions_per_s.set(arrivals.handshakes.rate() as u64);
        }
        arrivals.others
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Moment {
        Moment::from_micros(n * 1_000)
    }

    #[test]
    fn handshakes_rest_only_while_clients_publish() {
        let rest = Duration::from_millis(3);
        let mut arrivals = Arrivals { published: ms(1_000), ..Arrivals::new(ms(900)) };
        arrivals.list(SlotId { index: 1, generation: 1 }, &mut Arrival::Head);
        arrivals.settle_rest(rest, ms(1_010));
        assert!(arrivals.rests(ms(1_012)) && !arrivals.rests(ms(1_013)));
        assert_eq!(arrivals.patience(), Some(rest));
        // A turn in between, for connected peers, does not begin another rest.
        arrivals.settle_rest(Duration::ZERO, ms(1_012));
        assert_eq!((arrivals.patience(), arrivals.rests_until), (Some(Duration::from_millis(1)), ms(1_013)));
        arrivals.settle_rest(Duration::ZERO, ms(1_014));
        assert_eq!(arrivals.patience(), None);
        arrivals.settle_rest(rest, ms(1_000) + PUBLISHED_LATELY);
        assert!(!arrivals.rests(ms(1_200)), "no client published for a while");
    }
}
