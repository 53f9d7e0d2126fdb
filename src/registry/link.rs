//! The connections to Redis: pipelines, each with a deadline.

use crate::health::advice::look_at;
use crate::health::definition::DependencyKind;
use crate::health::finding::Cause;
use crate::net::redis::keys::{KeyAnswer, RedisKeys};
use crate::net::target::Target;
use crate::net::trouble::Trouble;
use crate::wire::slot::Partition;
use ::redis::Cmd;
use std::time::Duration;

/// The timeout of a pipeline.
const CALL_TIMEOUT: Duration = Duration::from_secs(1);
/// Redis drops a key after this time without a renewal or an audit.
pub(super) const LIFE_S: u32 = 900;

pub(super) struct RegistryLink {
    keys: RedisKeys,
}

impl RegistryLink {
    /// Opens nothing yet.
    pub(super) fn new(target: Target) -> RegistryLink {
        RegistryLink { keys: RedisKeys::new(target) }
    }

    /// The partition whose flush number covers what is written to `partition`. One server has one stream of replication, so one
    /// number is enough; in a cluster each partition may move to another master.
    pub(super) fn numbered(&self, partition: Partition) -> Partition {
        if self.keys.target().is_cluster() { partition } else { Partition::FIRST }
    }

    /// Carries out commands on keys of one partition in one round trip. An error means that nothing is known.
    pub(super) fn call(&mut self, partition: Partition, commands: &[Cmd]) -> Result<Vec<KeyAnswer>, Cause> {
        let answers = self.keys.ask(partition, commands, CALL_TIMEOUT);
        answers.map_err(|trouble| self.cause(trouble))
    }

    /// Dials again for the next call: this server rejects writes, so it may be the wrong one by now.
    pub(super) fn drop_connection(&mut self) {
        self.keys.forget();
    }

    pub(super) fn cause(&self, trouble: Trouble) -> Cause {
        let look_at = look_at(DependencyKind::Redis, trouble.fault);
        trouble.into_cause(look_at, self.keys.target().secrets())
    }
}
