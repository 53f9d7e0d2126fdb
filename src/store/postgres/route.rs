//! Routes each append to its worker. A channel belongs to one worker of an instance, so that the publications of one connection
//! to a channel are committed in order.

use super::timing::monotonic;
use crate::auth::account::ChannelCharge;
use crate::job::{Append, AppendError};
use crate::store::answers::Answers;
use crate::wire::stream::StreamFault;
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

/// Runs until all senders are gone. It never waits for a worker: if a queue is full, the append is refused. So is the begin of a
/// stream, because this store keeps none.
pub(super) fn run(jobs: &Receiver<Append>, workers: &[Sender<Waiting>], answers: &Answers) {
    let hashes = ahash::RandomState::with_seeds(1, 2, 3, 4);
    while let Ok(job) = jobs.recv() {
        if job.stream.is_some() {
            answers.refuse(&[job], &AppendError::Stream(StreamFault::NotKept));
            continue;
        }
        let turn = hashes.hash_one(&job.channel) as usize % workers.len().max(1);
        let Some(worker) = workers.get(turn) else { continue };
        if let Err(TrySendError::Full(waiting) | TrySendError::Disconnected(waiting)) =
            worker.try_send(Waiting { job, since: monotonic(), doubtful: false, charge: None })
        {
            answers.unavailable(&[waiting]);
        }
    }
}
