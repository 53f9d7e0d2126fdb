//! Failed writes in the log: at most one line a minute, because the watch reports an outage. A lost connection has no line: the
//! probe that follows at once decides if it is an outage.

use super::timing::monotonic;
use crate::health::finding::{Cause, Suspicion};
use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// The time between two lines.
const PERIOD: Duration = Duration::from_secs(60);

/// The failed writes of all append workers.
#[derive(Debug, Default)]
pub(super) struct FailedWrites {
    state: Mutex<WriteLog>,
}

#[derive(Debug, Default)]
struct WriteLog {
    last_line: Option<Instant>,
    /// Failures since then.
    count: u64,
}

impl WriteLog {
    /// Counts a failure. Returns the failures to log if a line is due.
    fn count(&mut self, now: Instant) -> Option<u64> {
        self.count += 1;
        if self.last_line.is_some_and(|last| now.duration_since(last) < PERIOD) {
            return None;
        }
        self.last_line = Some(now);
        Some(std::mem::take(&mut self.count))
    }
}

impl FailedWrites {
    pub(super) fn note(&self, cause: &Cause) {
        match cause.fault.suspicion() {
            Suspicion::Connection => tracing::debug!(cause = %cause.text, "store write failed"),
            Suspicion::Other => {
                if let Some(count) = self.state.lock().count(monotonic()) {
                    tracing::warn!(count, cause = %cause.text, look_at = cause.look_at, "store write failed");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_minute_counts_the_failures_since_the_last() {
        let begun = monotonic();
        let mut log = WriteLog::default();
        assert_eq!(log.count(begun), Some(1));
        assert_eq!([1, 30, 59].map(|s| log.count(begun + Duration::from_secs(s))), [None; 3]);
        assert_eq!(log.count(begun + PERIOD), Some(4));
        assert_eq!(log.count(begun + PERIOD * 3), Some(1));
    }
}
