//! The way of an append to its worker: one channel, one worker of an instance, so that what one connection
//! publishes to a channel is committed in its order.

use super::connection::monotonic;
use crate::job::Append;
use crate::worker::store::tell::Voice;
use crossbeam_channel::{Receiver, Sender, TrySendError};
use std::borrow::Borrow;
use std::time::Instant;

/// An append on its way, and since when: one that nobody waits for any more is not committed.
#[derive(Debug)]
pub(super) struct Waiting {
    /// The append.
    pub(super) job: Append,
    /// When it came.
    pub(super) since: Instant,
    /// Whether it was sent before over a connection that died: it may be stored already.
    pub(super) doubtful: bool,
}

impl Borrow<Append> for Waiting {
    fn borrow(&self) -> &Append {
        &self.job
    }
}

/// Until all senders are gone. It never waits for a worker: a full queue is an answer.
pub(super) fn run(jobs: &Receiver<Append>, workers: &[Sender<Waiting>], voice: &Voice) {
    let hashes = ahash::RandomState::with_seeds(1, 2, 3, 4);
    while let Ok(job) = jobs.recv() {
        let turn = hashes.hash_one(&job.channel) as usize % workers.len().max(1);
        let Some(worker) = workers.get(turn) else { continue };
        if let Err(TrySendError::Full(waiting) | TrySendError::Disconnected(waiting)) =
            worker.try_send(Waiting { job, since: monotonic(), doubtful: false })
        {
            voice.unavailable(&[waiting]);
        }
    }
}
