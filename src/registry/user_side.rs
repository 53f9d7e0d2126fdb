//! The users of this instance on their way to the registry of users, and questions about all users.

use super::lease_store::{LeaseStore, PartitionWriters};
use super::link::RegistryLink;
use super::segment_side::{AuditSight, FlushEnd, SegmentSide};
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
use crate::wire::partitions::PartitionSet;
use crate::wire::slot::{Partition, SLOTS};
use crate::wire::user_fields::{UserConnections, field_of, key_of, owner_and_user, slot_of};
use crossbeam_channel::Sender;
use std::collections::{BTreeMap, BTreeSet};
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

/// The parts of the thread that questions need.
pub(super) struct RegistrySight<'a> {
    pub(super) link: &'a mut RegistryLink,
    pub(super) leases: &'a LeaseStore,
    pub(super) segments: &'a mut SegmentSide,
    pub(super) lease: &'a OwnLease,
    pub(super) liveness: &'a Liveness,
    /// The name of this instance.
    pub(super) name: &'a Arc<str>,
    pub(super) now: Moment,
    /// False: Redis is not asked.
    pub(super) is_up: bool,
}

impl RegistrySight<'_> {
    /// The writers that count in each of these partitions, by the partition that has their flush numbers. None if leases cannot be read.
    fn writers(&mut self, partitions: &BTreeSet<Partition>) -> BTreeMap<Partition, CountingWriters> {
        let numbered: BTreeSet<Partition> =
            partitions.iter().map(|partition| self.link.numbered(*partition)).collect();
        let PartitionWriters { leases, mut flushed } = match self.leases.writers(self.link, partitions) {
            Ok(writers) => writers,
            Err(cause) => {
                tracing::debug!(cause = %cause.text, "leases not read for users");
                return BTreeMap::new();
            }
        };
        let own = self.lease.incarnation().origin;
        let mut reading = WritersReading { leases, ..WritersReading::default() };
        let of = |partition: Partition| {
            reading.partitions = self.link.covered(partition);
            let is_read = flushed.remove(&partition).map(|found| reading.flushed = found).is_some();
            let reading = is_read.then_some(&reading);
            (partition, CountingWriters::of(own, self.liveness.instances(), reading))
        };
        numbered.into_iter().map(of).collect()
    }
}

/// The registry of users, as this instance sees it.
pub(super) struct UserSide {
    own: OwnUsers,
    /// All users have to be reported again: some are not known.
    awaits_recount: bool,
    /// Partitions in which this incarnation has no flush number yet.
    unnumbered: PartitionSet,
    /// Partitions in which a flush failed, and is not repeated yet.
    owed: PartitionSet,
    prefix: Arc<str>,
    flush_at: Option<Moment>,
    flushed: Moment,
    /// Since when more than one flush waits after each.
    backlog: Option<Moment>,
    is_late: bool,
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
            awaits_recount: false,
            unnumbered: PartitionSet::ALL,
            owed: PartitionSet::EMPTY,
            prefix,
            flush_at: Some(now),
            flushed: now,
            backlog: None,
            is_late: false,
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
        self.awaits_recount = false;
        self.own.recount(counts);
        self.plan(now);
    }

    /// The users that are known are not all until they are counted again.
    pub(super) fn await_recount(&mut self) {
        self.awaits_recount = true;
    }

    /// Everything is to be written again.
    pub(super) fn begin_incarnation(&mut self, now: Moment) {
        self.own.begin_incarnation();
        (self.unnumbered, self.owed) = (PartitionSet::ALL, PartitionSet::EMPTY);
        self.flush_at = Some(now);
    }

    /// True if the next incarnation has to begin, because more changed than is kept.
    pub(super) fn has_overflowed(&self) -> bool {
        self.own.has_overflowed()
    }

    /// True once all users were written for this incarnation, except those of partitions that are [owed](UserSide::owed), and while
    /// changes are written in time.
    pub(super) fn is_written(&self) -> bool {
        !self.awaits_recount
            && !self.is_late
            && !self.own.is_rewriting()
            && self.unnumbered.without(self.owed).is_empty()
    }

    /// Partitions of a cluster in which some users are not written, because their master was out of reach.
    pub(super) fn owed(&self) -> PartitionSet {
        self.owed
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
        let unreached = segments.failing();
        let changes = self.own.take(FLUSH_BUCKETS, unreached);
        let is_full = changes.len() >= FLUSH_BUCKETS;
        let incarnation = lease.incarnation();
        let writes = changes.iter().map(|change| self.write(incarnation, change)).collect();
        // The last part shows in each partition that there is nothing else.
        let is_last = !self.own.is_rewriting();
        let also = if is_last { self.unnumbered.without(unreached) } else { PartitionSet::EMPTY };
        let end = segments.flush(link, lease, writes, also);
        let failed = match &end {
            FlushEnd::Written => PartitionSet::EMPTY,
            FlushEnd::Doubted(_) => PartitionSet::ALL,
            FlushEnd::Failed { partitions, .. } => *partitions,
        };
        self.unnumbered = self.unnumbered.without(also.without(failed));
        let now = clock();
        self.counters.flushes.add(1);
        self.counters.flush_us.set(u64::try_from(now.since(begun).as_micros()).unwrap_or(u64::MAX));
        self.flushed = now;
        let is_behind = self.own.is_behind() || !self.unnumbered.is_empty();
        // A storm of connections fills flush after flush; with pauses, its last users would be offline for seconds.
        self.flush_at = match (self.own.is_rewriting() || is_full, is_behind) {
            (true, true) => Some(now),
            (false, true) => Some(now + FLUSH_PERIOD),
            (true | false, false) => None,
        };
        if let FlushEnd::Failed { .. } = end {
            self.counters.flush_failures.add(1);
            let is_failed = |change: &BucketChange| failed.contains(Partition::of_slot(change.slot));
            self.own.put_back(changes.into_iter().filter(is_failed).collect());
            // Even a flush without a change is repeated: its number shows the others that there is none.
            self.wait(now);
        }
        let waiting = self.own.partitions_waiting().union(self.unnumbered);
        self.owed = self.owed.union(unreached).union(failed).intersection(waiting);
        let has_backlog = self.own.waits_with_more_than(FLUSH_BUCKETS, self.owed);
        self.backlog = has_backlog.then(|| self.backlog.unwrap_or(now));
        self.is_late = self.backlog.is_some_and(|since| since + FLUSH_PERIOD <= now);
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

    /// Compares the buckets that are due with Redis. What differs is written again; a bucket that cannot be read has its turn later.
    pub(super) fn audit(
        &mut self,
        sight: &AuditSight<'_>,
        link: &mut RegistryLink,
        segments: &mut SegmentSide,
    ) -> Result<(), Cause> {
        if self.own.is_rewriting() {
            return Ok(());
        }
        let now = sight.now;
        let per_slot = AUDIT_PERIOD / u32::from(SLOTS);
        let due = now.since(self.audit.at).as_nanos() / per_slot.as_nanos();
        let end = u16::try_from(u128::from(self.audit.next) + due).unwrap_or(SLOTS).min(SLOTS);
        let slots: Vec<u16> = self.own.occupied(self.audit.next).take_while(|slot| *slot < end).collect();
        self.audit = BucketAudit { next: if end >= SLOTS { 0 } else { end }, at: now };
        let keys: Vec<SegmentKey> = slots.iter().map(|slot| self.key(*slot)).collect();
        let audited = segments.audited(link, keys.clone(), now);
        let slots: BTreeMap<Arc<str>, u16> = keys.into_iter().map(|key| key.key).zip(slots).collect();
        for audited in &audited {
            let Some(slot) = slots.get(&audited.key.key).copied() else { continue };
            let own = |(name, value): &HashField| {
                let (owner, _) = owner_and_user(name)?;
                (owner == sight.own).then(|| (name.clone(), UserConnections::parse(value)))
            };
            let fields: Vec<_> = audited.fields.iter().filter_map(own).collect();
            let fields: Vec<_> =
                fields.iter().filter_map(|(name, value)| Some((owner_and_user(name)?.1, *value))).collect();
            self.counters.repairs.add(self.own.compare(slot, &fields) as u64);
        }
        let cleaned = segments.clean(sight, link, &audited);
        self.plan(now);
        cleaned
    }

    /// Finds users. Without Redis only their connections here are known.
    pub(super) fn look_up(&self, sight: &mut RegistrySight<'_>, users: Vec<UserName>) -> Vec<FoundUser> {
        let (fields, writers) =
            if sight.is_up { self.read(sight, &users) } else { (Vec::new(), BTreeMap::new()) };
        let mut fields = fields.into_iter();
        let none = CountingWriters::of(0, sight.liveness.instances(), None);
        let find = |user: UserName| {
            let fields = fields.next().flatten();
            let is_known = fields.is_some() && !user.is_anonymous();
            let fields = fields.unwrap_or_default();
            let fields: Vec<_> = fields.iter().filter_map(|field| connections_of(&user, field)).collect();
            let own = self.own.connections(&user);
            let own = own.map(|connections| UserAt { instance: Arc::clone(sight.name), connections });
            let partition = sight.link.numbered(Partition::of_slot(slot_of(&user)));
            let mut found = writers.get(&partition).unwrap_or(&none).find(user, own, &fields);
            found.is_complete &= is_known;
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
    ) -> (Vec<Option<Vec<HashField>>>, BTreeMap<Partition, CountingWriters>) {
        let keys: Vec<SegmentKey> = users.iter().map(|user| self.key(slot_of(user))).collect();
        let partitions = keys.iter().map(|key| key.partition).collect();
        let fields = sight.segments.fields(sight.link, &keys, sight.now);
        // Without a bucket there is nothing to be sure of.
        let is_read = fields.iter().any(Option::is_some);
        let writers = if is_read { sight.writers(&partitions) } else { BTreeMap::new() };
        (fields, writers)
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
        let keys: Vec<SegmentKey> = (tally.next..end).map(|slot| self.key(slot)).collect();
        let read: Option<Vec<Vec<HashField>>> = match sight.is_up {
            true => sight.segments.fields(sight.link, &keys, sight.now).into_iter().collect(),
            false => None,
        };
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
        let states = if is_read { sight.writers(&Partition::all().collect()) } else { BTreeMap::new() };
        // Fields that a writer wrote again meanwhile may have been missed.
        let is_same =
            |writers: &CountingWriters| writers.is_complete && writers.incarnations() == tally.writers;
        let is_complete = !states.is_empty() && states.values().all(is_same);
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
