//! The end of a process: what was taken in is answered, everybody is told, then the reactor is done.

use super::Reactor;
use super::connection::Stage;
use super::listener::Leaving;
use crate::clock::Moment;
use crate::close::CloseReason;
use std::time::Duration;

/// For the store to commit what it has: it does so in milliseconds.
const ANSWERS_TIMEOUT: Duration = Duration::from_millis(700);
/// From the signal until the last connection is dropped. The promise is two seconds to the exit.
const STOP_TIMEOUT: Duration = Duration::from_millis(1_500);
/// The returns of those who are told to come back are spread over this, in milliseconds.
const RETURN_SPREAD_MS: u32 = 5_000;

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// In service.
    No,
    /// Nothing is accepted or read; the store answers what it has.
    Answering { since: Moment },
    /// Everybody was told.
    Leaving { since: Moment },
}

impl Stop {
    /// While answers are awaited, commands stay in their sockets: none is taken that would not be answered.
    pub(super) fn holds_reads(self) -> bool {
        match self {
            Stop::Answering { .. } => true,
            Stop::No | Stop::Leaving { .. } => false,
        }
    }

    pub(super) fn due(self) -> Option<Moment> {
        match self {
            Stop::No => None,
            Stop::Answering { since } => Some(since + ANSWERS_TIMEOUT),
            Stop::Leaving { since } => Some(since + STOP_TIMEOUT),
        }
    }
}

impl Reactor {
    pub(super) fn advance_stop(&mut self) {
        let now = self.now.at;
        if self.stop == Stop::No && self.setup.vitals.stopping() && self.leave_port() == Leaving::Left {
            self.stop = Stop::Answering { since: now };
        }
        if let Stop::Answering { since } = self.stop
            && (self.pending.appends() == 0 || since + ANSWERS_TIMEOUT <= now)
        {
            self.stop = Stop::Leaving { since };
            for id in self.slots.ids() {
                let upgraded = self
                    .slots
                    .get_mut(id)
                    .is_some_and(|connection| matches!(connection.stage, Stage::WebSocket(_)));
                if upgraded {
                    let retry_ms = self.random.u32(0..RETURN_SPREAD_MS);
                    self.close(id, CloseReason::Restart { retry_ms });
                } else {
                    self.end_http(id);
                    self.finish_if_sent(id);
                }
            }
            self.flush();
            self.reap();
        }
    }

    /// True exactly when nothing is left to do.
    pub(super) fn stopped(&self) -> bool {
        match self.stop {
            Stop::No | Stop::Answering { .. } => false,
            Stop::Leaving { since } => self.slots.is_empty() || since + STOP_TIMEOUT <= self.now.at,
        }
    }
}
