//! Latencies of one reactor, counted in the buckets of [`health::latency`](crate::health::latency).

use super::Cell;
use crate::health::latency::{BUCKETS, bucket, percentile_of};
use std::time::Duration;

/// The cells of one reactor, which alone writes them. Recording costs about ten instructions.
#[derive(Debug)]
pub struct LatencyCells([Cell; BUCKETS]);

impl Default for LatencyCells {
    fn default() -> LatencyCells {
        LatencyCells(std::array::from_fn(|_| Cell::default()))
    }
}

impl LatencyCells {
    /// Counts a duration. Only the single writer may call it.
    #[inline]
    pub fn record(&self, took: Duration) {
        if let Some(cell) = self.0.get(bucket(took)) {
            cell.add(1);
        }
    }
}

/// The counts of several reactors at one time, by bucket.
#[derive(Clone, Debug)]
pub struct LatencyCounts([u64; BUCKETS]);

impl LatencyCounts {
    /// Reads the cells.
    pub fn of<'a>(reactors: impl Iterator<Item = &'a LatencyCells>) -> LatencyCounts {
        let mut counts = [0; BUCKETS];
        for LatencyCells(cells) in reactors {
            for (count, cell) in counts.iter_mut().zip(cells) {
                *count += cell.read();
            }
        }
        LatencyCounts(counts)
    }

    /// The duration that `percent` percent of those counted since `before` do not exceed, at most an eighth too high; `None` if
    /// there are none.
    pub fn percentile_since(&self, before: &LatencyCounts, percent: u8) -> Option<Duration> {
        let counts = self.0.iter().zip(&before.0).map(|(now, before)| now.saturating_sub(*before));
        percentile_of(counts, percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentile_is_of_the_durations_since_the_last_reading() {
        let cells = [LatencyCells::default(), LatencyCells::default()];
        let us = Duration::from_micros;
        let read = || LatencyCounts::of(cells.iter());
        cells[0].record(us(50_000));
        let before = read();
        assert_eq!(read().percentile_since(&before, 50), None);
        (0..98).for_each(|_| cells[0].record(us(1_000)));
        (0..2).for_each(|_| cells[1].record(us(20_000)));
        let percentile = |percent| read().percentile_since(&before, percent).expect("some");
        assert!((us(1_000)..=us(1_125)).contains(&percentile(50)), "{:?}", percentile(50));
        assert!((us(20_000)..=us(22_500)).contains(&percentile(99)), "{:?}", percentile(99));
    }
}
