//! A histogram of durations, for commits and probes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of a [`DurationHistogram`]'s buckets, in microseconds. A last bucket takes the rest.
pub const BOUNDS_US: [u64; 13] =
    [250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000];

/// The number of durations in each bucket, and their sum.
#[derive(Debug, Default)]
pub struct DurationHistogram {
    /// Durations within each bound of [`BOUNDS_US`] and above the previous one. The last bucket takes the rest.
    pub buckets: [AtomicU64; BOUNDS_US.len() + 1],
    /// The sum of all durations, in microseconds.
    pub sum_us: AtomicU64,
}

impl DurationHistogram {
    pub fn record(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < us);
        if let Some(cell) = self.buckets.get(bucket) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_is_counted_in_the_first_bucket_whose_bound_holds_it() {
        let histogram = DurationHistogram::default();
        for us in [1, 250, 251, 3_000_000] {
            histogram.record(Duration::from_micros(us));
        }
        let counts: Vec<u64> = histogram.buckets.iter().map(|cell| cell.load(Ordering::Relaxed)).collect();
        assert_eq!(counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(histogram.sum_us.load(Ordering::Relaxed), 3_000_502);
    }
}
