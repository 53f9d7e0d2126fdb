//! The restart after a panic: what was written is in doubt, and what was known of Redis is lost.

use super::super::redis_side::RedisSide;
use super::RegistryWorker;
use crate::clock::{Moment, Now};
use crate::job::AuthJob;
use crossbeam_channel::TrySendError;

impl<C: Fn() -> Now> RegistryWorker<C> {
    /// Begins the next incarnation, and has all users reported again.
    pub(super) fn restart(&mut self) {
        let (old, now) = (self.lease.incarnation(), (self.clock)().at);
        let ended = self.redis.take().map(|redis| redis.ended).unwrap_or_default();
        let redis = self.parts_of_redis.clone();
        let Some(mut redis) = redis.map(|redis| RedisSide::new(redis, &self.counters_of_users, now)) else {
            return;
        };
        redis.ended = ended;
        self.wants_recount = redis.lose_users();
        let doubt = self.lease.restart();
        self.doubt(doubt, &mut redis, old);
        self.redis = Some(redis);
        (self.renew_at, self.judge_at) = (Moment::ZERO, Moment::ZERO);
    }

    /// Asks the auth worker for all users, once its queue has room.
    pub(super) fn ask_for_users(&mut self) {
        if self.wants_recount {
            let asked = self.auth.try_send(AuthJob::ReportAllUsers);
            self.wants_recount = matches!(asked, Err(TrySendError::Full(_)));
        }
    }
}
