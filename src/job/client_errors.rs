//! Errors of clients' applications on their way to the thread `client-errors`.

use super::message::Ticket;
use crate::client_error::Reporter;
use crate::clock::Moment;
use crate::session::ClientText;
use crate::wire::command::ReportedError;
use crossbeam_channel::{Receiver, Sender, bounded};

/// Reports that wait, at most 32 KiB each. A client whose report does not fit sends it again later.
const REPORTS_MAX: usize = 64;

/// A report of one client. [`Completion::ReportTaken`](super::Completion::ReportTaken) answers it.
#[derive(Debug)]
pub struct ReportJob {
    pub ticket: Ticket,
    pub reporter: Reporter,
    pub client: ClientText,
    pub errors: Vec<ReportedError<'static>>,
    /// Groups that the client left out.
    pub dropped: u32,
    /// The time at which the command arrived.
    pub asked: Moment,
}

/// Sends to the thread. Cloned freely.
#[derive(Clone, Debug)]
pub struct ReportQueue(Sender<Box<ReportJob>>);

impl ReportQueue {
    /// Sends a report, or returns it if it does not fit.
    pub fn send(&self, job: Box<ReportJob>) -> Result<(), Box<ReportJob>> {
        self.0.try_send(job).map_err(crossbeam_channel::TrySendError::into_inner)
    }
}

/// Makes the two ends of the queue.
pub fn reports() -> (ReportQueue, Receiver<Box<ReportJob>>) {
    let (jobs, jobs_in) = bounded(REPORTS_MAX);
    (ReportQueue(jobs), jobs_in)
}
