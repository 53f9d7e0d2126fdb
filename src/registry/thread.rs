//! The thread: events, the renewal of the lease, the judgement of the others, and the report.

mod jobs;
mod lookups;
mod restart;

use super::leadership::Leadership;
use super::lease_store::{RenewalFinds, RenewalWrites};
use super::load::LoadMeter;
use super::parts::{RegistryParts, RegistryRedis};
use super::redis_side::RedisSide;
use super::waiting::{RenewalTurn, WaitingLookups};
use crate::clock::{Moment, Now};
use crate::cluster::incarnation::{LeaseDoubt, OwnLease};
use crate::cluster::instance::InstanceState;
use crate::cluster::liveness::{InstanceChange, Liveness, RowsNeed};
use crate::cluster::report::{ClusterFacts, ClusterReport, OwnInstance, RegistryReport, stats_period};
use crate::id::Incarnation;
use crate::job::AuthJob;
use crate::job::registry::{ClusterBoard, OwnSigns, RegistryEvent, RowsReading};
use crate::job::segments::{SegmentInbox, SegmentOutcome};
use crate::job::users::{TALLY_USERS_MAX, UserTally};
use crate::metrics::cluster::ClusterCounters;
use crate::metrics::registry::RegistryCounters;
use crate::wire::lease::{Lease, LeaseParts, LeasePhase};
use crate::wire::slot::Partition;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, never, select};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The time between two renewals, varied by ±10 %.
const PERIOD: Duration = Duration::from_secs(1);
/// Events taken before other work is done.
const EVENTS_MAX: usize = 1_024;

/// The beginning of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WorkBegins {
    Fresh,
    AfterPanic,
}

pub(super) struct RegistryWorker<C> {
    clock: C,
    signs: Arc<OwnSigns>,
    events: Receiver<RegistryEvent>,
    board: Arc<ClusterBoard>,
    counters: Arc<ClusterCounters>,
    load: LoadMeter,
    redis: Option<RedisSide>,
    /// The parts of `redis`, for a restart.
    parts_of_redis: Option<RegistryRedis>,
    counters_of_users: Arc<RegistryCounters>,
    /// The auth worker is to report all users, and was not asked yet.
    wants_recount: bool,
    lease: OwnLease,
    liveness: Liveness,
    leadership: Leadership,
    lookups: WaitingLookups,
    renew_at: Moment,
    /// When the others are judged again without a further sign of life.
    judge_at: Moment,
    /// The segments of another thread; `None` if there is none.
    inbox: Option<Arc<SegmentInbox>>,
    /// Answers about users without a registry of them.
    auth: Sender<AuthJob>,
    /// The content that this incarnation has written completely.
    written: LeaseParts,
    /// The shared names that were logged.
    shared_names: BTreeSet<Arc<str>>,
}

impl<C: Fn() -> Now> RegistryWorker<C> {
    pub(super) fn new(parts: RegistryParts, clock: C) -> RegistryWorker<C> {
        let RegistryParts {
            redis,
            duty,
            signs,
            events,
            sender: _,
            board,
            counters,
            url,
            metrics,
            vitals,
            outlook,
            segments,
            auth,
        } = parts;
        let now = clock().at;
        let parts_of_redis = redis.clone();
        let counters_of_users = Arc::clone(&metrics.registry);
        let redis = redis.map(|redis| RedisSide::new(redis, &counters_of_users, now));
        RegistryWorker {
            parts_of_redis,
            counters_of_users,
            wants_recount: false,
            load: LoadMeter::new(metrics, vitals, outlook, url, now),
            lease: OwnLease::new(signs.origin),
            liveness: Liveness::new(signs.origin),
            clock,
            signs,
            events,
            board,
            counters,
            redis,
            leadership: Leadership::new(duty),
            lookups: WaitingLookups::default(),
            renew_at: now,
            judge_at: now,
            inbox: segments.map(Arc::new),
            auth,
            written: LeaseParts::default(),
            shared_names: BTreeSet::new(),
        }
    }

    /// Runs until the process ends, and then says goodbye. A panic costs the incarnation, and not the process.
    pub(super) fn run(mut self, over: &Receiver<Infallible>) {
        let mut begins = WorkBegins::Fresh;
        while catch_unwind(AssertUnwindSafe(|| self.work(begins, over))).is_err() {
            tracing::error!(hint = "this is a fault of seawall: report it", "registry restarted");
            // A fault that lasts must not keep a processor busy.
            if over.recv_timeout(PERIOD) == Err(RecvTimeoutError::Disconnected) {
                break;
            }
            begins = WorkBegins::AfterPanic;
        }
        self.leave();
    }

    /// Works until the process ends.
    fn work(&mut self, begins: WorkBegins, over: &Receiver<Infallible>) {
        if begins == WorkBegins::AfterPanic {
            self.restart();
        }
        let mut events = self.events.clone();
        let mut jobs = self.inbox.as_ref().map_or_else(never, |inbox| inbox.jobs.clone());
        loop {
            self.ask_for_users();
            let now = (self.clock)();
            let mut turn = RenewalTurn::Ahead;
            if self.renew_at <= now.at {
                // A renewal may take seconds, and what is due is due before it.
                self.judge();
                self.judge_at = now.at;
                self.renew(now);
                self.renew_at = now.at + PERIOD.mul_f64(0.9 + 0.2 * fastrand::f64());
                self.audit();
                turn = RenewalTurn::Made;
            }
            self.serve_users();
            self.look_up(turn);
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
                recv(over) -> _ended => return,
                default(self.rest()) => {}
            }
        }
    }

    /// The moment at which a state may change without a further sign of life.
    fn judge_next(&self) -> Moment {
        let now = (self.clock)().at;
        let term = self.leadership.term(now);
        self.liveness.due(now).into_iter().chain(term).fold(self.renew_at, Moment::min)
    }

    /// The time until something is due.
    fn rest(&self) -> Duration {
        let now = (self.clock)().at;
        let users = self.redis.as_ref().and_then(RedisSide::users_due);
        let due = users.into_iter().fold(self.judge_at.min(self.renew_at), Moment::min);
        if due <= now || !self.lookups.is_empty() {
            Duration::ZERO
        } else {
            due.since(now).max(Duration::from_millis(1))
        }
    }

    /// Takes an event and all that wait behind it.
    fn take(&mut self, first: RegistryEvent) {
        let waiting: Vec<_> = self.events.try_iter().take(EVENTS_MAX - 1).collect();
        for event in std::iter::once(first).chain(waiting) {
            let now = (self.clock)().at;
            let users = self.redis.as_mut().and_then(|redis| redis.users.as_mut());
            match (event, users) {
                (RegistryEvent::Rows(reading), _) => self.read_rows(&reading),
                (RegistryEvent::Users(counts), Some(users)) => users.note(counts, now),
                (RegistryEvent::AllUsers(counts), Some(users)) => users.recount(counts, now),
                (RegistryEvent::Users(_) | RegistryEvent::AllUsers(_), None) => {}
                (RegistryEvent::LookUp(lookup), _) => self.take_lookup(lookup),
                (RegistryEvent::Tally(reply), _) => self.begin_tally(reply),
            }
        }
    }

    /// True if it is known that no other instance lives.
    fn is_alone(&self) -> bool {
        self.leadership.is_sole() || self.board.report().is_alone()
    }

    /// Begins to count all users, unless there are too many.
    fn begin_tally(&mut self, reply: Sender<UserTally>) {
        let totals = &self.board.report().totals;
        let (users, is_complete) = (self.load.users(), self.is_alone());
        match self.redis.as_mut().and_then(|redis| redis.users.as_mut()) {
            _ if totals.users_sum > TALLY_USERS_MAX => {
                let _ = reply.try_send(UserTally::TooMany);
            }
            Some(side) => side.begin_tally(reply, &self.liveness),
            None => {
                let _ = reply.try_send(UserTally::Counted { users, is_complete });
            }
        }
    }

    /// Writes users whose flush is due, and counts those of the next buckets.
    fn serve_users(&mut self) {
        let Some(mut redis) = self.redis.take() else { return };
        let now = (self.clock)().at;
        self.check_age(&mut redis);
        if redis.has_overflowed() {
            let old = self.lease.incarnation();
            let doubt = self.lease.fall_behind();
            self.doubt(doubt, &mut redis, old);
            self.renew_at = Moment::ZERO;
        }
        if redis.flush_at().is_some_and(|due| due <= now) {
            let incarnation = self.lease.incarnation();
            let clock = || (self.clock)().at;
            let outcome = match redis.can_write(&self.lease) {
                true => redis.flush_users(&mut self.lease, clock),
                false => None,
            };
            match outcome {
                Some(end) => {
                    let outcome = self.conclude(&mut redis, incarnation, end);
                    let was_written = self.written.users;
                    let is_written = matches!(outcome, SegmentOutcome::Written | SegmentOutcome::FailedIn(_));
                    self.written.users = is_written && redis.are_users_written();
                    if is_written && self.written.users != was_written {
                        // So that the others know it at once.
                        self.renew_at = Moment::ZERO;
                    }
                }
                None => redis.wait(now),
            }
        }
        redis.step_tally(&self.lease, &self.liveness, (&self.signs.name, now));
        self.redis = Some(redis);
    }

    /// A process that was stopped takes the next incarnation before it writes anything.
    fn check_age(&mut self, redis: &mut RedisSide) {
        let old = self.lease.incarnation();
        if let Some(doubt) = self.lease.check_age((self.clock)().at) {
            self.doubt(doubt, redis, old);
            self.renew_at = Moment::ZERO;
        }
    }

    /// Looks at the keys that are due.
    fn audit(&mut self) {
        let Some(redis) = &mut self.redis else { return };
        if redis.can_write(&self.lease) {
            let now = (self.clock)().at;
            let audited = redis.audit(&self.lease, &self.liveness, self.inbox.as_deref(), now);
            if let Err(cause) = audited {
                tracing::debug!(cause = %cause.text, "registry not audited");
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
        if self.leadership.read_rows(rows, &self.signs, asked, now) {
            tracing::info!("leader duty taken");
        }
        self.liveness.read_rows(rows, asked, now);
        self.judge_at = now;
    }

    /// Renews the lease, twice if the first attempt shows that Redis lost it.
    fn renew(&mut self, now: Now) {
        let Some(mut redis) = self.redis.take() else { return };
        let abandoned = self.liveness.abandoned(now.at);
        self.check_age(&mut redis);
        for _ in 0..2 {
            let old = self.lease.incarnation();
            let removed = abandoned.iter().chain(&redis.ended).copied().collect();
            let begun = (self.clock)().at;
            let doubt = self.attempt(&mut redis, removed);
            redis.latency = (self.clock)().at.since(begun);
            let Some(doubt) = doubt else { break };
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
        if stats.is_some() {
            // Whatever the outcome: a renewal alone must not fail because the stats do.
            redis.stats_at = begun + stats_period(self.liveness.instances().count() + 1);
        }
        let writes = RenewalWrites {
            incarnation: self.lease.incarnation(),
            lease: Lease::encode(
                self.lease.send(),
                phase,
                LeaseParts { unwritten: redis.unwritten(), ..self.written },
                &self.signs.name,
            ),
            stats,
            removed,
        };
        let found = redis.store.renew(&mut redis.link, &writes);
        let now = (self.clock)().at;
        let RenewalFinds { before, leases, stats } = match found {
            Ok(finds) => finds,
            Err(cause) => {
                self.liveness.fail_leases();
                redis.fail(&self.counters, &cause);
                return None;
            }
        };
        self.liveness.read_leases(&leases, now);
        for (incarnation, stats) in stats {
            self.liveness.read_stats(incarnation, stats, now);
        }
        match before {
            Ok(before) => {
                redis.ended.clear();
                redis.up = true;
                if std::mem::take(&mut redis.reported) {
                    tracing::info!("registry connected");
                }
                let doubt = self.lease.confirm(before.lease.as_deref(), begun);
                let flush = before.flush.as_deref();
                doubt
                    .or_else(|| self.lease.check_flush(Partition::FIRST, flush))
                    .or_else(|| redis.segments.check(&mut redis.link, &mut self.lease))
            }
            Err(cause) => {
                redis.fail(&self.counters, &cause);
                None
            }
        }
    }

    /// Begins the next incarnation.
    fn doubt(&mut self, doubt: LeaseDoubt, redis: &mut RedisSide, old: Incarnation) {
        let count = self.lease.incarnation().count;
        self.signs.count.store(count, Ordering::Relaxed);
        self.written = LeaseParts::default();
        redis.begin_incarnation(old, (self.clock)().at);
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
        let shared = self.liveness.shared_names(&self.signs.name, now.at);
        for name in shared.iter().filter(|name| !self.shared_names.contains(*name)) {
            tracing::warn!(%name, hint = "give each instance its own server.instance", "instance name shared");
        }
        self.shared_names = shared.iter().cloned().collect();
        let leader = self.leadership.leader(&self.signs, now.at);
        let redis = self.redis.as_ref().map(RedisSide::report);
        if let Some(redis) = &redis {
            self.counters.renewal_us.store(redis.latency_us, Ordering::Relaxed);
        }
        let own = OwnInstance {
            name: Arc::clone(&self.signs.name),
            state: if self.load.is_draining() { InstanceState::Draining } else { InstanceState::Alive },
            stats: self.load.measure(self.signs.done.load(Ordering::Relaxed), now.at),
        };
        let registry = self.redis.as_ref().map(|redis| RegistryReport {
            complete: redis.is_written(self.written),
            doubts: self.lease.doubts(),
            ..self.load.rosters()
        });
        let facts = ClusterFacts { leader, redis, registry, shared_names: shared };
        let report = ClusterReport::new(own, self.liveness.instances(), facts, now);
        self.counters.note(&report);
        self.counters.leader.store(self.leadership.is_own(now.at).into(), Ordering::Relaxed);
        self.board.publish(report);
        self.publish_segments(now.at);
    }

    /// Publishes what the owner of the content of segments has to know.
    fn publish_segments(&self, now: Moment) {
        if let (Some(inbox), Some(redis)) = (&self.inbox, &self.redis) {
            inbox.publish(redis.view(&self.lease, &self.liveness, now));
        }
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
