//! Chooses when and how connections leave during a run.

use crate::leave::Leave;
use std::time::{Duration, Instant};

/// The longest time a connection stays away.
pub(super) const AWAY_MAX: Duration = Duration::from_secs(1);

/// Schedules departures at even intervals.
#[derive(Debug)]
pub(super) struct Churn {
    per_s: f64,
    begun: Option<Instant>,
    done: u64,
}

impl Churn {
    /// Schedules `per_s` departures per second; none if it is 0.
    pub(super) fn new(per_s: f64) -> Churn {
        Churn { per_s, begun: None, done: 0 }
    }

    pub(super) fn is_on(&self) -> bool {
        self.per_s > 0.0
    }

    /// The number of departures that are due and not yet picked.
    pub(super) fn due(&mut self, now: Instant) -> u64 {
        if !self.is_on() {
            return 0;
        }
        let since = now.saturating_duration_since(*self.begun.get_or_insert(now));
        ((since.as_secs_f64() * self.per_s) as u64).saturating_sub(self.done)
    }

    /// How the next connection leaves: every second one with a close frame.
    pub(super) fn next(&mut self, is_publisher: bool) -> Leave {
        self.done += 1;
        match (self.done % 2 == 1, is_publisher) {
            (true, _) => Leave::Close,
            (false, false) => Leave::Drop,
            // Publishers receive no publications and leave only when all theirs are answered, so a reset loses nothing.
            (false, true) => Leave::Reset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_leave_with_a_close_frame_at_the_given_rate() {
        let now = crate::clock::now();
        let mut churn = Churn::new(10.0);
        assert_eq!(churn.due(now), 0);
        assert_eq!(churn.due(now + Duration::from_secs(1)), 10);
        let ways: Vec<Leave> = [false, false, true, true].map(|publisher| churn.next(publisher)).into();
        assert_eq!(ways, [Leave::Close, Leave::Drop, Leave::Close, Leave::Reset]);
        assert_eq!(churn.due(now + Duration::from_secs(1)), 6);
        assert_eq!(Churn::new(0.0).due(now + Duration::from_secs(9)), 0);
    }
}
