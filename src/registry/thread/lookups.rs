//! Questions where users are connected, between two renewals.

use super::super::redis_side::RedisSide;
use super::RegistryWorker;
use crate::clock::Now;
use crate::job::AuthJob;
use crate::job::users::{OwnLookup, UserLookup};
use std::sync::Arc;
use std::time::Duration;

/// Users looked up before a renewal that is due: some round trips to Redis. One, and two for the leases, if they take longer than
/// [`SLOW`].
const TOGETHER_MAX: usize = 256;
const TOGETHER_IF_SLOW: usize = 64;
const SLOW: Duration = Duration::from_millis(20);

impl<C: Fn() -> Now> RegistryWorker<C> {
    /// Takes a question.
    pub(super) fn take_lookup(&mut self, lookup: UserLookup) {
        match self.redis.as_ref().is_some_and(RedisSide::has_users) {
            true => self.lookups.push(lookup),
            false => self.pass_on(lookup),
        }
    }

    /// Has the auth worker answer where users are connected.
    fn pass_on(&self, lookup: UserLookup) {
        let (instance, is_alone) = (Arc::clone(&self.signs.name), self.is_alone());
        // Without room the asker gets no answer.
        let _ = self.auth.try_send(AuthJob::LookUpUsers(Box::new(OwnLookup { lookup, instance, is_alone })));
    }

    /// Answers the next questions, unless the renewal is due first.
    pub(super) fn look_up(&mut self) {
        let now = (self.clock)().at;
        let Some(redis) = self.redis.as_mut().filter(|_| now < self.renew_at) else { return };
        let most = if redis.latency > SLOW { TOGETHER_IF_SLOW } else { TOGETHER_MAX };
        let lookups = self.lookups.take(most);
        if !lookups.is_empty() {
            redis.look_up(lookups, &self.lease, &self.liveness, (&self.signs.name, now));
        }
    }
}
