//! The one place that reads the clock: microseconds since the run began, the same for all threads.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Microseconds since the run began.
pub type Micros = u64;

static START: OnceLock<Instant> = OnceLock::new();

/// One second.
pub const SECOND: Micros = 1_000_000;

#[expect(clippy::disallowed_methods, reason = "a ledger has time stamps")]
fn instant() -> Instant {
    Instant::now()
}

/// Now.
pub fn now() -> Micros {
    micros(instant().duration_since(*START.get_or_init(instant)))
}

/// As whole microseconds.
pub fn micros(duration: Duration) -> Micros {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// As seconds, for people.
pub fn seconds(at: Micros) -> f64 {
    at as f64 / SECOND as f64
}

/// Waits until `holds`, looking often; false when `within` is over first.
pub fn comes_true(within: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let until = now() + micros(within);
    while !holds() {
        if now() >= until {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    true
}

/// Lets time pass: what the schedule wants to last.
pub fn rest(length: Duration) {
    comes_true(length, || false);
}
