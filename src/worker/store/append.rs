//! The one thread that writes: batches of appends, and retention between them.
//!
//! A batch is what arrived while the last commit ran. Nobody waits for a timer: an idle store commits the
//! first append at once, a busy one shares each sync between as many as came.

use super::checkpoint::{GROWN_BYTES, Grown};
use super::sqlite::connection::Checkpoint;
use super::sqlite::log::{BatchFault, Log, RETRY_MS};
use super::sqlite::retention::{Duty, Rest, Slice};
use super::tell::Voice;
use super::wall::WallClock;
use crate::job::{Append, AppendError};
use crate::limits::{APPEND_BATCH_BYTES_MAX, APPEND_BATCH_MAX};
use crate::metrics::store::{StoreCounters, add, bump};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Between two rounds of retention.
const ROUND_PERIOD: Duration = Duration::from_secs(1);
/// A restart of the write-ahead log that a reader blocked is tried again after this: a backup may take long,
/// and appends wait for each try.
const RESTART_PAUSE: Duration = Duration::from_secs(5);

/// Pages that a small publication changes, at least.
const PAGES_BYTES: usize = 4_096;

/// The append thread.
pub(super) struct AppendWorker {
    log: Log,
    clock: WallClock,
    jobs: Receiver<Append>,
    voice: Voice,
    counters: Arc<StoreCounters>,
    checkpoints: Checkpoints,
    /// About the bytes written since the checkpoint thread was last told.
    grown: usize,
    restart_after: Instant,
    /// Duties left in this round of retention; each gets a slice in turn.
    round: VecDeque<Duty>,
    next_round: Instant,
    writes: Writes,
}

/// What the append worker and the checkpoint thread tell each other.
#[derive(Debug)]
pub(super) struct Checkpoints {
    /// The log has grown.
    pub(super) grown: Sender<Grown>,
    /// The checkpoint thread wants the log to start again, and stays away until that is done.
    pub(super) restart_wanted: Arc<AtomicBool>,
}

/// What the last attempt to write found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writes {
    Work,
    Fail,
}

impl AppendWorker {
    /// It ends when all senders of `jobs` are gone.
    pub(super) fn new(
        log: Log,
        clock: WallClock,
        jobs: Receiver<Append>,
        voice: Voice,
        counters: Arc<StoreCounters>,
        checkpoints: Checkpoints,
    ) -> AppendWorker {
        let now = monotonic();
        AppendWorker {
            log,
            clock,
            jobs,
            voice,
            counters,
            checkpoints,
            grown: 0,
            restart_after: now,
            round: VecDeque::new(),
            next_round: now + ROUND_PERIOD,
            writes: Writes::Work,
        }
    }

    /// Until all senders are gone; what they sent is committed and answered by then.
    pub(super) fn run(mut self) -> Log {
        loop {
            match self.jobs.recv_timeout(self.patience()) {
                Ok(first) => {
                    let batch = self.gather(first);
                    self.commit(&batch);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.log,
            }
            self.begin_round();
            self.retain();
            self.restart_wal();
        }
    }

    /// Retention that is under way goes on as soon as no append waits.
    fn patience(&self) -> Duration {
        if self.round.is_empty() {
            self.next_round.saturating_duration_since(monotonic())
        } else {
            Duration::ZERO
        }
    }

    /// Takes what waits already. The bound in bytes is passed by less than one publication.
    fn gather(&self, first: Append) -> Vec<Append> {
        let mut bytes = first.data.len();
        let mut batch = vec![first];
        while batch.len() < APPEND_BATCH_MAX
            && bytes < APPEND_BATCH_BYTES_MAX
            && let Ok(job) = self.jobs.try_recv()
        {
            bytes += job.data.len();
            batch.push(job);
        }
        batch
    }

    fn commit(&mut self, batch: &[Append]) {
        let begun = monotonic();
        let (log, clock) = (&mut self.log, &self.clock);
        let result = match catch_unwind(AssertUnwindSafe(|| log.append(batch, clock.unix_ms()))) {
            Ok(Ok(outcomes)) => {
                self.writes_work();
                Ok(outcomes)
            }
            Ok(Err(BatchFault::NotStored(error))) => {
                self.writes_fail(&error);
                Err(AppendError::Unavailable { retry_ms: RETRY_MS })
            }
            Ok(Err(BatchFault::Unknown(error))) => {
                self.writes_fail(&error);
                Err(AppendError::Unconfirmed { retry_ms: RETRY_MS })
            }
            Err(_) => {
                self.log.close();
                self.writes_fail(&"the append thread panicked");
                Err(AppendError::Unconfirmed { retry_ms: RETRY_MS })
            }
        };
        bump(&self.counters.batches);
        add(&self.counters.batched, batch.len() as u64);
        self.counters.commit_latency.record(begun.elapsed());
        match result {
            Ok(outcomes) => self.voice.settled(batch, outcomes),
            Err(error) => self.voice.refuse(batch, &error),
        }
        self.note_growth(batch);
    }

    /// Has the checkpoint thread look when enough was written. Each publication changes a page or two.
    fn note_growth(&mut self, batch: &[Append]) {
        self.grown += batch.iter().map(|job| PAGES_BYTES + job.data.len()).sum::<usize>();
        if self.grown >= GROWN_BYTES {
            self.grown = 0;
            // One that is waiting already will do.
            let _ = self.checkpoints.grown.try_send(Grown);
        }
    }

    /// Begins a round of retention when it is time. While writes fail it asks the store whether they still
    /// do, so that an idle gateway notices that the disk has room again.
    fn begin_round(&mut self) {
        if !self.round.is_empty() || monotonic() < self.next_round {
            return;
        }
        self.next_round = monotonic() + ROUND_PERIOD;
        if self.writes == Writes::Fail {
            match self.log.probe() {
                Ok(()) => self.writes_work(),
                Err(BatchFault::NotStored(error) | BatchFault::Unknown(error)) => {
                    return self.writes_fail(&error);
                }
            }
        }
        self.round.extend([Duty::Number, Duty::Age, Duty::Keys]);
    }

    /// One slice of the round, if one is under way.
    fn retain(&mut self) {
        let Some(duty) = self.round.pop_front() else { return };
        let (log, clock) = (&mut self.log, &self.clock);
        match catch_unwind(AssertUnwindSafe(|| log.retain(duty, clock.unix_ms()))) {
            Ok(Ok(Slice { publications, keys, rest })) => {
                add(&self.counters.retention_deletes, publications);
                add(&self.counters.keys_forgotten, keys);
                if rest == Rest::Some {
                    self.round.push_back(duty);
                }
            }
            Ok(Err(BatchFault::NotStored(error) | BatchFault::Unknown(error))) => {
                self.retention_failed(&error);
            }
            Err(_) => {
                self.log.close();
                self.retention_failed(&"retention panicked");
            }
        }
    }

    fn retention_failed(&mut self, cause: &dyn std::fmt::Display) {
        bump(&self.counters.retention_failures);
        self.round.clear();
        self.writes_fail(cause);
    }

    /// Lets the write-ahead log start again, if the checkpoint thread asked for it. That thread stays away
    /// until the flag is down.
    fn restart_wal(&mut self) {
        if !self.checkpoints.restart_wanted.load(Ordering::Acquire) {
            return;
        }
        if monotonic() >= self.restart_after {
            match self.log.checkpoint(Checkpoint::Restart) {
                Ok(size) if !size.blocked => bump(&self.counters.checkpoints),
                Ok(_) => self.restart_failed(&"a reader is in the way"),
                Err(error) => self.restart_failed(&error),
            }
        }
        self.checkpoints.restart_wanted.store(false, Ordering::Release);
    }

    fn restart_failed(&mut self, cause: &dyn std::fmt::Display) {
        tracing::debug!(%cause, "the write-ahead log could not start again");
        bump(&self.counters.checkpoint_failures);
        self.restart_after = monotonic() + RESTART_PAUSE;
    }

    fn writes_work(&mut self) {
        if self.writes == Writes::Fail {
            tracing::info!("the store takes writes again");
        }
        self.writes = Writes::Work;
        self.counters.failing.store(0, Ordering::Relaxed);
    }

    /// Logged once an outage, counted each time.
    fn writes_fail(&mut self, cause: &dyn std::fmt::Display) {
        if self.writes == Writes::Work {
            tracing::error!(%cause, "the store does not take writes");
        }
        self.writes = Writes::Fail;
        self.counters.failing.store(1, Ordering::Relaxed);
    }
}

#[allow(clippy::disallowed_methods, reason = "workers own the time of their own waits")]
fn monotonic() -> Instant {
    Instant::now()
}
