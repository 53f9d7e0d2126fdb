//! Turns the probe results of one dependency into up or down.
//!
//! One failure may be chance, so by default it takes two consecutive failures to be down and two consecutive
//! successes to be up. A dependency that was up for less than a minute and fails again is flapping. It is then up
//! only after a time without any failure, which grows with each time it goes down. So clients are notified of a
//! flapping dependency once, not every second.

use crate::backoff::{Backoff, Steps};
use crate::clock::{Moment, Now};
use std::time::Duration;

/// The time without a failure that ends the outage of a flapping dependency: at most 18 s.
const DAMPING: Steps = Steps {
    first: Duration::from_secs(2),
    max: Duration::from_secs(15),
    spread_percent: 20,
    healthy: Duration::from_secs(60),
};

/// The health according to probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// No probe has ended yet.
    Unknown,
    Up,
    Down,
}

/// The reason for a probe, which decides how much its failure weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeReason {
    /// It was due, or requested.
    Probe,
    /// A worker's connection failed; this probe decides if the dependency failed.
    Reconnect,
}

/// The judgement of one dependency; see the module.
#[derive(Clone, Debug)]
pub struct Judge {
    health: Health,
    /// Consecutive failures and successes; one of the two is 0.
    failures: u8,
    successes: u8,
    failures_to_trip: u8,
    successes_to_recover: u8,
    damping: Backoff,
    /// The required time without a failure before it is up again; zero unless it is flapping.
    calm: Duration,
    last_failure: Moment,
    /// The time of the last change of `health`.
    pub since: Now,
}

/// The change caused by a probe result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    None,
    /// The dependency is up.
    Up {
        /// The health before: unknown or down.
        was: Health,
    },
    Down,
}

impl Judge {
    /// Creates a judge of unknown health. Both counts are at least 1.
    pub fn new(failures_to_trip: u8, successes_to_recover: u8, now: Now) -> Judge {
        Judge {
            health: Health::Unknown,
            failures: 0,
            successes: 0,
            failures_to_trip: failures_to_trip.max(1),
            successes_to_recover: successes_to_recover.max(1),
            damping: Backoff::new(DAMPING),
            calm: Duration::ZERO,
            last_failure: Moment::ZERO,
            since: now,
        }
    }

    /// Replaces the counts. Both are at least 1.
    pub fn set_counts(&mut self, failures_to_trip: u8, successes_to_recover: u8) {
        self.failures_to_trip = failures_to_trip.max(1);
        self.successes_to_recover = successes_to_recover.max(1);
    }

    pub fn health(&self) -> Health {
        self.health
    }

    pub fn success(&mut self, now: Now) -> Turn {
        self.failures = 0;
        self.successes = self.successes.saturating_add(1);
        match self.health {
            Health::Up => Turn::None,
            Health::Unknown => self.up(now),
            Health::Down => {
                let enough = self.successes >= self.successes_to_recover;
                if enough && now.at.since(self.last_failure) >= self.calm { self.up(now) } else { Turn::None }
            }
        }
    }

    /// Records a failure. `random` is in `0.0 .. 1.0`.
    pub fn failure(&mut self, look: ProbeReason, now: Now, random: f32) -> Turn {
        self.successes = 0;
        self.failures = self.failures.saturating_add(1);
        self.last_failure = now.at;
        let enough = match look {
            ProbeReason::Probe => self.failures >= self.failures_to_trip,
            ProbeReason::Reconnect => true,
        };
        match self.health {
            Health::Down => Turn::None,
            Health::Unknown | Health::Up if enough => self.down(now, random),
            Health::Unknown | Health::Up => Turn::None,
        }
    }

    /// True exactly if the next probe decides, so that it should run at once: after a first failure, and after a
    /// first success while down.
    pub fn undecided(&self, now: Moment) -> bool {
        match self.health {
            Health::Up | Health::Unknown => self.failures > 0,
            Health::Down => self.successes > 0 && now.since(self.last_failure) >= self.calm,
        }
    }

    fn up(&mut self, now: Now) -> Turn {
        let was = self.health;
        self.damping.succeed(now.at);
        self.calm = Duration::ZERO;
        (self.health, self.since) = (Health::Up, now);
        Turn::Up { was }
    }

    fn down(&mut self, now: Now, random: f32) -> Turn {
        let flapping = !self.damping.rested(now.at);
        let calm = self.damping.fail(now.at, random);
        self.calm = if flapping { calm } else { Duration::ZERO };
        (self.health, self.since) = (Health::Down, now);
        Turn::Down
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn now(ms: u64) -> Now {
        Now { at: Moment::from_micros(ms * 1_000), unix_ms: 1_700_000_000_000 + ms }
    }

    fn judge() -> Judge {
        let mut judge = Judge::new(2, 2, now(0));
        assert_eq!(judge.success(now(0)), Turn::Up { was: Health::Unknown });
        judge
    }

    #[test]
    fn two_consecutive_failures_are_down_and_two_successes_up() {
        let mut judge = judge();
        for at in 0..50 {
            assert_eq!(judge.failure(ProbeReason::Probe, now(at), 0.5), Turn::None);
            assert!(judge.undecided(now(at).at));
            assert_eq!(judge.success(now(at)), Turn::None);
            assert!(!judge.undecided(now(at).at));
        }
        assert_eq!(judge.failure(ProbeReason::Probe, now(60), 0.5), Turn::None);
        assert_eq!(judge.failure(ProbeReason::Probe, now(61), 0.5), Turn::Down);
        assert_eq!(judge.success(now(70)), Turn::None);
        assert!(judge.undecided(now(70).at));
        assert_eq!(judge.success(now(71)), Turn::Up { was: Health::Down });
    }

    #[test]
    fn failed_reconnect_is_down_at_once() {
        assert_eq!(judge().failure(ProbeReason::Reconnect, now(10), 0.5), Turn::Down);
    }

    #[test]
    fn flapping_for_a_minute_changes_the_state_a_few_times() {
        let mut judge = judge();
        let mut turns = 0;
        let mut up_at = 0;
        for ms in (0..120_000).step_by(100) {
            let well = ms >= 60_000 || (ms / 1_000) % 2 == 0;
            let turn = match well {
                true => judge.success(now(ms)),
                false => judge.failure(ProbeReason::Probe, now(ms), 0.99),
            };
            if turn != Turn::None {
                turns += 1;
                up_at = ms;
            }
        }
        assert!(turns <= 5, "{turns}");
        assert_eq!(judge.health(), Health::Up);
        assert!(up_at <= 60_000 + 18_100, "{up_at}");
    }

    proptest! {
        #[test]
        fn recovers_within_18_s_and_never_changes_on_one_result(looks in prop::collection::vec((any::<bool>(), 1_u64..5_000), 0..200)) {
            let mut judge = judge();
            let mut at = 0;
            let mut run = (true, 1);
            for (well, pause) in looks {
                at += pause;
                run = if run.0 == well { (well, run.1 + 1) } else { (well, 1) };
                let turn = if well { judge.success(now(at)) } else { judge.failure(ProbeReason::Probe, now(at), 1.0) };
                if turn != Turn::None {
                    prop_assert!(run.1 >= 2);
                    prop_assert_eq!(turn == Turn::Down, !well);
                }
            }
            judge.success(now(at + 18_010));
            judge.success(now(at + 18_011));
            prop_assert_eq!(judge.health(), Health::Up);
        }
    }
}
