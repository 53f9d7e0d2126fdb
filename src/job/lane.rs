//! The bounded queues between threads, the waking of reactors, and the health snapshot that all of them read.
//!
//! Two lanes lead into a reactor. *Answers* have as many places as jobs may be outstanding, so a worker never waits for room.
//! *Live* broadcasts, which are publications and signals, are only tried: a full lane marks the reactor as having missed
//! something, and its hub refills from the log. Workers never block on reactors.

use super::bus;
use super::{Admit, Append, Completion, Live, Read};
use crate::health::board::DependencyId;
use crate::health::capacity::Depth;
use crate::health::finding::Evidence;
use crate::health::report::Report;
use crate::health::snapshot::Snapshot;
use crate::limits::{ANSWERS_LANE, LIVE_LANE};
use arc_swap::{ArcSwap, Cache};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Sends into one reactor. Cloned freely; the reactor holds the [`Inbox`].
#[derive(Clone)]
pub struct Mailbox {
    answers: Sender<Completion>,
    live: Sender<Live>,
    signal: Arc<Doorbell>,
}

struct Doorbell {
    waker: mio::Waker,
    rung: AtomicBool,
    missed: AtomicBool,
}

/// What a reactor receives.
pub struct Inbox {
    /// Answers to its jobs.
    pub answers: Receiver<Completion>,
    /// Publications and signals.
    pub live: Receiver<Live>,
    signal: Arc<Doorbell>,
}

/// Makes the two ends of a reactor's inbox; `waker` wakes its poll.
pub fn inbox(waker: mio::Waker) -> (Mailbox, Inbox) {
    let (answers, answers_in) = bounded(ANSWERS_LANE);
    let (live, live_in) = bounded(LIVE_LANE);
    let signal = Arc::new(Doorbell { waker, rung: AtomicBool::new(false), missed: AtomicBool::new(false) });
    (
        Mailbox { answers, live, signal: Arc::clone(&signal) },
        Inbox { answers: answers_in, live: live_in, signal },
    )
}

impl Mailbox {
    /// Answers a job. The lane has room for all that are outstanding; should it be full all the same, the
    /// answer is dropped and the reactor answers at the deadline.
    pub fn answer(&self, completion: Completion) {
        let _ = self.answers.try_send(completion);
    }

    /// Passes on a publication or a signal, or marks the reactor as having missed a publication.
    pub fn offer(&self, live: Live) -> Offered {
        match self.live.try_send(live) {
            Ok(()) => Offered::Taken,
            Err(TrySendError::Full(Live::Published(_) | Live::Heads(_))) => {
                self.signal.missed.store(true, Ordering::Release);
                Offered::Missed
            }
            Err(
                TrySendError::Full(Live::Signal { .. } | Live::Canary(_)) | TrySendError::Disconnected(_),
            ) => Offered::Missed,
        }
    }

    /// How full the lane of publications is. A full one loses nothing: the reactor reads what it missed from the log.
    pub fn live_depth(&self) -> Depth {
        Depth { name: "live", waiting: self.live.len() as u64, bound: LIVE_LANE as u64 }
    }

    /// Wakes the reactor, once until it looks: call it after a batch, not after each piece.
    pub fn ring(&self) -> io::Result<()> {
        if self.signal.rung.swap(true, Ordering::AcqRel) { Ok(()) } else { self.signal.waker.wake() }
    }
}

/// What became of a live offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// It is in the lane.
    Taken,
    /// The lane was full.
    Missed,
}

impl Inbox {
    /// Says that the reactor is looking: senders ring again from here on. Call it before taking.
    pub fn answer_door(&self) {
        // A swap, not a store: it sees all that was sent before the ring it takes back.
        self.signal.rung.swap(false, Ordering::AcqRel);
    }

    /// True exactly when a publication did not fit since the last call.
    pub fn take_missed(&self) -> bool {
        self.signal.missed.swap(false, Ordering::AcqRel)
    }
}

/// The workers' queues, as every reactor sees them.
#[derive(Clone)]
pub struct Queues {
    /// To the store's append worker.
    pub append: Sender<Append>,
    /// To the store's readers.
    pub read: Sender<Read>,
    /// To the bus; `None` when this instance is alone.
    pub bus: Option<bus::Bus>,
    /// To the auth worker.
    pub admit: Sender<Admit>,
}

impl Queues {
    /// The reads that still fit.
    pub fn read_room(&self) -> usize {
        self.read.capacity().map_or(usize::MAX, |bound| bound.saturating_sub(self.read.len()))
    }

    /// The queues whose overflow is answered `overloaded`: those that are, each with what waits in it.
    pub fn depths(&self) -> impl Iterator<Item = Depth> {
        let depth = |name, waiting: usize, bound: Option<usize>| {
            bound.map(|bound| Depth { name, waiting: waiting as u64, bound: bound as u64 })
        };
        [
            depth("append", self.append.len(), self.append.capacity()),
            depth("read", self.read.len(), self.read.capacity()),
            depth("auth", self.admit.len(), self.admit.capacity()),
        ]
        .into_iter()
        .flatten()
    }

    /// The queues whose overflow nobody is told of, since it is made up for.
    pub fn spare_depths(&self) -> impl Iterator<Item = Depth> {
        self.bus.iter().flat_map(bus::Bus::depths)
    }
}

/// Where a worker tells what it meets with one dependency, so that it is seen without waiting for the next probe.
#[derive(Clone, Debug)]
pub struct Witness {
    dependency: DependencyId,
    told: Sender<(DependencyId, Evidence)>,
}

impl Witness {
    /// Of this dependency; whoever watches it has the other end.
    pub fn new(dependency: DependencyId, told: Sender<(DependencyId, Evidence)>) -> Witness {
        Witness { dependency, told }
    }

    /// Tells. What does not fit is dropped: the watch has heard enough then.
    pub fn tell(&self, evidence: Evidence) {
        let _ = self.told.try_send((self.dependency, evidence));
    }
}

/// What is known of the dependencies, as it was last published: one thread writes, all others read a pointer.
#[derive(Debug)]
pub struct Outlook {
    snapshot: Arc<ArcSwap<Snapshot>>,
    report: ArcSwap<Report>,
}

/// A reader's own way to the snapshot: to look costs one load while nothing changed.
pub type SnapshotReader = Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>;

impl Outlook {
    /// Starts with these.
    pub fn new(snapshot: Arc<Snapshot>, report: Report) -> Outlook {
        Outlook { snapshot: Arc::new(ArcSwap::new(snapshot)), report: ArcSwap::from_pointee(report) }
    }

    /// Another snapshot holds from here on. Ring the reactors after it: they look once a turn.
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        self.snapshot.store(snapshot);
    }

    /// Another body of `/health/dependencies` holds from here on.
    pub fn publish_report(&self, report: Report) {
        self.report.store(Arc::new(report));
    }

    /// A reader for one thread.
    pub fn reader(&self) -> SnapshotReader {
        Cache::new(Arc::clone(&self.snapshot))
    }

    /// The snapshot that holds now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// The body of `/health/dependencies`.
    pub fn report(&self) -> Arc<Report> {
        self.report.load_full()
    }
}
