//! The one place that reads the clock: microseconds since the run began, the same for all threads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::{Duration, Instant};

/// Microseconds since the run began.
pub type Micros = u64;

static START: OnceLock<Instant> = OnceLock::new();

/// Somebody wants this program to end.
pub static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// What unwinds the director then: all that was started ends on the way.
pub struct Interrupted;

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

/// Whether somebody wants this program to end.
pub fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::Acquire)
}

/// Waits until `holds`, looking often; false when `within` is over first.
pub fn comes_true(within: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let until = now() + micros(within);
    while !holds() {
        if now() >= until {
            return false;
        }
        if is_interrupted() {
            std::panic::resume_unwind(Box::new(Interrupted));
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    true
}

/// Lets time pass: what the schedule wants to last.
pub fn rest(length: Duration) {
    comes_true(length, || false);
}
