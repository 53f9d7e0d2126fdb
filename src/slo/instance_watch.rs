//! Signs of an instance that no count shows: a canary without rounds, and a clock that differs from the one of the store.

use std::time::Duration;

/// A canary without a round for less than this is only late.
const SILENT: Duration = Duration::from_secs(300);
/// The periods that it may be late, if that is longer.
const SILENT_PERIODS: u32 = 3;

/// The time without a round of a canary that has stopped, in seconds; `None` if it has not, or if there is none. `stale_s` is the time since its
/// last round, or since the start.
pub fn silent_canary(stale_s: u64, period: Option<Duration>) -> Option<u32> {
    let longest = SILENT.max(period?.saturating_mul(SILENT_PERIODS));
    (stale_s >= longest.as_secs()).then(|| u32::try_from(stale_s).unwrap_or(u32::MAX))
}

/// The own clock minus the one of the store, in milliseconds. `known_ms` is the time of the store as far as it is known.
pub fn clock_skew(own_ms: u64, known_ms: Option<u64>) -> Option<i32> {
    let skew = own_ms.cast_signed().saturating_sub(known_ms?.cast_signed());
    let bounded = skew.clamp(i64::from(i32::MIN), i64::from(i32::MAX));
    i32::try_from(bounded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canary_is_silent_after_five_minutes_and_three_periods() {
        let seconds = |s| Some(Duration::from_secs(s));
        assert_eq!(silent_canary(100_000, None), None, "there is none");
        assert_eq!([299, 300].map(|stale_s| silent_canary(stale_s, seconds(10))), [None, Some(300)]);
        assert_eq!([1_799, 1_800].map(|stale_s| silent_canary(stale_s, seconds(600))), [None, Some(1_800)]);
    }

    #[test]
    fn clock_that_is_ahead_is_positive_and_a_wild_one_is_bounded() {
        assert_eq!(clock_skew(5_000, None), None);
        assert_eq!([5_000, 1_000].map(|own_ms| clock_skew(own_ms, Some(3_000))), [Some(2_000), Some(-2_000)]);
        assert_eq!(clock_skew(u64::from(u32::MAX) * 4, Some(0)), Some(i32::MAX));
    }
}
