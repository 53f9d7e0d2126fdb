//! Routes commands about streams to the worker that appends to their channel.

use super::route::WorkerTurns;
use crate::job::stream::StreamWork;
use crossbeam_channel::{Receiver, Sender};

/// Runs until all senders are gone. If the queue of a worker is full it waits, because a command must not get lost: the reactors then
/// wait for room too, and read less from producers.
pub(super) fn run(work: &Receiver<StreamWork>, workers: &[Sender<StreamWork>]) {
    let turns = WorkerTurns::of(workers.len());
    while let Ok(work) = work.recv() {
        let channel = match &work {
            StreamWork::Job(job) => &job.id.channel,
            StreamWork::Hint { id } => &id.channel,
            StreamWork::Detach { producer } => {
                for worker in workers {
                    let _ = worker.send(StreamWork::Detach { producer: *producer });
                }
                continue;
            }
            StreamWork::Leave { producer } => {
                for worker in workers {
                    let _ = worker.send(StreamWork::Leave { producer: *producer });
                }
                continue;
            }
        };
        if let Some(worker) = workers.get(turns.of_channel(channel)) {
            // A worker ends only after this thread.
            let _ = worker.send(work);
        }
    }
}
