//! The clock and the deadlines of blocking network calls.

use std::time::{Duration, Instant};

/// Least time a socket call is given: zero would mean "for ever".
pub(super) const LEAST_WAIT: Duration = Duration::from_millis(1);

/// The clock by which network calls are bounded.
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
