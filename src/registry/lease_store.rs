//! The leases and stats in Redis: one round trip for each renewal.

use super::answers::{field, fields, owner, refusal};
use super::link::{LIFE_S, RegistryLink};
use crate::health::finding::Cause;
use crate::id::Incarnation;
use crate::wire::lease::{Lease, TAG};
use crate::wire::slot::Partition;
use crate::wire::stats::InstanceStats;
use ::redis::{Cmd, cmd};
use std::collections::{BTreeMap, BTreeSet};

/// The names of the hashes.
pub(super) struct LeaseStore {
    prefix: Box<str>,
    leases: String,
    stats: String,
    flushes: String,
}

/// The writes of a renewal.
pub(super) struct RenewalWrites {
    pub(super) incarnation: Incarnation,
    pub(super) lease: String,
    /// Stats, every few seconds; then those of the others are read as well.
    pub(super) stats: Option<String>,
    /// Incarnations whose fields are removed.
    pub(super) removed: Vec<Incarnation>,
}

/// The findings of a renewal.
#[derive(Debug)]
pub(super) struct RenewalFinds {
    /// The state before this renewal; an error if the lease was not written.
    pub(super) before: Result<RenewalBefore, Cause>,
    pub(super) leases: Vec<(Incarnation, Lease)>,
    pub(super) stats: Vec<(Incarnation, InstanceStats)>,
}

/// The fields of this incarnation before a renewal.
#[derive(Debug)]
pub(super) struct RenewalBefore {
    pub(super) lease: Option<Vec<u8>>,
    /// The number of its last flush.
    pub(super) flush: Option<Vec<u8>>,
}

/// The state of the writers of several partitions.
pub(super) struct PartitionWriters {
    pub(super) leases: Vec<(Incarnation, Lease)>,
    /// The incarnations that have a flush number, by the partition that it is in. One that could not be read is missing.
    pub(super) flushed: BTreeMap<Partition, BTreeSet<Incarnation>>,
}

impl LeaseStore {
    pub(super) fn new(prefix: &str) -> LeaseStore {
        let of = |letter| format!("{prefix}:{TAG}:{letter}");
        LeaseStore { prefix: Box::from(prefix), leases: of('i'), stats: of('s'), flushes: of('g') }
    }

    /// Renews the lease and reads all leases. An error means that nothing is known.
    pub(super) fn renew(
        &self,
        link: &mut RegistryLink,
        writes: &RenewalWrites,
    ) -> Result<RenewalFinds, Cause> {
        let name = writes.incarnation.to_string();
        let mut commands = vec![
            cmd("HGET").arg(&self.leases).arg(&name).take(),
            cmd("HGET").arg(&self.flushes).arg(&name).take(),
            cmd("HSET").arg(&self.leases).arg(&name).arg(&writes.lease).take(),
            cmd("EXPIRE").arg(&self.leases).arg(LIFE_S).take(),
            cmd("EXPIRE").arg(&self.flushes).arg(LIFE_S).take(),
            cmd("HGETALL").arg(&self.leases).take(),
        ];
        if let Some(stats) = &writes.stats {
            commands.push(cmd("HGETALL").arg(&self.stats).take());
            commands.push(cmd("HSET").arg(&self.stats).arg(&name).arg(stats).take());
            commands.push(cmd("EXPIRE").arg(&self.stats).arg(LIFE_S).take());
        }
        self.remove(&writes.removed, &mut commands);
        let answers = link.call(Partition::FIRST, &commands)?;
        let refused = refusal(&answers);
        if let Some(trouble) = &refused {
            tracing::debug!(cause = %trouble.text, "renewal rejected");
            link.drop_connection(Partition::FIRST);
        }
        let mut answers = answers.into_iter();
        let [lease, flush, _written, _expires, _also, all] = std::array::from_fn(|_| answers.next());
        let before = match refused {
            Some(trouble) => Err(trouble),
            None => field(lease).and_then(|lease| Ok(RenewalBefore { lease, flush: field(flush)? })),
        };
        let leases = fields(all).map_err(|trouble| link.cause(trouble))?;
        let leases = leases.iter().filter_map(|(name, value)| Some((owner(name)?, Lease::parse(value)?)));
        let stats = writes.stats.is_some().then(|| fields(answers.next()).unwrap_or_default());
        let stats = stats.unwrap_or_default();
        let stats =
            stats.iter().filter_map(|(name, value)| Some((owner(name)?, InstanceStats::parse(value)?)));
        Ok(RenewalFinds {
            before: before.map_err(|trouble| link.cause(trouble)),
            leases: leases.collect(),
            stats: stats.collect(),
        })
    }

    /// Reads which incarnations have a lease, and a flush number for each of these partitions. An error means that nothing is known.
    pub(super) fn writers(
        &self,
        link: &mut RegistryLink,
        partitions: &BTreeSet<Partition>,
    ) -> Result<PartitionWriters, Cause> {
        let numbered: BTreeSet<Partition> =
            partitions.iter().map(|partition| link.numbered(*partition)).collect();
        let read = |partition: Partition| {
            let hash = format!("{}:{{{}}}:g", self.prefix, partition.tag());
            (partition, cmd("HGETALL").arg(hash).take())
        };
        let mut flushed = BTreeMap::new();
        let answers = link.call_each(numbered.iter().copied().map(read).collect());
        for (partition, answer) in numbered.into_iter().zip(answers) {
            if let Ok(Ok(found)) = answer.map(|answer| fields(Some(answer))) {
                flushed.insert(partition, found.iter().filter_map(|(name, _)| owner(name)).collect());
            }
        }
        let answers = link.call(Partition::FIRST, &[cmd("HGETALL").arg(&self.leases).take()])?;
        let leases = fields(answers.into_iter().next()).map_err(|trouble| link.cause(trouble))?;
        let leases = leases.iter().filter_map(|(name, value)| Some((owner(name)?, Lease::parse(value)?)));
        Ok(PartitionWriters { leases: leases.collect(), flushed })
    }

    /// Leaves the lease of a process that ends, which others remove, and no stats.
    pub(super) fn leave(
        &self,
        link: &mut RegistryLink,
        incarnation: Incarnation,
        lease: &str,
    ) -> Result<(), Cause> {
        let name = incarnation.to_string();
        let commands = [
            cmd("HSET").arg(&self.leases).arg(&name).arg(lease).take(),
            cmd("HDEL").arg(&self.stats).arg(&name).take(),
        ];
        link.call(Partition::FIRST, &commands).map(drop)
    }

    fn remove(&self, removed: &[Incarnation], commands: &mut Vec<Cmd>) {
        if removed.is_empty() {
            return;
        }
        for key in [&self.leases, &self.stats, &self.flushes] {
            let mut command = cmd("HDEL");
            command.arg(key);
            for incarnation in removed {
                command.arg(incarnation.to_string());
            }
            commands.push(command);
        }
    }
}
