//! Routes commands about streams to the worker that appends to their channel.

use super::route::WorkerTurns;
use crate::job::stream::StreamWork;
use crossbeam_channel::{Receiver, Select, Sender, TryRecvError, TrySendError};
use std::collections::VecDeque;

/// Commands that wait for one worker in addition to its queue, while those for the others go on. It is what 500 streams send in the two and
/// a half seconds for which a lock of another session holds a worker up.
const WAITING_MAX: usize = 65_536;

/// The way to one worker.
struct WorkerLane<'a> {
    queue: &'a Sender<StreamWork>,
    /// Commands that found the queue full, in order.
    waiting: VecDeque<StreamWork>,
}

impl WorkerLane<'_> {
    fn send(&mut self, work: StreamWork) {
        if !self.waiting.is_empty() {
            return self.waiting.push_back(work);
        }
        match self.queue.try_send(work) {
            // A worker ends only after this thread.
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(work)) => self.waiting.push_back(work),
        }
    }

    /// Sends what waits, as far as there is room.
    fn send_waiting(&mut self) {
        while let Some(work) = self.waiting.pop_front() {
            if let Err(TrySendError::Full(work)) = self.queue.try_send(work) {
                return self.waiting.push_front(work);
            }
        }
    }
}

/// Runs until all senders are gone. A command must not get lost, so one for a worker that is held up waits, and those for the others go
/// on. If too many wait, all do: the reactors then wait for room too, and read less from producers.
pub(super) fn run(work: &Receiver<StreamWork>, workers: &[Sender<StreamWork>]) {
    let turns = WorkerTurns::of(workers.len());
    let lane = |queue| WorkerLane { queue, waiting: VecDeque::new() };
    let mut lanes: Vec<WorkerLane<'_>> = workers.iter().map(lane).collect();
    while let Some(work) = next(work, &mut lanes) {
        let channel = match &work {
            StreamWork::Job(job) => &job.id.channel,
            StreamWork::Hint { id } => &id.channel,
            StreamWork::Detach { producer } => {
                lanes.iter_mut().for_each(|lane| lane.send(StreamWork::Detach { producer: *producer }));
                continue;
            }
            StreamWork::Leave { producer } => {
                lanes.iter_mut().for_each(|lane| lane.send(StreamWork::Leave { producer: *producer }));
                continue;
            }
        };
        if let Some(lane) = lanes.get_mut(turns.of_channel(channel)) {
            lane.send(work);
        }
    }
    for lane in lanes {
        lane.waiting.into_iter().for_each(|work| {
            let _ = lane.queue.send(work);
        });
    }
}

/// The next command; `None` once all senders are gone. Meanwhile, sends what waits.
fn next(work: &Receiver<StreamWork>, lanes: &mut [WorkerLane<'_>]) -> Option<StreamWork> {
    loop {
        lanes.iter_mut().for_each(WorkerLane::send_waiting);
        if lanes.iter().all(|lane| lane.waiting.is_empty()) {
            return work.recv().ok();
        }
        let has_room = lanes.iter().all(|lane| lane.waiting.len() < WAITING_MAX);
        let mut inputs = Select::new();
        for lane in lanes.iter().filter(|lane| !lane.waiting.is_empty()) {
            inputs.send(lane.queue);
        }
        if has_room {
            inputs.recv(work);
        }
        let _ = inputs.ready();
        if has_room {
            match work.try_recv() {
                Ok(work) => return Some(work),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ChannelName, Offset};
    use crate::wire::stream::StreamId;
    use crossbeam_channel::bounded;
    use std::time::Duration;

    /// Far longer than any machine takes.
    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn commands_for_a_worker_that_is_held_up_delay_no_other() {
        let turns = WorkerTurns::of(2);
        let names = |worker| {
            let name = |number: u32| ChannelName::parse(&format!("c{number}")).expect("a name");
            (0..).map(name).find(|name| turns.of_channel(name) == worker).expect("one of them")
        };
        let (held, other) = (names(0), names(1));
        let hint = |channel: &ChannelName, offset| StreamWork::Hint {
            id: StreamId { channel: channel.clone(), offset: Offset(offset) },
        };
        let (sender, work) = bounded(4);
        let (queues, workers): (Vec<_>, Vec<_>) = (0..2).map(|_| bounded(1)).unzip();
        std::thread::scope(move |scope| {
            scope.spawn(move || run(&work, &queues));
            for offset in 0..50 {
                sender.send_timeout(hint(&held, offset), PATIENCE).expect("it waits elsewhere");
            }
            sender.send_timeout(hint(&other, 1), PATIENCE).expect("there is room");
            let found = workers[1].recv_timeout(PATIENCE).expect("it is not delayed");
            assert!(matches!(found, StreamWork::Hint { id } if id.channel == other));
            drop(sender);
            for offset in 0..50 {
                let found = workers[0].recv_timeout(PATIENCE).expect("it was kept");
                assert!(matches!(found, StreamWork::Hint { id } if id.offset == Offset(offset)), "in order");
            }
        });
    }
}
