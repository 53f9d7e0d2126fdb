//! Wakes the crowd at a rate, for modes that share their processor with threads of this program.
//!
//! Other modes wait for the last millisecond without sleeping, which would keep such threads from running.

use crate::clock;
use mio::Waker;
use std::sync::Arc;
use std::thread::Builder;
use std::time::{Duration, Instant};

/// The shortest time between two wakes.
const PERIOD_MIN: Duration = Duration::from_micros(200);

/// Starts a thread that wakes at `from` and after each period, until the process ends.
pub(crate) fn start(waker: Arc<Waker>, from: Instant, period: Duration) -> Result<(), String> {
    let period = period.max(PERIOD_MIN);
    let run = move || {
        let mut next = from;
        loop {
            let now = clock::now();
            if now < next {
                std::thread::park_timeout(next - now);
                continue;
            }
            // The crowd has ended.
            if waker.wake().is_err() {
                return;
            }
            // Wakes that were missed are one.
            while next <= now {
                next += period;
            }
        }
    };
    Builder::new().name("pacer".into()).spawn(run).map(drop).map_err(|error| format!("no thread: {error}"))
}
