//! The delay before the next attempt.
//!
//! The delay doubles with every failure up to a cap, and each delay is spread randomly, so that clients that failed
//! together do not retry together. A single success does not reset it, because a dependency that works for a second
//! and fails again is flapping; only a time without failures does.

use crate::clock::Moment;
use std::time::Duration;

/// The delays, shared by all backoffs of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// The first delay.
    pub first: Duration,
    /// The longest delay before it is spread.
    pub max: Duration,
    /// The spread in percent of the delay, evenly in both directions: 0 to 100.
    pub spread_percent: u8,
    /// The time without failures after which the next delay is `first` again.
    pub healthy: Duration,
}

/// The number of doublings after which any delay has reached its cap: 2³² times the shortest delay is over a day.
const LEVEL_MAX: u8 = 32;

/// The recent failures of one target.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    steps: Steps,
    /// The number of delays since the last healthy time, up to [`LEVEL_MAX`].
    level: u8,
    /// The first success since the last failure, if there was one.
    well_since: Option<Moment>,
}

impl Backoff {
    /// A backoff without failures.
    pub const fn new(steps: Steps) -> Backoff {
        Backoff { steps, level: 0, well_since: None }
    }

    /// Records a failure and returns the delay before the next attempt. `random` is in `0.0 .. 1.0`.
    pub fn fail(&mut self, now: Moment, random: f32) -> Duration {
        if self.rested(now) {
            self.level = 0;
        }
        self.well_since = None;
        let delay = self.steps.delay(self.level);
        self.level = (self.level + 1).min(LEVEL_MAX);
        spread(delay, self.steps.spread_percent, random)
    }

    /// Records a success. The healthy time counts from the first success after a failure.
    pub fn succeed(&mut self, now: Moment) {
        self.well_since.get_or_insert(now);
    }

    /// True exactly when a failure now would return the first delay.
    pub fn rested(&self, now: Moment) -> bool {
        self.level == 0 || self.well_since.is_some_and(|since| now.since(since) >= self.steps.healthy)
    }
}

impl Steps {
    fn delay(&self, level: u8) -> Duration {
        let factor = 1_u32.checked_shl(u32::from(level)).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.max)
    }
}

/// Spreads a duration evenly over `percent` of itself in both directions. `random` is in `0.0 .. 1.0`.
pub fn spread(duration: Duration, percent: u8, random: f32) -> Duration {
    let part = f64::from(percent.min(100)) / 100.0;
    let factor = 1.0 - part + 2.0 * part * f64::from(random.clamp(0.0, 1.0));
    duration.mul_f64(factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STEPS: Steps = Steps {
        first: Duration::from_secs(2),
        max: Duration::from_secs(15),
        spread_percent: 20,
        healthy: Duration::from_secs(60),
    };
    const MIDDLE: f32 = 0.5;

    fn seconds(n: u64) -> Moment {
        Moment::from_micros(n * 1_000_000)
    }

    #[test]
    fn delay_doubles_up_to_the_cap_until_a_healthy_time_passes() {
        let mut backoff = Backoff::new(STEPS);
        let delays: Vec<u64> = (0..5).map(|_| backoff.fail(Moment::ZERO, MIDDLE).as_secs()).collect();
        assert_eq!(delays, [2, 4, 8, 15, 15]);
        backoff.succeed(seconds(10));
        backoff.succeed(seconds(60));
        assert!(!backoff.rested(seconds(69)) && backoff.rested(seconds(70)));
        assert_eq!(backoff.fail(seconds(69), MIDDLE).as_secs(), 15);
        backoff.succeed(seconds(80));
        assert_eq!(backoff.fail(seconds(140), MIDDLE).as_secs(), 2);
    }

    proptest! {
        #[test]
        fn every_delay_stays_within_its_bounds(events in prop::collection::vec((0_u64..100, any::<bool>(), 0.0_f32..1.0), 0..300)) {
            let mut backoff = Backoff::new(STEPS);
            let mut at = 0;
            for (step, failed, random) in events {
                at += step;
                if failed {
                    let rested = backoff.rested(seconds(at));
                    let delay = backoff.fail(seconds(at), random);
                    let most = if rested { STEPS.first } else { STEPS.max };
                    prop_assert!(delay >= STEPS.first.mul_f64(0.799) && delay <= most.mul_f64(1.201), "{delay:?}");
                } else {
                    backoff.succeed(seconds(at));
                }
            }
        }
    }
}
