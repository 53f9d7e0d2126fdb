//! The wall clock, behind a type that lets a test control time.

#[cfg(test)]
use std::sync::Arc;
#[cfg(test)]
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A time that makes the clock panic when read, as a defect in our code would.
#[cfg(test)]
pub(super) const BROKEN: u64 = u64::MAX;

/// The source of the time that a publication gets.
#[derive(Clone, Debug)]
pub(super) enum WallClock {
    System,
    /// Unix milliseconds, set by a test.
    #[cfg(test)]
    Set(Arc<AtomicU64>),
}

impl WallClock {
    /// Unix milliseconds; 0 if the machine's clock is before 1970.
    #[allow(clippy::disallowed_methods, reason = "workers own the wall clock of what they commit")]
    pub(super) fn unix_ms(&self) -> u64 {
        match self {
            WallClock::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
            #[cfg(test)]
            WallClock::Set(ms) => match ms.load(Ordering::SeqCst) {
                BROKEN => panic!("the clock is broken"),
                ms => ms,
            },
        }
    }
}
