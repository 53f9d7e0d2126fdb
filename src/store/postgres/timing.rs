//! The clock and the pauses of the store's PostgreSQL workers.

use std::time::{Duration, Instant};

/// How often a dialling worker looks at its queue.
pub(super) const GLANCE: Duration = Duration::from_millis(20);

/// The length varied by ±20 %, so that many instances do not connect in step.
pub(super) fn jittered(length: Duration) -> Duration {
    length.mul_f64(0.8 + 0.4 * fastrand::f64())
}

#[allow(clippy::disallowed_methods, reason = "workers own the time of their own waits")]
pub(super) fn monotonic() -> Instant {
    Instant::now()
}
