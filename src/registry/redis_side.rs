//! The registry's part in Redis: the connection, and all that is written and read through it.

use super::lease_store::LeaseStore;
use super::link::RegistryLink;
use super::parts::RegistryRedis;
use super::segment_side::{AuditSight, FlushEnd, SegmentSide};
use super::user_side::{RegistrySight, UserSide};
use crate::clock::Moment;
use crate::cluster::incarnation::OwnLease;
use crate::cluster::liveness::Liveness;
use crate::cluster::report::RedisReport;
use crate::health::finding::Cause;
use crate::id::Incarnation;
use crate::job::segments::{SegmentInbox, SegmentOwner, SegmentView};
use crate::job::users::UserLookup;
use crate::metrics::cluster::ClusterCounters;
use crate::metrics::registry::RegistryCounters;
use crate::wire::lease::LeaseParts;
use crate::wire::partitions::PartitionSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Own incarnations that ended whose fields are still to be removed. Other instances remove those of more.
const ENDED_MAX: usize = 64;

/// The connection to Redis, and its state.
pub(super) struct RedisSide {
    pub(super) link: RegistryLink,
    pub(super) store: LeaseStore,
    pub(super) segments: SegmentSide,
    /// `None`: there is no registry of users.
    pub(super) users: Option<UserSide>,
    /// Own incarnations that ended, whose fields the next renewal that succeeds removes.
    pub(super) ended: Vec<Incarnation>,
    /// The last renewal was written.
    pub(super) up: bool,
    /// The failure that lasts was logged.
    pub(super) reported: bool,
    /// The time of the last renewal, with the look at all masters of a cluster.
    pub(super) latency: Duration,
    /// When stats are written again.
    pub(super) stats_at: Moment,
}

impl RedisSide {
    /// Opens no connection yet.
    pub(super) fn new(redis: RegistryRedis, counters: &Arc<RegistryCounters>, now: Moment) -> RedisSide {
        let RegistryRedis { target, prefix, users } = redis;
        RedisSide {
            link: RegistryLink::new(target),
            store: LeaseStore::new(&prefix),
            users: users.then(|| UserSide::new(Arc::clone(&prefix), Arc::clone(counters), now)),
            segments: SegmentSide::new(prefix),
            ended: Vec::new(),
            up: false,
            reported: false,
            latency: Duration::ZERO,
            stats_at: now,
        }
    }

    /// True while segments can be written: this incarnation has its lease.
    pub(super) fn can_write(&self, lease: &OwnLease) -> bool {
        self.up && lease.is_held()
    }

    /// Notes a failure, and logs the first one.
    pub(super) fn fail(&mut self, counters: &ClusterCounters, cause: &Cause) {
        counters.renewal_failures.fetch_add(1, Ordering::Relaxed);
        self.up = false;
        if !std::mem::replace(&mut self.reported, true) {
            tracing::warn!(cause = %cause.text, look_at = cause.look_at, "lease not renewed; trying again");
        }
    }

    /// The facts for the thread that owns the content of segments.
    pub(super) fn view(&self, lease: &OwnLease, liveness: &Liveness, now: Moment) -> SegmentView {
        let owners = liveness.instances().map(|known| SegmentOwner {
            incarnation: known.incarnation(),
            name: Arc::clone(&known.name),
            state: known.state,
            since: known.since,
            parts: known.parts(),
        });
        SegmentView {
            incarnation: lease.incarnation(),
            is_writable: self.can_write(lease),
            is_readable: liveness.reads_leases_since(now).is_some(),
            failing: self.segments.failing(),
            owners: owners.collect(),
        }
    }

    /// The users of this instance are not known until they are counted again. True if they are registered.
    pub(super) fn lose_users(&mut self) -> bool {
        self.users.iter_mut().for_each(UserSide::await_recount);
        self.users.is_some()
    }

    /// The next incarnation has written nothing.
    pub(super) fn begin_incarnation(&mut self, old: Incarnation, now: Moment) {
        self.segments.begin_incarnation();
        if let Some(users) = &mut self.users {
            users.begin_incarnation(now);
        }
        self.ended.truncate(ENDED_MAX - 1);
        self.ended.push(old);
    }

    /// True if there is a registry of users.
    pub(super) fn has_users(&self) -> bool {
        self.users.is_some()
    }

    /// The moment of the next flush of users.
    pub(super) fn flush_at(&self) -> Option<Moment> {
        self.users.as_ref().and_then(UserSide::flush_at)
    }

    /// The moment at which users are served next.
    pub(super) fn users_due(&self) -> Option<Moment> {
        let users = self.users.as_ref()?;
        if users.counts() { Some(Moment::ZERO) } else { users.flush_at() }
    }

    /// True if more users changed than are kept.
    pub(super) fn has_overflowed(&self) -> bool {
        self.users.as_ref().is_some_and(UserSide::has_overflowed)
    }

    /// True once all users were written for this incarnation.
    pub(super) fn are_users_written(&self) -> bool {
        self.users.as_ref().is_some_and(UserSide::is_written)
    }

    /// The state of the connection, for people.
    pub(super) fn report(&self) -> RedisReport {
        let latency_us = u64::try_from(self.latency.as_micros()).unwrap_or(u64::MAX);
        RedisReport { kind: self.link.kind(), up: self.up, latency_us }
    }

    /// True if these parts, which were written for this incarnation, are all that it has.
    pub(super) fn is_written(&self, parts: LeaseParts) -> bool {
        parts.rosters && (parts.users || self.users.is_none()) && self.unwritten().is_empty()
    }

    /// Partitions of a cluster in which something of this incarnation may not be written.
    pub(super) fn unwritten(&self) -> PartitionSet {
        let owed = self.users.as_ref().map_or(PartitionSet::EMPTY, UserSide::owed);
        self.segments.unwritten().union(owed)
    }

    /// Tries to write users again after a while.
    pub(super) fn wait(&mut self, now: Moment) {
        if let Some(users) = &mut self.users {
            users.wait(now);
        }
    }

    /// Writes users that changed; `None` if there is no registry of users.
    pub(super) fn flush_users(
        &mut self,
        lease: &mut OwnLease,
        clock: impl Fn() -> Moment,
    ) -> Option<FlushEnd> {
        let RedisSide { link, segments, users, .. } = self;
        Some(users.as_mut()?.flush(link, segments, lease, clock))
    }

    /// Finds the users of all these questions at all instances, and answers each. `name` is that of this instance.
    pub(super) fn look_up(
        &mut self,
        mut lookups: Vec<UserLookup>,
        lease: &OwnLease,
        liveness: &Liveness,
        (name, now): (&Arc<str>, Moment),
    ) {
        let RedisSide { link, store: leases, segments, users, up, .. } = self;
        let Some(users) = users else { return };
        let counts: Vec<usize> = lookups.iter().map(|lookup| lookup.users.len()).collect();
        let names = lookups.iter_mut().flat_map(|lookup| std::mem::take(&mut lookup.users)).collect();
        let mut sight = RegistrySight { link, leases, segments, lease, liveness, name, now, is_up: *up };
        let mut found = users.look_up(&mut sight, names).into_iter();
        for (lookup, count) in lookups.into_iter().zip(counts) {
            lookup.answer(found.by_ref().take(count).collect());
        }
    }

    /// Counts the users of the next buckets, if they are counted.
    pub(super) fn step_tally(
        &mut self,
        lease: &OwnLease,
        liveness: &Liveness,
        (name, now): (&Arc<str>, Moment),
    ) {
        let RedisSide { link, store: leases, segments, users, up, .. } = self;
        let Some(users) = users else { return };
        let is_up = *up;
        users.step_tally(&mut RegistrySight { link, leases, segments, lease, liveness, name, now, is_up });
    }

    /// Looks at the keys that are due.
    pub(super) fn audit(
        &mut self,
        lease: &OwnLease,
        liveness: &Liveness,
        inbox: Option<&SegmentInbox>,
        now: Moment,
    ) -> Result<(), Cause> {
        let RedisSide { link, segments, users, latency, .. } = self;
        let sight = AuditSight { own: lease.incarnation(), liveness, now };
        segments.begin_audit(liveness, now);
        let mut audited = segments.clean_numbers(&sight, link);
        if let Some(inbox) = inbox {
            audited = audited.and(segments.audit(&sight, link, inbox, SegmentSide::audits(*latency)));
        }
        match users {
            Some(users) => audited.and(users.audit(&sight, link, segments)),
            None => audited,
        }
    }
}
