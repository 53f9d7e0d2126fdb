//! Waiting is a condition with a deadline; nothing here waits for time alone.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

/// How long a test waits for what should happen at once: long, so that a busy machine fails no test.
pub const SOON: Duration = Duration::from_secs(10);

/// Between two looks at a condition.
const GLANCE: Duration = Duration::from_millis(5);

/// Waits until `holds`, or fails and says what it waited for.
#[track_caller]
pub fn until(within: Duration, what: &str, holds: impl FnMut() -> bool) {
    assert!(comes_true(within, holds), "still not after {within:?}: {what}");
}

/// Waits until `holds`; `false` at the deadline.
pub fn comes_true(within: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + within;
    while !holds() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(GLANCE);
    }
    true
}

/// Time left until a deadline, at least a millisecond: a socket takes a timeout of zero for none.
pub fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}

/// A number from the environment, for tests that exist in a small and a large size.
pub fn size(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Whether all that came of a call is that the process was stopped and goes on: signal(7) has a call with a timeout end so.
pub fn is_interrupted<T>(came: &io::Result<T>) -> bool {
    came.as_ref().is_err_and(|error| error.kind() == ErrorKind::Interrupted)
}

/// What comes of a call, made again where it was interrupted.
pub fn resumed<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        let came = call();
        if !is_interrupted(&came) {
            return came;
        }
    }
}
