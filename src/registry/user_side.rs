//! The users of this instance on their way to the registry of users, and questions about all users.

use super::lease_store::LeaseStore;
use super::link::RegistryLink;
use super::segment_side::{FlushEnd, FlushExtent, SegmentSide};

use crate::clock::Moment;
use crate::cluster::audit::AUDIT_PERIOD;
use crate::cluster::incarnation::OwnLease;
use crate::cluster::liveness::Liveness;
use crate::cluster::own_users::{BucketChange, OwnUsers, UserCount};
use crate::cluster::user_lookup::{CountingWriters, FoundUser, UserAt, WritersReading};
use crate::health::finding::Cause;
use crate::id::{Incarnation, UserName};
use crate::job::segments::{HashField, SegmentAudit, SegmentKey, SegmentWrite};
use crate::job::users::UserTally;
use crate::metrics::registry::RegistryCounters;
use crate::wire::slot::{Partition, SLOTS};
use crate::wire::user_fields::{UserConnections, field_of, key_of, owner_and_user, slot_of};
use crossbeam_channel::Sender;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// The time from the first change after a rest to its flush.
const FIRST_FLUSH: Duration = Duration::from_millis(20);
/// The time between two flushes.
const FLUSH_PERIOD: Duration = Duration::from_millis(250);
/// Buckets of one flush: a pipeline.
const FLUSH_BUCKETS: usize = 500;
/// Buckets read at once while all users are counted.
const TALLY_BUCKETS: u16 = 128;
/// Askers that wait for one count.
const ASKERS_MAX: usize = 64;

/// The parts of the thread that questions and the audit need.
pub(super) struct RegistrySight<'a> {
    pub(super) link: &'a mut RegistryLink,
    pub(super) leases: &'a LeaseStore,
    pub(super) segments: &'a mut SegmentSide,
    pub(super) lease: &'a OwnLease,
    pub(super) liveness: &'a Liveness,
    /// The name of this instance.
    pub(super) name: &'a Arc<str>,
    /// False: Redis is not asked.
    pub(super) is_up: bool,
}

/// The registry of users, as this instance sees it.
pub(super) struct UserSide {
    own: OwnUsers,
    /// False until this incarnation has a flush number in each partition.
    is_numbered: bool,
    prefix: Arc<str>,
    flush_at: Option<Moment>,
    flushed: Moment,
    audit: BucketAudit,
    tally: Option<RunningTally>,
    counters: Arc<RegistryCounters>,
}

/// The slot that is audited next.
struct BucketAudit {
    next: u16,
    at: Moment,
}

/// A count of all users that is under way.
struct RunningTally {
    next: u16,
    users: u64,
    /// The other instances when it began.
    writers: BTreeSet<Incarnation>,
    replies: Vec<Sender<UserTally>>,
}

impl UserSide {
    pub(super) fn new(prefix: Arc<str>, counters: Arc<RegistryCounters>, now: Moment) -> UserSide {
        let mut own = OwnUsers::default();
        // The first flush shows the others that there is nothing else.
        own.begin_incarnation();
        let audit = BucketAudit { next: 0, at: now };
        UserSide {
            own,
            is_numbered: false,
            prefix,
            flush_at: Some(now),
            flushed: now,
            audit,
            tally: None,
            counters,
        }
    }

    /// Notes users whose connections changed.
    pub(super) fn note(&mut self, counts: Vec<UserCount>, now: Moment) {
        self.counters.changes.add(counts.len() as u64);
        counts.into_iter().for_each(|count| self.own.note(count));
        self.plan(now);
    }

    /// Notes all users.
    pub(super) fn recount(&mut self, counts: Vec<UserCount>, now: Moment) {
        self.counters.recounts.add(1);
        self.own.recount(counts);
        self.plan(now);
    }

    /// Everything is to be written again.
    pub(super) fn begin_incarnation(&mut self, now: Moment) {
        self.own.begin_incarnation();
        self.is_numbered = false;
        self.flush_at = Some(now);
    }

    /// True if the next incarnation has to begin, because more changed than is kept.
    pub(super) fn has_overflowed(&self) -> bool {
        self.own.has_overflowed()
    }

    /// True once all users were written for this incarnation.
    pub(super) fn is_written(&self) -> bool {
        self.is_numbered && !self.own.is_rewriting()
    }

    /// The moment of the next flush; `None` if nothing is to be written.
    pub(super) fn flush_at(&self) -> Option<Moment> {
        self.flush_at
    }

    /// True while users are counted, so that the next step is due at once.
    pub(super) fn counts(&self) -> bool {
        self.tally.is_some()
    }

    fn plan(&mut self, now: Moment) {
        if self.flush_at.is_none() && self.own.is_behind() {
            self.flush_at = Some((now + FIRST_FLUSH).max(self.flushed + FLUSH_PERIOD));
        }
        self.report();
    }

    fn report(&self) {
        self.counters.users.set(self.own.users() as u64);
        self.counters.waiting.set(self.own.waiting() as u64);
        self.counters.written.set(self.is_written().into());
    }

    /// Writes what changed, or the next part of all.
    pub(super) fn flush(
        &mut self,
        link: &mut RegistryLink,
        segments: &mut SegmentSide,
        lease: &mut OwnLease,
        clock: impl Fn() -> Moment,
    ) -> FlushEnd {
        let begun = clock();
        let changes = self.own.take(FLUSH_BUCKETS);
        let incarnation = lease.incarnation();
        let writes = changes.iter().map(|change| self.write(incarnation, change)).collect();
        let is_last = !self.is_numbered && !self.own.is_rewriting();
        let extent = if is_last { FlushExtent::Everywhere } else { FlushExtent::Writes };
        let end = segments.flush(link, lease, writes, extent);
        self.is_numbered |= is_last && matches!(end, FlushEnd::Written);
        let now = clock();
        self.counters.flushes.add(1);
        self.counters.flush_us.set(u64::try_from(now.since(begun).as_micros()).unwrap_or(u64::MAX));
        self.flushed = now;
        self.flush_at = match (self.own.is_rewriting(), self.own.is_behind()) {
            (true, _) => Some(now),
            (false, true) => Some(now + FLUSH_PERIOD),
            (false, false) => None,
        };
        if matches!(end, FlushEnd::Failed(_)) {
            self.counters.flush_failures.add(1);
            self.own.put_back(changes);
            // Even a flush without a change is repeated: its number shows the others that there is none.
            self.wait(now);
        }
        self.report();
        end
    }

    /// Tries again after a while: nothing can be written now.
    pub(super) fn wait(&mut self, now: Moment) {
        self.flush_at = Some(now + FLUSH_PERIOD);
    }

    fn write(&self, incarnation: Incarnation, change: &BucketChange) -> SegmentWrite {
        let field = |name: &UserName| field_of(incarnation, name.as_str());
        SegmentWrite {
            key: self.key(change.slot),
            set: change.set.iter().map(|(name, value)| (field(name), value.encode())).collect(),
            remove: change.remove.iter().map(field).collect(),
            publish: None,
            audit: SegmentAudit::Keep,
        }
    }

    fn key(&self, slot: u16) -> SegmentKey {
        SegmentKey { key: key_of(&self.prefix, slot).into(), partition: Partition::of_slot(slot) }
    }

    /// Compares the buckets that are due with Redis. What differs is written again.
    pub(super) fn audit(&mut self, sight: &mut RegistrySight<'_>, now: Moment) -> Result<(), Cause> {
        if self.own.is_rewriting() {
            return Ok(());
        }
        let per_slot = AUDIT_PERIOD / u32::from(SLOTS);
        let due = now.since(self.audit.at).as_nanos() / per_slot.as_nanos();
        let end = u16::try_from(u128::from(self.audit.next) + due).unwrap_or(SLOTS).min(SLOTS);
        let slots: Vec<u16> = self.own.occupied(self.audit.next).take_while(|slot| *slot < end).collect();
        self.audit = BucketAudit { next: if end >= SLOTS { 0 } else { end }, at: now };
        let incarnation = sight.lease.incarnation();
        let keys = slots.iter().map(|slot| self.key(*slot)).collect();
        let audited = sight.segments.audited(sight.link, keys)?;
        for (slot, audited) in slots.into_iter().zip(&audited) {
            let own = |(name, value): &HashField| {
                let (owner, _) = owner_and_user(name)?;
                (owner == incarnation).then(|| (name.clone(), UserConnections::parse(value)))
            };
            let fields: Vec<_> = audited.fields.iter().filter_map(own).collect();
            let fields: Vec<_> =
                fields.iter().filter_map(|(name, value)| Some((owner_and_user(name)?.1, *value))).collect();
            self.counters.repairs.add(self.own.compare(slot, &fields) as u64);
            sight.segments.clean(sight.link, audited, incarnation, sight.liveness, now)?;
        }
        self.plan(now);
        Ok(())
    }

    /// Finds users. Without Redis only their connections here are known.
    pub(super) fn look_up(&self, sight: &mut RegistrySight<'_>, users: Vec<UserName>) -> Vec<FoundUser> {
        let found = if sight.is_up { self.read(sight, &users) } else { Err(None) };
        if let Err(Some(cause)) = &found {
            tracing::debug!(cause = %cause.text, "users not read");
        }
        let (fields, reading) = match found {
            Ok((fields, reading)) => (fields, Some(reading)),
            Err(_) => (Vec::new(), None),
        };
        let own = sight.lease.incarnation().origin;
        let writers = CountingWriters::of(own, sight.liveness.instances(), reading.as_ref());
        let mut fields = fields.into_iter();
        let find = |user: UserName| {
            let fields = fields.next().unwrap_or_default();
            let fields: Vec<_> = fields.iter().filter_map(|field| connections_of(&user, field)).collect();
            let own = self.own.connections(&user);
            let own = own.map(|connections| UserAt { instance: Arc::clone(sight.name), connections });
            let is_counted = !user.is_anonymous();
            let mut found = writers.find(user, own, &fields);
            found.is_complete &= is_counted;
            found
        };
        let found: Vec<FoundUser> = users.into_iter().map(find).collect();
        self.counters.lookups.add(found.len() as u64);
        let incomplete = found.iter().filter(|found| !found.is_complete).count();
        self.counters.lookups_incomplete.add(incomplete as u64);
        found
    }

    /// The buckets of users, and then the state of their writers: if Redis was emptied in between, that shows.
    fn read(
        &self,
        sight: &mut RegistrySight<'_>,
        users: &[UserName],
    ) -> Result<(Vec<Vec<HashField>>, WritersReading), Option<Cause>> {
        let keys: Vec<SegmentKey> = users.iter().map(|user| self.key(slot_of(user))).collect();
        let partitions = keys.iter().map(|key| key.partition).collect();
        let fields = sight.segments.fields(sight.link, keys).map_err(Some)?;
        let reading = sight.leases.writers(sight.link, &partitions).map_err(Some)?;
        Ok((fields, reading))
    }

    /// Begins to count all users, or adds an asker to the count that is under way. Over a bound askers get no answer.
    pub(super) fn begin_tally(&mut self, reply: Sender<UserTally>, liveness: &Liveness) {
        let begin = || {
            let writers = CountingWriters::of(0, liveness.instances(), None).incarnations();
            RunningTally { next: 0, users: 0, writers, replies: Vec::new() }
        };
        let tally = self.tally.get_or_insert_with(begin);
        if tally.replies.len() < ASKERS_MAX {
            tally.replies.push(reply);
        }
    }

    /// Counts the users of the next buckets. The last step answers.
    pub(super) fn step_tally(&mut self, sight: &mut RegistrySight<'_>) {
        let Some(mut tally) = self.tally.take() else { return };
        let own = sight.lease.incarnation().origin;
        let writers = CountingWriters::of(own, sight.liveness.instances(), None);
        let end = (tally.next + TALLY_BUCKETS).min(SLOTS);
        let keys = (tally.next..end).map(|slot| self.key(slot)).collect();
        let read = if sight.is_up { sight.segments.fields(sight.link, keys).ok() } else { None };
        let is_read = read.is_some();
        let fields = read.unwrap_or_else(|| vec![Vec::new(); usize::from(end - tally.next)]);
        for (slot, fields) in (tally.next..end).zip(&fields) {
            let of_others = fields.iter().filter_map(|(name, _)| {
                let (incarnation, user) = owner_and_user(name)?;
                writers.name(incarnation).is_some().then_some(user)
            });
            let users: BTreeSet<&str> = of_others.chain(self.own.names(slot)).collect();
            tally.users += users.len() as u64;
        }
        tally.next = end;
        if is_read && end < SLOTS {
            self.tally = Some(tally);
            return;
        }
        // Without Redis the users of this instance are all that is known.
        let users = if is_read { tally.users } else { self.own.users() as u64 };
        let partitions = Partition::all().collect();
        let reading = if is_read { sight.leases.writers(sight.link, &partitions).ok() } else { None };
        let writers = CountingWriters::of(own, sight.liveness.instances(), reading.as_ref());
        // Fields that a writer wrote again meanwhile may have been missed.
        let is_complete = writers.is_complete && writers.incarnations() == tally.writers;
        let counted = UserTally::Counted { users, is_complete };
        for reply in tally.replies {
            let _ = reply.try_send(counted);
        }
    }
}

/// The incarnation and the connections of a field, if it is this user's.
fn connections_of(user: &UserName, (name, value): &HashField) -> Option<(Incarnation, UserConnections)> {
    let (incarnation, name) = owner_and_user(name)?;
    (name == user.as_str()).then_some((incarnation, UserConnections::parse(value)?))
}
