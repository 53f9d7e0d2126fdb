//! Routes each append to its worker. A channel belongs to one worker of an instance, so that the publications of one connection
//! to a channel are committed in order.

use super::timing::monotonic;
use crate::auth::account::ChannelCharge;
use crate::id::ChannelName;
use crate::job::Append;
use crate::store::answers::Answers;
use crossbeam_channel::{Receiver, Sender, TrySendError};
use std::borrow::Borrow;
use std::time::Instant;

/// An append and its arrival time: it is not committed once its reactor has answered.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) job: Append,
    pub(super) since: Instant,
    /// It was sent before, over a connection that died: it may be stored already.
    pub(super) doubtful: bool,
    /// Its channel counts against its user's share, in case it is new.
    pub(super) charge: Option<ChannelCharge>,
}

impl Borrow<Append> for Waiting {
    fn borrow(&self) -> &Append {
        &self.job
    }
}

/// The workers of the channels.
pub(super) struct WorkerTurns {
    hashes: ahash::RandomState,
    workers: usize,
}

impl WorkerTurns {
    pub(super) fn of(workers: usize) -> WorkerTurns {
        WorkerTurns { hashes: ahash::RandomState::with_seeds(1, 2, 3, 4), workers: workers.max(1) }
    }

    /// The number of the worker of a channel.
    pub(super) fn of_channel(&self, channel: &ChannelName) -> usize {
        self.hashes.hash_one(channel) as usize % self.workers
    }
}

/// Runs until all senders are gone. It never waits for a worker: if a queue is full, the append is refused.
pub(super) fn run(jobs: &Receiver<Append>, workers: &[Sender<Waiting>], answers: &Answers) {
    let turns = WorkerTurns::of(workers.len());
    while let Ok(job) = jobs.recv() {
        let Some(worker) = workers.get(turns.of_channel(&job.channel)) else { continue };
        if let Err(TrySendError::Full(waiting) | TrySendError::Disconnected(waiting)) =
            worker.try_send(Waiting { job, since: monotonic(), doubtful: false, charge: None })
        {
            answers.unavailable(&[waiting]);
        }
    }
}
