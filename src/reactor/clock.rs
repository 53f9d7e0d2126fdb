//! The process's clock.

use crate::clock::{Moment, Now};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The moment of the start. It is not zero, so that a moment before the start differs from the start.
const ORIGIN: Duration = Duration::from_secs(3_600);

/// The origin of the process's time. All threads share it by value.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    #[allow(clippy::disallowed_methods, reason = "this is the one place a reactor's time comes from")]
    pub fn start() -> Clock {
        Clock { origin: Instant::now() }
    }

    /// Reads the monotonic clock alone, to measure a duration.
    pub fn moment(self) -> Moment {
        Moment::ZERO + ORIGIN + self.origin.elapsed()
    }

    /// Reads both clocks.
    #[allow(clippy::disallowed_methods, reason = "this is the one place a reactor's time comes from")]
    pub fn read(self) -> Now {
        let at = self.moment();
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { at, unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX) }
    }
}
