//! Answers of the services behind channels: accepted, to be tried again, or never to be.

use crate::backoff::spread;
use std::time::Duration;

/// The longest wait that a service may ask for, in milliseconds.
const RETRY_AFTER_MS_MAX: u64 = 3_600_000;
const RETRY_FIRST_MS: u64 = 1_000;
const RETRY_MS_MAX: u64 = 300_000;
/// A notice that did not arrive within this time never will.
pub const GIVE_UP_MS: u64 = 86_400_000;

/// The outcome of one try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    Accepted,
    /// There was no answer, or one that says to try again.
    Failed(RetryAdvice),
    /// No try will succeed.
    Rejected,
}

/// When the service wants the next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAdvice {
    /// It did not say.
    Open,
    /// Not before this time, in milliseconds from now. With 429 it is meant for the whole channel.
    After { ms: u64, whole_channel: bool },
}

/// Reads an answer: its status, and `Retry-After` (RFC 9110 section 10.2.3) in milliseconds from now.
pub fn outcome(status: u16, retry_after_ms: Option<u64>) -> AttemptOutcome {
    let whole_channel = status == 429;
    match status {
        200..=299 => AttemptOutcome::Accepted,
        // A redirect is not followed: the notice would go where the answer says.
        300..=399 | 408 | 425 | 429 | 500..=599 => AttemptOutcome::Failed(match retry_after_ms {
            Some(ms) => RetryAdvice::After { ms: ms.min(RETRY_AFTER_MS_MAX), whole_channel },
            None => RetryAdvice::Open,
        }),
        _ => AttemptOutcome::Rejected,
    }
}

/// The wait before the next try, in milliseconds: a second, doubled with each try up to five minutes, half of it up or down.
/// `random` is in `0.0 .. 1.0`.
pub fn wait_ms(tries: u32, random: f32) -> u64 {
    let factor = 1_u64.checked_shl(tries.saturating_sub(1)).unwrap_or(u64::MAX);
    let wait = RETRY_FIRST_MS.saturating_mul(factor).min(RETRY_MS_MAX);
    let spread = spread(Duration::from_millis(wait), 50, random);
    u64::try_from(spread.as_millis()).unwrap_or(RETRY_MS_MAX)
}

/// Reads `Retry-After`: seconds, or a date as in `Tue, 24 Nov 2026 08:11:40 GMT`. In milliseconds from `now_ms`.
pub fn retry_after_ms(text: &str, now_ms: u64) -> Option<u64> {
    if let Ok(seconds) = text.trim().parse::<u64>() {
        return Some(seconds.saturating_mul(1_000).min(RETRY_AFTER_MS_MAX));
    }
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.trim().split_once(", ")?.1.split(' ');
    let day: u8 = words.next()?.parse().ok()?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|known| *known == month)? + 1;
    let year: i32 = words.next()?.parse().ok()?;
    let mut clock = words.next()?.split(':').map(|part| part.parse::<u8>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let month = time::Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date = time::Date::from_calendar_date(year, month, day).ok()?;
    let at = date.with_hms(hour, minute, second).ok()?.assume_utc().unix_timestamp();
    let at_ms = u64::try_from(at).ok()?.saturating_mul(1_000);
    Some(at_ms.saturating_sub(now_ms).min(RETRY_AFTER_MS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_decides_on_another_try() {
        let open = AttemptOutcome::Failed(RetryAdvice::Open);
        for (status, expected) in [
            (200, AttemptOutcome::Accepted),
            (202, AttemptOutcome::Accepted),
            (302, open),
            (400, AttemptOutcome::Rejected),
            (404, AttemptOutcome::Rejected),
            (410, AttemptOutcome::Rejected),
            (408, open),
            (500, open),
            (503, open),
        ] {
            assert_eq!(outcome(status, None), expected, "{status}");
        }
        let after = |ms, whole_channel| AttemptOutcome::Failed(RetryAdvice::After { ms, whole_channel });
        assert_eq!(outcome(429, Some(7_000)), after(7_000, true));
        assert_eq!(outcome(503, Some(u64::MAX)), after(3_600_000, false));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now_ms = 1_795_507_900_000;
        assert_eq!(retry_after_ms("7", now_ms), Some(7_000));
        assert_eq!(retry_after_ms("Tue, 24 Nov 2026 08:11:47 GMT", now_ms), Some(7_000));
        assert_eq!(retry_after_ms("Tue, 24 Nov 2026 08:11:20 GMT", now_ms), Some(0));
        assert_eq!(retry_after_ms("99999999", now_ms), Some(3_600_000));
        for wrong in ["", "soon", "-1", "Tue, 99 Nov 2026 08:11:47 GMT", "Tue, 24 Nov", "1.5"] {
            assert_eq!(retry_after_ms(wrong, now_ms), None, "{wrong}");
        }
    }

    #[test]
    fn waits_double_up_to_five_minutes_and_are_spread() {
        let middle = |tries| wait_ms(tries, 0.5);
        assert_eq!([1, 2, 3, 9, 10, 100].map(middle), [1_000, 2_000, 4_000, 256_000, 300_000, 300_000]);
        assert_eq!((wait_ms(1, 0.0), wait_ms(1, 1.0)), (500, 1_500));
    }
}
