//! The incidents and notices of all instances. The leader writes them to the store before anything is sent, so that another one goes
//! on where it ended.

use super::rows::AlertWrites;
use crate::job::shared_alerts::{
    AlertChanges, AlertsAnswer, AlertsCall, LeaderTerm, SharedAlerts, StoredAlertRows,
};
use std::time::Duration;

/// The wait for the store. Without an answer it is down.
const WAIT: Duration = Duration::from_secs(2);
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
    retry_ms: u64,
}

impl SharedLog {
    pub(super) fn new(store: SharedAlerts) -> SharedLog {
        SharedLog { store, term: None, is_behind: false, retry_ms: 0 }
    }

    /// True exactly if this instance leads as far as it knows.
    pub(super) fn leads(&self) -> bool {
        self.term.is_some()
    }

    /// True exactly if the next write must have everything.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind
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
        let answer = self.store.call(call, WAIT);
        self.retry_ms = if answer.is_some() { 0 } else { now_ms + RETRY_MS };
        answer
    }
}
