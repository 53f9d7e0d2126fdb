//! The progress line on the terminal; disabled if stderr is not a terminal.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::time::{Duration, Instant};

/// The time between two updates.
const PERIOD: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(crate) struct Progress {
    next: Option<Instant>,
    shown: bool,
}

impl Progress {
    /// Shows progress if stderr is a terminal.
    pub(crate) fn start() -> Progress {
        Progress { next: stderr().is_terminal().then(crate::clock::now), shown: false }
    }

    /// Updates the line if it is due.
    pub(crate) fn show(&mut self, now: Instant, line: impl FnOnce() -> String) {
        if self.next.is_some_and(|next| next <= now) {
            self.next = Some(now + PERIOD);
            self.shown = true;
            // If stderr is closed, there is no reader to inform.
            let _unseen = write!(stderr(), "\r{}\x1b[K", line());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _unseen = write!(stderr(), "\r\x1b[K");
        }
    }
}
