//! The time that the gateway takes for an attempt to connect, without the time that it waits for the client.

use crate::clock::Moment;
use crate::slo::SloOutcome;
use crate::slo::attempt::{self, AwaitedSide};
use std::time::Duration;

/// The length of a unit of an [`AttemptClock`].
const UNIT_US: u64 = 10_000;

/// The time that the gateway takes for an attempt, in units of ten milliseconds that begin again after eleven minutes: four bytes,
/// because every peer has a place for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttemptClock {
    /// The client has to send `connect`; the gateway took this long so far.
    Held(u16),
    /// The gateway has to answer; it would have begun then if it had never waited for the client.
    Runs(u16),
}

impl AttemptClock {
    pub(super) fn begin(now: Moment) -> AttemptClock {
        AttemptClock::Runs(unit(now))
    }

    /// Stops while the client has to send `connect`.
    pub(super) fn hold(&mut self, now: Moment) {
        if let AttemptClock::Runs(since) = *self {
            *self = AttemptClock::Held(unit(now).wrapping_sub(since));
        }
    }

    /// Goes on once the client has sent it.
    pub(super) fn resume(&mut self, now: Moment) {
        if let AttemptClock::Held(took) = *self {
            *self = AttemptClock::Runs(unit(now).wrapping_sub(took));
        }
    }

    pub(super) fn took(self, now: Moment) -> Duration {
        let units = match self {
            AttemptClock::Held(took) => took,
            AttemptClock::Runs(since) => unit(now).wrapping_sub(since),
        };
        Duration::from_micros(u64::from(units) * UNIT_US)
    }

    pub(super) const fn awaited(self) -> AwaitedSide {
        match self {
            AttemptClock::Held(_) => AwaitedSide::Client,
            AttemptClock::Runs(_) => AwaitedSide::Gateway,
        }
    }

    /// The outcome if the attempt is `connected` now.
    pub(super) fn connected(self, now: Moment) -> SloOutcome {
        attempt::connected(self.took(now))
    }
}

/// The unit of a moment, without its upper bits.
fn unit(moment: Moment) -> u16 {
    ((moment.micros() / UNIT_US) & u64::from(u16::MAX)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_leaves_out_the_wait_for_the_client_and_survives_its_own_end() {
        let ms = |ms: u64| Moment::from_micros(655_000_000 + ms * 1_000);
        let mut clock = AttemptClock::begin(ms(0));
        clock.hold(ms(500));
        assert_eq!((clock.awaited(), clock.took(ms(60_000))), (AwaitedSide::Client, ms(500).since(ms(0))));
        clock.hold(ms(5_000));
        clock.resume(ms(9_000));
        clock.resume(ms(9_900));
        assert_eq!((clock.awaited(), clock.took(ms(10_000))), (AwaitedSide::Gateway, ms(1_500).since(ms(0))));
        assert_eq!(size_of::<Option<AttemptClock>>(), 4);
    }
}
