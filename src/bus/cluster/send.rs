//! The thread that divides what is published here among the senders of the masters.

use super::super::forward::Forwarded;
use super::super::timing::monotonic;
use super::divide::divide;
use super::links::{SendRoutes, SenderThreads};
use crate::follow::routing::partition_of;
use crate::follow::slot_map::BusLink;
use crate::job::bus::{BusBatch, Committed, InstanceNote, SignalFrame};
use crate::wire::slot::Partition;
use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, never, select};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The time that a refused command waits for the routes to change.
const HELD_MAX: Duration = Duration::from_secs(3);
/// Commands that wait for the routes. Over it the oldest is dropped, and canaries tell the other instances.
const HELD: usize = 1_024;
/// The time between two looks at the routes while commands wait.
const GLANCE: Duration = Duration::from_millis(5);

pub(super) struct SendRouter {
    pub(super) batches: Receiver<BusBatch>,
    pub(super) signals: Receiver<SignalFrame>,
    pub(super) canaries: Receiver<Committed>,
    pub(super) notes: Receiver<InstanceNote>,
    /// Commands that masters refused because their slots moved.
    pub(super) forwarded: Receiver<Forwarded>,
    pub(super) routes: Arc<ArcSwap<SendRoutes>>,
    pub(super) senders: SenderThreads,
}

/// A refused command, and the end of its wait.
type Held = (Forwarded, Instant);

impl SendRouter {
    /// Runs until all publishers are gone and all they published is sent.
    pub(super) fn run(self) {
        self.divide_all();
        // The senders end when their queues are dropped.
        self.routes.store(Arc::default());
        let senders = std::mem::take(&mut *self.senders.lock());
        for sender in senders {
            if sender.join().is_err() {
                tracing::error!("bus-send panicked");
            }
        }
    }

    fn divide_all(&self) {
        let (mut signals, mut canaries) = (self.signals.clone(), self.canaries.clone());
        let (mut notes, mut held) = (self.notes.clone(), VecDeque::new());
        loop {
            let patience = if held.is_empty() { Duration::from_secs(1) } else { GLANCE };
            select! {
                recv(self.batches) -> batch => match batch {
                    Ok(batch) => self.divide(&batch),
                    // Disconnected and empty, as in the sender of one server.
                    Err(_) => return,
                },
                recv(signals) -> signal => match signal {
                    Ok(signal) => self.signal(signal),
                    Err(_) => signals = never(),
                },
                recv(canaries) -> canary => match canary {
                    Ok(canary) => self.canary(&canary),
                    Err(_) => canaries = never(),
                },
                recv(notes) -> note => match note {
                    Ok(note) => self.note(note),
                    Err(_) => notes = never(),
                },
                recv(self.forwarded) -> refused => {
                    held.extend(refused.ok().map(|refused| (refused, monotonic() + HELD_MAX)));
                }
                default(patience) => {}
            }
            forward(&mut held, &self.routes.load(), monotonic());
        }
    }

    fn divide(&self, batch: &BusBatch) {
        let routes = self.routes.load();
        let send = |place: usize, part| {
            if let Some(sender) = routes.senders.get(place) {
                sender.send(part);
            }
        };
        match batch {
            BusBatch::Published(batch) => divide(batch, |one| &one.channel, &routes.by_partition)
                .into_iter()
                .for_each(|(place, part)| send(place, BusBatch::Published(part))),
            BusBatch::Streamed(batch) => divide(batch, |one| &one.id.channel, &routes.by_partition)
                .into_iter()
                .for_each(|(place, part)| send(place, BusBatch::Streamed(part))),
        }
    }

    fn signal(&self, signal: SignalFrame) {
        if let Some(sender) = self.routes.load().of(partition_of(&signal.0)) {
            sender.signal(signal);
        }
    }

    fn canary(&self, canary: &Committed) {
        self.routes.load().senders.iter().for_each(|sender| sender.canary(canary.clone()));
    }

    fn note(&self, note: InstanceNote) {
        if let Some(sender) = self.routes.load().of(Partition::FIRST) {
            sender.note(note);
        }
    }
}

/// The next step of a refused command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RefusedStep {
    /// Its partition has another link now, which takes it.
    GoesOn,
    /// The routes do not know yet that the slot moved.
    Waits,
    IsLost,
}

/// Decides on a command that the link `from` refused, while its partition's link is `present`.
fn step(from: &BusLink, present: &BusLink, left: Duration, held: usize) -> RefusedStep {
    if present != from {
        RefusedStep::GoesOn
    } else if !left.is_zero() && held < HELD {
        RefusedStep::Waits
    } else {
        RefusedStep::IsLost
    }
}

/// Sends each refused command to the present link of its partition, as soon as that is another one.
fn forward(held: &mut VecDeque<Held>, routes: &SendRoutes, now: Instant) {
    for _ in 0..held.len() {
        let Some((refused, until)) = held.pop_front() else { return };
        let Some(sender) = routes.of(refused.partition) else { continue };
        match step(&refused.from, &sender.link, until.saturating_duration_since(now), held.len()) {
            RefusedStep::GoesOn => sender.forward(refused),
            RefusedStep::Waits => held.push_back((refused, until)),
            RefusedStep::IsLost => sender.drop_one(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::follow::slot_map::NodeAddress;

    #[test]
    fn refused_command_waits_for_the_routes_and_goes_to_the_present_link() {
        let link = |port| {
            let master = Some(NodeAddress { host: "h".into(), port });
            BusLink { master, canary: Partition::FIRST }
        };
        let second = Duration::from_secs(1);
        assert_eq!(step(&link(1), &link(2), Duration::ZERO, HELD), RefusedStep::GoesOn);
        assert_eq!(step(&link(1), &link(1), second, 0), RefusedStep::Waits);
        assert_eq!(step(&link(1), &link(1), Duration::ZERO, 0), RefusedStep::IsLost);
        assert_eq!(step(&link(1), &link(1), second, HELD), RefusedStep::IsLost);
    }
}
