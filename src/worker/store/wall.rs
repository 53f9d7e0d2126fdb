//! The wall clock, behind one type so that a test can own time.

#[cfg(test)]
use std::sync::Arc;
#[cfg(test)]
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A time that no clock shows: reading it panics, as a fault of ours would.
#[cfg(test)]
pub(super) const BROKEN: u64 = u64::MAX;

/// Where the store's workers read the time of a publication.
#[derive(Clone, Debug)]
pub(super) enum WallClock {
    /// The machine's clock.
    System,
    /// A number that a test sets, Unix milliseconds.
    #[cfg(test)]
    Set(Arc<AtomicU64>),
}

impl WallClock {
    /// Unix milliseconds; 0 for a machine that believes to live before 1970.
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
