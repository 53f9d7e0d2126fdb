//! An open connection: one statement at a time, each with a deadline.

use super::fault::{CallFault, Fate, cause};
use super::timing::monotonic;
use crate::health::finding::Cause;
use crate::net::postgres::{Connection, Failure, Param, Row};
use std::fmt;
use std::time::{Duration, Instant};

/// A call unanswered for this long abandons the connection. It is the statement timeout plus time for a slow commit, and leaves
/// time for a repeat within `limits::REPLY_TIMEOUT`.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_millis(2_800);
/// The time for a request to cancel an unanswered statement.
const CANCEL_TIMEOUT: Duration = Duration::from_millis(200);
/// The same if all calls have one deadline: it comes after that.
const CANCEL_AFTER_DEADLINE: Duration = Duration::from_millis(40);

pub(super) struct Link {
    connection: Connection,
    /// The reason why it can no longer be used.
    ended: Option<Cause>,
    /// All calls end by then, in addition to the timeout of each.
    deadline: Option<Instant>,
}

impl fmt::Debug for Link {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Link").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl Link {
    pub(super) fn new(connection: Connection) -> Link {
        Link { connection, ended: None, deadline: None }
    }

    /// Ends all further calls by this time.
    pub(super) fn end_calls_by(&mut self, deadline: Instant) {
        self.deadline = Some(deadline);
    }

    /// True exactly when it can no longer be used.
    pub(super) fn is_lost(&self) -> bool {
        self.ended.is_some()
    }

    /// Runs one statement.
    pub(super) fn query(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, CallFault> {
        self.query_within(CALL_TIMEOUT, sql, params)
    }

    /// Runs a statement with a shorter deadline.
    pub(super) fn query_within(
        &mut self,
        within: Duration,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, CallFault> {
        self.call(within, |connection| connection.query(sql, params))
    }

    pub(super) fn batch(&mut self, sql: &str) -> Result<(), CallFault> {
        self.batch_within(CALL_TIMEOUT, sql)
    }

    /// Runs statements with another deadline.
    pub(super) fn batch_within(&mut self, within: Duration, sql: &str) -> Result<(), CallFault> {
        self.call(within, |connection| connection.simple(sql).map(drop))
    }

    /// Reads messages that the server sent between calls; fails if it ended the connection.
    pub(super) fn listen(&mut self) -> Result<(), CallFault> {
        if self.ended.is_none() {
            self.connection.begin(monotonic() + CALL_TIMEOUT);
            self.ended = self.connection.listen().err().as_ref().map(cause);
        }
        self.ended.clone().map_or(Ok(()), |cause| Err(CallFault::not_sent(cause)))
    }

    fn call<T>(
        &mut self,
        within: Duration,
        call: impl FnOnce(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, CallFault> {
        if let Some(cause) = &self.ended {
            return Err(CallFault::not_sent(cause.clone()));
        }
        let within = match self.deadline {
            Some(deadline) => within.min(deadline.saturating_duration_since(monotonic())),
            None => within,
        };
        self.connection.begin(monotonic() + within);
        call(&mut self.connection).map_err(|failure| {
            let fault = match failure.is_silence() {
                true => CallFault::silent(within),
                false => CallFault::of(&failure),
            };
            if failure.is_silence() {
                let time = if self.deadline.is_some() { CANCEL_AFTER_DEADLINE } else { CANCEL_TIMEOUT };
                self.connection.cancel(monotonic() + time);
            }
            if fault.fate == Fate::Unknown {
                self.ended = Some(fault.cause.clone());
            }
            fault
        })
    }
}
