//! The pair of threads at one master, and the ends by which the others reach it.

use super::super::config::{BusSettings, LinkSettings};
use super::super::ends::{Ends, InterestSource, RouteSender, RoutedInterest, StoreQueues};
use super::super::forward::{Forwarded, Forwards};
use super::super::receive::BusReceiver;
use super::super::send::{BusSender, SenderQueues};
use super::super::topics::Naming;
use crate::follow::slot_map::BusLink;
use crate::job::Mailbox;
use crate::job::bus::{Bell, BusBatch, Committed, InstanceNote, SharedKey, SignalFrame};
use crate::job::delivery::Monitor;
use crate::job::orders::OrderBoard;
use crate::limits::{BUS_BATCHES, BUS_NOTES, BUS_SIGNALS};
use crate::metrics::bus::BusGauges;
use crate::wire::slot::Partition;
use crossbeam_channel::{Sender, TrySendError, bounded};
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};

/// Interests that wait for one receiver, which takes them within a second and a half.
const INTERESTS: usize = 1_024;
/// Commands that wait because their slots moved here.
const FORWARDED: usize = 1_024;

/// The threads of senders, which end after the store.
pub(super) type SenderThreads = Arc<Mutex<Vec<JoinHandle<()>>>>;

/// The parts that all links share.
pub(super) struct LinkParts {
    pub(super) settings: BusSettings,
    pub(super) mailboxes: Arc<[Mailbox]>,
    pub(super) store: StoreQueues,
    pub(super) board: Arc<OrderBoard>,
    pub(super) key: SharedKey,
    /// Takes what a master refused because its slots moved.
    pub(super) forwarded: Sender<Forwarded>,
    pub(super) routes: RouteSender,
    pub(super) senders: SenderThreads,
}

/// The queues into the sender of one link.
#[derive(Clone)]
pub(super) struct LinkSender {
    pub(super) link: BusLink,
    batches: Sender<BusBatch>,
    signals: Sender<SignalFrame>,
    canaries: Sender<Committed>,
    notes: Sender<InstanceNote>,
    forwarded: Sender<Forwarded>,
    /// The number of batches and messages that were dropped. Its canaries tell the others.
    pub(super) dropped: Arc<AtomicU64>,
}

impl LinkSender {
    pub(super) fn send(&self, batch: BusBatch) {
        if self.batches.try_send(batch).is_err() {
            self.drop_one();
        }
    }

    /// A signal that does not fit is lost.
    pub(super) fn signal(&self, signal: SignalFrame) {
        let _ = self.signals.try_send(signal);
    }

    pub(super) fn canary(&self, committed: Committed) {
        let _ = self.canaries.try_send(committed);
    }

    pub(super) fn note(&self, note: InstanceNote) {
        let _ = self.notes.try_send(note);
    }

    pub(super) fn forward(&self, command: Forwarded) {
        if self.forwarded.try_send(command).is_err() {
            self.drop_one();
        }
    }

    pub(super) fn drop_one(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// The sender of each partition.
#[derive(Clone, Default)]
pub(super) struct SendRoutes {
    pub(super) senders: Vec<LinkSender>,
    /// By the index of the partition: a place in `senders`.
    pub(super) by_partition: Vec<usize>,
}

impl SendRoutes {
    pub(super) fn of(&self, partition: Partition) -> Option<&LinkSender> {
        self.senders.get(*self.by_partition.get(usize::from(partition.index()))?)
    }
}

/// A link whose threads run.
pub(super) struct RunningLink {
    pub(super) sender: LinkSender,
    interests: Sender<RoutedInterest>,
    waker: Arc<Bell>,
    stopping: Arc<AtomicBool>,
    receive: JoinHandle<()>,
    pub(super) monitor: Arc<Monitor>,
    pub(super) gauges: Arc<BusGauges>,
    pub(super) hurried: Arc<AtomicBool>,
    /// The part of `dropped` that the counter of the whole bus has.
    pub(super) counted: u64,
}

impl RunningLink {
    /// Starts both threads. `number` tells the threads of one process apart.
    pub(super) fn start(link: &BusLink, number: u32, parts: &LinkParts) -> io::Result<RunningLink> {
        let (batches, batches_in) = bounded(BUS_BATCHES);
        let (signals, signals_in) = bounded(BUS_SIGNALS);
        let (canaries, canaries_in) = bounded(1);
        let (notes, notes_in) = bounded(BUS_NOTES);
        let (forwarded, forwarded_in) = bounded(FORWARDED);
        let (interests, interests_in) = bounded(INTERESTS);
        let dropped = Arc::new(AtomicU64::new(0));
        let settings = link_settings(link, &parts.settings);
        let (monitor, gauges) = (Arc::clone(&settings.monitor), Arc::clone(&settings.gauges));
        let queues = SenderQueues {
            batches: batches_in,
            signals: signals_in,
            canaries: canaries_in,
            notes: notes_in,
            dropped: Arc::clone(&dropped),
            key: Arc::clone(&parts.key),
            forwards: Forwards::new(
                link.clone(),
                forwarded_in,
                parts.forwarded.clone(),
                parts.routes.clone(),
            ),
        };
        let waker = Arc::new(Bell::new()?);
        let (hurried, stopping) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let ends = Ends {
            interests: InterestSource::Routes(interests_in),
            waker: Arc::clone(&waker),
            hurried: Arc::clone(&hurried),
            mailboxes: Arc::clone(&parts.mailboxes),
            reads: parts.store.reads.clone(),
            streams: parts.store.streams.clone(),
            key: Arc::clone(&parts.key),
            board: Arc::clone(&parts.board),
            routes: Some(parts.routes.clone()),
        };
        let sender = BusSender::new(settings.clone(), queues);
        let send = Builder::new().name(format!("bus-send-{number}")).spawn(move || sender.run())?;
        let mut senders = parts.senders.lock();
        senders.retain(|thread| !thread.is_finished());
        senders.push(send);
        let (receiver, ending) = (BusReceiver::new(settings, ends), Arc::clone(&stopping));
        let receive =
            Builder::new().name(format!("bus-receive-{number}")).spawn(move || receiver.run(&ending))?;
        let link = link.clone();
        let sender = LinkSender { link, batches, signals, canaries, notes, forwarded, dropped };
        Ok(RunningLink { sender, interests, waker, stopping, receive, monitor, gauges, hurried, counted: 0 })
    }

    /// Sends an interest to the receiver, and waits while there is no room. Call [`RunningLink::wake`] after the last one.
    pub(super) fn want(&self, interest: RoutedInterest) {
        if let Err(TrySendError::Full(interest)) = self.interests.try_send(interest) {
            self.wake();
            // An error: the receiver has ended, and the process with it.
            let _ = self.interests.send(interest);
        }
    }

    pub(super) fn wake(&self) {
        self.waker.ring();
    }

    /// Makes the receiver end soon; the sender ends when its queues are dropped.
    pub(super) fn end(self) -> JoinHandle<()> {
        self.stopping.store(true, Ordering::Release);
        self.waker.ring();
        self.receive
    }
}

fn link_settings(link: &BusLink, settings: &BusSettings) -> LinkSettings {
    LinkSettings {
        target: link.master.as_ref().map(|master| settings.target.at(master)),
        prefix: Arc::clone(&settings.prefix),
        naming: Naming::Sharded { canary: link.canary },
        origin: settings.origin,
        // A part that fails is no failure of the whole: the routes report both.
        evidence: None,
        monitor: Arc::default(),
        counters: Arc::clone(&settings.counters),
        gauges: Arc::default(),
    }
}
