//! The segments of this instance on their way to Redis, the audit of its keys, and the fields that others left there.

use super::answers::owner;
use super::link::RegistryLink;
use super::segment_store::{AuditedKey, FlushNumber, SegmentStore, fitting};
use crate::clock::Moment;
use crate::cluster::audit::{AuditRing, Leftovers};
use crate::cluster::incarnation::{LeaseDoubt, OwnLease};
use crate::cluster::liveness::Liveness;
use crate::health::finding::{Cause, Fault};
use crate::id::Incarnation;
use crate::job::segments::{
    HashField, SEGMENT_READS_MAX, SegmentAudit, SegmentInbox, SegmentKey, SegmentNews, SegmentWrite,
};
use crate::net::trouble::Trouble;
use crate::wire::slot::Partition;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Keys audited at once. A larger part of the keys waits for the next second.
const AUDITS_MAX: usize = 512;

/// The partitions that a flush numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FlushExtent {
    /// The partitions of its writes.
    Writes,
    /// All, to show in each that there is nothing else. A single Redis has one number.
    Everywhere,
}

/// The end of a flush.
#[derive(Debug)]
pub(super) enum FlushEnd {
    Written,
    /// Redis lost an earlier flush: the next incarnation has begun.
    Doubted(LeaseDoubt),
    /// It is not known what was written.
    Failed(Cause),
}

pub(super) struct SegmentSide {
    store: SegmentStore,
    ring: AuditRing,
    leftovers: Leftovers,
}

impl SegmentSide {
    pub(super) fn new(prefix: Arc<str>) -> SegmentSide {
        SegmentSide {
            store: SegmentStore::new(prefix),
            ring: AuditRing::default(),
            leftovers: Leftovers::default(),
        }
    }

    /// Writes segments, a partition and a pipeline at a time, so that Redis sets the pace.
    pub(super) fn flush(
        &mut self,
        link: &mut RegistryLink,
        lease: &mut OwnLease,
        writes: Vec<SegmentWrite>,
        extent: FlushExtent,
    ) -> FlushEnd {
        let mut groups: BTreeMap<Partition, Vec<SegmentWrite>> = BTreeMap::new();
        if extent == FlushExtent::Everywhere {
            groups.extend(Partition::all().map(|partition| (link.numbered(partition), Vec::new())));
        }
        for write in writes {
            groups.entry(link.numbered(write.key.partition)).or_default().push(write);
        }
        for (partition, group) in groups {
            let mut rest = &group[..];
            loop {
                let (now, later) = rest.split_at(fitting(rest));
                let incarnation = lease.incarnation();
                let flush = FlushNumber { incarnation, number: lease.send_flush(partition) };
                let found = match self.store.flush(link, partition, flush, now) {
                    Ok(found) => found,
                    Err(cause) => return FlushEnd::Failed(cause),
                };
                if let Some(doubt) = lease.confirm_flush(partition, found.as_deref()) {
                    return FlushEnd::Doubted(doubt);
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
        }
        FlushEnd::Written
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
        &self,
        link: &mut RegistryLink,
        lease: &OwnLease,
        inbox: &SegmentInbox,
        (mut keys, asked): (Vec<SegmentKey>, Moment),
    ) {
        keys.truncate(SEGMENT_READS_MAX);
        let names: Vec<Arc<str>> = keys.iter().map(|key| Arc::clone(&key.key)).collect();
        let partitions: BTreeSet<Partition> = keys.iter().map(|key| link.numbered(key.partition)).collect();
        let found = self.fields(link, keys);
        let found = found.and_then(|found| self.check_flushes(link, lease, partitions).map(|()| found));
        if let Err(cause) = &found {
            tracing::debug!(cause = %cause.text, "segments not read");
        }
        let mut found = found.unwrap_or_default().into_iter();
        for key in names {
            inbox.tell(SegmentNews::Read { key, asked, fields: found.next() });
        }
    }

    /// Checks that partitions have the last flush of this incarnation.
    fn check_flushes(
        &self,
        link: &mut RegistryLink,
        lease: &OwnLease,
        partitions: BTreeSet<Partition>,
    ) -> Result<(), Cause> {
        for partition in partitions {
            let found = self.store.flush_number(link, partition, lease.incarnation())?;
            if !lease.has_flush(partition, found.as_deref()) {
                return Err(link.cause(Trouble::new(Fault::Protocol, "the last flush is not there")));
            }
        }
        Ok(())
    }

    /// All fields of keys, in their order.
    pub(super) fn fields(
        &self,
        link: &mut RegistryLink,
        keys: Vec<SegmentKey>,
    ) -> Result<Vec<Vec<HashField>>, Cause> {
        let mut found: Vec<Vec<HashField>> = vec![Vec::new(); keys.len()];
        for (partition, (places, keys)) in groups(link, keys) {
            for (place, fields) in places.into_iter().zip(self.store.read(link, partition, &keys)?) {
                if let Some(found) = found.get_mut(place) {
                    *found = fields;
                }
            }
        }
        Ok(found)
    }

    /// Keeps keys alive, and reads them.
    pub(super) fn audited(
        &self,
        link: &mut RegistryLink,
        keys: Vec<SegmentKey>,
    ) -> Result<Vec<AuditedKey>, Cause> {
        let mut found = Vec::with_capacity(keys.len());
        for (partition, (places, keys)) in groups(link, keys) {
            found.extend(places.into_iter().zip(self.store.audit(link, partition, keys)?));
        }
        found.sort_by_key(|(place, _)| *place);
        Ok(found.into_iter().map(|(_, audited)| audited).collect())
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
        for audited in self.audited(link, keys)? {
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
