//! The segments of this instance on their way to Redis, the audit of its keys, and the fields that others left there.

use super::answers::{field, owner};
use super::link::RegistryLink;
use super::segment_store::{AuditedKey, FlushNumber, SegmentStore, fitting};
use crate::clock::Moment;
use crate::cluster::audit::{AuditRing, Leftovers};
use crate::cluster::incarnation::{LeaseDoubt, OwnLease};
use crate::cluster::liveness::Liveness;
use crate::health::finding::Cause;
use crate::id::Incarnation;
use crate::job::segments::{
    HashField, SEGMENT_READS_MAX, SegmentAudit, SegmentInbox, SegmentKey, SegmentNews, SegmentWrite,
};
use crate::wire::partitions::PartitionSet;
use crate::wire::slot::Partition;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Keys audited at once. A larger part of the keys waits for the next second.
const AUDITS_MAX: usize = 512;

/// The end of a flush.
#[derive(Debug)]
pub(super) enum FlushEnd {
    Written,
    /// Redis lost an earlier flush: the next incarnation has begun.
    Doubted(LeaseDoubt),
    /// It is not known what was written to these partitions; the others are. On one server these are all.
    Failed {
        cause: Cause,
        partitions: PartitionSet,
    },
}

pub(super) struct SegmentSide {
    store: SegmentStore,
    ring: AuditRing,
    leftovers: Leftovers,
    /// Partitions of a cluster whose masters failed last, and the ones that did until the check before.
    failing: PartitionSet,
    failed_before: PartitionSet,
    /// The partition of a cluster whose flush numbers are cleaned next.
    numbers_next: u8,
}

impl SegmentSide {
    pub(super) fn new(prefix: Arc<str>) -> SegmentSide {
        SegmentSide {
            store: SegmentStore::new(prefix),
            ring: AuditRing::default(),
            leftovers: Leftovers::default(),
            failing: PartitionSet::EMPTY,
            failed_before: PartitionSet::EMPTY,
            numbers_next: 0,
        }
    }

    /// Partitions of a cluster that cannot be read and written now.
    pub(super) fn failing(&self) -> PartitionSet {
        self.failing
    }

    /// Partitions in which something may not be written. A partition that can be written again stays among them for one more check,
    /// because the thread that owns the content learns of it first.
    pub(super) fn unwritten(&self) -> PartitionSet {
        self.failing.union(self.failed_before)
    }

    /// Notes that a partition could not be read or written.
    fn fail(&mut self, link: &RegistryLink, partition: Partition, cause: &Cause) {
        tracing::debug!(cause = %cause.text, partition = partition.index(), "partition not reached");
        if link.is_cluster() {
            self.failing.insert(partition);
        }
    }

    /// Looks at all masters of a cluster: which of them answer, and whether they have the numbers of the last flushes. On one server
    /// the renewal of the lease has seen that.
    pub(super) fn check(&mut self, link: &mut RegistryLink, lease: &mut OwnLease) -> Option<LeaseDoubt> {
        if !link.is_cluster() {
            return None;
        }
        let incarnation = lease.incarnation();
        let number = |partition| (partition, self.store.read_flush(partition, incarnation));
        let answers = link.call_each(Partition::all().map(number).collect());
        self.failed_before = std::mem::take(&mut self.failing);
        let mut doubt = None;
        for (partition, answer) in answers {
            match answer.and_then(|answer| field(Some(answer)).map_err(|trouble| link.cause(trouble))) {
                Ok(found) if doubt.is_none() => doubt = lease.check_flush(partition, found.as_deref()),
                Ok(_) => {}
                Err(cause) => self.fail(link, partition, &cause),
            }
        }
        doubt
    }

    /// Writes segments, a partition and a pipeline at a time, so that Redis sets the pace. The numbers of `also` are written too, to
    /// show there that there is nothing else. A partition that fails delays no other one.
    pub(super) fn flush(
        &mut self,
        link: &mut RegistryLink,
        lease: &mut OwnLease,
        writes: Vec<SegmentWrite>,
        also: PartitionSet,
    ) -> FlushEnd {
        let mut groups: BTreeMap<Partition, Vec<SegmentWrite>> = BTreeMap::new();
        groups.extend(also.iter().map(|partition| (link.numbered(partition), Vec::new())));
        for write in writes {
            groups.entry(link.numbered(write.key.partition)).or_default().push(write);
        }
        let mut failed: Option<(Cause, PartitionSet)> = None;
        for (partition, group) in groups {
            match self.flush_partition(link, lease, partition, group) {
                Ok(None) => {}
                Ok(Some(doubt)) => return FlushEnd::Doubted(doubt),
                Err(cause) => {
                    self.fail(link, partition, &cause);
                    let (cause, before) = failed.take().unwrap_or((cause, PartitionSet::EMPTY));
                    failed = Some((cause, before.union(link.covered(partition))));
                }
            }
        }
        match failed {
            None => FlushEnd::Written,
            Some((cause, partitions)) => FlushEnd::Failed { cause, partitions },
        }
    }

    fn flush_partition(
        &mut self,
        link: &mut RegistryLink,
        lease: &mut OwnLease,
        partition: Partition,
        group: Vec<SegmentWrite>,
    ) -> Result<Option<LeaseDoubt>, Cause> {
        let mut rest = &group[..];
        loop {
            let (now, later) = rest.split_at(fitting(rest));
            let incarnation = lease.incarnation();
            let flush = FlushNumber { incarnation, number: lease.send_flush(partition) };
            let found = self.store.flush(link, partition, flush, now)?;
            if let Some(doubt) = lease.confirm_flush(partition, found.as_deref()) {
                return Ok(Some(doubt));
            }
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        for SegmentWrite { key: SegmentKey { key, partition }, audit, .. } in group {
            match audit {
                SegmentAudit::Keep => {}
                SegmentAudit::Begin => self.ring.insert(key, partition),
                SegmentAudit::End => self.ring.remove(&key),
            }
        }
        Ok(None)
    }

    /// The next incarnation has written nothing.
    pub(super) fn begin_incarnation(&mut self) {
        self.ring.clear();
    }

    /// Reads keys, which were asked for then, and answers each.
    ///
    /// The number of the own last flush is read after them. Redis that does not have it may have lost the segments of others as well,
    /// which they notice within a second; until then their leases would make an empty roster a complete one.
    pub(super) fn read(
        &mut self,
        link: &mut RegistryLink,
        lease: &OwnLease,
        inbox: &SegmentInbox,
        (mut keys, asked): (Vec<SegmentKey>, Moment),
    ) {
        keys.truncate(SEGMENT_READS_MAX);
        let names: Vec<(Arc<str>, Partition)> =
            keys.iter().map(|key| (Arc::clone(&key.key), link.numbered(key.partition))).collect();
        let partitions: BTreeSet<Partition> = names.iter().map(|(_, partition)| *partition).collect();
        let found = self.fields(link, keys);
        let behind = self.behind(link, lease, partitions);
        for ((key, partition), fields) in names.into_iter().zip(found) {
            let fields = fields.filter(|_| !behind.contains(partition));
            inbox.tell(SegmentNews::Read { key, asked, fields });
        }
    }

    /// The partitions that do not have the last flush of this incarnation, or do not answer.
    fn behind(
        &mut self,
        link: &mut RegistryLink,
        lease: &OwnLease,
        partitions: BTreeSet<Partition>,
    ) -> PartitionSet {
        let number = |partition| (partition, self.store.read_flush(partition, lease.incarnation()));
        let answers = link.call_each(partitions.into_iter().map(number).collect());
        let mut behind = PartitionSet::EMPTY;
        for (partition, answer) in answers {
            match answer.and_then(|answer| field(Some(answer)).map_err(|trouble| link.cause(trouble))) {
                Ok(found) if lease.has_flush(partition, found.as_deref()) => {}
                Ok(_) => behind.insert(partition),
                Err(cause) => {
                    self.fail(link, partition, &cause);
                    behind.insert(partition);
                }
            }
        }
        behind
    }

    /// All fields of keys, in their order; `None` for a key whose server did not answer.
    pub(super) fn fields(
        &mut self,
        link: &mut RegistryLink,
        keys: Vec<SegmentKey>,
    ) -> Vec<Option<Vec<HashField>>> {
        let mut found: Vec<Option<Vec<HashField>>> = vec![None; keys.len()];
        for (partition, (places, keys)) in groups(link, keys) {
            match self.store.read(link, partition, &keys) {
                Ok(read) => {
                    for (place, fields) in places.into_iter().zip(read) {
                        if let Some(found) = found.get_mut(place) {
                            *found = Some(fields);
                        }
                    }
                }
                Err(cause) => self.fail(link, partition, &cause),
            }
        }
        found
    }

    /// Keeps keys alive, and reads them. Those whose server does not answer are missing.
    pub(super) fn audited(&mut self, link: &mut RegistryLink, keys: Vec<SegmentKey>) -> Vec<AuditedKey> {
        let mut found = Vec::with_capacity(keys.len());
        for (partition, (_, keys)) in groups(link, keys) {
            match self.store.audit(link, partition, keys) {
                Ok(audited) => found.extend(audited),
                Err(cause) => self.fail(link, partition, &cause),
            }
        }
        found
    }

    /// Looks at the keys that are due, reports them, and removes what ended incarnations left in them.
    pub(super) fn audit(
        &mut self,
        link: &mut RegistryLink,
        lease: &OwnLease,
        liveness: &Liveness,
        inbox: &SegmentInbox,
        now: Moment,
    ) -> Result<(), Cause> {
        if !inbox.has_room_for_audits() {
            return Ok(());
        }
        let keys = self.ring.next(AUDITS_MAX, now).into_iter();
        let keys = keys.map(|(key, partition)| SegmentKey { key, partition }).collect();
        let own = lease.incarnation();
        for audited in self.audited(link, keys) {
            self.clean(link, &audited, own, liveness, now)?;
            let name = own.to_string();
            let AuditedKey { key: SegmentKey { key, .. }, fields } = audited;
            let found = fields.into_iter().find(|(field, _)| *field == name.as_bytes());
            inbox.tell(SegmentNews::Audited { key, found: found.map(|(_, value)| value) });
        }
        Ok(())
    }

    /// Forgets the incarnations that have a lease after all. Call it before an audit.
    pub(super) fn begin_audit(&mut self, liveness: &Liveness, now: Moment) {
        self.leftovers.retain(|incarnation| liveness.is_listed(incarnation), now);
    }

    /// On a cluster: keeps the flush numbers of the next partition alive, and removes those of incarnations that ended. On one server
    /// the renewals of leases do that.
    pub(super) fn clean_numbers(
        &mut self,
        link: &mut RegistryLink,
        own: Incarnation,
        liveness: &Liveness,
        now: Moment,
    ) -> Result<(), Cause> {
        if !link.is_cluster() {
            return Ok(());
        }
        let partition = Partition::at(self.numbers_next);
        self.numbers_next = self.numbers_next.wrapping_add(1);
        let key = SegmentKey { key: self.store.flushes(partition).into(), partition };
        for audited in self.audited(link, vec![key]) {
            self.clean(link, &audited, own, liveness, now)?;
        }
        Ok(())
    }

    /// Removes the fields of incarnations that have had no lease for a minute.
    pub(super) fn clean(
        &mut self,
        link: &mut RegistryLink,
        audited: &AuditedKey,
        own: Incarnation,
        liveness: &Liveness,
        now: Moment,
    ) -> Result<(), Cause> {
        let Some(readable) = liveness.reads_leases_since(now) else { return Ok(()) };
        let names = audited.fields.iter().map(|(name, _)| name);
        let left: Vec<Vec<u8>> = names
            .filter(|name| {
                let Some(incarnation) = owner(name).filter(|incarnation| *incarnation != own) else {
                    return false;
                };
                !liveness.is_listed(incarnation) && self.leftovers.expired(incarnation, readable, now)
            })
            .cloned()
            .collect();
        if left.is_empty() {
            return Ok(());
        }
        self.store.clean(link, &audited.key, &left)
    }
}

/// Keys by the partition that is asked for them, each with its place.
fn groups(link: &RegistryLink, keys: Vec<SegmentKey>) -> BTreeMap<Partition, (Vec<usize>, Vec<SegmentKey>)> {
    let mut groups: BTreeMap<Partition, (Vec<usize>, Vec<SegmentKey>)> = BTreeMap::new();
    for (place, key) in keys.into_iter().enumerate() {
        let (places, keys) = groups.entry(link.numbered(key.partition)).or_default();
        places.push(place);
        keys.push(key);
    }
    groups
}
