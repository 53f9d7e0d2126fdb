//! What calls met in the last ten seconds, in a fixed number of places.
//!
//! One place for each second: a call is counted in the place of its second, and a place is emptied when its
//! second comes round again. So a count costs no memory that grows, and forgetting costs at most one pass
//! over the places.

use crate::clock::Moment;
use std::time::Duration;

/// Places, and seconds.
const PLACES: usize = 10;
const PLACE_US: u64 = 1_000_000;

/// How far back the window reaches.
pub const WINDOW: Duration = Duration::from_secs(PLACES as u64);

/// Counted calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All of them.
    pub calls: u32,
    /// Those that failed.
    pub failures: u32,
    /// Those that were slow, whether they failed or not.
    pub slow: u32,
}

/// See the module. `total` is the sum of all places.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    places: [Tally; PLACES],
    total: Tally,
    /// The newest second counted in.
    second: u64,
}

impl Window {
    /// Counts one call.
    pub fn count(&mut self, call: Tally, now: Moment) {
        self.forget(now);
        let place = (self.second % PLACES as u64) as usize;
        if let Some(tally) = self.places.get_mut(place) {
            tally.add(call);
            self.total.add(call);
        }
    }

    /// What is in the window.
    pub fn total(&mut self, now: Moment) -> Tally {
        self.forget(now);
        self.total
    }

    fn forget(&mut self, now: Moment) {
        let second = now.micros() / PLACE_US;
        let passed = second.saturating_sub(self.second).min(PLACES as u64);
        for step in 1..=passed {
            let place = ((second - passed + step) % PLACES as u64) as usize;
            if let Some(tally) = self.places.get_mut(place) {
                self.total.subtract(std::mem::take(tally));
            }
        }
        self.second = self.second.max(second);
    }
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.calls = self.calls.saturating_add(other.calls);
        self.failures = self.failures.saturating_add(other.failures);
        self.slow = self.slow.saturating_add(other.slow);
    }

    fn subtract(&mut self, other: Tally) {
        self.calls = self.calls.saturating_sub(other.calls);
        self.failures = self.failures.saturating_sub(other.failures);
        self.slow = self.slow.saturating_sub(other.slow);
    }

    /// True exactly when `part` of the calls is at least `percent` of them.
    pub fn reaches(&self, part: u32, percent: u32) -> bool {
        u64::from(part) * 100 >= u64::from(self.calls) * u64::from(percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_holds_what_a_list_of_all_calls_would(steps in prop::collection::vec((0_u64..4_000, 0_u32..2, 0_u32..2), 0..300)) {
            let mut window = Window::default();
            let mut all: Vec<(u64, Tally)> = Vec::new();
            let mut ms = 0;
            for (step, failures, slow) in steps {
                ms += step;
                let call = Tally { calls: 1, failures, slow };
                let now = Moment::from_micros(ms * 1_000);
                window.count(call, now);
                all.push((ms / 1_000, call));
                let mut expected = Tally::default();
                let recent = all.iter().filter(|(second, _)| second + (PLACES as u64) > ms / 1_000);
                recent.for_each(|(_, call)| expected.add(*call));
                prop_assert_eq!(window.total(now), expected);
            }
        }
    }
}
