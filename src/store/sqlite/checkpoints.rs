//! The append thread's part in checkpoints: it says when the log has grown, and restarts it between two batches.

use super::checkpoint::{GROWN_BYTES, Grown, WalSignals};
use super::connection::Checkpoint;
use super::log::Log;
use crate::job::Append;
use crate::metrics::store::{StoreCounters, bump};
use crossbeam_channel::Sender;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The pause before retrying a restart of the write-ahead log that a reader blocked: a backup may take long, and appends wait
/// for each attempt.
const RESTART_PAUSE: Duration = Duration::from_secs(5);

/// The bytes of pages that even a small publication changes.
const PAGES_BYTES: usize = 4_096;

/// The signals between the append thread and the checkpoint thread.
#[derive(Debug)]
pub(super) struct Checkpoints {
    /// To the checkpoint thread: the log has grown.
    grown: Sender<Grown>,
    pub(super) signals: Arc<WalSignals>,
    /// About how many bytes were written since the checkpoint thread was last notified.
    written: usize,
    restart_after: Instant,
}

impl Checkpoints {
    pub(super) fn new(grown: Sender<Grown>, signals: Arc<WalSignals>) -> Checkpoints {
        Checkpoints { grown, signals, written: 0, restart_after: monotonic() }
    }

    /// Notifies the checkpoint thread when enough was written. Each publication changes a page or two; `more`: bytes besides.
    pub(super) fn note_growth(&mut self, batch: &[Append], more: usize) {
        self.written += more + batch.iter().map(|job| PAGES_BYTES + job.data.len()).sum::<usize>();
        if self.written >= GROWN_BYTES {
            self.written = 0;
            // Full: a notification is waiting already.
            let _ = self.grown.try_send(Grown);
        }
    }

    /// Restarts or empties the write-ahead log if the checkpoint thread ordered it.
    pub(super) fn tidy(&mut self, log: &mut Log, counters: &StoreCounters) {
        let Some(order) = self.signals.order() else { return };
        if monotonic() < self.restart_after {
            self.postpone(order);
        } else {
            match log.checkpoint(order) {
                Ok(size) if !size.blocked => bump(&counters.checkpoints),
                Ok(_) => self.failed(order, &"a reader is in the way", counters),
                Err(error) => self.failed(order, &error, counters),
            }
        }
        self.signals.done();
    }

    fn failed(&mut self, order: Checkpoint, cause: &dyn std::fmt::Display, counters: &StoreCounters) {
        tracing::debug!(%cause, "restart of the write-ahead log failed");
        bump(&counters.checkpoint_failures);
        self.restart_after = monotonic() + RESTART_PAUSE;
        self.postpone(order);
    }

    fn postpone(&self, order: Checkpoint) {
        if order == Checkpoint::Truncate {
            self.signals.note_erased();
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "workers own the time of their own waits")]
fn monotonic() -> Instant {
    Instant::now()
}
