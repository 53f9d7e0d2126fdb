//! Waiting for a condition, with a deadline; nothing here waits only for time to pass.

use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The bound on what should happen at once, long enough that a busy machine fails no test. A test that claims a time has a bound of
/// its own.
pub const SOON: Duration = Duration::from_secs(30);

/// Begins the message of each test that failed because something took too long.
pub const LATE: &str = "not in time";

/// The attempts of [`in_time`].
const ATTEMPTS: usize = 3;

/// The shortest and the longest interval between two checks of a condition.
const CHECK_INTERVALS: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(50)];

/// The part of the time waited so far that is waited until the next check: many a check costs a gateway as much as a client does.
const CHECK_PART: u32 = 20;

/// Waits until `holds` returns true, or panics with `what` it waited for.
#[track_caller]
pub fn until(within: Duration, what: &str, holds: impl FnMut() -> bool) {
    assert!(comes_true(within, holds), "{LATE}: {what}, after {within:?}");
}

/// Waits until `holds` returns true; returns `false` at the deadline.
pub fn comes_true(within: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    let [shortest, longest] = CHECK_INTERVALS;
    while !holds() {
        let waited = begun.elapsed();
        if waited >= within {
            return false;
        }
        std::thread::sleep((waited / CHECK_PART).clamp(shortest, longest));
    }
    true
}

/// Measures something up to three times, until it takes no longer than `most`, or panics. What is always late is late three times; a busy
/// machine is hardly ever.
#[track_caller]
pub fn in_time(most: Duration, mut measure: impl FnMut() -> Duration) {
    let mut took = Vec::new();
    while took.len() < ATTEMPTS {
        took.push(measure());
        if took.last() <= Some(&most) {
            return;
        }
    }
    panic!("{LATE}: each took more than {most:?}: {took:?}");
}

/// The time left until a deadline, at least a millisecond, because a socket takes a timeout of zero as none.
pub fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}

/// The same error, with a message of one that came too late if a timeout of a socket has passed.
pub fn named(error: io::Error) -> io::Error {
    match error.kind() {
        kind @ (ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            io::Error::new(kind, format!("{LATE}: {error}"))
        }
        _ => error,
    }
}

/// Sets a flag when it is dropped, also by a panic: else the threads of a scope that run until it is set would never end.
pub struct SetOnDrop<'a>(pub &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A size from the environment, for tests with a small and a large variant.
pub fn size(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// The value of a call with a deadline, or panics with `what` it waited for: late if the deadline passed.
#[track_caller]
pub fn arrived<T>(result: io::Result<T>, what: &str) -> T {
    result.unwrap_or_else(|error| match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => panic!("{LATE}: {what}: {error}"),
        _ => panic!("{what}: {error}"),
    })
}

/// Returns true if a call failed only because the process was stopped and continued, which ends calls with a timeout
/// (signal(7)).
pub fn is_interrupted<T>(result: &io::Result<T>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Interrupted)
}

/// Runs a call, and repeats it while it is interrupted.
pub fn resumed<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        let result = call();
        if !is_interrupted(&result) {
            return result;
        }
    }
}
