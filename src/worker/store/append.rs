//! The one thread that writes: batches of appends, and retention between them.
//!
//! A batch is what arrived while the last commit ran. Nobody waits for a timer: an idle store commits the
//! first append at once, a busy one shares each sync between as many as came.

use super::checkpoint::{GROWN_BYTES, Grown};
use super::sqlite::batch::{Outcome, change_of};
use super::sqlite::connection::Checkpoint;
use super::sqlite::log::{BatchFault, Log, RETRY_MS};
use super::sqlite::retention::{Duty, Rest, Slice};
use super::wall::WallClock;
use crate::job::{Append, AppendError, Appended, Attempt, Completion, Live, Mailbox, Offered};
use crate::limits::{APPEND_BATCH_BYTES_MAX, APPEND_BATCH_MAX};
use crate::metrics::store::{StoreCounters, add, bump};
use crate::wire::publication::{Published, Stored};
use crate::wire::push;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
    mailboxes: Arc<[Mailbox]>,
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
        mailboxes: Arc<[Mailbox]>,
        counters: Arc<StoreCounters>,
        checkpoints: Checkpoints,
    ) -> AppendWorker {
        let now = monotonic();
        AppendWorker {
            log,
            clock,
            jobs,
            mailboxes,
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
        let outcomes = match catch_unwind(AssertUnwindSafe(|| log.append(batch, clock.unix_ms()))) {
            Ok(Ok(outcomes)) => {
                self.writes_work();
                outcomes
            }
            Ok(Err(BatchFault::NotStored(error))) => {
                self.writes_fail(&error);
                refuse_all(batch, &AppendError::Unavailable { retry_ms: RETRY_MS })
            }
            Ok(Err(BatchFault::Unknown(error))) => {
                self.writes_fail(&error);
                refuse_all(batch, &AppendError::Unconfirmed { retry_ms: RETRY_MS })
            }
            Err(_) => {
                self.log.close();
                self.writes_fail(&"the append thread panicked");
                refuse_all(batch, &AppendError::Unconfirmed { retry_ms: RETRY_MS })
            }
        };
        bump(&self.counters.batches);
        add(&self.counters.batched, batch.len() as u64);
        self.counters.commit_latency.record(begun.elapsed());
        self.tell(batch, outcomes);
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

    /// Answers and announces, then wakes each reactor once.
    fn tell(&self, batch: &[Append], outcomes: Vec<Outcome>) {
        let published = catch_unwind(|| publish(batch, &outcomes)).unwrap_or_else(|_| {
            // Subscribers see the gap with the next beat; the acknowledgements below are true.
            tracing::error!("announcing a batch panicked");
            Arc::from([])
        });
        for (job, outcome) in batch.iter().zip(outcomes) {
            count(&self.counters, &outcome);
            if let Some(mailbox) = self.mailboxes.get(usize::from(job.ticket.reactor.0)) {
                mailbox.answer(Completion::Appended { ticket: job.ticket, outcome });
            }
        }
        if !published.is_empty() {
            for mailbox in self.mailboxes.iter() {
                match mailbox.offer(Live::Published(Arc::clone(&published))) {
                    Offered::Taken => bump(&self.counters.live_offered),
                    Offered::Missed => bump(&self.counters.live_missed),
                }
            }
        }
        for mailbox in self.mailboxes.iter() {
            if let Err(error) = mailbox.ring() {
                tracing::error!(%error, "a reactor could not be woken");
            }
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

fn refuse_all(batch: &[Append], error: &AppendError) -> Vec<Outcome> {
    batch.iter().map(|_| Err(error.clone())).collect()
}

/// Encodes what a batch stored: each publication once, for all reactors.
fn publish(batch: &[Append], outcomes: &[Outcome]) -> Arc<[Published]> {
    let mut frame = Vec::new();
    batch
        .iter()
        .zip(outcomes)
        .filter_map(|(job, outcome)| match outcome {
            Ok(Appended { offset, time_ms, attempt: Attempt::First, .. }) => {
                frame.clear();
                let change = change_of(job.change);
                let stored = Stored {
                    offset: *offset,
                    key: job.key.as_ref().map(|key| key.as_str()),
                    user: job.user.as_str(),
                    time_ms: *time_ms,
                    change,
                    deleted_by: None,
                    data: &job.data,
                };
                push::publication(&mut frame, &job.channel, &stored);
                let (channel, frame) = (job.channel.clone(), Arc::from(frame.as_slice()));
                Some(Published { channel, offset: *offset, change, frame })
            }
            Ok(Appended { attempt: Attempt::Repeat, .. }) | Err(_) => None,
        })
        .collect()
}

fn count(counters: &StoreCounters, outcome: &Outcome) {
    bump(cell(counters, outcome));
}

fn cell<'a>(counters: &'a StoreCounters, outcome: &Outcome) -> &'a AtomicU64 {
    match outcome {
        Ok(Appended { attempt: Attempt::First, .. }) => &counters.appends,
        Ok(Appended { attempt: Attempt::Repeat, .. }) => &counters.duplicates,
        Err(AppendError::KeyConflict) => &counters.refused_key_conflict,
        Err(AppendError::NotFound) => &counters.refused_not_found,
        Err(AppendError::NotAuthor) => &counters.refused_not_author,
        Err(AppendError::TooManyChannels) => &counters.refused_too_many_channels,
        Err(AppendError::Unavailable { .. }) => &counters.unavailable,
        Err(AppendError::Unconfirmed { .. }) => &counters.unconfirmed,
    }
}

#[allow(clippy::disallowed_methods, reason = "workers own the time of their own waits")]
fn monotonic() -> Instant {
    Instant::now()
}
