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
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

pub(super) const GRACE: Duration = Duration::from_secs(10);
/// The time of a way through Redis.
const WAY: Duration = Duration::from_millis(50);
/// The time after which missing canaries show that messages are lost.
const DEAF_AFTER: Duration = Duration::from_secs(3);
/// The age from which on a renewal that failed shows that Redis is lost.
const RENEWAL: Duration = Duration::from_secs(1);

/// Messages to the other instances.
pub(super) type Published = Vec<(u64, SegmentDelta)>;

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
    pub(super) watcher: ModelWatcher,
    /// The way to Redis, and messages from it.
    pub(super) reaches: bool,
    pub(super) hears: bool,
    pub(super) is_stopped: bool,
    /// The row in PostgreSQL: when it was renewed.
    pub(super) row: Moment,
    lease: OwnLease,
    liveness: Liveness,
    is_complete: bool,
    found: BTreeMap<Incarnation, ModelLease>,
    storage: Ways,
    heard: Moment,
    renew_at: Moment,
    rows_at: Moment,
    inbox: VecDeque<(Moment, u64, SegmentDelta)>,
    follows: VecDeque<Moment>,
    reads: VecDeque<(Moment, RosterReading)>,
}

/// The number of the last flush of an incarnation, as Redis has it.
fn flush_of(redis: &ModelRedis, incarnation: Incarnation) -> Option<Vec<u8>> {
    redis.flushes.get(&incarnation).map(|number| number.to_string().into_bytes())
}

pub(super) fn channel() -> ChannelName {
    ChannelName::parse("c").expect("a name")
}

impl ModelInstance {
    pub(super) fn new(origin: u64, interest: Interest, now: Now) -> ModelInstance {
        let rules = RosterRules { grace: GRACE, members_max: 1_000 };
        let hasher = ahash::RandomState::with_seeds(1, 2, 3, 4);
        let mut rosters = Rosters::new(rules, RosterKnowledge::Incomplete, hasher);
        rosters.share(Incarnation { origin, count: 1 }, SharingBounds { views_bytes: 1 << 26 });
        if interest == Interest::Watchers {
            let detail = WatchDetail::Members;
            let (channel, reactor, number) = (channel(), ReactorId(0), WatchNumber::default());
            rosters.handle(RosterEvent::Watch { channel, reactor, detail, number }, now);
        }
        ModelInstance {
            origin,
            rosters,
            watcher: ModelWatcher::default(),
            reaches: true,
            hears: true,
            is_stopped: false,
            row: now.at,
            lease: OwnLease::new(origin),
            liveness: Liveness::new(origin),
            is_complete: false,
            found: BTreeMap::new(),
            storage: Ways::LOST,
            heard: now.at,
            renew_at: now.at,
            rows_at: now.at,
            inbox: VecDeque::new(),
            follows: VecDeque::new(),
            reads: VecDeque::new(),
        }
    }

    /// Takes a message, unless it is lost on the way.
    pub(super) fn send(&mut self, origin: u64, delta: SegmentDelta, now: Moment) {
        if self.hears && self.reaches && self.origin != origin {
            self.inbox.push_back((now + WAY, origin, delta));
        }
    }

    /// Works for one step. Returns its messages, and the users that its watcher saw leave.
    pub(super) fn step(
        &mut self,
        mut redis: Option<&mut ModelRedis>,
        rows: &[(u64, Moment)],
        now: Now,
    ) -> (Published, Vec<String>) {
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
                redis.as_deref().filter(has_own).map(|redis| redis.fields.clone().into_iter().collect());
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
            left.extend(self.watcher.take(&push));
        }
        for wish in self.rosters.take_topics() {
            if let TopicWish::Follow(_) = wish {
                self.follows.push_back(now.at + WAY);
            }
        }
        let reads = self.rosters.take_reads(now.at);
        self.reads.extend(reads.into_iter().map(|reading| (now.at + WAY, reading)));
        (published, left)
    }

    /// The roster as a reader is sent it; `None`: it is being read.
    pub(super) fn page(&mut self, now: Moment) -> Option<ModelRoster> {
        if self.rosters.await_page(&channel(), now).is_some() {
            return None;
        }
        let wish = PageWish { channel: channel(), after: None, limit: 100 };
        Some(ModelRoster::of_page(&self.rosters.page(&wish)))
    }

    fn listen(&mut self, reach: WayState, now: Moment) {
        while reach == WayState::Reached && self.follows.pop_front_if(|at| *at <= now).is_some() {
            self.rosters.followed(&channel(), now);
        }
        while let Some((_, origin, delta)) = self.inbox.pop_front_if(|(at, _, _)| *at <= now) {
            self.rosters.hear(&channel(), origin, delta, now);
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
        self.found = redis.leases.clone();
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
            let is_complete = self.found.get(&incarnation).is_some_and(|lease| lease.is_complete);
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
                unwritten: PartitionSet::EMPTY,
            }
        });
        let messages = if now.since(self.heard) < DEAF_AFTER { Ways::REACHED } else { Ways::LOST };
        let incarnation = self.lease.incarnation();
        ServiceState { incarnation, storage: self.storage, messages, others: others.collect() }
    }

    fn write(&mut self, redis: Option<&mut ModelRedis>, now: Moment) -> Published {
        let mut published = Vec::new();
        if let Some(RosterWrite { incarnation, begun, changes }) = self.rosters.take_writes(now) {
            match redis.filter(|_| incarnation == self.lease.incarnation()) {
                Some(redis) => {
                    for change in changes {
                        redis.write(&change.remove, &change.set);
                        published.push((self.origin, change.delta));
                    }
                    let outcome =
                        if self.flush(redis) { WriteOutcome::Written } else { WriteOutcome::Failed };
                    self.rosters.written(begun, outcome, now);
                }
                None => self.rosters.written(begun, WriteOutcome::Failed, now),
            }
        }
        if let Some(incarnation) = self.rosters.complete() {
            self.is_complete |= incarnation == self.lease.incarnation();
            self.rosters.said_complete(incarnation);
        }
        published
    }
}
