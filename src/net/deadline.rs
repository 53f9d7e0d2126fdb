//! The clock and the deadlines of blocking network calls.

use std::time::{Duration, Instant};

/// Least time a socket call is given: zero would mean "for ever".
pub(super) const LEAST_WAIT: Duration = Duration::from_millis(1);

/// The clock for waits on a line.
#[allow(
    clippy::disallowed_methods,
    reason = "a line is used by a worker's thread and keeps its own deadline"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Time until `deadline`.
pub(crate) fn left(deadline: Instant, now: Instant) -> Duration {
    deadline.saturating_duration_since(now)
}

/// Makes attempts in turn until one succeeds, and returns the last error otherwise; `none` if there are no attempts. Each gets an equal
/// share of the time that is left, so that a silent peer does not use up the time of the next.
pub(crate) fn first_of<T, U, E>(
    all: Vec<T>,
    deadline: Instant,
    none: E,
    mut attempt: impl FnMut(T, Instant) -> Result<U, E>,
) -> Result<U, E> {
    let (count, mut last) = (all.len(), none);
    for (place, one) in all.into_iter().enumerate() {
        let now = now();
        let share = left(deadline, now) / u32::try_from(count - place).unwrap_or(u32::MAX);
        match attempt(one, now + share) {
            Ok(value) => return Ok(value),
            Err(error) => last = error,
        }
    }
    Err(last)
}
