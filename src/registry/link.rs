//! The connections to Redis: pipelines, each with a deadline.

use crate::health::advice::look_at;
use crate::health::definition::DependencyKind;
use crate::health::finding::Cause;
use crate::net::redis::key_answer::{KeyAnswer, NoAnswers};
use crate::net::redis::keys::RedisKeys;
use crate::net::target::Target;
use crate::net::trouble::Trouble;
use crate::wire::partitions::PartitionSet;
use crate::wire::slot::Partition;
use ::redis::Cmd;
use std::time::Duration;

/// The timeout of a pipeline.
const CALL_TIMEOUT: Duration = Duration::from_secs(1);
/// Redis drops a key after this time without a renewal or an audit.
pub(super) const LIFE_S: u32 = 900;

/// The reason for which a command has no answer.
#[derive(Debug)]
pub(super) enum CallFailure {
    Failed(Cause),
    /// The server works, but the answers of one call are longer than is read.
    TooLong(Cause),
}

impl CallFailure {
    pub(super) fn into_cause(self) -> Cause {
        match self {
            CallFailure::Failed(cause) | CallFailure::TooLong(cause) => cause,
        }
    }
}

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
        if self.is_cluster() { partition } else { Partition::FIRST }
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.keys.target().is_cluster()
    }

    /// The kind of Redis, as reports name it.
    pub(super) fn kind(&self) -> &'static str {
        self.keys.target().redis_kind()
    }

    /// Carries out commands on keys of one partition in one round trip. An error means that nothing is known.
    pub(super) fn call(&mut self, partition: Partition, commands: &[Cmd]) -> Result<Vec<KeyAnswer>, Cause> {
        let answers = self.keys.ask(partition, commands, CALL_TIMEOUT);
        answers.map_err(|trouble| self.cause(trouble))
    }

    /// The command that publishes a message on a topic with the name of a key. On a cluster, only the master of its slot takes it.
    pub(super) fn publish_word(&self) -> &'static str {
        if self.is_cluster() { "SPUBLISH" } else { "PUBLISH" }
    }

    /// The partitions that a failure with a number of `partition` says something about.
    pub(super) fn covered(&self, partition: Partition) -> PartitionSet {
        if self.is_cluster() { PartitionSet::from(partition) } else { PartitionSet::ALL }
    }

    /// Carries out commands, each on a key of its partition, in one round trip for each master. The answers are in their order.
    pub(super) fn call_each(
        &mut self,
        commands: Vec<(Partition, Cmd)>,
    ) -> Vec<Result<KeyAnswer, CallFailure>> {
        let answers = self.keys.ask_each(commands, CALL_TIMEOUT).into_iter();
        let failure = |unanswered| match unanswered {
            NoAnswers::Failed(trouble) => CallFailure::Failed(self.cause(trouble)),
            NoAnswers::TooLong(trouble) => CallFailure::TooLong(self.cause(trouble)),
        };
        answers.map(|answer| answer.map_err(failure)).collect()
    }

    /// Dials again for the next call: the server of this partition rejects writes, so it may be the wrong one by now.
    pub(super) fn drop_connection(&mut self, partition: Partition) {
        self.keys.forget(partition);
    }

    pub(super) fn cause(&self, trouble: Trouble) -> Cause {
        let look_at = look_at(DependencyKind::Redis, trouble.fault);
        trouble.into_cause(look_at, self.keys.target().secrets())
    }
}
