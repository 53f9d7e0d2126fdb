//! The segments of this instance on their way to Redis, the audit of its keys, and the fields that others left there.

use super::answers::owner;
use super::link::RegistryLink;
use super::segment_store::{AuditedKey, FlushNumber, SegmentStore, fitting};
use crate::clock::Moment;
use crate::cluster::audit::{AuditRing, Leftovers};
use crate::cluster::incarnation::{LeaseDoubt, OwnLease};
use crate::cluster::liveness::Liveness;
use crate::health::finding::Cause;
use crate::id::Incarnation;
use crate::job::segments::{
    SEGMENT_READS_MAX, SegmentAudit, SegmentInbox, SegmentKey, SegmentNews, SegmentWrite,
};
use crate::wire::slot::Partition;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Keys audited at once. A larger part of the keys waits for the next second.
const AUDITS_MAX: usize = 512;

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
    ) -> FlushEnd {
        let mut groups: BTreeMap<Partition, Vec<SegmentWrite>> = BTreeMap::new();
        for write in writes {
            groups.entry(link.numbered(write.key.partition)).or_default().push(write);
        }
        for (partition, group) in groups {
            let mut rest = &group[..];
            while !rest.is_empty() {
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

    /// Reads keys, and answers each.
    pub(super) fn read(&self, link: &mut RegistryLink, inbox: &SegmentInbox, keys: Vec<SegmentKey>) {
        let mut groups: BTreeMap<Partition, Vec<SegmentKey>> = BTreeMap::new();
        for key in keys.into_iter().take(SEGMENT_READS_MAX) {
            groups.entry(link.numbered(key.partition)).or_default().push(key);
        }
        for (partition, keys) in groups {
            let found = self.store.read(link, partition, &keys);
            if let Err(cause) = &found {
                tracing::debug!(cause = %cause.text, "segments not read");
            }
            let mut found = found.unwrap_or_default().into_iter();
            for SegmentKey { key, .. } in keys {
                inbox.tell(SegmentNews::Read { key, fields: found.next() });
            }
        }
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
        self.leftovers.retain(|incarnation| liveness.is_listed(incarnation), now);
        if !inbox.has_room_for_audits() {
            return Ok(());
        }
        let mut groups: BTreeMap<Partition, Vec<SegmentKey>> = BTreeMap::new();
        for (key, partition) in self.ring.next(AUDITS_MAX, now) {
            groups.entry(link.numbered(partition)).or_default().push(SegmentKey { key, partition });
        }
        let own = lease.incarnation();
        for (partition, keys) in groups {
            for audited in self.store.audit(link, partition, keys)? {
                self.clean(link, &audited, own, liveness, now)?;
                let name = own.to_string();
                let AuditedKey { key: SegmentKey { key, .. }, fields } = audited;
                let found = fields.into_iter().find(|(field, _)| *field == name.as_bytes());
                inbox.tell(SegmentNews::Audited { key, found: found.map(|(_, value)| value) });
            }
        }
        Ok(())
    }

    /// Removes the fields of incarnations that have had no lease for a minute.
    fn clean(
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
