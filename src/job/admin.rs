//! Operators' questions and orders on their way to the watch thread, which owns the boards, and its answers.
//!
//! The watch thread waits for nothing but news, so an answer takes a millisecond; the wait is bounded all the same,
//! because an operator asks when something is wrong.

use crate::health::breaker::Forced;
use crate::health::report::Report;
use crate::health::snapshot::AdmissionMode;
use crossbeam_channel::{Sender, bounded};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// A question to the watch thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminQuestion {
    /// All dependencies, with causes and addresses.
    Dependencies,
    /// One dependency, with its last looks.
    Dependency(String),
    /// The outage with this reference.
    Outage(String),
    /// The admission mode.
    Admission,
    Act(AdminAction),
}

/// An operator's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAction {
    /// Probe it now.
    Probe(String),
    /// Force its breaker open or closed for this period, whatever probes and calls say.
    Force(String, Forced, Duration),
    /// End that.
    Release(String),
    /// Set the admission mode.
    Admission(AdmissionMode),
}

/// The watch thread's reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAnswer {
    Report(Report),
    /// There is no dependency of this name; these exist.
    Unknown(Vec<Arc<str>>),
    /// No known outage has this reference.
    UnknownOutage,
    /// The gateway itself cannot be forced.
    NotHeld,
}

/// A question with its asker and the way back.
#[derive(Debug)]
pub struct AdminRequest {
    pub ask: AdminQuestion,
    pub who: SocketAddr,
    pub reply: Sender<AdminAnswer>,
}

/// A sender to the watch thread.
#[derive(Clone, Debug)]
pub struct AdminRequests {
    requests: Sender<AdminRequest>,
}

impl AdminRequests {
    pub fn new(requests: Sender<AdminRequest>) -> AdminRequests {
        AdminRequests { requests }
    }

    /// A sender to a watch thread that hangs.
    #[cfg(test)]
    pub fn unserved() -> AdminRequests {
        let (requests, inbox) = bounded(8);
        // While the receiver exists, questions wait.
        std::mem::forget(inbox);
        AdminRequests { requests }
    }

    /// Asks on behalf of `who`. `None`: no answer within a second, or the process ends; an order may still be carried out.
    pub fn ask(&self, ask: AdminQuestion, who: SocketAddr) -> Option<AdminAnswer> {
        let (reply, answer) = bounded(1);
        self.requests.send_timeout(AdminRequest { ask, who, reply }, ANSWER_TIMEOUT).ok()?;
        answer.recv_timeout(ANSWER_TIMEOUT).ok()
    }
}
