//! One line on the terminal that says how it goes; none where nobody watches.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::time::{Duration, Instant};

/// Between two lines.
const PERIOD: Duration = Duration::from_millis(250);

/// The line.
#[derive(Debug)]
pub(crate) struct Progress {
    next: Option<Instant>,
    shown: bool,
}

impl Progress {
    /// Shows lines if stderr is a terminal.
    pub(crate) fn start() -> Progress {
        Progress { next: stderr().is_terminal().then(crate::clock::now), shown: false }
    }

    /// Shows a line when it is time.
    pub(crate) fn show(&mut self, now: Instant, line: impl FnOnce() -> String) {
        if self.next.is_some_and(|next| next <= now) {
            self.next = Some(now + PERIOD);
            self.shown = true;
            // Who closed stderr does not want it.
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
