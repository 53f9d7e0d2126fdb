//! An outage: its reference, its cause, and the retry times.
//!
//! Every refusal and close during an outage carries its reference, and the log records the cause under the same
//! reference. So a user's screenshot leads an operator to the cause.

use super::draw::Draw;
use super::finding::Cause;
use crate::clock::Now;
use std::fmt;
use std::time::Duration;

/// The length of a reference. About two billion values are enough to distinguish the outages in a log.
const REFERENCE_BYTES: usize = 6;

/// The reference of an outage: lower-case letters and digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reference([u8; REFERENCE_BYTES]);

impl Reference {
    fn draw(draw: &mut Draw) -> Reference {
        const LETTERS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        Reference(std::array::from_fn(|_| LETTERS[(draw.number() % 36) as usize]))
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One outage of a dependency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    pub reference: Reference,
    /// The time at which it was detected.
    pub began: Now,
    /// The first cause.
    pub cause: Cause,
}

impl Outage {
    pub(super) fn begin(cause: Cause, now: Now, draw: &mut Draw) -> Outage {
        Outage { reference: Reference::draw(draw), began: now, cause }
    }
}

/// The longest retry time at the beginning of an outage, in milliseconds. Most outages end within seconds.
const RETRY_FIRST_MS: u64 = 2_000;
/// The longest retry time, in milliseconds, equal to the longest backoff of a client.
pub const RETRY_MS_MAX: u32 = 15_000;
/// The shortest retry time, in milliseconds.
pub const RETRY_MS_MIN: u32 = 1_000;

/// A retry time in milliseconds, [`RETRY_MS_MIN`] to [`RETRY_MS_MAX`]. It grows with the age of the outage and is
/// spread over the second half of the wait. `random` is in `0.0 .. 1.0`.
pub fn retry_ms(age: Duration, random: f32) -> u32 {
    let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    let most = RETRY_FIRST_MS.saturating_add(age_ms / 2).min(u64::from(RETRY_MS_MAX));
    let part = (random.clamp(0.0, 1.0) * (most / 2) as f32) as u64;
    u32::try_from(most - most / 2 + part).unwrap_or(RETRY_MS_MAX).clamp(RETRY_MS_MIN, RETRY_MS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn retry_time_grows_with_the_outage_and_is_spread(age_ms in 0_u64..10_000_000, longer in 0_u64..100_000, random in 0.0_f32..1.0) {
            let age = Duration::from_millis(age_ms);
            let wait = retry_ms(age, random);
            prop_assert!((RETRY_MS_MIN..=RETRY_MS_MAX).contains(&wait));
            prop_assert!(retry_ms(age + Duration::from_millis(longer), random) >= wait);
            prop_assert!(retry_ms(age, 1.0) >= retry_ms(age, 0.0) * 2 - 1);
        }
    }

    #[test]
    fn first_retry_time_is_seconds_and_the_last_fifteen_seconds() {
        assert_eq!(retry_ms(Duration::ZERO, 0.0), 1_000);
        assert_eq!(retry_ms(Duration::ZERO, 1.0), 2_000);
        assert_eq!(retry_ms(Duration::from_secs(3_600), 1.0), 15_000);
    }
}
