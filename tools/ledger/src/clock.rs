//! The one place that reads the clock: microseconds since the start of the run, the same for all threads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::{Duration, Instant};

/// Microseconds since the start of the run.
pub type Micros = u64;

static START: OnceLock<Instant> = OnceLock::new();

/// Set by a signal that asks this program to end.
pub static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// The panic payload that unwinds the director after [`INTERRUPTED`], so that everything started is also stopped.
pub struct Interrupted;

pub const SECOND: Micros = 1_000_000;

#[expect(clippy::disallowed_methods, reason = "a ledger has time stamps")]
fn instant() -> Instant {
    Instant::now()
}

pub fn now() -> Micros {
    micros(instant().duration_since(*START.get_or_init(instant)))
}

/// Converts a duration to whole microseconds.
pub fn micros(duration: Duration) -> Micros {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Converts to seconds, for display.
pub fn seconds(at: Micros) -> f64 {
    at as f64 / SECOND as f64
}

/// True once a signal has asked this program to end.
pub fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::Acquire)
}

/// Polls until `holds` returns true; false if `within` passes first.
pub fn wait_until(within: Duration, mut holds: impl FnMut() -> bool) -> bool {
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

/// Sleeps for `length`, as a scenario's schedule requires.
pub fn rest(length: Duration) {
    wait_until(length, || false);
}
