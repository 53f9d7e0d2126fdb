//! The leases and stats in Redis: one round trip for each renewal.

use super::parts::RegistryRedis;
use crate::health::advice::look_at;
use crate::health::definition::DependencyKind;
use crate::health::finding::{Cause, Fault};
use crate::id::Incarnation;
use crate::net::deadline;
use crate::net::dial::Dialer;
use crate::net::redis::{RedisConnection, trouble_of};
use crate::net::target::Target;
use crate::net::trouble::Trouble;
use crate::wire::lease::{Lease, TAG};
use crate::wire::stats::InstanceStats;
use ::redis::{Cmd, ServerError, Value, cmd};
use std::time::Duration;

/// From the first packet to a connection that is ready, without the search for a master behind Sentinels.
const DIAL_TIMEOUT: Duration = Duration::from_millis(500);
/// The timeout of a renewal.
const CALL_TIMEOUT: Duration = Duration::from_secs(1);
/// Redis drops the hashes after this time without any renewal.
const LIFE_S: u32 = 900;

pub(super) struct LeaseStore {
    target: Target,
    dialer: Dialer,
    link: Option<Box<RedisConnection>>,
    leases: String,
    stats: String,
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
    /// The own lease before this renewal; an error if this one was not written.
    pub(super) before: Result<Option<Vec<u8>>, Cause>,
    pub(super) leases: Vec<(Incarnation, Lease)>,
    pub(super) stats: Vec<(Incarnation, InstanceStats)>,
}

type Answer = Result<Value, ServerError>;
/// A name and a value.
type HashField = (Vec<u8>, Vec<u8>);

impl LeaseStore {
    /// Opens nothing yet.
    pub(super) fn new(redis: RegistryRedis) -> LeaseStore {
        let RegistryRedis { target, prefix } = redis;
        LeaseStore {
            dialer: target.dialer(),
            target,
            link: None,
            leases: format!("{prefix}:{TAG}:i"),
            stats: format!("{prefix}:{TAG}:s"),
        }
    }

    /// Renews the lease and reads all leases. An error means that nothing is known.
    pub(super) fn renew(&mut self, writes: &RenewalWrites) -> Result<RenewalFinds, Cause> {
        let field = writes.incarnation.to_string();
        let mut commands = vec![
            cmd("HGET").arg(&self.leases).arg(&field).take(),
            cmd("HSET").arg(&self.leases).arg(&field).arg(&writes.lease).take(),
            cmd("EXPIRE").arg(&self.leases).arg(LIFE_S).take(),
            cmd("HGETALL").arg(&self.leases).take(),
        ];
        if let Some(stats) = &writes.stats {
            commands.push(cmd("HSET").arg(&self.stats).arg(&field).arg(stats).take());
            commands.push(cmd("EXPIRE").arg(&self.stats).arg(LIFE_S).take());
            commands.push(cmd("HGETALL").arg(&self.stats).take());
        }
        self.remove(&writes.removed, &mut commands);
        let answers = self.call(&commands)?;
        // A server that rejects a write, such as a replica, may be the wrong one by now: the next renewal dials again.
        let refused = answers.iter().find_map(|answer| answer.as_ref().err()).map(trouble_of);
        if let Some(trouble) = &refused {
            tracing::debug!(cause = %trouble.text, "renewal rejected");
            self.link = None;
        }
        let mut answers = answers.into_iter();
        let [found, written, _expires, all] = std::array::from_fn(|_| answers.next());
        let before = match (found, written, refused) {
            (Some(Ok(found)), Some(Ok(_)), None) => Ok(bytes(found)),
            (_, _, Some(trouble)) => Err(self.cause(trouble)),
            (_, _, None) => Err(self.cause(Trouble::new(Fault::Protocol, "answers are missing"))),
        };
        let stats = if writes.stats.is_some() { answers.nth(2) } else { None };
        let leases = fields(all).map_err(|trouble| self.cause(trouble))?;
        let leases =
            leases.iter().filter_map(|(name, value)| Some((incarnation(name)?, Lease::parse(value)?)));
        let stats = stats.map_or(Ok(Vec::new()), |all| fields(Some(all))).unwrap_or_default();
        let stats =
            stats.iter().filter_map(|(name, value)| Some((incarnation(name)?, InstanceStats::parse(value)?)));
        Ok(RenewalFinds { before, leases: leases.collect(), stats: stats.collect() })
    }

    /// Leaves the lease of a process that ends, which others remove, and no stats.
    pub(super) fn leave(&mut self, incarnation: Incarnation, lease: &str) -> Result<(), Cause> {
        let field = incarnation.to_string();
        let commands = [
            cmd("HSET").arg(&self.leases).arg(&field).arg(lease).take(),
            cmd("HDEL").arg(&self.stats).arg(&field).take(),
        ];
        self.call(&commands).map(drop)
    }

    fn remove(&self, removed: &[Incarnation], commands: &mut Vec<Cmd>) {
        if removed.is_empty() {
            return;
        }
        for key in [&self.leases, &self.stats] {
            let mut command = cmd("HDEL");
            command.arg(key);
            for incarnation in removed {
                command.arg(incarnation.to_string());
            }
            commands.push(command);
        }
    }

    fn call(&mut self, commands: &[Cmd]) -> Result<Vec<Answer>, Cause> {
        let answers = self.attempt(commands);
        answers.map_err(|trouble| {
            self.link = None;
            self.cause(trouble)
        })
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

    fn cause(&self, trouble: Trouble) -> Cause {
        let look_at = look_at(DependencyKind::Redis, trouble.fault);
        trouble.into_cause(look_at, self.target.secrets())
    }
}

fn incarnation(name: &[u8]) -> Option<Incarnation> {
    Incarnation::parse(std::str::from_utf8(name).ok()?)
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

/// The fields of a hash.
fn fields(answer: Option<Answer>) -> Result<Vec<HashField>, Trouble> {
    let missing = || Trouble::new(Fault::Protocol, "HGETALL is answered with something else than a hash");
    match answer {
        Some(Ok(Value::Array(parts))) => {
            let mut parts = parts.into_iter().map(bytes);
            let mut fields = Vec::new();
            while let Some(name) = parts.next() {
                let (Some(name), Some(Some(value))) = (name, parts.next()) else { return Err(missing()) };
                fields.push((name, value));
            }
            Ok(fields)
        }
        Some(Err(error)) => Err(trouble_of(&error)),
        Some(Ok(_)) | None => Err(missing()),
    }
}
