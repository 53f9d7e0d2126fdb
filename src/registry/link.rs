//! The connection to Redis: pipelines, each with a deadline.

use crate::health::advice::look_at;
use crate::health::definition::DependencyKind;
use crate::health::finding::{Cause, Fault};
use crate::net::deadline;
use crate::net::dial::Dialer;
use crate::net::redis::RedisConnection;
use crate::net::target::Target;
use crate::net::trouble::Trouble;
use crate::wire::slot::Partition;
use ::redis::{Cmd, ServerError, Value};
use std::time::Duration;

/// From the first packet to a connection that is ready, without the search for a master behind Sentinels.
const DIAL_TIMEOUT: Duration = Duration::from_millis(500);
/// The timeout of a pipeline.
const CALL_TIMEOUT: Duration = Duration::from_secs(1);
/// Redis drops a key after this time without a renewal or an audit.
pub(super) const LIFE_S: u32 = 900;

/// The answer to one command.
pub(super) type Answer = Result<Value, ServerError>;

pub(super) struct RegistryLink {
    target: Target,
    dialer: Dialer,
    link: Option<Box<RedisConnection>>,
}

impl RegistryLink {
    /// Opens nothing yet.
    pub(super) fn new(target: Target) -> RegistryLink {
        RegistryLink { dialer: target.dialer(), target, link: None }
    }

    /// The partition whose flush number covers what is written to `partition`. One server has one stream of replication, so one
    /// number is enough.
    pub(super) fn numbered(&self, _partition: Partition) -> Partition {
        Partition::FIRST
    }

    /// Carries out commands on keys of one partition in one round trip. An error means that nothing is known.
    pub(super) fn call(&mut self, _partition: Partition, commands: &[Cmd]) -> Result<Vec<Answer>, Cause> {
        let answers = self.attempt(commands);
        answers.map_err(|trouble| {
            self.link = None;
            self.cause(trouble)
        })
    }

    /// Dials again for the next call: this server rejects writes, so it may be the wrong one by now.
    pub(super) fn drop_connection(&mut self) {
        self.link = None;
    }

    fn attempt(&mut self, commands: &[Cmd]) -> Result<Vec<Answer>, Trouble> {
        let mut link = match self.link.take() {
            Some(link) => link,
            None => {
                let target = self.target.redis().ok_or_else(|| Trouble::new(Fault::Internal, "no Redis"))?;
                let deadline = deadline::now() + DIAL_TIMEOUT + target.search_max();
                Box::new(RedisConnection::open(&mut self.dialer, target, deadline)?)
            }
        };
        link.begin(deadline::now() + CALL_TIMEOUT);
        let answers = link.ask(commands)?;
        self.link = Some(link);
        Ok(answers)
    }

    pub(super) fn cause(&self, trouble: Trouble) -> Cause {
        let look_at = look_at(DependencyKind::Redis, trouble.fault);
        trouble.into_cause(look_at, self.target.secrets())
    }
}
