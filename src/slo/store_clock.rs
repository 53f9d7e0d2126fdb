//! The clock of the store, as one instance knows it. Instances number minutes by it, because their own clocks differ.

use std::collections::VecDeque;

/// Calls whose differences are compared.
const SAMPLES: usize = 9;

/// The difference between the clock of the store and the own one: the median of the last calls, so one that was held up changes little.
#[derive(Clone, Debug, Default)]
pub struct StoreClock {
    offsets: VecDeque<i64>,
}

impl StoreClock {
    /// Takes the time of the store in the answer to a call. Times are Unix milliseconds; `asked_ms` and `answered_ms` are of the own clock.
    pub fn note(&mut self, store_ms: u64, asked_ms: u64, answered_ms: u64) {
        let middle_ms = asked_ms / 2 + answered_ms / 2;
        if self.offsets.len() == SAMPLES {
            self.offsets.pop_front();
        }
        self.offsets.push_back(store_ms.cast_signed() - middle_ms.cast_signed());
    }

    /// The time of the store by the newest calls; `None` before the first one.
    pub fn known(&self, own_ms: u64) -> Option<u64> {
        (!self.offsets.is_empty()).then(|| self.read(own_ms))
    }

    /// The time of the store by the newest calls; the own time before the first one.
    pub fn read(&self, own_ms: u64) -> u64 {
        let mut sorted: Vec<i64> = self.offsets.iter().copied().collect();
        sorted.sort_unstable();
        let offset = sorted.get(sorted.len() / 2).copied().unwrap_or(0);
        own_ms.saturating_add_signed(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_call_that_was_held_up_does_not_move_the_clock() {
        let mut clock = StoreClock::default();
        assert_eq!((clock.read(5_000), clock.known(5_000)), (5_000, None));
        for call in 0..5 {
            let at = 10_000 * call;
            clock.note(at + 2_010, at, at + 20);
        }
        clock.note(60_000 + 2_010, 60_000, 62_800);
        assert_eq!(clock.read(100_000), 102_000);
        (0..SAMPLES as u64).for_each(|call| clock.note(call + 7_000, call, call));
        assert_eq!((clock.read(100_000), clock.known(100_000)), (107_000, Some(107_000)));
    }
}
