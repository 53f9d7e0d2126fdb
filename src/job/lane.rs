//! The bounded queues between threads, the waking of reactors, and the health snapshot that all of them read.
//!
//! Two lanes lead into a reactor. The lane of answers has as many places as jobs may be outstanding. The lane of live
//! broadcasts may be full: the reactor is then marked as having missed something, and its hub refills from the log. So workers
//! never wait for reactors.

use super::bus;
use super::client_errors::ReportQueue;
use super::clients::ClientEvent;
use super::message::{Append, AuthJob, Broadcast, Completion, Read};
use super::presence::PresenceQueue;
use super::stream::StreamQueue;
use crate::health::board::DependencyId;
use crate::health::capacity::Depth;
use crate::health::dependency::Trials;
use crate::health::finding::Evidence;
use crate::health::report::Report;
use crate::health::snapshot::Snapshot;
use crate::limits::{ANSWERS_LANE, LIVE_LANE};
use arc_swap::{ArcSwap, Cache};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// Sends into one reactor. Cloned freely; the reactor holds the [`Inbox`].
#[derive(Clone)]
pub struct Mailbox {
    answers: Sender<Completion>,
    live: Sender<Broadcast>,
    state: Arc<WakerState>,
}

struct WakerState {
    waker: mio::Waker,
    woken: AtomicBool,
    missed: AtomicBool,
    missed_rosters: AtomicBool,
    missed_streams: AtomicBool,
}

/// The reactor's end of its lanes.
pub struct Inbox {
    pub answers: Receiver<Completion>,
    pub live: Receiver<Broadcast>,
    state: Arc<WakerState>,
}

/// Makes the two ends of a reactor's inbox; `waker` wakes its poll.
pub fn inbox(waker: mio::Waker) -> (Mailbox, Inbox) {
    let (answers, answers_in) = bounded(ANSWERS_LANE);
    let (live, live_in) = bounded(LIVE_LANE);
    let no = || AtomicBool::new(false);
    let state =
        Arc::new(WakerState { waker, woken: no(), missed: no(), missed_rosters: no(), missed_streams: no() });
    (
        Mailbox { answers, live, state: Arc::clone(&state) },
        Inbox { answers: answers_in, live: live_in, state },
    )
}

impl Mailbox {
    /// Answers a job. The lane has room for all outstanding jobs; if it were full, the answer would be dropped and the reactor
    /// would answer at the deadline.
    pub fn answer(&self, completion: Completion) {
        let _ = self.answers.try_send(completion);
    }

    /// Offers a broadcast. If publications or heads do not fit, the reactor is marked as having missed something.
    pub fn offer(&self, live: Broadcast) -> Offered {
        match self.live.try_send(live) {
            Ok(()) => Offered::Taken,
            Err(TrySendError::Full(Broadcast::Published(_) | Broadcast::Heads(_))) => {
                self.state.missed.store(true, Ordering::Release);
                Offered::Missed
            }
            Err(TrySendError::Full(Broadcast::Rosters(_))) => {
                self.state.missed_rosters.store(true, Ordering::Release);
                Offered::Missed
            }
            Err(TrySendError::Full(Broadcast::Streamed(_))) => {
                self.state.missed_streams.store(true, Ordering::Release);
                Offered::Missed
            }
            Err(
                TrySendError::Full(
                    Broadcast::Signal { .. }
                    | Broadcast::Canary(_)
                    | Broadcast::Lookup(_)
                    | Broadcast::Recount
                    | Broadcast::Move(_),
                )
                | TrySendError::Disconnected(_),
            ) => Offered::Missed,
        }
    }

    /// The depth of the lane of broadcasts. A full one loses no publication: the reactor reads those it missed from the log.
    pub fn live_depth(&self) -> Depth {
        Depth { name: "live", waiting: self.live.len() as u64, bound: LIVE_LANE as u64 }
    }

    /// Wakes the reactor, at most once until it calls [`Inbox::rearm`]. Call after a batch, not after each message.
    pub fn wake(&self) -> io::Result<()> {
        if self.state.woken.swap(true, Ordering::AcqRel) { Ok(()) } else { self.state.waker.wake() }
    }
}

/// The result of offering a broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    Taken,
    /// The lane was full.
    Missed,
}

impl Inbox {
    /// Clears the wake flag, so that the next send wakes the reactor. Call before draining the lanes.
    pub fn rearm(&self) {
        // A swap, not a store: it sees everything that was sent before the wake-up that it clears.
        self.state.woken.swap(false, Ordering::AcqRel);
    }

    /// True exactly when publications or heads did not fit since the last call.
    pub fn take_missed(&self) -> bool {
        self.state.missed.swap(false, Ordering::AcqRel)
    }

    /// True exactly when frames about rosters did not fit since the last call.
    pub fn take_missed_rosters(&self) -> bool {
        let missed = &self.state.missed_rosters;
        missed.load(Ordering::Acquire) && missed.swap(false, Ordering::AcqRel)
    }

    /// True exactly when news of streams did not fit since the last call.
    fn take_missed_streams(&self) -> bool {
        let missed = &self.state.missed_streams;
        missed.load(Ordering::Acquire) && missed.swap(false, Ordering::AcqRel)
    }
}

/// Puts the answer to a loss of news of streams off until everything is taken that was sent before it. Otherwise an older state could
/// follow the newer one that is then read.
#[derive(Debug, Default)]
pub struct StreamLoss {
    /// The broadcasts to take before; `None`: nothing was lost.
    older: Option<usize>,
}

impl StreamLoss {
    /// Looks if something was lost. Call before broadcasts are taken.
    pub fn look(&mut self, inbox: &Inbox) {
        if self.older.is_none() && inbox.take_missed_streams() {
            self.older = Some(inbox.live.len());
        }
    }

    /// A broadcast was taken.
    pub fn taken(&mut self) {
        if let Some(older) = &mut self.older {
            *older = older.saturating_sub(1);
        }
    }

    /// True once for each loss: the streams must be read again now.
    pub fn is_due(&mut self) -> bool {
        self.older.take_if(|older| *older == 0).is_some()
    }
}

/// The queues into the workers. Every reactor has a copy.
#[derive(Clone)]
pub struct Queues {
    pub append: Sender<Append>,
    pub read: Sender<Read>,
    pub streams: StreamQueue,
    /// `None` if this instance is alone.
    pub bus: Option<bus::Bus>,
    pub admit: Sender<AuthJob>,
    pub presence: PresenceQueue,
    pub clients: Sender<ClientEvent>,
    pub reports: ReportQueue,
}

impl Queues {
    /// The number of reads that still fit.
    pub fn read_room(&self) -> usize {
        room(&self.read)
    }

    /// The number of jobs for the auth worker that still fit.
    pub fn auth_room(&self) -> usize {
        room(&self.admit)
    }

    /// The depths of the queues whose overflow clients see as `overloaded`.
    pub fn depths(&self) -> impl Iterator<Item = Depth> {
        let depth = |name, waiting: usize, bound: Option<usize>| {
            bound.map(|bound| Depth { name, waiting: waiting as u64, bound: bound as u64 })
        };
        [
            depth("append", self.append.len(), self.append.capacity()),
            depth("read", self.read.len(), self.read.capacity()),
            depth("auth", self.admit.len(), self.admit.capacity()),
            depth("streams", self.streams.work.len(), self.streams.work.capacity()),
        ]
        .into_iter()
        .flatten()
    }

    /// The depths of the queues whose overflow clients do not see, because the log or a recount makes up for it.
    pub fn spare_depths(&self) -> impl Iterator<Item = Depth> {
        self.bus.iter().flat_map(bus::Bus::depths).chain([self.presence.depth()])
    }
}

fn room<T>(queue: &Sender<T>) -> usize {
    queue.capacity().map_or(usize::MAX, |bound| bound.saturating_sub(queue.len()))
}

/// Sends a worker's evidence about one dependency to the health watch, which need not wait for its next probe.
#[derive(Clone, Debug)]
pub struct EvidenceSender {
    dependency: DependencyId,
    evidence: Sender<(DependencyId, Evidence)>,
}

impl EvidenceSender {
    /// `evidence` leads to the health watch.
    pub fn new(dependency: DependencyId, evidence: Sender<(DependencyId, Evidence)>) -> EvidenceSender {
        EvidenceSender { dependency, evidence }
    }

    /// Sends evidence, or drops it if the queue is full: the watch then has enough.
    pub fn tell(&self, evidence: Evidence) {
        let _ = self.evidence.try_send((self.dependency, evidence));
    }
}

/// The dependencies' state as last published: one thread writes, and all others read a pointer.
#[derive(Debug)]
pub struct Outlook {
    snapshot: Arc<ArcSwap<Snapshot>>,
    report: ArcSwap<Report>,
    trials: AtomicU8,
}

/// A cached reader of the snapshot: a look costs one load while nothing has changed.
pub type SnapshotReader = Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>;

impl Outlook {
    pub fn new(snapshot: Arc<Snapshot>, report: Report) -> Outlook {
        let (snapshot, report) = (Arc::new(ArcSwap::new(snapshot)), ArcSwap::from_pointee(report));
        Outlook { snapshot, report, trials: AtomicU8::new(Trials::None as u8) }
    }

    /// Replaces the snapshot. Wake the reactors afterwards; they look once a turn.
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        self.snapshot.store(snapshot);
    }

    /// Replaces the response of `/health/dependencies`.
    pub fn publish_report(&self, report: Report) {
        self.report.store(Arc::new(report));
    }

    /// Publishes which trial calls workers should make.
    pub fn publish_trials(&self, trials: Trials) {
        self.trials.store(trials as u8, Ordering::Relaxed);
    }

    /// The trial calls that workers should make.
    pub fn trials(&self) -> Trials {
        let trials = self.trials.load(Ordering::Relaxed);
        [Trials::Later, Trials::Now].into_iter().find(|each| *each as u8 == trials).unwrap_or_default()
    }

    /// A reader for one thread.
    pub fn reader(&self) -> SnapshotReader {
        Cache::new(Arc::clone(&self.snapshot))
    }

    /// The current snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// The current response of `/health/dependencies`.
    pub fn report(&self) -> Arc<Report> {
        self.report.load_full()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::stream::StreamNews;

    #[test]
    fn loss_of_news_is_answered_after_what_was_sent_before_it() {
        let poll = mio::Poll::new().expect("a poll");
        let (mailbox, inbox) = inbox(mio::Waker::new(poll.registry(), mio::Token(0)).expect("a waker"));
        let news = || Broadcast::Streamed(Arc::from(Vec::<StreamNews>::new()));
        let mut loss = StreamLoss::default();
        loss.look(&inbox);
        assert!(!loss.is_due(), "nothing was lost");
        for _ in 0..LIVE_LANE {
            assert_eq!(mailbox.offer(news()), Offered::Taken);
        }
        assert_eq!(mailbox.offer(news()), Offered::Missed);
        for taken in 0..LIVE_LANE {
            loss.look(&inbox);
            assert!(!loss.is_due(), "{taken} of {LIVE_LANE}");
            inbox.live.try_recv().expect("there are more");
            // The lane is never empty.
            mailbox.offer(news());
            loss.taken();
        }
        assert!(loss.is_due());
        assert!(!loss.is_due(), "once");
    }
}
