//! What probes say of one dependency, made into a state.
//!
//! One miss may be chance, so it takes two in a row to be down and two successes in a row to be up. What was
//! up for less than a minute and fails again is flapping: then it is up only after a time without any miss,
//! which grows with each time it goes down. So people hear of a flapping dependency once, not every second.

use crate::backoff::{Backoff, Steps};
use crate::clock::{Moment, Now};
use std::time::Duration;

/// The time without a miss that ends the outage of what flaps: at most 18 s.
const DAMPING: Steps = Steps {
    first: Duration::from_secs(2),
    max: Duration::from_secs(15),
    spread_percent: 20,
    healthy: Duration::from_secs(60),
};

/// What probes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// No probe has ended yet.
    Unknown,
    /// It does what it is asked.
    Up,
    /// It does not.
    Down,
}

/// How a look came about, which says how much its failure weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Its time had come, or it was asked for.
    Probe,
    /// Work's connection failed; this tells whether the dependency did.
    Reconnect,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Judge {
    health: Health,
    /// In a row; one of the two is 0.
    misses: u8,
    successes: u8,
    failures_to_trip: u8,
    successes_to_recover: u8,
    damping: Backoff,
    /// Time without a miss that is wanted before it is up again; zero when it does not flap.
    calm: Duration,
    last_miss: Moment,
    /// When `health` last changed.
    pub since: Now,
}

/// What a look changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing.
    None,
    /// It is up; `was` is what it had been.
    Up {
        /// Unknown or down.
        was: Health,
    },
    /// It is down.
    Down,
}

impl Judge {
    /// Nothing is known yet. Both counts are at least 1.
    pub fn new(failures_to_trip: u8, successes_to_recover: u8, now: Now) -> Judge {
        Judge {
            health: Health::Unknown,
            misses: 0,
            successes: 0,
            failures_to_trip: failures_to_trip.max(1),
            successes_to_recover: successes_to_recover.max(1),
            damping: Backoff::new(DAMPING),
            calm: Duration::ZERO,
            last_miss: Moment::ZERO,
            since: now,
        }
    }

    /// Other counts decide from here on. Both are at least 1.
    pub fn weigh(&mut self, failures_to_trip: u8, successes_to_recover: u8) {
        self.failures_to_trip = failures_to_trip.max(1);
        self.successes_to_recover = successes_to_recover.max(1);
    }

    /// What probes say.
    pub fn health(&self) -> Health {
        self.health
    }

    /// Takes a success.
    pub fn success(&mut self, now: Now) -> Turn {
        self.misses = 0;
        self.successes = self.successes.saturating_add(1);
        match self.health {
            Health::Up => Turn::None,
            Health::Unknown => self.up(now),
            Health::Down => {
                let enough = self.successes >= self.successes_to_recover;
                if enough && now.at.since(self.last_miss) >= self.calm { self.up(now) } else { Turn::None }
            }
        }
    }

    /// Takes a miss. `random` is in `0.0 .. 1.0`.
    pub fn miss(&mut self, look: Look, now: Now, random: f32) -> Turn {
        self.successes = 0;
        self.misses = self.misses.saturating_add(1);
        self.last_miss = now.at;
        let enough = match look {
            Look::Probe => self.misses >= self.failures_to_trip,
            Look::Reconnect => true,
        };
        match self.health {
            Health::Down => Turn::None,
            Health::Unknown | Health::Up if enough => self.down(now, random),
            Health::Unknown | Health::Up => Turn::None,
        }
    }

    /// True exactly when one more look decides, so that it should come at once: after a first miss, and
    /// after a first success while down.
    pub fn undecided(&self, now: Moment) -> bool {
        match self.health {
            Health::Up | Health::Unknown => self.misses > 0,
            Health::Down => self.successes > 0 && now.since(self.last_miss) >= self.calm,
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
    fn two_misses_in_a_row_are_down_and_two_successes_up() {
        let mut judge = judge();
        for at in 0..50 {
            assert_eq!(judge.miss(Look::Probe, now(at), 0.5), Turn::None);
            assert!(judge.undecided(now(at).at));
            assert_eq!(judge.success(now(at)), Turn::None);
            assert!(!judge.undecided(now(at).at));
        }
        assert_eq!(judge.miss(Look::Probe, now(60), 0.5), Turn::None);
        assert_eq!(judge.miss(Look::Probe, now(61), 0.5), Turn::Down);
        assert_eq!(judge.success(now(70)), Turn::None);
        assert!(judge.undecided(now(70).at));
        assert_eq!(judge.success(now(71)), Turn::Up { was: Health::Down });
    }

    #[test]
    fn a_reconnect_that_fails_is_down_at_once() {
        assert_eq!(judge().miss(Look::Reconnect, now(10), 0.5), Turn::Down);
    }

    #[test]
    fn flapping_every_second_for_a_minute_changes_the_state_a_handful_of_times() {
        let mut judge = judge();
        let mut turns = 0;
        let mut up_at = 0;
        for ms in (0..120_000).step_by(100) {
            let well = ms >= 60_000 || (ms / 1_000) % 2 == 0;
            let turn = match well {
                true => judge.success(now(ms)),
                false => judge.miss(Look::Probe, now(ms), 0.99),
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
        fn it_is_up_within_18_s_of_the_last_miss_and_never_turns_on_one_look(looks in prop::collection::vec((any::<bool>(), 1_u64..5_000), 0..200)) {
            let mut judge = judge();
            let mut at = 0;
            let mut run = (true, 1);
            for (well, pause) in looks {
                at += pause;
                run = if run.0 == well { (well, run.1 + 1) } else { (well, 1) };
                let turn = if well { judge.success(now(at)) } else { judge.miss(Look::Probe, now(at), 1.0) };
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
