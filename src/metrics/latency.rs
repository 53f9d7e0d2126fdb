//! Latencies of one reactor, counted in the buckets of [`health::latency`](crate::health::latency).

use super::Cell;
use crate::health::latency::{BUCKETS, bucket_of_us, percentile_of};
use std::time::Duration;

/// Latencies above each of these are counted exactly, because objectives use them: a bucket's edge is somewhere near. In
/// microseconds.
pub const THRESHOLDS_US: [u64; 2] = [2_000_000, 30_000_000];

/// The cells of one reactor, which alone writes them. Recording costs about a dozen instructions.
#[derive(Debug)]
pub struct LatencyCells {
    buckets: [Cell; BUCKETS],
    /// The sum, in microseconds.
    sum_us: Cell,
    /// The number above each of [`THRESHOLDS_US`].
    above: [Cell; THRESHOLDS_US.len()],
}

impl Default for LatencyCells {
    fn default() -> LatencyCells {
        LatencyCells {
            buckets: std::array::from_fn(|_| Cell::default()),
            sum_us: Cell::default(),
            above: Default::default(),
        }
    }
}

impl LatencyCells {
    /// Counts a latency in microseconds `by` times. Only the single writer may call it.
    #[inline]
    pub fn record(&self, us: u64, by: u64) {
        if let Some(cell) = self.buckets.get(bucket_of_us(us)) {
            cell.add(by);
        }
        self.sum_us.add(us.wrapping_mul(by));
        let [lowest, _] = THRESHOLDS_US;
        if us > lowest {
            self.note_slow(us, by);
        }
    }

    #[cold]
    fn note_slow(&self, us: u64, by: u64) {
        let above = self.above.iter().zip(THRESHOLDS_US).filter(|(_, threshold)| us > *threshold);
        above.for_each(|(cell, _)| cell.add(by));
    }
}

/// The counts of several reactors at one time.
#[derive(Clone, Debug)]
pub struct LatencyCounts {
    buckets: [u64; BUCKETS],
    sum_us: u64,
    above: [u64; THRESHOLDS_US.len()],
}

/// The binary logarithms of the bounds of an exported histogram, in microseconds: 0.26 ms to 67 s. One that is near a threshold is
/// left out.
const BOUND_BITS: [u32; 17] = [8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22, 23, 24, 26];

impl LatencyCounts {
    /// Reads the cells.
    pub fn of<'a>(reactors: impl Iterator<Item = &'a LatencyCells>) -> LatencyCounts {
        let mut counts = LatencyCounts { buckets: [0; BUCKETS], sum_us: 0, above: [0; THRESHOLDS_US.len()] };
        for cells in reactors {
            let pairs = counts.buckets.iter_mut().zip(&cells.buckets);
            pairs
                .chain(counts.above.iter_mut().zip(&cells.above))
                .for_each(|(count, cell)| *count += cell.read());
            counts.sum_us += cells.sum_us.read();
        }
        counts
    }

    /// The duration that `percent` percent of those counted since `before` do not exceed, at most an eighth too high; `None` if
    /// there are none.
    pub fn percentile_since(&self, before: &LatencyCounts, percent: u8) -> Option<Duration> {
        let counts =
            self.buckets.iter().zip(&before.buckets).map(|(now, before)| now.saturating_sub(*before));
        percentile_of(counts, percent)
    }

    /// The sum of all, in seconds.
    pub fn sum_s(&self) -> f64 {
        self.sum_us as f64 / 1e6
    }

    /// The buckets of an exported histogram: each upper bound in seconds, the last one infinite, with the latencies between it and
    /// the bound before. Those at the thresholds are exact; the others count a latency of exactly their bound in the next one.
    pub fn histogram(&self) -> Vec<(f64, u64)> {
        let all: u64 = self.buckets.iter().sum();
        let below = |us: u64| -> u64 { self.buckets.iter().take(bucket_of_us(us)).sum() };
        let powers = BOUND_BITS.iter().map(|bits| (1_u64 << bits, below(1 << bits)));
        let exact =
            THRESHOLDS_US.iter().zip(&self.above).map(|(us, above)| (*us, all.saturating_sub(*above)));
        let mut bounds: Vec<(u64, u64)> = powers.chain(exact).collect();
        bounds.sort_unstable();
        let mut before = 0;
        // A reading may see a latency in one cell and not in another yet.
        let mut since = |cumulated: u64| {
            let count = cumulated.saturating_sub(before);
            before += count;
            count
        };
        let mut buckets: Vec<(f64, u64)> =
            bounds.into_iter().map(|(us, cumulated)| (us as f64 / 1e6, since(cumulated))).collect();
        buckets.push((f64::INFINITY, since(all)));
        buckets
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
        cells[0].record(50_000, 1);
        let before = read();
        assert_eq!(read().percentile_since(&before, 50), None);
        cells[0].record(1_000, 98);
        cells[1].record(20_000, 2);
        let percentile = |percent| read().percentile_since(&before, percent).expect("some");
        assert!((us(1_000)..=us(1_125)).contains(&percentile(50)), "{:?}", percentile(50));
        assert!((us(20_000)..=us(22_500)).contains(&percentile(99)), "{:?}", percentile(99));
    }

    #[test]
    fn exported_bounds_at_thresholds_are_exact() {
        let cells = LatencyCells::default();
        for us in [100, 255, 256, 2_000_000, 2_000_001, 30_000_000, 30_000_001, 100_000_000] {
            cells.record(us, 3);
        }
        let counts = LatencyCounts::of([&cells].into_iter());
        let histogram = counts.histogram();
        let mut within = 0;
        let cumulated: Vec<(f64, u64)> = histogram
            .iter()
            .map(|(bound, count)| {
                within += count;
                (*bound, within)
            })
            .collect();
        let at = |bound: f64| cumulated.iter().find(|(known, _)| *known == bound).map(|(_, count)| *count);
        assert_eq!([0.000_256, 2.0, 30.0, f64::INFINITY].map(at), [6, 12, 18, 24].map(Some));
        assert!(cumulated.is_sorted_by(|one, next| one.0 < next.0 && one.1 <= next.1), "{cumulated:?}");
        assert_eq!(counts.sum_us, 3 * 164_000_613);
    }
}
