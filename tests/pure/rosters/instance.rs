//! One instance of the model: its rosters, its lease, and what it knows of the others.

use super::redis::{ModelLease, ModelRedis};
use super::watcher::{ModelRoster, ModelWatcher};
use seawall::clock::{Moment, Now};
use seawall::cluster::incarnation::OwnLease;
use seawall::cluster::instance::{Goodbye, InstanceRow, InstanceState, Leads};
use seawall::cluster::liveness::{Liveness, RowsNeed};
use seawall::id::{ChannelName, Incarnation, ReactorId};
use seawall::roster::{
    InstanceStanding, PageWish, RosterEvent, RosterInstance, RosterReading, RosterRules, RosterWrite,
    Rosters, ServiceState, SharingBounds, TopicWish, WatchNumber, WayState, Ways, WriteOutcome,
};
use seawall::wire::command::WatchDetail;
use seawall::wire::lease::{Lease, LeaseParts, LeasePhase};
use seawall::wire::partitions::PartitionSet;
use seawall::wire::presence::RosterKnowledge;
use seawall::wire::segment::SegmentDelta;
use seawall::wire::slot::Partition;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

pub(super) const GRACE: Duration = Duration::from_secs(10);
/// The time of a way through Redis.
pub(super) const WAY: Duration = Duration::from_millis(50);
/// The time after which missing canaries show that messages are lost.
const DEAF_AFTER: Duration = Duration::from_secs(3);
/// The age from which on a renewal that failed shows that Redis is lost.
const RENEWAL: Duration = Duration::from_secs(1);

/// A message to the other instances.
#[derive(Clone, Debug)]
pub(super) struct Published {
    pub(super) origin: u64,
    pub(super) channel: ChannelName,
    pub(super) delta: SegmentDelta,
}

/// The channels of the model.
pub(super) const CHANNELS: usize = 2;

/// An incarnation whose fields are not removed yet.
pub(super) const LEFTOVER: Incarnation = Incarnation { origin: 1, count: 1 };

/// The clients that want the roster of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interest {
    Watchers,
    /// Some read it now and then.
    Readers,
}

#[derive(Debug)]
pub(super) struct ModelInstance {
    pub(super) origin: u64,
    pub(super) rosters: Rosters,
    /// One for each channel.
    pub(super) watchers: [ModelWatcher; CHANNELS],
    /// The time of a write on its way through Redis.
    pub(super) write_time: Duration,
    /// The way to Redis, and messages from it.
    pub(super) reaches: bool,
    pub(super) hears: bool,
    pub(super) is_stopped: bool,
    /// The row in PostgreSQL: when it was renewed.
    pub(super) row: Moment,
    lease: OwnLease,
    liveness: Liveness,
    is_complete: bool,
    storage: Ways,
    heard: Moment,
    renew_at: Moment,
    rows_at: Moment,
    inbox: VecDeque<(Moment, Published)>,
    follows: VecDeque<(Moment, ChannelName)>,
    /// The write under way, and when it arrives.
    writing: Option<(Moment, RosterWrite)>,
    reads: VecDeque<(Moment, RosterReading)>,
}

/// The number of the last flush of an incarnation, as Redis has it.
fn flush_of(redis: &ModelRedis, incarnation: Incarnation) -> Option<Vec<u8>> {
    redis.flushes.get(&incarnation).map(|number| number.to_string().into_bytes())
}

pub(super) fn channel(number: usize) -> ChannelName {
    ChannelName::parse(&format!("c{number}")).expect("a name")
}

impl ModelInstance {
    pub(super) fn new(origin: u64, interest: Interest, now: Now) -> ModelInstance {
        let rules = RosterRules { grace: GRACE, members_max: 1_000 };
        let hasher = ahash::RandomState::with_seeds(1, 2, 3, 4);
        let mut rosters = Rosters::new(rules, RosterKnowledge::Incomplete, hasher);
        let mut lease = OwnLease::new(origin);
        if origin == LEFTOVER.origin {
            // It had a doubt before.
            lease.restart();
        }
        rosters.share(lease.incarnation(), SharingBounds { views_bytes: 1 << 26 });
        if interest == Interest::Watchers {
            for channel in (0..CHANNELS).map(channel) {
                let (detail, reactor, number) = (WatchDetail::Members, ReactorId(0), WatchNumber::default());
                rosters.handle(RosterEvent::Watch { channel, reactor, detail, number }, now);
            }
        }
        ModelInstance {
            origin,
            rosters,
            watchers: Default::default(),
            write_time: WAY,
            reaches: true,
            hears: true,
            is_stopped: false,
            row: now.at,
            lease,
            liveness: Liveness::new(origin),
            is_complete: false,
            storage: Ways::LOST,
            heard: now.at,
            renew_at: now.at,
            rows_at: now.at,
            inbox: VecDeque::new(),
            follows: VecDeque::new(),
            writing: None,
            reads: VecDeque::new(),
        }
    }

    /// Takes a message, unless it is lost on the way.
    pub(super) fn send(&mut self, published: &Published, now: Moment) {
        if self.hears && self.reaches && self.origin != published.origin {
            self.inbox.push_back((now + WAY, published.clone()));
        }
    }

    /// Works for one step. Returns its messages, and the channels and users that its watchers saw leave.
    pub(super) fn step(
        &mut self,
        mut redis: Option<&mut ModelRedis>,
        rows: &[(u64, Moment)],
        now: Now,
    ) -> (Vec<Published>, Vec<(usize, String)>) {
        if let Some(redis) = redis.as_deref_mut().filter(|_| !self.reaches) {
            self.lose_answer(redis, now.at);
        }
        redis = redis.filter(|_| self.reaches);
        if redis.is_some() && self.hears {
            self.heard = now.at;
        }
        let reach = if redis.is_some() { WayState::Reached } else { WayState::Lost };
        self.listen(reach, now.at);
        let may_read = |at: &Moment| *at <= now.at;
        while let Some((_, reading)) = self.reads.pop_front_if(|(at, _)| may_read(at)) {
            let has_own = |redis: &&ModelRedis| {
                self.lease.has_flush(Partition::FIRST, flush_of(redis, self.lease.incarnation()).as_deref())
            };
            let fields: Option<Vec<_>> =
                redis.as_deref().filter(has_own).map(|redis| redis.read(&reading.channel));
            self.rosters.read(&reading, fields.as_deref(), now.at);
        }
        if self.renew_at <= now.at {
            self.renew_at = now.at + RENEWAL;
            self.renew(redis.as_deref_mut(), now.at);
        }
        if self.rows_at <= now.at {
            self.read_rows(rows, now.at);
        }
        if self.liveness.judge(now.at).1 == RowsNeed::Now {
            self.read_rows(rows, now.at);
            self.liveness.judge(now.at);
        }
        let state = self.state(now.at);
        self.rosters.observe(state, now.at);
        let published = self.write(redis, now.at);
        let mut left = Vec::new();
        for push in self.rosters.advance(now) {
            let number = (0..CHANNELS).find(|number| channel(*number) == push.channel).expect("a channel");
            left.extend(self.watchers[number].take(&push).into_iter().map(|user| (number, user)));
        }
        for wish in self.rosters.take_topics() {
            if let TopicWish::Follow(channel) = wish {
                self.follows.push_back((now.at + WAY, channel));
            }
        }
        let reads = self.rosters.take_reads(now.at);
        self.reads.extend(reads.into_iter().map(|reading| (now.at + WAY, reading)));
        (published, left)
    }

    /// The roster as a reader is sent it; `None`: it is being read.
    pub(super) fn page(&mut self, now: Moment) -> Option<ModelRoster> {
        if self.rosters.await_page(&channel(0), now).is_some() {
            return None;
        }
        let wish = PageWish { channel: channel(0), after: None, limit: 100 };
        Some(ModelRoster::of_page(&self.rosters.page(&wish)))
    }

    fn listen(&mut self, reach: WayState, now: Moment) {
        while reach == WayState::Reached
            && let Some((_, channel)) = self.follows.pop_front_if(|(at, _)| *at <= now)
        {
            self.rosters.followed(&channel, now);
        }
        while let Some((_, published)) = self.inbox.pop_front_if(|(at, _)| *at <= now) {
            let Published { origin, channel, delta } = published;
            self.rosters.hear(&channel, origin, delta, now);
        }
    }

    fn renew(&mut self, redis: Option<&mut ModelRedis>, now: Moment) {
        if self.lease.check_age(now).is_some() {
            self.is_complete = false;
        }
        let Some(redis) = redis else {
            self.liveness.fail_leases();
            self.storage = Ways::LOST;
            return;
        };
        for _ in 0..2 {
            let own = self.lease.incarnation();
            let before = redis.leases.get(&own).copied();
            let before = before.map(ModelInstance::lease);
            let flush = flush_of(redis, own);
            let renewals = self.lease.send();
            redis.leases.insert(own, ModelLease { renewals, is_complete: self.is_complete });
            let before = before.map(|lease| Lease::encode(lease.renewals, lease.phase, lease.parts, "x"));
            let doubt = self.lease.confirm(before.as_deref().map(str::as_bytes), now);
            if doubt.or_else(|| self.lease.check_flush(Partition::FIRST, flush.as_deref())).is_none() {
                break;
            }
            self.is_complete = false;
            redis.leases.remove(&own);
        }
        if !redis.flushes.contains_key(&self.lease.incarnation()) {
            // Its first flush, which has nothing else.
            self.flush(redis);
        }
        let leases: Vec<_> = redis
            .leases
            .iter()
            .map(|(incarnation, lease)| (*incarnation, ModelInstance::lease(*lease)))
            .collect();
        self.liveness.read_leases(&leases, now);
        for gone in self.liveness.abandoned(now) {
            redis.leases.remove(&gone);
        }
        self.storage = Ways::REACHED;
    }

    /// Numbers a flush; false if Redis lost an earlier one, so that another incarnation begins.
    fn flush(&mut self, redis: &mut ModelRedis) -> bool {
        let own = self.lease.incarnation();
        let found = flush_of(redis, own);
        redis.flushes.insert(own, self.lease.send_flush(Partition::FIRST));
        if self.lease.confirm_flush(Partition::FIRST, found.as_deref()).is_none() {
            return true;
        }
        self.is_complete = false;
        redis.leases.remove(&own);
        self.renew_at = Moment::ZERO;
        false
    }

    fn lease(lease: ModelLease) -> Lease {
        let parts = LeaseParts { users: true, rosters: lease.is_complete, ..LeaseParts::default() };
        let renewals = lease.renewals;
        Lease { renewals, phase: LeasePhase::Serving, parts, name: "x".into() }
    }

    fn read_rows(&mut self, rows: &[(u64, Moment)], now: Moment) {
        self.rows_at = now + Duration::from_secs(2);
        self.row = now;
        let row = |(origin, written): &(u64, Moment)| InstanceRow {
            origin: *origin,
            name: Arc::from(format!("gw-{origin}")),
            canary: 0,
            count: 1,
            done: 0,
            leaving: Goodbye::NotSaid,
            age: now.since(*written),
            leads: Leads::No,
        };
        let rows: Vec<_> = rows.iter().filter(|(origin, _)| *origin != self.origin).map(row).collect();
        self.liveness.read_rows(&rows, now, now);
    }

    fn state(&self, now: Moment) -> ServiceState {
        let others = self.liveness.instances().map(|known| {
            let incarnation = Incarnation { origin: known.origin, count: known.count };
            let is_complete = known.parts().rosters;
            let standing = match known.state {
                InstanceState::Alive | InstanceState::Draining if is_complete => InstanceStanding::Sure,
                InstanceState::Alive | InstanceState::Draining | InstanceState::Isolated => {
                    InstanceStanding::Unsure
                }
                InstanceState::Gone | InstanceState::Left => InstanceStanding::Ended(known.since),
            };
            RosterInstance {
                incarnation,
                name: Arc::clone(&known.name),
                standing,
                unwritten: if is_complete { PartitionSet::EMPTY } else { PartitionSet::ALL },
            }
        });
        let messages = if now.since(self.heard) < DEAF_AFTER { Ways::REACHED } else { Ways::LOST };
        let incarnation = self.lease.incarnation();
        ServiceState { incarnation, storage: self.storage, messages, others: others.collect() }
    }

    /// Carries out a write that was under way when the connection was cut, and loses its answer.
    fn lose_answer(&mut self, redis: &mut ModelRedis, now: Moment) {
        let Some((_, RosterWrite { incarnation, begun, changes })) = self.writing.take() else { return };
        if incarnation == self.lease.incarnation() {
            changes.iter().for_each(|change| redis.write(&change.channel, &change.remove, &change.set));
            redis.flushes.insert(incarnation, self.lease.send_flush(Partition::FIRST));
        }
        self.rosters.written(begun, WriteOutcome::Failed, now);
    }

    fn write(&mut self, redis: Option<&mut ModelRedis>, now: Moment) -> Vec<Published> {
        let mut published = Vec::new();
        if let Some((_, write)) = self.writing.take_if(|(at, _)| *at <= now) {
            let RosterWrite { incarnation, begun, changes } = write;
            let is_current = incarnation == self.lease.incarnation();
            let outcome = match redis.filter(|_| is_current && self.storage == Ways::REACHED) {
                Some(redis) => {
                    for change in changes {
                        redis.write(&change.channel, &change.remove, &change.set);
                        let (channel, delta) = (change.channel, change.delta);
                        published.push(Published { origin: self.origin, channel, delta });
                    }
                    if self.flush(redis) { WriteOutcome::Written } else { WriteOutcome::Failed }
                }
                None => WriteOutcome::Failed,
            };
            self.rosters.written(begun, outcome, now);
        }
        if self.writing.is_none() {
            let write = self.rosters.take_writes(now);
            self.writing = write.map(|write| (now + self.write_time, write));
        }
        if self.rosters.behind(now).is_some() {
            // So that the others know it at once.
            (self.is_complete, self.renew_at) = (false, Moment::ZERO);
            self.rosters.said_behind();
        }
        if let Some(incarnation) = self.rosters.complete(now) {
            self.is_complete |= incarnation == self.lease.incarnation();
            self.rosters.said_complete(incarnation);
        }
        published
    }
}
