//! Incidents and notices on their way between the thread `slo` of the leader and the store that all instances share.

use crossbeam_channel::{Receiver, Sender, bounded};
use std::time::Duration;

/// A row of an incident or a notice: its number, its state, and its body as JSON.
pub type AlertRow<S> = (u64, S, String);

/// Changes, of which each number occurs once.
#[derive(Clone, Debug, Default)]
pub struct AlertChanges {
    /// Nothing that is stored is open, waits or silences any more.
    pub replaces: bool,
    /// True: it is open.
    pub incidents: Vec<AlertRow<bool>>,
    /// With the fate of each.
    pub notices: Vec<AlertRow<&'static str>>,
    pub silences: Vec<(u64, String)>,
    pub silences_over: Vec<u64>,
}

/// The rows that a leader goes on with: bodies as JSON.
#[derive(Clone, Debug, Default)]
pub struct StoredAlertRows {
    /// The greatest numbers so far.
    pub incident: u64,
    pub notice: u64,
    pub open: Vec<String>,
    /// The newest first.
    pub closed: Vec<String>,
    pub waiting: Vec<String>,
    /// The newest first.
    pub dead: Vec<String>,
    /// The last report that was sent.
    pub report: Option<String>,
    pub silences: Vec<String>,
}

/// The term of a leader: it grows with each change of holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderTerm(pub i64);

/// A call of the store.
#[derive(Clone, Debug)]
pub enum AlertsCall {
    /// Asks for the term and the rows, if this instance leads.
    Lead,
    /// Writes changes, if this is still its term.
    Write(LeaderTerm, AlertChanges),
}

/// The answer of the store.
#[derive(Clone, Debug)]
pub enum AlertsAnswer {
    Leads(LeaderTerm, Box<StoredAlertRows>),
    Written,
    /// Another instance leads, or did since.
    Deposed,
}

/// The end of the thread `slo`. It has at most one call in progress.
#[derive(Debug)]
pub struct SharedAlerts {
    calls: Sender<AlertsCall>,
    /// `None` in the queue: the store could not be reached. Nothing is known of what was written.
    answers: Receiver<Option<AlertsAnswer>>,
    /// An earlier call was not answered in time.
    is_late: bool,
}

/// The end of the store.
#[derive(Debug)]
pub struct AlertsEnds {
    pub calls: Receiver<AlertsCall>,
    pub answers: Sender<Option<AlertsAnswer>>,
}

/// Makes both ends.
pub fn shared_alerts() -> (SharedAlerts, AlertsEnds) {
    let (calls, call_jobs) = bounded(1);
    let (answers_in, answers) = bounded(1);
    (SharedAlerts { calls, answers, is_late: false }, AlertsEnds { calls: call_jobs, answers: answers_in })
}

impl SharedAlerts {
    /// Calls the store, and waits for its answer. `None`: there was none in time, or the store cannot be reached.
    pub fn call(&mut self, call: AlertsCall, longest: Duration) -> Option<AlertsAnswer> {
        if self.is_late {
            self.answers.try_recv().ok()?;
            self.is_late = false;
        }
        self.calls.try_send(call).ok()?;
        match self.answers.recv_timeout(longest) {
            Ok(answer) => answer,
            Err(_) => {
                self.is_late = true;
                None
            }
        }
    }
}
