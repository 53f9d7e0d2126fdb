//! The timeouts and pauses of the bus's connections, and the clock they are measured by.

use crate::net::redis::RedisTarget;
use std::time::{Duration, Instant};

/// From the first packet to a connection that is ready. It is short, because the logs are surveyed between two attempts.
const DIAL_TIMEOUT: Duration = Duration::from_millis(500);
/// The timeout of a command and its answers.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(1);
/// The pause between two attempts to connect, at first and at most; each failure doubles it. It is short: the store replaces
/// the bus meanwhile.
pub(super) const PAUSE_MIN: Duration = Duration::from_millis(100);
pub(super) const PAUSE_MAX: Duration = Duration::from_millis(800);

/// The timeout of a dial, with the time to find the server.
pub(super) fn dial_timeout(target: &RedisTarget) -> Duration {
    DIAL_TIMEOUT + target.search_max()
}

pub(super) fn jittered(length: Duration) -> Duration {
    length.mul_f64(0.8 + 0.4 * fastrand::f64())
}

#[allow(clippy::disallowed_methods, reason = "workers own the time of their own waits")]
pub(super) fn monotonic() -> Instant {
    Instant::now()
}
