//! The heartbeat to a service that notifies operators when it stops.

use crate::alert::retry::AttemptOutcome;
use crate::job::alerts::NotifyResult;

/// The beats so far.
#[derive(Debug)]
pub(super) struct AlertHeartbeat {
    /// The last one; the start if there was none.
    sent_ms: u64,
    /// The answer to the last one if it was not accepted.
    fault: Option<String>,
}

impl AlertHeartbeat {
    pub(super) fn new(now_ms: u64) -> AlertHeartbeat {
        AlertHeartbeat { sent_ms: now_ms, fault: None }
    }

    /// True exactly if one is due, which then counts as sent.
    pub(super) fn is_due(&mut self, every_ms: u64, now_ms: u64) -> bool {
        let is_due = now_ms >= self.sent_ms + every_ms;
        if is_due {
            self.sent_ms = now_ms;
        }
        is_due
    }

    /// Takes an answer, and logs the first that does not accept a beat, and the first that does again.
    pub(super) fn take(&mut self, result: &NotifyResult) {
        let fault = (result.outcome != AttemptOutcome::Accepted).then(|| result.answer.clone());
        match (&self.fault, &fault) {
            (None, Some(answer)) => tracing::warn!(answer, "heartbeat not accepted"),
            (Some(_), None) => tracing::info!("heartbeat accepted again"),
            (None, None) | (Some(_), Some(_)) => {}
        }
        self.fault = fault;
    }
}
