//! The clock and the pauses of the store's PostgreSQL workers.

pub(super) use crate::net::deadline::now as monotonic;
use crossbeam_channel::never;
use std::convert::Infallible;
use std::time::Duration;

/// How often a dialling worker looks at its queue.
pub(super) const GLANCE: Duration = Duration::from_millis(20);

/// The length varied by ±20 %, so that many instances do not connect in step.
pub(super) fn jittered(length: Duration) -> Duration {
    length.mul_f64(0.8 + 0.4 * fastrand::f64())
}

/// A wait, such as before a statement is tried again.
pub(super) fn pause(length: Duration) {
    // Nothing is ever sent, so it ends by its time.
    let _ = never::<Infallible>().recv_timeout(length);
}
