//! The times of redials, and their log lines.

use super::timing::{PAUSE_MAX, PAUSE_MIN, jittered, monotonic};
use crate::health::finding::Cause;
use std::time::{Duration, Instant};

/// The shortest time between two immediate redials. A working connection that is lost is redialled at once, but one that is
/// accepted and closed again and again must not be dialled a thousand times a second.
const AT_ONCE_EVERY: Duration = Duration::from_secs(1);

/// A connection, or the time of the next attempt.
pub(super) enum LinkState<T> {
    Up(Box<T>),
    /// Not dialled before this.
    Resting(Instant),
}

/// The schedule of redials.
#[derive(Debug)]
pub(super) struct Redial {
    /// As in "cannot … the bus".
    doing: &'static str,
    pause: Duration,
    reported: bool,
    at_once: Option<Instant>,
}

impl Redial {
    pub(super) fn new(doing: &'static str) -> Redial {
        Redial { doing, pause: PAUSE_MIN, reported: false, at_once: None }
    }

    /// Notes success. True if a failure had been logged.
    pub(super) fn works(&mut self) -> bool {
        self.pause = PAUSE_MIN;
        std::mem::take(&mut self.reported)
    }

    /// A working connection is lost: the next attempt is made at once.
    pub(super) fn lost(&mut self) {
        let now = monotonic();
        if self.at_once.is_none_or(|last| now.duration_since(last) >= AT_ONCE_EVERY) {
            (self.at_once, self.pause) = (Some(now), Duration::ZERO);
        }
    }

    /// Notes a failure, logs it once, and returns the time of the next attempt.
    pub(super) fn failed(&mut self, cause: &Cause) -> Instant {
        if !std::mem::replace(&mut self.reported, true) {
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
    fn connection_lost_repeatedly_is_redialled_with_a_pause() {
        let (mut redial, cause) = (Redial::new("listen to"), Cause::new(Fault::Reset, "gone", ""));
        redial.lost();
        assert!(redial.failed(&cause) <= monotonic(), "at once");
        redial.works();
        redial.lost();
        assert!(redial.failed(&cause) >= monotonic() + PAUSE_MIN / 2, "not again at once");
    }
}
