//! Questions where users are connected, between two renewals.

use super::super::redis_side::RedisSide;
use super::super::waiting::RenewalTurn;
use super::RegistryWorker;
use crate::clock::{Moment, Now};
use crate::job::AuthJob;
use crate::job::users::{OwnLookup, UserLookup};
use std::sync::Arc;
use std::time::Duration;

/// Users looked up at once, before the next renewal: some round trips to Redis. One, and two for the leases, if they take longer than
/// [`SLOW`].
const TOGETHER_MAX: usize = 256;
const TOGETHER_IF_SLOW: usize = 64;
const SLOW: Duration = Duration::from_millis(20);

/// Users looked up at most before the next renewal, which is due `at`; `None`: it goes first. `latency` is that of Redis, if it works.
fn users_max(latency: Option<Duration>, turn: RenewalTurn, (at, now): (Moment, Moment)) -> Option<usize> {
    let is_due = at <= now;
    match (latency, turn) {
        // Nothing is asked of Redis.
        (None, _) => Some(TOGETHER_MAX),
        (Some(_), RenewalTurn::Ahead) if is_due => None,
        (Some(latency), _) if is_due || latency > SLOW => Some(TOGETHER_IF_SLOW),
        (Some(_), _) => Some(TOGETHER_MAX),
    }
}

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

    /// Answers the next questions, unless a renewal goes first.
    pub(super) fn look_up(&mut self, turn: RenewalTurn) {
        let now = (self.clock)().at;
        let Some(redis) = self.redis.as_mut() else { return };
        let latency = redis.up.then_some(redis.latency);
        let Some(most) = users_max(latency, turn, (self.renew_at, now)) else { return };
        let lookups = self.lookups.take(most);
        if !lookups.is_empty() {
            redis.look_up(lookups, &self.lease, &self.liveness, (&self.signs.name, now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn look_ups_follow_each_renewal_and_wait_for_one_that_is_due() {
        let (fast, slow) = (SLOW, SLOW * 2);
        let (due, later) = ((Moment::ZERO, Moment::ZERO), (Moment::ZERO + SLOW, Moment::ZERO));
        for latency in [fast, slow] {
            assert_eq!(users_max(Some(latency), RenewalTurn::Ahead, due), None);
            let made = users_max(Some(latency), RenewalTurn::Made, due);
            assert_eq!(made, Some(TOGETHER_IF_SLOW), "the renewal alone takes a period");
        }
        for turn in [RenewalTurn::Made, RenewalTurn::Ahead] {
            assert_eq!(users_max(Some(fast), turn, later), Some(TOGETHER_MAX));
            assert_eq!(users_max(Some(slow), turn, later), Some(TOGETHER_IF_SLOW));
            for renewal in [due, later] {
                assert_eq!(
                    users_max(None, turn, renewal),
                    Some(TOGETHER_MAX),
                    "without Redis, memory answers"
                );
            }
        }
    }
}
