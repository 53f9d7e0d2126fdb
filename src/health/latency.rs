//! Percentiles of durations, in a fixed number of buckets.
//!
//! Each power of two has eight buckets, so a percentile is at most an eighth too high. Two halves alternate: a
//! percentile covers the last five to ten minutes, and forgetting costs one swap.

use crate::clock::Moment;
use std::time::Duration;

/// The time for which one half is filled.
const HALF: Duration = Duration::from_secs(5 * 60);
/// The binary logarithm of the number of buckets for each power of two.
const FINE_BITS: u32 = 3;
/// Everything below 2⁶ = 64 µs shares one bucket, as does everything from 2²⁶ µs, over a minute.
const BITS: std::ops::Range<u32> = 6..26;
/// The number of buckets.
pub const BUCKETS: usize = ((BITS.end - BITS.start) << FINE_BITS) as usize + 2;

/// Recent durations; see the module.
#[derive(Clone, Debug)]
pub struct Latency {
    halves: [Half; 2],
    /// The time at which the first half, the one being filled, began.
    began: Moment,
}

#[derive(Clone, Debug)]
struct Half {
    buckets: [u32; BUCKETS],
}

impl Half {
    const EMPTY: Half = Half { buckets: [0; BUCKETS] };
}

impl Default for Latency {
    fn default() -> Latency {
        Latency { halves: [Half::EMPTY, Half::EMPTY], began: Moment::ZERO }
    }
}

impl Latency {
    pub fn take(&mut self, latency: Duration, now: Moment) {
        let age = now.since(self.began);
        if age >= HALF {
            let [newest, oldest] = &mut self.halves;
            *oldest = std::mem::replace(newest, Half::EMPTY);
            if age >= HALF * 2 {
                *oldest = Half::EMPTY;
            }
            self.began = now;
        }
        let [newest, _] = &mut self.halves;
        if let Some(count) = newest.buckets.get_mut(bucket(latency)) {
            *count = count.saturating_add(1);
        }
    }

    /// The duration that `percent` percent of the probes do not exceed, at most an eighth too high; `None` if there
    /// are no probes.
    pub fn percentile(&self, percent: u8) -> Option<Duration> {
        let [newest, oldest] = &self.halves;
        let counts = newest.buckets.iter().zip(&oldest.buckets);
        percentile_of(counts.map(|(new, old)| u64::from(*new) + u64::from(*old)), percent)
    }
}

/// The duration that `percent` percent of those counted do not exceed, at most an eighth too high; `None` if there are none.
/// `counts` has one number for each bucket.
pub fn percentile_of(counts: impl Iterator<Item = u64> + Clone, percent: u8) -> Option<Duration> {
    let total: u64 = counts.clone().sum();
    // With at least one duration, the lowest rank is 1.
    let rank = (total * u64::from(percent.min(100))).div_ceil(100).max(1);
    let mut seen = 0;
    counts.enumerate().find_map(|(index, count)| {
        seen += count;
        (seen >= rank).then(|| upper(index))
    })
}

fn bucket(latency: Duration) -> usize {
    bucket_of_us(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX))
}

/// The bucket of a duration in microseconds.
#[inline]
pub fn bucket_of_us(us: u64) -> usize {
    let bits = us.checked_ilog2().unwrap_or(0);
    if bits < BITS.start {
        return 0;
    }
    if bits >= BITS.end {
        return BUCKETS - 1;
    }
    let fine = (us >> (bits - FINE_BITS)) & ((1 << FINE_BITS) - 1);
    1 + (((bits - BITS.start) << FINE_BITS) as usize) + fine as usize
}

/// The upper bound of a bucket; for the last one, its lower bound.
fn upper(index: usize) -> Duration {
    let Some(place) = index.checked_sub(1) else { return Duration::from_micros(1 << BITS.start) };
    let bits = BITS.start + (place >> FINE_BITS) as u32;
    let fine = (place & ((1 << FINE_BITS) - 1)) as u64;
    let step = 1_u64 << (bits - FINE_BITS);
    let above = if bits >= BITS.end { 0 } else { (fine + 1) * step };
    Duration::from_micros((1 << bits) + above)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn percentile_is_exact_or_at_most_an_eighth_more(mut list in prop::collection::vec(1_u64..60_000_000, 1..300), percent in 1_u8..=100) {
            let mut latency = Latency::default();
            list.iter().for_each(|us| latency.take(Duration::from_micros(*us), Moment::from_micros(1)));
            list.sort_unstable();
            let rank = (list.len() * usize::from(percent)).div_ceil(100).max(1);
            let exact = list[rank - 1];
            let estimate = latency.percentile(percent).expect("there is one").as_micros() as u64;
            prop_assert!(estimate >= exact && estimate <= (exact + exact / 8 + 1).max(64), "{estimate} for {exact}");
        }
    }

    #[test]
    fn old_durations_are_forgotten() {
        let mut latency = Latency::default();
        let minutes = |n: u64| Moment::from_micros(n * 60_000_000);
        latency.take(Duration::from_secs(1), minutes(0));
        latency.take(Duration::from_millis(1), minutes(6));
        assert!(latency.percentile(99) >= Some(Duration::from_secs(1)));
        latency.take(Duration::from_millis(1), minutes(12));
        assert!(latency.percentile(99) < Some(Duration::from_millis(2)));
        assert_eq!(Latency::default().percentile(50), None);
    }
}
