//! When to dial again, and what is told of it.

use super::{PAUSE_MAX, PAUSE_MIN, jittered, monotonic};
use crate::health::finding::Cause;
use std::time::{Duration, Instant};

/// A connection that worked and is lost is dialled anew at once, but not more often than this: one that is accepted and closed
/// again and again must not be dialled a thousand times a second.
const AT_ONCE_EVERY: Duration = Duration::from_secs(1);

/// A connection, or when the next one is due.
pub(super) enum Link<T> {
    Up(Box<T>),
    /// Not to be dialled before this.
    Resting(Instant),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Redial {
    /// As in "cannot … the bus".
    doing: &'static str,
    pause: Duration,
    told: bool,
    at_once: Option<Instant>,
}

impl Redial {
    pub(super) fn new(doing: &'static str) -> Redial {
        Redial { doing, pause: PAUSE_MIN, told: false, at_once: None }
    }

    /// It works. True exactly when it was told that it does not.
    pub(super) fn works(&mut self) -> bool {
        self.pause = PAUSE_MIN;
        std::mem::take(&mut self.told)
    }

    /// A connection that worked is lost: the next try is made at once.
    pub(super) fn lost(&mut self) {
        let now = monotonic();
        if self.at_once.is_none_or(|last| now.duration_since(last) >= AT_ONCE_EVERY) {
            (self.at_once, self.pause) = (Some(now), Duration::ZERO);
        }
    }

    /// It does not work: told once. When to try again.
    pub(super) fn failed(&mut self, cause: &Cause) -> Instant {
        if !std::mem::replace(&mut self.told, true) {
            let doing = self.doing;
            tracing::warn!(cause = %cause.text, look_at = cause.look_at, "cannot {doing} the bus; trying again");
        }
        let next = monotonic() + jittered(self.pause);
        self.pause = (self.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::finding::Fault;

    #[test]
    fn a_connection_that_is_lost_again_and_again_is_not_dialled_without_a_pause() {
        let (mut redial, cause) = (Redial::new("listen to"), Cause::new(Fault::Reset, "gone", ""));
        redial.lost();
        assert!(redial.failed(&cause) <= monotonic(), "at once");
        redial.works();
        redial.lost();
        assert!(redial.failed(&cause) >= monotonic() + PAUSE_MIN / 2, "not again at once");
    }
}
