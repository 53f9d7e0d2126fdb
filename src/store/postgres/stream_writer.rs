//! The streams of an append worker: takes commands, has the ledger cut a flush when one is due, and answers after the commit.
//!
//! Other instances may write the same streams, and the store decides (`sql/13_streams.sql`). So a command about a stream that is not
//! open here, or that contradicts what is known here, waits until the stream is loaded; the store refuses a write that does not follow
//! on what it has; and once a second the worker looks at the streams that it has open. Neither is a reader answered from here.
//!
//! While no stream is open and no command waits, all of this is two loads for each batch of appends.

mod begins;
mod commands;
mod flushes;
mod holds;
mod looks;
mod lost;
mod lost_text;
mod times;

pub(super) use times::Sweeps;

use super::epoch::KnownEpoch;
use super::streams::loads_at_once;
use super::timing::monotonic;
use crate::clock::Moment;
use crate::id::Epoch;
use crate::job::Ticket;
use crate::job::stream::StreamWork;
use crate::metrics::store::StoreCounters;
use crate::metrics::streams::StreamCounters;
use crate::store::StreamEnds;
use crate::store::answers::Answers;
use crate::store::ended_streams::EndedStreams;
use crate::store::late_share::LateShare;
use crate::store::open_streams::Output;
use crate::store::pace::CommandPace;
use crate::store::stream_orders;
use crate::stream::{EndRow, Ledger, SilenceWatch, StreamSettings};
use crate::wire::stream::StreamId;
use ahash::AHashMap;
use crossbeam_channel::{Receiver, Select};
use holds::Holds;
use lost::LostSearch;
use lost_text::TextSuspicion;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use times::LookTimes;

/// The streams of one worker.
pub(super) struct SharedStreamWriter {
    ledger: Ledger<Ticket>,
    settings: StreamSettings,
    pub(super) work: Receiver<StreamWork>,
    /// Work that came while the worker waited.
    early: Option<StreamWork>,
    queued_bytes: Arc<AtomicUsize>,
    counters: Arc<StreamCounters>,
    answers: Answers,
    out: Output,
    /// When pieces were taken that wait for a commit.
    taken: Vec<Instant>,
    /// Ends whose commit is unknown.
    doubtful: AHashMap<StreamId, EndRow>,
    ended: EndedStreams,
    holds: Holds,
    late_share: LateShare,
    pace: CommandPace,
    lost: LostSearch,
    /// The epoch by which loads are known to come from the same logs.
    epoch: Arc<KnownEpoch>,
    lost_text: TextSuspicion,
    of_store: Arc<StoreCounters>,
    /// Streams that one statement loads. Fewer after one that failed.
    loads_at_once: usize,
    times: LookTimes,
    /// Streams that may have no living instance.
    silence: SilenceWatch,
    shown: Gauges,
    /// Where the moments of the ledger begin.
    origin: Instant,
}

/// The values that this worker last added to the gauges of all workers.
#[derive(Debug, Default)]
struct Gauges {
    open: u64,
    bytes: u64,
    window_ms: u64,
}

impl SharedStreamWriter {
    /// `settings` has the bounds of this worker alone.
    pub(super) fn new(
        settings: StreamSettings,
        ends: StreamEnds,
        answers: Answers,
        (epoch, of_store): (Arc<KnownEpoch>, Arc<StoreCounters>),
        sweeps: Sweeps,
    ) -> SharedStreamWriter {
        let StreamEnds { work, queued_bytes, counters } = ends;
        SharedStreamWriter {
            ledger: Ledger::of_several(settings.clone(), Moment::ZERO),
            work,
            early: None,
            queued_bytes,
            counters,
            answers,
            out: Output::default(),
            taken: Vec::new(),
            doubtful: AHashMap::new(),
            ended: EndedStreams::default(),
            holds: Holds::default(),
            late_share: LateShare::default(),
            pace: CommandPace::default(),
            lost: LostSearch::default(),
            epoch,
            lost_text: TextSuspicion::default(),
            of_store,
            loads_at_once: loads_at_once(settings.message_bytes),
            times: LookTimes::new(sweeps),
            silence: SilenceWatch::default(),
            shown: Gauges::default(),
            origin: monotonic(),
            settings,
        }
    }

    fn now(&self) -> Moment {
        Moment::ZERO + self.origin.elapsed()
    }

    /// True if no stream is open.
    pub(super) fn is_empty(&self) -> bool {
        self.ledger.open_streams() == 0
    }

    /// The time until streams need the worker.
    pub(super) fn patience(&self) -> Duration {
        let silence = self.silence.due().map_or(Duration::MAX, |due| due.since(self.now()));
        let sweep = self.times.until_sweep().min(self.times.until_slice()).min(silence);
        if self.is_empty() {
            return sweep;
        }
        let due = self.ledger.due().map_or(Duration::MAX, |due| due.since(self.now()));
        due.min(self.times.until_look()).min(sweep)
    }

    /// Adds the commands to the inputs that wake the thread, or returns the time for which they may wait.
    pub(super) fn listen<'a>(&'a self, inputs: &mut Select<'a>) -> Duration {
        self.pace.listen(&self.work, inputs)
    }

    /// Sends what the ledger has for reactors.
    fn deliver(&mut self) {
        // Before the first commit, no answer is cancelled.
        let epoch = self.epoch.known().unwrap_or(Epoch(0));
        stream_orders::deliver(&mut self.out, &self.counters, &self.answers, epoch);
    }

    /// Sets the gauges, which have the sums of all workers.
    fn observe(&mut self) {
        let window_ms = u64::try_from(self.ledger.window().as_millis()).unwrap_or(u64::MAX);
        let (open, bytes) = (self.ledger.open_streams() as u64, self.ledger.bytes() as u64);
        change(&self.counters.open, self.shown.open, open);
        change(&self.counters.memory_bytes, self.shown.bytes, bytes);
        if window_ms != self.shown.window_ms {
            self.counters.window_ms.store(window_ms, Ordering::Relaxed);
        }
        self.shown = Gauges { open, bytes, window_ms };
    }
}

/// Replaces one worker's share of a sum.
fn change(cell: &AtomicU64, before: u64, now: u64) {
    if now >= before {
        cell.fetch_add(now - before, Ordering::Relaxed);
    } else {
        cell.fetch_sub(before - now, Ordering::Relaxed);
    }
}
