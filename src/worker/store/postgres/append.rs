//! A thread that commits batches of appends.
//!
//! A batch whose connection dies is in doubt. Its appends with a key are repeated under that key over the next
//! connection, which stores them or finds them stored; the others, and those whose time is up, are answered
//! `unconfirmed`. While there is no connection, what arrives is refused at once.

use super::batch::{self, Settled};
use super::connection::{Connection, jittered, monotonic};
use super::epoch::KnownEpoch;
use super::fault::{CallFault, Fate};
use super::route::Waiting;
use super::trial::Trials;
use crate::id::ChannelName;
use crate::job::{Append, AppendChange, AppendError, Appended, Attempt};
use crate::limits::{APPEND_BATCH_BYTES_MAX, APPEND_BATCH_MAX, REPLY_TIMEOUT};
use crate::metrics::store::{StoreCounters, add, bump};
use crate::worker::store::sqlite::batch::Outcome;
use crate::worker::store::sqlite::log::RETRY_MS;
use crate::worker::store::tell::Voice;
use crate::worker::store::wall::WallClock;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A batch that met a deadlock or the like is tried so often again.
const RETRIES: u32 = 3;
/// Before the first of these; each further one waits longer.
const RETRY_PAUSE: Duration = Duration::from_millis(5);
/// From its arrival, an append in doubt is repeated until this: the rest is for the answer's way.
const DOUBT_MAX: Duration = Duration::from_millis(4_200);
const _: () = assert!(DOUBT_MAX.as_millis() < REPLY_TIMEOUT.as_millis());

/// An append thread.
pub(super) struct AppendWorker {
    pub(super) connection: Connection,
    pub(super) clock: WallClock,
    pub(super) jobs: Receiver<Waiting>,
    pub(super) voice: Voice,
    pub(super) counters: Arc<StoreCounters>,
    pub(super) channels_max: u64,
    /// Publications a channel may hold; 0 is no bound.
    pub(super) publications: u64,
    /// To retention: channels that hold more.
    pub(super) overfull: Sender<ChannelName>,
    /// By which answers are known to be of the same logs.
    pub(super) epoch: Arc<KnownEpoch>,
    /// Appends whose commit is not known.
    pub(super) doubt: Vec<Waiting>,
    /// After one that found no room.
    pub(super) trials: Trials,
}

impl AppendWorker {
    /// Until all senders are gone; what they sent is answered by then.
    pub(super) fn run(mut self) {
        loop {
            self.connect();
            self.settle_doubt();
            self.trials.advance(&mut self.connection);
            let up = self.connection.is_up() && !self.epoch.is_replaced();
            match self.jobs.recv_timeout(self.patience()) {
                Ok(first) if up => {
                    let batch = self.gather(first);
                    self.commit(batch);
                }
                Ok(waiting) => self.voice.unavailable(&[waiting]),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        while !self.doubt.is_empty() {
            self.connect();
            self.settle_doubt();
            self.connection.pause(Duration::from_millis(20));
        }
    }

    fn patience(&self) -> Duration {
        let oldest = self.doubt.iter().map(|waiting| waiting.since).min();
        let doubt = oldest.map_or(Duration::MAX, |since| DOUBT_MAX.saturating_sub(since.elapsed()));
        let trial = if self.connection.is_up() { self.trials.patience() } else { Duration::MAX };
        self.connection.patience().min(doubt).min(trial)
    }

    /// Sees to the connection. Meanwhile what comes is refused, and what is in doubt for too long given up.
    fn connect(&mut self) {
        let was_up = self.connection.is_up();
        let (jobs, voice, doubt) = (&self.jobs, &self.voice, &mut self.doubt);
        let result = self.connection.advance(|| {
            voice.unavailable(&jobs.try_iter().collect::<Vec<_>>());
            give_up_late(doubt, voice);
        });
        match result {
            Ok(()) if !was_up && self.connection.is_up() => self.counters.failing.store(0, Ordering::Relaxed),
            Ok(()) => {}
            Err(_) => self.counters.failing.store(1, Ordering::Relaxed),
        }
    }

    /// Takes what waits already. The bound in bytes is passed by less than one publication.
    fn gather(&self, first: Waiting) -> Vec<Waiting> {
        let mut bytes = first.job.data.len();
        let mut batch = vec![first];
        while batch.len() < APPEND_BATCH_MAX
            && bytes < APPEND_BATCH_BYTES_MAX
            && let Ok(waiting) = self.jobs.try_recv()
        {
            bytes += waiting.job.data.len();
            batch.push(waiting);
        }
        batch
    }

    /// Commits a batch. Appends whose reactor has answered already are left out: a publication that appears
    /// long after its author was told of a failure helps nobody.
    fn commit(&mut self, batch: Vec<Waiting>) {
        let now = monotonic();
        let (batch, late): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|waiting| now.duration_since(waiting.since) < REPLY_TIMEOUT);
        self.voice.unavailable(&late);
        if !batch.is_empty() {
            self.attempt(batch);
        }
    }

    /// Repeats what is in doubt when there is a connection, and gives up what took too long.
    fn settle_doubt(&mut self) {
        give_up_late(&mut self.doubt, &self.voice);
        if self.connection.is_up() && !self.doubt.is_empty() {
            let batch = std::mem::take(&mut self.doubt);
            self.attempt(batch);
        }
    }

    fn attempt(&mut self, batch: Vec<Waiting>) {
        let begun = monotonic();
        let result = self.store(&batch);
        bump(&self.counters.batches);
        add(&self.counters.batched, batch.len() as u64);
        let took = begun.elapsed();
        self.counters.commit_latency.record(took);
        match &result {
            Ok(_) => self.connection.wrote(Ok(()), took),
            Err(fault) if fault.fate == Fate::OfTheData => {}
            Err(fault) => {
                self.trials.failed(&fault.cause);
                self.connection.wrote(Err(fault.cause.clone()), took);
            }
        }
        match result {
            Ok(settled) if self.is_of_other_logs(&settled) => unconfirmed(&self.voice, &batch),
            Ok(settled) => {
                self.counters.failing.store(0, Ordering::Relaxed);
                self.note_overfull(&batch, &settled);
                let outcomes = batch.iter().zip(settled).map(|(waiting, settled)| told_of(waiting, settled));
                self.voice.settled(&batch, outcomes.collect());
            }
            Err(fault) if batch.len() > 1 && fault.fate == Fate::OfTheData => self.halve(batch),
            Err(fault) if fault.is_held_up() && is_mixed(&batch) => self.apart(batch),
            Err(fault) => self.failed(batch, &fault),
        }
    }

    /// Stored, but in logs that this process does not know: what it would announce has offsets that mean something else here.
    fn is_of_other_logs(&self, settled: &[Settled]) -> bool {
        let mut epochs =
            settled.iter().filter_map(|settled| settled.outcome.as_ref().ok()).map(|it| it.epoch);
        epochs.any(|epoch| self.epoch.meet(epoch).is_err())
    }

    /// Something in the batch takes too long or waits for a lock. What is new goes first and alone: a change of one publication may
    /// touch many rows, and must not be everybody's failure.
    fn apart(&mut self, batch: Vec<Waiting>) {
        let (new, changes) = batch.into_iter().partition(is_new);
        self.attempt(new);
        if self.connection.is_up() {
            self.attempt(changes);
        } else {
            self.not_done(changes);
        }
    }

    fn store(&mut self, batch: &[Waiting]) -> Result<Vec<Settled>, CallFault> {
        let jobs: Vec<&Append> = batch.iter().map(|waiting| &waiting.job).collect();
        let mut tried = 0;
        loop {
            let now_ms = self.clock.unix_ms();
            let (connection, channels_max) = (&mut self.connection, self.channels_max);
            let attempt = AssertUnwindSafe(|| batch::commit(connection, &jobs, now_ms, channels_max));
            match catch_unwind(attempt).unwrap_or_else(|_| Err(CallFault::panicked())) {
                Err(fault) if fault.fate == Fate::Again && tried < RETRIES => {
                    tried += 1;
                    self.connection.pause(jittered(RETRY_PAUSE * tried * tried));
                }
                Ok(settled) if settled.len() != jobs.len() => {
                    let fault = CallFault::incomplete();
                    self.connection.drop_link(&fault);
                    return Err(fault);
                }
                Err(fault) if fault.fate == Fate::Unknown => {
                    self.connection.drop_link(&fault);
                    return Err(fault);
                }
                other => return other,
            }
        }
    }

    /// One append of the batch is at fault: the halves find it, and only it is refused.
    fn halve(&mut self, mut batch: Vec<Waiting>) {
        let rest = batch.split_off(batch.len() / 2);
        self.attempt(batch);
        if self.connection.is_up() {
            self.attempt(rest);
        } else {
            self.not_done(rest);
        }
    }

    fn failed(&mut self, batch: Vec<Waiting>, fault: &CallFault) {
        match fault.fate {
            Fate::OfTheData => {
                tracing::warn!(cause = %fault.cause.text, "one append failed by itself");
                let (doubtful, fresh): (Vec<_>, Vec<_>) =
                    batch.into_iter().partition(|waiting| waiting.doubtful);
                unconfirmed(&self.voice, &doubtful);
                self.not_done(fresh);
            }
            Fate::NotDone | Fate::Again => {
                if self.counters.failing.swap(1, Ordering::Relaxed) == 0 {
                    tracing::error!(cause = %fault.cause.text, look_at = fault.cause.look_at, "the store does not take writes");
                }
                self.not_done(batch);
            }
            Fate::Unknown => {
                let (keyed, bare): (Vec<_>, Vec<_>) =
                    batch.into_iter().partition(|waiting| waiting.job.key.is_some());
                unconfirmed(&self.voice, &bare);
                self.doubt.extend(keyed.into_iter().map(|waiting| Waiting { doubtful: true, ..waiting }));
            }
        }
    }

    /// This attempt certainly stored nothing of these. Where an earlier one may have, the doubt remains.
    fn not_done(&mut self, batch: Vec<Waiting>) {
        let (doubtful, fresh): (Vec<_>, Vec<_>) = batch.into_iter().partition(|waiting| waiting.doubtful);
        self.doubt.extend(doubtful);
        self.voice.unavailable(&fresh);
    }

    fn note_overfull(&self, batch: &[Waiting], settled: &[Settled]) {
        if self.publications == 0 {
            return;
        }
        for (waiting, settled) in batch.iter().zip(settled) {
            if settled.retained > self.publications {
                // A note that is lost is made again by the next append.
                let _ = self.overfull.try_send(waiting.job.channel.clone());
            }
        }
    }
}

fn is_new(waiting: &Waiting) -> bool {
    match waiting.job.change {
        AppendChange::Original => true,
        AppendChange::Edit(..) | AppendChange::Delete(..) => false,
    }
}

fn is_mixed(batch: &[Waiting]) -> bool {
    batch.iter().any(is_new) && !batch.iter().all(is_new)
}

/// What to tell of an append. One whose first attempt was in doubt and turns out to be stored is the first of its key to its
/// author, and nobody has announced it: subscribers that know it already drop it by its offset.
fn told_of(waiting: &Waiting, settled: Settled) -> Outcome {
    settled.outcome.map(|appended| match waiting.doubtful {
        true => Appended { attempt: Attempt::First, ..appended },
        false => appended,
    })
}

/// Answers those appends in doubt whose time is up.
fn give_up_late(doubt: &mut Vec<Waiting>, voice: &Voice) {
    if !doubt.is_empty() {
        let late: Vec<_> = doubt.extract_if(.., |waiting| waiting.since.elapsed() >= DOUBT_MAX).collect();
        unconfirmed(voice, &late);
    }
}

fn unconfirmed(voice: &Voice, batch: &[Waiting]) {
    voice.refuse(batch, &AppendError::Unconfirmed { retry_ms: RETRY_MS });
}
