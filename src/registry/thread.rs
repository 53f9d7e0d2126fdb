//! The thread: events, the renewal of the lease, the judgement of the others, and the report.

use super::lease_store::{LeaseStore, RenewalFinds, RenewalWrites};
use super::link::RegistryLink;
use super::load::LoadMeter;
use super::parts::{RegistryParts, RegistryRedis};
use super::segment_side::{FlushEnd, SegmentSide};
use crate::clock::{Moment, Now};
use crate::cluster::duty::{LeaderDuty, TERM};
use crate::cluster::incarnation::{LeaseDoubt, OwnLease};
use crate::cluster::instance::{InstanceState, Leads};
use crate::cluster::liveness::{InstanceChange, Liveness, RowsNeed};
use crate::cluster::report::{ClusterFacts, ClusterReport, OwnInstance, RedisReport};
use crate::health::finding::Cause;
use crate::id::Incarnation;
use crate::job::registry::{ClusterBoard, OwnSigns, RegistryEvent, RowsReading};
use crate::job::segments::{
    SegmentBatch, SegmentInbox, SegmentJob, SegmentNews, SegmentOutcome, SegmentOwner, SegmentView,
};
use crate::metrics::cluster::ClusterCounters;
use crate::wire::lease::{Lease, LeaseParts, LeasePhase};
use crossbeam_channel::{Receiver, never, select};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The time between two renewals, varied by ±10 %.
const PERIOD: Duration = Duration::from_secs(1);
/// The time between two writes of the stats. With many instances it grows, because each instance reads the stats of all.
const STATS_PERIOD: Duration = Duration::from_secs(5);
/// The instances for which [`STATS_PERIOD`] is long enough: 900 bytes of each, every five seconds.
const STATS_INSTANCES: u32 = 50;
/// Events taken before other work is done.
const EVENTS_MAX: usize = 1_024;

pub(super) struct RegistryWorker<C> {
    clock: C,
    signs: Arc<OwnSigns>,
    events: Receiver<RegistryEvent>,
    board: Arc<ClusterBoard>,
    counters: Arc<ClusterCounters>,
    load: LoadMeter,
    redis: Option<RedisSide>,
    lease: OwnLease,
    liveness: Liveness,
    duty: LeaderDuty,
    /// The leader according to the last rows, and until when.
    leader: Option<(Arc<str>, Moment)>,
    renew_at: Moment,
    /// When the others are judged again without a further sign of life.
    judge_at: Moment,
    /// The segments of another thread; `None` if there is none.
    inbox: Option<SegmentInbox>,
    /// The content that this incarnation has written completely.
    written: LeaseParts,
    /// The shared names that were logged.
    shared_names: BTreeSet<Arc<str>>,
}

/// The connection to Redis, and its state.
struct RedisSide {
    link: RegistryLink,
    store: LeaseStore,
    segments: SegmentSide,
    /// Own incarnations that ended, whose fields the next renewal removes.
    ended: Vec<Incarnation>,
    up: bool,
    reported: bool,
    latency: Duration,
    stats_at: Moment,
}

impl<C: Fn() -> Now> RegistryWorker<C> {
    pub(super) fn new(parts: RegistryParts, clock: C) -> RegistryWorker<C> {
        let RegistryParts {
            redis,
            duty,
            signs,
            events,
            board,
            counters,
            url,
            metrics,
            vitals,
            outlook,
            segments,
        } = parts;
        let now = clock().at;
        let redis = redis.map(|RegistryRedis { target, prefix }| RedisSide {
            link: RegistryLink::new(target),
            store: LeaseStore::new(&prefix),
            segments: SegmentSide::new(prefix),
            ended: Vec::new(),
            up: false,
            reported: false,
            latency: Duration::ZERO,
            stats_at: now,
        });
        RegistryWorker {
            load: LoadMeter::new(metrics, vitals, outlook, url, now),
            lease: OwnLease::new(signs.origin),
            liveness: Liveness::new(signs.origin),
            clock,
            signs,
            events,
            board,
            counters,
            redis,
            duty,
            leader: None,
            renew_at: now,
            judge_at: now,
            inbox: segments,
            written: LeaseParts::default(),
            shared_names: BTreeSet::new(),
        }
    }

    /// Runs until the process ends.
    pub(super) fn run(mut self, over: &Receiver<Infallible>) {
        let mut events = self.events.clone();
        let mut jobs = self.inbox.as_ref().map_or_else(never, |inbox| inbox.jobs.clone());
        loop {
            let now = (self.clock)();
            if self.renew_at <= now.at {
                self.renew_at = now.at + PERIOD.mul_f64(0.9 + 0.2 * fastrand::f64());
                self.judge_at = now.at;
                self.renew(now);
                self.audit();
            }
            if self.judge_at <= now.at {
                self.judge();
                self.publish();
                self.judge_at = self.judge_next();
            }
            select! {
                recv(events) -> event => match event {
                    Ok(event) => self.take(event),
                    // The store has ended.
                    Err(_) => events = never(),
                },
                recv(jobs) -> job => match job {
                    Ok(job) => self.carry_out(job),
                    Err(_) => jobs = never(),
                },
                recv(over) -> _ended => break,
                default(self.rest()) => {}
            }
        }
        self.leave();
    }

    /// The moment at which a state may change without a further sign of life.
    fn judge_next(&self) -> Moment {
        let now = (self.clock)().at;
        let term = match self.duty {
            LeaderDuty::Held(until) if until > now => Some(until),
            LeaderDuty::Sole | LeaderDuty::Free | LeaderDuty::Held(_) => None,
        };
        self.liveness.due(now).into_iter().chain(term).fold(self.renew_at, Moment::min)
    }

    /// The time until something is due.
    fn rest(&self) -> Duration {
        let now = (self.clock)().at;
        self.judge_at.min(self.renew_at).since(now).max(Duration::from_millis(1))
    }

    /// Takes an event and all that wait behind it.
    fn take(&mut self, first: RegistryEvent) {
        let waiting: Vec<_> = self.events.try_iter().take(EVENTS_MAX - 1).collect();
        for event in std::iter::once(first).chain(waiting) {
            match event {
                RegistryEvent::Rows(reading) => self.read_rows(&reading),
            }
        }
    }

    /// Carries out a job for the thread that owns the content of segments.
    fn carry_out(&mut self, job: SegmentJob) {
        let Some(inbox) = self.inbox.take() else { return };
        match job {
            SegmentJob::Write(batch) => inbox.tell(SegmentNews::Flushed(self.write(batch))),
            SegmentJob::Read(keys) => {
                if let Some(redis) = &mut self.redis {
                    redis.segments.read(&mut redis.link, &inbox, keys);
                }
            }
            SegmentJob::Complete(incarnation) => {
                self.written.rosters |= incarnation == self.lease.incarnation();
            }
        }
        self.inbox = Some(inbox);
    }

    fn write(&mut self, batch: SegmentBatch) -> SegmentOutcome {
        let SegmentBatch { incarnation, writes } = batch;
        let Some(mut redis) = self.redis.take() else { return SegmentOutcome::Failed };
        // A process that was stopped takes the next incarnation before it writes anything.
        if let Some(doubt) = self.lease.check_age((self.clock)().at) {
            self.doubt(doubt, &mut redis, incarnation);
            self.renew_at = Moment::ZERO;
        }
        let outcome = if incarnation != self.lease.incarnation() {
            SegmentOutcome::Refused
        } else if !redis.up || !self.lease.is_held() {
            SegmentOutcome::Failed
        } else {
            match redis.segments.flush(&mut redis.link, &mut self.lease, writes) {
                FlushEnd::Written => SegmentOutcome::Written,
                FlushEnd::Doubted(doubt) => {
                    self.doubt(doubt, &mut redis, incarnation);
                    self.renew_at = Moment::ZERO;
                    SegmentOutcome::Refused
                }
                FlushEnd::Failed(cause) => {
                    self.fail(&mut redis, &cause);
                    SegmentOutcome::Failed
                }
            }
        };
        self.redis = Some(redis);
        outcome
    }

    /// Looks at the keys that are due.
    fn audit(&mut self) {
        let (Some(redis), Some(inbox)) = (&mut self.redis, &self.inbox) else { return };
        if redis.up && self.lease.is_held() {
            let now = (self.clock)().at;
            let RedisSide { link, segments, .. } = redis;
            if let Err(cause) = segments.audit(link, &self.lease, &self.liveness, inbox, now) {
                tracing::debug!(cause = %cause.text, "segments not audited");
            }
        }
    }

    fn read_rows(&mut self, reading: &RowsReading) {
        let now = (self.clock)().at;
        let asked = now - reading.asked.elapsed();
        let Some(rows) = &reading.rows else {
            self.judge_at = now;
            return self.liveness.fail_rows();
        };
        // After an outage of the store the duty is taken again, which is no news.
        let was_own = self.leader.as_ref().is_some_and(|(name, _)| *name == self.signs.name);
        let leads = rows.iter().find(|row| row.leads == Leads::Yes);
        self.leader = leads.map(|row| (Arc::clone(&row.name), asked + TERM));
        let own = leads.filter(|row| row.origin == self.signs.origin);
        let before = self.duty.is_held(now);
        self.duty = self.duty.after(own.map_or(Leads::No, |row| row.leads), asked);
        if self.duty.is_held(now) && !before && !was_own {
            tracing::info!("leader duty taken");
        }
        self.liveness.read_rows(rows, asked, now);
        self.judge_at = now;
    }

    /// Renews the lease, twice if the first attempt shows that Redis lost it.
    fn renew(&mut self, now: Now) {
        let Some(mut redis) = self.redis.take() else { return };
        let mut removed = self.liveness.abandoned(now.at);
        let old = self.lease.incarnation();
        if let Some(doubt) = self.lease.check_age(now.at) {
            self.doubt(doubt, &mut redis, old);
        }
        for _ in 0..2 {
            let old = self.lease.incarnation();
            removed.append(&mut redis.ended);
            let Some(doubt) = self.attempt(&mut redis, std::mem::take(&mut removed)) else { break };
            self.doubt(doubt, &mut redis, old);
        }
        self.redis = Some(redis);
    }

    /// One renewal. Returns a doubt that it shows.
    fn attempt(&mut self, redis: &mut RedisSide, removed: Vec<Incarnation>) -> Option<LeaseDoubt> {
        let begun = (self.clock)().at;
        let phase = if self.load.is_draining() { LeasePhase::Draining } else { LeasePhase::Serving };
        let order = self.signs.done.load(Ordering::Relaxed);
        let stats = (redis.stats_at <= begun).then(|| self.load.measure(order, begun).encode());
        let is_complete = stats.is_some();
        let writes = RenewalWrites {
            incarnation: self.lease.incarnation(),
            lease: Lease::encode(self.lease.send(), phase, self.written, &self.signs.name),
            stats,
            removed,
        };
        let found = redis.store.renew(&mut redis.link, &writes);
        let now = (self.clock)().at;
        redis.latency = now.since(begun);
        let RenewalFinds { before, leases, stats } = match found {
            Ok(finds) => finds,
            Err(cause) => {
                self.liveness.fail_leases();
                self.fail(redis, &cause);
                return None;
            }
        };
        self.liveness.read_leases(&leases, now);
        for (incarnation, stats) in stats {
            self.liveness.read_stats(incarnation, stats, now);
        }
        match before {
            Ok(before) => {
                if is_complete {
                    let many = u32::try_from(leases.len()).unwrap_or(u32::MAX).div_ceil(STATS_INSTANCES);
                    redis.stats_at = begun + STATS_PERIOD * many.max(1);
                }
                redis.up = true;
                if std::mem::take(&mut redis.reported) {
                    tracing::info!("registry connected");
                }
                let doubt = self.lease.confirm(before.lease.as_deref(), begun);
                doubt.or_else(|| self.lease.check_flush(before.flush.as_deref()))
            }
            Err(cause) => {
                self.fail(redis, &cause);
                None
            }
        }
    }

    fn fail(&self, redis: &mut RedisSide, cause: &Cause) {
        self.counters.renewal_failures.fetch_add(1, Ordering::Relaxed);
        redis.up = false;
        if !std::mem::replace(&mut redis.reported, true) {
            tracing::warn!(cause = %cause.text, look_at = cause.look_at, "lease not renewed; trying again");
        }
    }

    /// Begins the next incarnation.
    fn doubt(&mut self, doubt: LeaseDoubt, redis: &mut RedisSide, old: Incarnation) {
        let count = self.lease.incarnation().count;
        self.signs.count.store(count, Ordering::Relaxed);
        self.written = LeaseParts::default();
        redis.segments.begin_incarnation();
        redis.ended.push(old);
        // The stats are of an incarnation too.
        redis.stats_at = Moment::ZERO;
        self.counters.doubts.store(self.lease.doubts(), Ordering::Relaxed);
        tracing::info!(%old, count, because = doubt.as_str(), "incarnation begun");
    }

    fn judge(&mut self) {
        let (changes, need) = self.liveness.judge((self.clock)().at);
        if need == RowsNeed::Now {
            self.signs.hurry();
        }
        for InstanceChange { name, from, to } in changes {
            let (from, to) = (from.as_str(), to.as_str());
            tracing::info!(%name, from, to, "instance state changed");
        }
    }

    fn publish(&mut self) {
        let now = (self.clock)();
        let shared = self.liveness.shared_names(&self.signs.name);
        for name in shared.iter().filter(|name| !self.shared_names.contains(*name)) {
            tracing::warn!(%name, hint = "give each instance its own server.instance", "instance name shared");
        }
        self.shared_names = shared.iter().cloned().collect();
        let is_held = self.duty.is_held(now.at);
        let leader = match (&self.leader, is_held) {
            (_, true) => Some(Arc::clone(&self.signs.name)),
            (Some((name, until)), false) if now.at < *until => Some(Arc::clone(name)),
            (Some(_) | None, false) => None,
        };
        let redis = self.redis.as_ref().map(|redis| RedisReport {
            up: redis.up,
            latency_us: u64::try_from(redis.latency.as_micros()).unwrap_or(u64::MAX),
        });
        if let Some(redis) = &redis {
            self.counters.renewal_us.store(redis.latency_us, Ordering::Relaxed);
        }
        let own = OwnInstance {
            name: Arc::clone(&self.signs.name),
            state: if self.load.is_draining() { InstanceState::Draining } else { InstanceState::Alive },
            stats: self.load.measure(self.signs.done.load(Ordering::Relaxed), now.at),
        };
        let facts = ClusterFacts { leader, redis, shared_names: shared };
        let report = ClusterReport::new(own, self.liveness.instances(), facts, now);
        self.counters.note(&report);
        self.counters.leader.store(u64::from(is_held), Ordering::Relaxed);
        self.board.publish(report);
        self.publish_segments(now.at);
    }

    /// Publishes what the owner of the content of segments has to know.
    fn publish_segments(&self, now: Moment) {
        let (Some(inbox), Some(redis)) = (&self.inbox, &self.redis) else { return };
        let owners = self.liveness.instances().map(|known| SegmentOwner {
            incarnation: known.incarnation(),
            name: Arc::clone(&known.name),
            state: known.state,
            since: known.since,
            parts: known.parts(),
        });
        inbox.publish(SegmentView {
            incarnation: self.lease.incarnation(),
            is_writable: redis.up && self.lease.is_held(),
            is_readable: self.liveness.reads_leases_since(now).is_some(),
            owners: owners.collect(),
        });
    }

    /// Says goodbye, so that the others need not wait.
    fn leave(&mut self) {
        let Some(redis) = &mut self.redis else { return };
        let lease = Lease::encode(self.lease.send(), LeasePhase::Left, self.written, &self.signs.name);
        if let Err(cause) = redis.store.leave(&mut redis.link, self.lease.incarnation(), &lease) {
            tracing::debug!(cause = %cause.text, "goodbye not written");
        }
    }
}
