//! The incidents and notices of all instances. The leader writes them to the store before anything is sent, so that another one goes
//! on where it ended.

use super::rows::AlertWrites;
use crate::job::shared_alerts::{
    AlertChanges, AlertsAnswer, AlertsCall, LeaderTerm, SharedAlerts, StoredAlertRows,
};
use std::time::Duration;

/// The wait for the store. Without an answer it is down.
const WAIT: Duration = Duration::from_secs(2);
/// Without an answer to any call for this long, the leader sends without the store, in milliseconds.
pub(super) const SILENT_MS: u64 = 60_000;
/// The time between two calls while the store does not answer, in milliseconds.
const RETRY_MS: u64 = 5_000;

/// The outcome of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ShareOutcome {
    /// All instances share it, or there is no other one.
    Shared,
    /// The store cannot be reached, or was not when this instance began to send.
    Alone,
    /// The store did not answer, and another instance may lead.
    Unsure,
    /// Another instance leads.
    Deposed,
}

/// The way to the rows that instances share.
#[derive(Debug)]
pub(super) struct SharedLog {
    store: SharedAlerts,
    /// `None`: another instance leads, or none is known to.
    term: Option<LeaderTerm>,
    /// Changes were not written: everything is written next.
    is_behind: bool,
    /// The time of the next call, after one without an answer.
    retry_ms: u64,
    /// The first of the calls since the last answer; `None` after an answer.
    silent_since_ms: Option<u64>,
    /// The wait for an answer.
    pub(super) wait: Duration,
}

impl SharedLog {
    pub(super) fn new(store: SharedAlerts) -> SharedLog {
        SharedLog { store, term: None, is_behind: false, retry_ms: 0, silent_since_ms: None, wait: WAIT }
    }

    /// True exactly if this instance leads as far as it knows.
    pub(super) fn leads(&self) -> bool {
        self.term.is_some()
    }

    /// True exactly if the next write must have everything.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// True exactly if calls have had no answer for a minute. Another connection to the store may work all the same.
    pub(super) fn is_silent(&self, now_ms: u64) -> bool {
        self.silent_since_ms.is_some_and(|since| now_ms >= since + SILENT_MS)
    }

    /// True exactly if the last call had an answer.
    pub(super) fn has_answered(&self) -> bool {
        self.silent_since_ms.is_none()
    }

    /// Takes the duty, if the store says that this instance holds it. Returns the rows to go on with.
    pub(super) fn take(&mut self, now_ms: u64) -> Option<StoredAlertRows> {
        match self.call(AlertsCall::Lead, now_ms)? {
            AlertsAnswer::Leads(term, rows) => {
                (self.term, self.is_behind) = (Some(term), false);
                Some(*rows)
            }
            AlertsAnswer::Written | AlertsAnswer::Deposed => None,
        }
    }

    /// Gives the duty up. True exactly if it was held.
    pub(super) fn leave(&mut self) -> bool {
        self.term.take().is_some()
    }

    /// Writes changes. If [`SharedLog::is_behind`], they must be everything.
    pub(super) fn write(&mut self, writes: &AlertWrites, now_ms: u64) -> ShareOutcome {
        let Some(term) = self.term else { return ShareOutcome::Alone };
        if writes.is_empty() {
            return if self.is_behind { ShareOutcome::Alone } else { ShareOutcome::Shared };
        }
        let changes = AlertChanges { replaces: self.is_behind, ..writes.shared() };
        match self.call(AlertsCall::Write(term, changes), now_ms) {
            Some(AlertsAnswer::Written) => {
                self.is_behind = false;
                ShareOutcome::Shared
            }
            Some(AlertsAnswer::Deposed | AlertsAnswer::Leads(..)) => ShareOutcome::Deposed,
            None => {
                self.is_behind = true;
                ShareOutcome::Alone
            }
        }
    }

    fn call(&mut self, call: AlertsCall, now_ms: u64) -> Option<AlertsAnswer> {
        if now_ms < self.retry_ms {
            return None;
        }
        let answer = self.store.call(call, self.wait);
        if answer.is_some() {
            (self.retry_ms, self.silent_since_ms) = (0, None);
            return answer;
        }
        // A call of long ago says nothing about the time since.
        let is_recent = now_ms < self.retry_ms + SILENT_MS;
        self.silent_since_ms = self.silent_since_ms.filter(|_| is_recent).or(Some(now_ms));
        self.retry_ms = now_ms + RETRY_MS;
        None
    }
}
