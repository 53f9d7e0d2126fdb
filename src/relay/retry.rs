//! The wait before a request is sent again.

use std::time::Duration;

/// The bound on the first wait; it doubles with each attempt.
const FIRST: Duration = Duration::from_millis(500);
/// The bound on the wait that the relay chooses.
const MAX: Duration = Duration::from_secs(60);
/// The shortest wait.
const LEAST: Duration = Duration::from_millis(100);
/// The longest wait that a backend may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// The wait after this many attempts without success: evenly drawn up to a bound that doubles, so that channels which failed together
/// do not come back together. `random` is in `0.0 .. 1.0`.
///
/// A backend that asks for a time gets it, up to five minutes.
pub fn wait(attempts: u32, retry_after: Option<Duration>, random: f32) -> Duration {
    let factor = 1_u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
    let most = FIRST.saturating_mul(factor).min(MAX);
    let asked = retry_after.unwrap_or(Duration::ZERO).min(RETRY_AFTER_MAX);
    most.mul_f32(random.clamp(0.0, 1.0)).max(asked).max(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bound_doubles_up_to_a_minute() {
        let most = |attempts| wait(attempts, None, 1.0).as_millis();
        assert_eq!([1, 2, 3, 7, 8, 9, 40].map(most), [500, 1_000, 2_000, 32_000, 60_000, 60_000, 60_000]);
        assert_eq!(wait(0, None, 1.0).as_millis(), 500);
        assert_eq!(wait(5, None, 0.0), LEAST);
    }

    #[test]
    fn backend_that_asks_for_a_time_gets_it_up_to_five_minutes() {
        let asked = |seconds| wait(1, Some(Duration::from_secs(seconds)), 0.5).as_secs();
        assert_eq!([2, 300, 86_400].map(asked), [2, 300, 300]);
        assert_eq!(wait(1, Some(Duration::ZERO), 0.0), LEAST);
    }

    proptest! {
        #[test]
        fn wait_has_bounds(attempts in any::<u32>(), asked in prop::option::of(0_u64..1_000_000), random in 0.0_f32..1.0) {
            let waited = wait(attempts, asked.map(Duration::from_millis), random);
            prop_assert!(waited >= LEAST && waited <= RETRY_AFTER_MAX);
            if asked.is_none() {
                prop_assert!(waited <= MAX);
            }
        }
    }
}
