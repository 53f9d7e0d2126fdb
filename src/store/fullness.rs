//! The number of channels in the store: its gauges, and warnings before no more can be created.

use crate::metrics::store::StoreCounters;
use std::sync::atomic::Ordering;

/// Percentages of `limits.channels` that are logged.
const LEVELS: [u64; 2] = [80, 95];
/// A level is logged again after the number fell this many percent below it.
const MARGIN: u64 = 5;

/// The levels that were logged.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fullness([bool; 2]);

impl Fullness {
    /// Sets the gauges, and logs a level that was reached.
    pub(crate) fn observe(&mut self, channels: u64, max: u64, counters: &StoreCounters) {
        counters.channels.store(channels, Ordering::Relaxed);
        counters.channels_max.store(max, Ordering::Relaxed);
        if let Some(percent) = self.reached(channels, max) {
            let advice = "empty channels go by themselves; raise limits.channels, shorten retention.age_ms or drop channels";
            tracing::warn!(channels, max, percent, advice, "store nearly full of channels");
        }
    }

    /// The highest level that was reached since the last call.
    fn reached(&mut self, channels: u64, max: u64) -> Option<u64> {
        let mut news = None;
        for (level, logged) in LEVELS.into_iter().zip(&mut self.0) {
            if channels * 100 >= level * max {
                news = (!*logged).then_some(level).or(news);
                *logged = true;
            } else if channels * 100 < (level - MARGIN) * max {
                *logged = false;
            }
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_is_reported_once_until_the_number_fell_well_below_it() {
        let mut fullness = Fullness::default();
        let mut reached = |channels| fullness.reached(channels, 1_000);
        let table = [
            (799, None),
            (800, Some(80)),
            (801, None),
            (960, Some(95)),
            (930, None),
            (960, None),
            (760, None),
            (850, None),
            (749, None),
            (990, Some(95)),
        ];
        for (channels, expected) in table {
            assert_eq!(reached(channels), expected, "{channels}");
        }
    }
}
