//! The segments of this instance on their way to Redis, the audit of its keys, and the fields that others left there.

use super::answers::owner;
use super::key_reader::{FailureScope, KeyReader, KeyReading, read_together};
use super::link::RegistryLink;
use super::segment_store::{AuditedKey, FlushPart, SegmentStore, pipelines};
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
use std::time::Duration;

/// Keys audited at once, and if a round trip takes longer than [`SLOW`]. A larger part of the keys waits for the next second.
const AUDITS_MAX: usize = 512;
const AUDITS_IF_SLOW: usize = 64;
const SLOW: Duration = Duration::from_millis(50);

/// The moment of an audit, and the incarnations that it knows.
#[derive(Clone, Copy)]
pub(super) struct AuditSight<'a> {
    pub(super) own: Incarnation,
    pub(super) liveness: &'a Liveness,
    pub(super) now: Moment,
}

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
    reader: KeyReader,
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
            reader: KeyReader::default(),
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
        let numbers = self.store.read_flushes(link, lease.incarnation(), Partition::all());
        self.failed_before = std::mem::take(&mut self.failing);
        let mut doubt = None;
        for (partition, found) in numbers {
            match found {
                Ok(found) if doubt.is_none() => doubt = lease.check_flush(partition, found.as_deref()),
                Ok(_) => {}
                Err(cause) => self.fail(link, partition, &cause),
            }
        }
        doubt
    }

    /// Writes segments, a pipeline at a time, so that Redis sets the pace. The numbers of `also` are written too, to show there that there
    /// is nothing else. A partition that fails delays no other one.
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
        let groups: Vec<(Partition, Vec<SegmentWrite>)> = groups.into_iter().collect();
        let mut failed: Option<(Cause, PartitionSet)> = None;
        for pipeline in pipelines(&groups) {
            let lost = failed.as_ref().map_or(PartitionSet::EMPTY, |(_, partitions)| *partitions);
            // A later part with a number would hide that this one is missing.
            let number = |(partition, writes): (Partition, _)| {
                let number = (!lost.contains(partition)).then(|| lease.send_flush(partition))?;
                Some(FlushPart { partition, number, writes })
            };
            let parts: Vec<FlushPart<'_>> = pipeline.into_iter().filter_map(number).collect();
            let found = self.store.flush(link, lease.incarnation(), &parts);
            for (part, found) in parts.into_iter().zip(found) {
                match found.map(|found| lease.confirm_flush(part.partition, found.as_deref())) {
                    Ok(None) => self.note_audits(part.writes),
                    Ok(Some(doubt)) => return FlushEnd::Doubted(doubt),
                    Err(cause) => {
                        self.fail(link, part.partition, &cause);
                        let (cause, before) = failed.take().unwrap_or((cause, PartitionSet::EMPTY));
                        failed = Some((cause, before.union(link.covered(part.partition))));
                    }
                }
            }
        }
        match failed {
            None => FlushEnd::Written,
            Some((cause, partitions)) => FlushEnd::Failed { cause, partitions },
        }
    }

    fn note_audits(&mut self, writes: &[SegmentWrite]) {
        for SegmentWrite { key: SegmentKey { key, partition }, audit, .. } in writes {
            match audit {
                SegmentAudit::Keep => {}
                SegmentAudit::Begin => self.ring.insert(Arc::clone(key), *partition),
                SegmentAudit::End => self.ring.remove(key),
            }
        }
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
        let found = self.fields(link, &keys, asked);
        // Without an answer there is nothing to be sure of.
        let answered = names.iter().zip(&found).filter(|(_, fields)| fields.is_some());
        let partitions: BTreeSet<Partition> = answered.map(|((_, partition), _)| *partition).collect();
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
        let mut behind = PartitionSet::EMPTY;
        for (partition, found) in self.store.read_flushes(link, lease.incarnation(), partitions.into_iter()) {
            match found {
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

    /// All fields of keys, in their order; `None` for a key that cannot be read, or whose server did not answer.
    pub(super) fn fields(
        &mut self,
        link: &mut RegistryLink,
        keys: &[SegmentKey],
        now: Moment,
    ) -> Vec<Option<Vec<HashField>>> {
        let scope = if link.is_cluster() { FailureScope::Master } else { FailureScope::All };
        let readings = self.reader.read(keys, scope, now, |together| read_together(link, together));
        let mut failures = BTreeMap::new();
        let of = |(reading, key): (KeyReading, &SegmentKey)| match reading {
            KeyReading::Fields(fields) => Some(fields),
            KeyReading::Unreadable => None,
            KeyReading::Failed(cause) => {
                failures.insert(link.numbered(key.partition), cause);
                None
            }
        };
        let found = readings.into_iter().zip(keys).map(of).collect();
        failures.into_iter().for_each(|(partition, cause)| self.fail(link, partition, &cause));
        found
    }

    /// Keeps keys alive, and reads them. A key that cannot be read, or whose server does not answer, is missing.
    pub(super) fn audited(
        &mut self,
        link: &mut RegistryLink,
        keys: Vec<SegmentKey>,
        now: Moment,
    ) -> Vec<AuditedKey> {
        self.store.keep(link, &keys);
        let found = self.fields(link, &keys, now);
        let audited = keys.into_iter().zip(found);
        audited.filter_map(|(key, fields)| Some(AuditedKey { key, fields: fields? })).collect()
    }

    /// The number of keys that are audited at once, after a renewal that took this long.
    pub(super) fn audits(latency: Duration) -> usize {
        if latency > SLOW { AUDITS_IF_SLOW } else { AUDITS_MAX }
    }

    /// Looks at the next `most` keys that are due, reports them, and removes what ended incarnations left in them.
    pub(super) fn audit(
        &mut self,
        sight: &AuditSight<'_>,
        link: &mut RegistryLink,
        inbox: &SegmentInbox,
        most: usize,
    ) -> Result<(), Cause> {
        if !inbox.has_room_for_audits() {
            return Ok(());
        }
        let keys = self.ring.next(most, sight.now).into_iter();
        let keys = keys.map(|(key, partition)| SegmentKey { key, partition }).collect();
        let audited = self.audited(link, keys, sight.now);
        let cleaned = self.clean(sight, link, &audited);
        let name = sight.own.to_string();
        for AuditedKey { key: SegmentKey { key, .. }, fields } in audited {
            let found = fields.into_iter().find(|(field, _)| *field == name.as_bytes());
            inbox.tell(SegmentNews::Audited { key, found: found.map(|(_, value)| value) });
        }
        cleaned
    }

    /// Forgets the incarnations that have a lease after all. Call it before an audit.
    pub(super) fn begin_audit(&mut self, liveness: &Liveness, now: Moment) {
        self.leftovers.retain(|incarnation| liveness.is_listed(incarnation), now);
    }

    /// On a cluster: keeps the flush numbers of the next partition alive, and removes those of incarnations that ended. On one server
    /// the renewals of leases do that.
    pub(super) fn clean_numbers(
        &mut self,
        sight: &AuditSight<'_>,
        link: &mut RegistryLink,
    ) -> Result<(), Cause> {
        if !link.is_cluster() {
            return Ok(());
        }
        let partition = Partition::at(self.numbers_next);
        self.numbers_next = self.numbers_next.wrapping_add(1);
        let key = SegmentKey { key: self.store.flushes(partition).into(), partition };
        let audited = self.audited(link, vec![key], sight.now);
        self.clean(sight, link, &audited)
    }

    /// Removes the fields of incarnations that have had no lease for a minute. An error means that some may be left.
    pub(super) fn clean(
        &mut self,
        sight: &AuditSight<'_>,
        link: &mut RegistryLink,
        audited: &[AuditedKey],
    ) -> Result<(), Cause> {
        let AuditSight { own, liveness, now } = *sight;
        let Some(readable) = liveness.reads_leases_since(now) else { return Ok(()) };
        let mut is_left = |name: &Vec<u8>| {
            let other = owner(name).filter(|incarnation| *incarnation != own);
            other.is_some_and(|incarnation| {
                !liveness.is_listed(incarnation) && self.leftovers.expired(incarnation, readable, now)
            })
        };
        let mut left = Vec::new();
        for AuditedKey { key, fields } in audited {
            let names: Vec<Vec<u8>> =
                fields.iter().map(|(name, _)| name).filter(|name| is_left(name)).cloned().collect();
            if !names.is_empty() {
                left.push((key, names));
            }
        }
        self.store.clean(link, &left)
    }
}
