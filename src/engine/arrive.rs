//! Schedules peers that are still arriving: after all others, in bounded slices of the turn, with their cost measured.
//!
//! The heads, upgrades and `connect` commands of a storm would fill turns of many milliseconds, and every connected client
//! would wait that long for each publication. So arriving peers have lists of their own. They are read after all others, for
//! as long as the others' work took in the last turn, within [`SLICE`]; upgraded ones go first, so that handshakes under
//! way are finished. A publication also passes through the store and other processes, which need a core as well: while clients
//! publish, slices are short, and a slice is followed by a rest (`Handshakes::rest`). Admission depends on the cost of all this
//! (`admission::handshakes`); TLS handshakes are part of it because they are read here.
//!
//! One address that opens connections without pause is read after the others, and only its own connections rest after it
//! (`admission::address_shares`). Addresses are counted while their order may matter: while clients publish, while several
//! connections wait, or while admissions become scarce.

use super::Engine;
use super::arrival_lane::ArrivalLane;
use super::order::{Notice, Subject};
use super::peer::Arrival;
use super::setup::ProxyHeader;
use super::slots::SlotId;
use super::strangers::Strangers;
use crate::admission::address_shares::{AddressShares, ArrivalShare};
use crate::admission::handshakes::{Done, HandshakeDecision, Handshakes, Publishing};
use crate::auth::census::place;
use crate::clock::Moment;
use crate::limits::{ACCEPTS_PER_TURN, FEW_ACCEPTS_PER_TURN, REFUSALS_AT_ONCE};
use crate::slo::SloPart;
use crate::slo::attempt::ADMISSIONS;
use std::net::IpAddr;
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
/// Addresses are counted while as many peers wait to be read.
const CONTENDED: usize = 16;
/// Of this many peers that are read while both lanes have some, one is of an address over its share.
const LATER_EACH: u32 = 8;

/// Arriving peers that have work, and the cost of handshakes.
#[derive(Debug)]
pub(super) struct Arrivals {
    /// Peers to be read, of addresses within their share.
    pub(super) first: ArrivalLane,
    /// Peers to be read after those.
    pub(super) later: ArrivalLane,
    /// Peers of the first lane that were read since one of the other was.
    pub(super) first_in_a_row: u32,
    pub(super) shares: AddressShares,
    /// Peers to be written at the end of the turn.
    pub(super) dirty: Vec<SlotId>,
    pub(super) strangers: Strangers,
    /// The last time that a client published.
    pub(super) published: Moment,
    pub(super) handshakes: Handshakes,
    /// The time of handshakes in this turn, and of all other work in the last one.
    handshake_time: Duration,
    others: Duration,
    /// Connections that were dropped at the accept in this turn, and the part of `handshake_time` that they took.
    drops: u32,
    drop_time: Duration,
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
            first: ArrivalLane::new(),
            later: ArrivalLane::new(),
            first_in_a_row: 0,
            shares: AddressShares::default(),
            dirty: Vec::new(),
            strangers: Strangers::default(),
            published: Moment::ZERO,
            handshakes: Handshakes::new(now),
            handshake_time: Duration::ZERO,
            others: Duration::ZERO,
            drops: 0,
            drop_time: Duration::ZERO,
            named: 0,
        }
    }

    /// True exactly when nothing is to be read.
    pub(super) fn is_idle(&self) -> bool {
        self.first.is_idle() && self.later.is_idle()
    }

    /// The time from this turn's end until arriving peers are read; `None` if none waits for the end of a rest.
    pub(super) fn patience(&self) -> Option<Duration> {
        let waits =
            [&self.first, &self.later].into_iter().filter(|lane| !lane.is_idle()).map(|lane| lane.rest);
        waits.min().filter(|rest| *rest > Duration::ZERO)
    }

    /// True exactly when clients publish.
    fn hears_publications(&self, now: Moment) -> bool {
        now.since(self.published) < PUBLISHED_LATELY
    }

    /// True exactly while the order of arrivals may matter.
    fn is_contended(&self, now: Moment) -> bool {
        self.hears_publications(now)
            || self.first.len() + self.later.len() >= CONTENDED
            || self.handshakes.are_scarce(now)
    }

    /// The most heads of a lane that should wait in this process.
    fn heads_max(&self) -> usize {
        let most = (self.handshakes.rate() / 2.0) as usize;
        most.clamp(*HEADS_WAITING.start(), *HEADS_WAITING.end())
    }

    /// True exactly when connections of addresses over their share are dropped at the accept: too many wait or are refused, and
    /// clients of others may be behind them in the kernel's queue. If none came a moment ago, the kernel keeps them.
    fn drops_over_share(&self, now: Moment) -> bool {
        self.shares.have_others(now)
            && (self.later.heads.len() >= self.heads_max() || self.handshakes.rests(now, ArrivalShare::Over))
    }

    /// Ends a turn in which handshakes took `spent`: while clients publish, a rest follows. That of the first lane depends on
    /// the time of its own peers alone.
    fn settle_rests(&mut self, spent: Duration, end: Moment) {
        let (first, later) = (std::mem::take(&mut self.first.served), std::mem::take(&mut self.later.served));
        self.drops = 0;
        let served_time = spent.saturating_sub(std::mem::take(&mut self.drop_time));
        let first_spent = match first + later {
            0 => served_time,
            all => served_time * first / all,
        };
        let publishes = self.hears_publications(end);
        let rest = |spent| if publishes { self.handshakes.rest(spent) } else { Duration::ZERO };
        let (first_rest, later_rest) = (rest(first_spent), rest(spent));
        self.first.settle_rest(first_rest, end);
        self.later.settle_rest(later_rest, end);
    }

    pub(super) fn lane(&mut self, share: ArrivalShare) -> &mut ArrivalLane {
        match share {
            ArrivalShare::Within => &mut self.first,
            ArrivalShare::Over => &mut self.later,
        }
    }

    /// Lists a peer to be read; false if it is not arriving any more.
    pub(super) fn list(&mut self, id: SlotId, arrival: &mut Arrival, share: ArrivalShare) -> bool {
        let lane = self.lane(share);
        match arrival {
            Arrival::Head => lane.heads.push_back(id),
            Arrival::Upgraded => lane.upgraded.push_back(id),
            Arrival::Settling => {
                *arrival = Arrival::In;
                lane.upgraded.push_back(id);
            }
            Arrival::In => return false,
        }
        true
    }

    /// All listed peers.
    pub(super) fn listed(&self) -> impl Iterator<Item = &SlotId> {
        self.first.listed().chain(self.later.listed())
    }

    /// Adds the time in which `accepted` connections were accepted. The part of dropped ones is the other lane's, and
    /// other work for the measurement: a drop is no part of a handshake, and would make one look expensive or, counted, cheap.
    fn spend_accepting(&mut self, time: Duration, accepted: u32) {
        let drop_time = match std::mem::take(&mut self.drops) {
            0 => Duration::ZERO,
            drops => time * drops / accepted.max(drops),
        };
        self.drop_time += drop_time;
        self.handshake_time += time;
        self.handshakes.spent(time - drop_time);
    }

    /// Moves a peer that was read in this turn from the first lane's count to the other's.
    fn move_served(&mut self) {
        self.first.served = self.first.served.saturating_sub(1);
        self.later.served += 1;
    }

    /// Takes the next listed peer, which may be gone, and its lane. If it is there, note it with `serve`.
    fn next(&mut self, now: Moment) -> Option<(SlotId, ArrivalShare)> {
        let is_turn_of_later = match (self.first.is_due(now), self.later.is_due(now)) {
            (false, false) => return None,
            (true, true) => self.first_in_a_row + 1 >= LATER_EACH,
            (first, _) => !first,
        };
        let share = if is_turn_of_later { ArrivalShare::Over } else { ArrivalShare::Within };
        Some((self.lane(share).next()?, share))
    }

    /// Notes that a peer of a lane is read.
    fn serve(&mut self, share: ArrivalShare) {
        self.first_in_a_row = match share {
            ArrivalShare::Within => self.first_in_a_row + 1,
            ArrivalShare::Over => 0,
        };
        self.lane(share).served += 1;
    }
}

impl Engine {
    /// The number of connections that the shell may accept in this turn.
    pub fn accept_quota(&self) -> AcceptQuota {
        let (arrivals, now) = (&self.arrivals, self.now.at);
        let refuses = |share| arrivals.handshakes.rests(now, share);
        if arrivals.first.rests(now) {
            AcceptQuota::After(arrivals.first.rests_until)
        } else if self.has_heads_enough() && arrivals.later.rests(now) {
            AcceptQuota::After(arrivals.later.rests_until)
        } else if refuses(ArrivalShare::Within)
            || (refuses(ArrivalShare::Over) && !arrivals.shares.have_others(now))
        {
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
        let (arrivals, most) = (&self.arrivals, self.arrivals.heads_max());
        arrivals.first.heads.len() >= most
            || (arrivals.later.heads.len() >= most && !arrivals.shares.have_others(self.now.at))
    }

    /// The address by which arrivals share; `None` for a trusted proxy, which connects for many clients.
    pub(super) fn sharing_address(&self, address: IpAddr) -> Option<IpAddr> {
        let trusted = &self.setup.trusted_proxies;
        let is_proxy = !trusted.is_empty() && trusted.iter().any(|network| network.contains(&address));
        (!is_proxy).then(|| place(address))
    }

    /// Counts a connection by its address at the accept. `None`: it must be dropped.
    pub(super) fn share_accept(&mut self, address: IpAddr, sharing: Option<IpAddr>) -> Option<ArrivalShare> {
        let now = self.now.at;
        let share = match sharing {
            _ if !self.arrivals.is_contended(now) => ArrivalShare::Within,
            Some(address) => self.count_share(address, 1),
            None => {
                self.arrivals.shares.note_within(address, now);
                ArrivalShare::Within
            }
        };
        if share == ArrivalShare::Over && self.arrivals.drops_over_share(now) {
            self.note_drop();
            self.tally.arrivals_dropped.add(1);
            let subject = Box::new(Subject { user: None, address });
            self.out.notices.push(Notice::OverLimit(ADMISSIONS, subject));
            return None;
        }
        self.arrivals.lane(share).served += 1;
        Some(share)
    }

    /// Notes that a connection is dropped at the accept.
    pub(super) fn note_drop(&mut self) {
        self.arrivals.drops += 1;
    }

    /// Counts `units` of an address, while the order of arrivals may matter.
    fn count_share(&mut self, address: IpAddr, units: u32) -> ArrivalShare {
        let rate = self.arrivals.handshakes.rate();
        let per_s = self.admissions_bound().map_or(rate, |bound| bound.min(rate));
        let (shares, now) = (&mut self.arrivals.shares, self.now.at);
        let share = (0..units).map(|_| shares.count(address, per_s, now)).last().unwrap_or_default();
        if share == ArrivalShare::Over {
            self.tally.arrivals_over_share.add(1);
        }
        share
    }

    /// The time for which arriving peers may be read in this turn; `None` if none is due.
    pub fn arrival_slice(&self) -> Option<Duration> {
        let (arrivals, now) = (&self.arrivals, self.now.at);
        if !arrivals.first.is_due(now) && !arrivals.later.is_due(now) {
            return None;
        }
        let bounds = if arrivals.hears_publications(now) { SHORT_SLICE } else { SLICE };
        Some(arrivals.others.clamp(*bounds.start(), *bounds.end()))
    }

    /// The next arriving peer to read.
    pub fn next_arrival(&mut self) -> Option<SlotId> {
        while !self.turn_is_full()
            && let Some((id, share)) = self.arrivals.next(self.now.at)
        {
            if self.unlist(id) {
                self.arrivals.serve(share);
                return Some(id);
            }
        }
        None
    }

    /// Adds the time in which this turn accepted `accepted` connections, dropped ones included.
    pub fn handle_accept_time(&mut self, time: Duration, accepted: u32) {
        self.arrivals.spend_accepting(time, accepted);
    }

    /// Adds time of this turn that handshakes took.
    pub fn handle_handshake_time(&mut self, time: Duration) {
        self.arrivals.handshakes.spent(time);
        self.arrivals.handshake_time += time;
    }

    /// The operator's bound on the admissions of this reactor.
    fn admissions_bound(&self) -> Option<f64> {
        let bound = self.setup.policy.limits.admissions_per_s;
        (bound > 0).then(|| f64::from(bound) / self.setup.reactors.max(1) as f64)
    }

    /// The share of a client at `address` that asks for an upgrade through a connection from `from`. Behind a proxy the accept was not counted by
    /// it, so both units are counted now.
    fn share_upgrade(&mut self, address: IpAddr, from: IpAddr) -> ArrivalShare {
        let sharing = self.sharing_address(address).filter(|_| self.arrivals.is_contended(self.now.at));
        let Some(sharing) = sharing else { return ArrivalShare::Within };
        let is_proxied =
            self.setup.proxy_header == ProxyHeader::Required || self.sharing_address(from).is_none();
        self.count_share(sharing, if is_proxied { 2 } else { 1 })
    }

    /// The admission decision for one upgrade to the chat by a client at `address`, whose connection comes from `from`.
    pub(super) fn judge_arrival(&mut self, id: SlotId, address: IpAddr, from: IpAddr) -> HandshakeDecision {
        let share = self.share_upgrade(address, from);
        if let Some(peer) = self.peers.get_mut(id) {
            let before = std::mem::replace(&mut peer.share, share);
            if (before, share) == (ArrivalShare::Within, ArrivalShare::Over) {
                self.arrivals.move_served();
            }
        }
        let per_s = self.admissions_bound();
        let passage = self.arrivals.handshakes.admit(self.now.at, per_s, share, self.random.f32());
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
            if let Some(vitals) = self.setup.vitals.reactors.get(usize::from(self.basis.id.0)) {
                vitals.handshakes.record(clock.took(now).as_micros() as u64, 1);
            }
        }
        let is_of_canary = chat.session.is_of_canary();
        peer.arrival = Arrival::Settling;
        self.tally.connected.add(1);
        self.out.opened.push(id);
        self.arrivals.handshakes.done(Done::Connected);
        if !is_of_canary {
            self.open_session_time();
            self.note_client(id);
        }
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
        arrivals.settle_rests(spent, end);
        let rests = if arrivals.hears_publications(end) { Publishing::Yes } else { Publishing::No };
        if arrivals.handshakes.turned(end, busy, rests) {
            self.tally.handshake_cost_us.set(arrivals.handshakes.cost().as_micros() as u64);
            self.tally.admissions_per_s.set(arrivals.handshakes.rate() as u64);
            arrivals.shares.forget_rested(end);
            // Peers that are gone must not look like a full lane.
            let peers = &self.peers;
            arrivals.later.heads.retain(|id| peers.contains(*id));
            arrivals.first.heads.retain(|id| peers.contains(*id));
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

    fn listed(arrivals: &mut Arrivals, index: u32, share: ArrivalShare) {
        arrivals.list(SlotId { index, generation: 1 }, &mut Arrival::Head, share);
    }

    /// Serves the next peer, and returns its index.
    fn served(arrivals: &mut Arrivals, now: Moment) -> Option<u32> {
        let (id, share) = arrivals.next(now)?;
        arrivals.serve(share);
        Some(id.index)
    }

    #[test]
    fn handshakes_rest_only_while_clients_publish() {
        let mut arrivals = Arrivals { published: ms(1_000), ..Arrivals::new(ms(900)) };
        let spent = Duration::from_micros(600);
        let rest = arrivals.handshakes.rest(spent);
        listed(&mut arrivals, 1, ArrivalShare::Within);
        arrivals.settle_rests(spent, ms(1_010));
        let end = ms(1_010) + rest;
        assert!(arrivals.first.rests(ms(1_011)) && !arrivals.first.rests(end));
        assert_eq!(arrivals.patience(), Some(rest));
        // A turn in between, for connected peers, does not begin another rest.
        arrivals.settle_rests(Duration::ZERO, ms(1_011));
        assert_eq!((arrivals.patience(), arrivals.first.rests_until), (Some(end.since(ms(1_011))), end));
        arrivals.settle_rests(Duration::ZERO, ms(1_014));
        assert_eq!(arrivals.patience(), None);
        arrivals.settle_rests(spent, ms(1_000) + PUBLISHED_LATELY);
        assert!(!arrivals.first.rests(ms(1_200)), "no client published for a while");
    }

    #[test]
    fn interrupted_slice_is_followed_by_no_longer_rest_than_a_full_one() {
        let rest = |spent_ms| {
            let mut arrivals = Arrivals { published: ms(1_000), ..Arrivals::new(ms(900)) };
            listed(&mut arrivals, 1, ArrivalShare::Within);
            arrivals.settle_rests(Duration::from_millis(spent_ms), ms(1_010));
            arrivals.patience().expect("a rest")
        };
        assert_eq!(rest(4), rest(40));
        assert!(rest(4) <= Duration::from_millis(2), "{:?}", rest(4));
    }

    #[test]
    fn only_the_lane_of_an_address_over_its_share_rests_after_it() {
        let mut arrivals = Arrivals { published: ms(1_000), ..Arrivals::new(ms(900)) };
        (0..3).for_each(|index| listed(&mut arrivals, index, ArrivalShare::Over));
        assert!(served(&mut arrivals, ms(1_000)).is_some());
        arrivals.settle_rests(Duration::from_millis(1), ms(1_001));
        assert!(arrivals.later.rests(ms(1_002)) && !arrivals.first.rests(ms(1_001)));
        assert!(arrivals.patience().is_some_and(|rest| rest > Duration::from_millis(1)));
        assert_eq!(arrivals.next(ms(1_002)), None);
        listed(&mut arrivals, 9, ArrivalShare::Within);
        assert_eq!(arrivals.patience(), None, "it need not wait");
        assert_eq!(served(&mut arrivals, ms(1_002)), Some(9));
        // Its own time counts for both lanes.
        arrivals.settle_rests(Duration::from_millis(1), ms(1_003));
        assert!(arrivals.first.rests(ms(1_004)));
    }

    #[test]
    fn peers_within_their_share_come_first_and_the_others_are_not_starved() {
        let mut arrivals = Arrivals::new(ms(900));
        (0..20).for_each(|index| listed(&mut arrivals, index, ArrivalShare::Over));
        (100..120).for_each(|index| listed(&mut arrivals, index, ArrivalShare::Within));
        let order: Vec<u32> = std::iter::from_fn(|| served(&mut arrivals, ms(1_000))).collect();
        assert_eq!(order.len(), 40);
        let firsts = order.iter().take(23).filter(|index| **index >= 100).count();
        assert_eq!(firsts, 20, "all before the other lane has more than an eighth: {order:?}");
        assert_eq!(order.get(7), Some(&0), "each eighth: {order:?}");
    }

    #[test]
    fn time_of_dropped_connections_makes_only_the_other_lane_rest() {
        let mut arrivals = Arrivals { published: ms(1_000), ..Arrivals::new(ms(900)) };
        arrivals.drops = 16;
        arrivals.spend_accepting(Duration::from_millis(1), 16);
        let spent = arrivals.handshake_time;
        arrivals.settle_rests(spent, ms(1_001));
        assert!(!arrivals.first.rests(ms(1_001)) && arrivals.later.rests(ms(1_002)));
        // One in ten is accepted and within its share.
        (arrivals.drops, arrivals.first.served) = (9, 1);
        arrivals.spend_accepting(Duration::from_millis(1), 10);
        arrivals.settle_rests(Duration::from_millis(1), ms(1_100));
        assert_eq!(arrivals.first.rest, arrivals.handshakes.rest(Duration::from_micros(100)));
        assert_eq!(arrivals.later.rest, arrivals.handshakes.rest(Duration::from_millis(1)));
        arrivals.settle_rests(Duration::ZERO, ms(1_200));
        assert_eq!(arrivals.later.rest, Duration::ZERO, "each turn counts from nothing");
    }

    #[test]
    fn time_of_dropped_connections_leaves_the_cost_of_a_handshake_as_it_is() {
        let measured = |drops: u32| {
            let mut arrivals = Arrivals::new(ms(0));
            for turn in 1..2_000 {
                arrivals.handshakes.done(Done::Upgraded);
                arrivals.handshakes.done(Done::Connected);
                arrivals.handshakes.spent(Duration::from_micros(200));
                arrivals.drops = drops;
                let accept_time = Duration::from_micros(15) * drops;
                arrivals.spend_accepting(accept_time, drops);
                let busy = Duration::from_micros(200) + accept_time;
                arrivals.handshakes.turned(ms(turn), busy, Publishing::No);
            }
            (arrivals.handshakes.cost(), arrivals.handshakes.rate())
        };
        let (calm, busy) = (measured(0), measured(16));
        assert_eq!(calm.0, busy.0);
        // They took 24 % of the time.
        assert!((0.75..0.8).contains(&(busy.1 / calm.1)), "{busy:?}, {calm:?} without drops");
    }
}
