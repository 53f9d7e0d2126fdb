//! Counts the calls of the last ten seconds, in a fixed number of slots.
//!
//! There is one slot for each second. A call is counted in the slot of its second, and a slot is emptied when it is
//! reused. So memory does not grow, and forgetting costs at most one pass over the slots.

use crate::clock::Moment;
use std::time::Duration;

/// The number of slots, and of seconds.
const SLOTS: usize = 10;
const SLOT_US: u64 = 1_000_000;

/// The length of the window.
pub const WINDOW: Duration = Duration::from_secs(SLOTS as u64);

/// Numbers of calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallCounts {
    pub calls: u32,
    pub failures: u32,
    /// Slow calls, failed or not.
    pub slow: u32,
}

/// The window. `total` is the sum of all slots.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    slots: [CallCounts; SLOTS],
    total: CallCounts,
    /// The newest second with a slot.
    second: u64,
}

impl Window {
    pub fn count(&mut self, call: CallCounts, now: Moment) {
        self.forget(now);
        let slot = (self.second % SLOTS as u64) as usize;
        if let Some(tally) = self.slots.get_mut(slot) {
            tally.add(call);
            self.total.add(call);
        }
    }

    /// The calls in the window.
    pub fn total(&mut self, now: Moment) -> CallCounts {
        self.forget(now);
        self.total
    }

    fn forget(&mut self, now: Moment) {
        let second = now.micros() / SLOT_US;
        let passed = second.saturating_sub(self.second).min(SLOTS as u64);
        for step in 1..=passed {
            let slot = ((second - passed + step) % SLOTS as u64) as usize;
            if let Some(tally) = self.slots.get_mut(slot) {
                self.total.subtract(std::mem::take(tally));
            }
        }
        self.second = self.second.max(second);
    }
}

impl CallCounts {
    fn add(&mut self, other: CallCounts) {
        self.calls = self.calls.saturating_add(other.calls);
        self.failures = self.failures.saturating_add(other.failures);
        self.slow = self.slow.saturating_add(other.slow);
    }

    fn subtract(&mut self, other: CallCounts) {
        self.calls = self.calls.saturating_sub(other.calls);
        self.failures = self.failures.saturating_sub(other.failures);
        self.slow = self.slow.saturating_sub(other.slow);
    }

    /// True exactly if `part` is at least `percent` percent of the calls.
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
        fn window_equals_a_list_of_all_recent_calls(steps in prop::collection::vec((0_u64..4_000, 0_u32..2, 0_u32..2), 0..300)) {
            let mut window = Window::default();
            let mut all: Vec<(u64, CallCounts)> = Vec::new();
            let mut ms = 0;
            for (step, failures, slow) in steps {
                ms += step;
                let call = CallCounts { calls: 1, failures, slow };
                let now = Moment::from_micros(ms * 1_000);
                window.count(call, now);
                all.push((ms / 1_000, call));
                let mut expected = CallCounts::default();
                let recent = all.iter().filter(|(second, _)| second + (SLOTS as u64) > ms / 1_000);
                recent.for_each(|(_, call)| expected.add(*call));
                prop_assert_eq!(window.total(now), expected);
            }
        }
    }
}
