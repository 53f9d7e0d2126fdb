//! The threads that commit batches of appends.
//!
//! A batch whose connection dies is in doubt. Its appends with a key are repeated under that key over the next connection,
//! which stores them or finds them stored. The others, and those whose time is up, are answered `unconfirmed`. While there is
//! no connection, arriving appends are refused at once; one that ended while it was idle is replaced first.

use super::batch::{self, AppendBounds, ChannelAge, SettledAppend, announced};
use super::connection::{FIRST_PATIENCE, StoreConnection};
use super::epoch::KnownEpoch;
use super::failed_writes::FailedWrites;
use super::fault::{CallFault, Fate};
use super::known_heads::KnownHeads;
use super::known_logs::KnownLogs;
use super::presence::Presence;
use super::relay::Relayed;
use super::route::Waiting;
use super::stream_writer::SharedStreamWriter;
use super::timing::{jittered, monotonic, pause};
use super::trial::{TrialCalls, Writers};
use crate::auth::account::ChannelCharge;
use crate::hub::Contradiction;
use crate::id::ChannelName;
use crate::job::{Append, AppendChange, AppendError, Appended, Attempt};
use crate::limits::{APPEND_BATCH_BYTES_MAX, APPEND_BATCH_MAX, REPLY_TIMEOUT};
use crate::metrics::store::{StoreCounters, add, bump};
use crate::relay::route::RouteTable;
use crate::store::answers::{Answers, CommittedStreams};
use crate::store::outcome::{RETRY_MS, charge};
use crate::store::wall_clock::WallClock;
use crate::store::{RelayEnds, Retention};
use crossbeam_channel::{Receiver, RecvTimeoutError, Select, Sender, TryRecvError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often a batch is retried after a deadlock or a similar fault.
const RETRIES: u32 = 3;
/// The pause before the first retry; each further one waits longer.
const RETRY_PAUSE: Duration = Duration::from_millis(5);
/// An append in doubt is repeated until this long after its arrival; the rest of the time is for delivering the answer.
const DOUBT_MAX: Duration = Duration::from_millis(4_200);
const _: () = assert!(DOUBT_MAX.as_millis() < REPLY_TIMEOUT.as_millis());

pub(super) struct PostgresAppender {
    pub(super) connection: StoreConnection,
    pub(super) clock: WallClock,
    pub(super) jobs: Receiver<Waiting>,
    pub(super) answers: Answers,
    pub(super) counters: Arc<StoreCounters>,
    pub(super) bounds: AppendBounds,
    /// The publications that channels may hold.
    pub(super) retention: Retention,
    /// To retention: channels that hold more.
    pub(super) overfull: Sender<ChannelName>,
    /// The epoch by which answers are known to come from the same logs.
    pub(super) epoch: Arc<KnownEpoch>,
    /// The offsets that were acknowledged.
    pub(super) heads: KnownHeads,
    /// Appends whose commit is unknown.
    pub(super) doubt: Vec<Waiting>,
    pub(super) failed_writes: Arc<FailedWrites>,
    /// Trial calls during an outage.
    pub(super) trials: TrialCalls,
    /// This worker among the `writers`.
    pub(super) presence: Presence,
    /// The number of append workers.
    pub(super) writers: usize,
    pub(super) streams: SharedStreamWriter,
    pub(super) relay: RelayEnds,
}

impl PostgresAppender {
    /// Runs until all senders are gone. What they sent is answered by then.
    pub(super) fn run(mut self) {
        loop {
            self.connect();
            self.settle_doubt();
            match self.epoch.loss() {
                Some(cause) => self.trials.refuse(&self.connection, &cause),
                None if self.presence.is_of(self.writers) => {
                    self.trials.advance(&mut self.connection, Writers::All);
                }
                None => self.trials.advance(&mut self.connection, Writers::NotAll),
            }
            let arrived = self.next_append();
            if self.connection.is_idle() {
                self.connect();
            }
            self.streams.take_work(&mut self.connection);
            match arrived {
                Ok(first) if self.takes_writes() => {
                    let batch = self.gather(first);
                    self.commit(batch);
                }
                Ok(waiting) => self.refuse(waiting),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let (streams, connection, mut logs) = self.streams();
            streams.tend(connection, &mut logs);
        }
        let (streams, connection, mut logs) = self.streams();
        streams.finish(connection, &mut logs);
        while !self.doubt.is_empty() {
            self.connect();
            self.settle_doubt();
            pause(Duration::from_millis(20));
        }
    }

    /// Waits for an append, until a command about a stream arrives, or other work is due.
    fn next_append(&mut self) -> Result<Waiting, RecvTimeoutError> {
        let append = match self.jobs.try_recv() {
            Err(TryRecvError::Empty) => {
                let mut inputs = Select::new_biased();
                inputs.recv(&self.jobs);
                let rest = self.streams.listen(&mut inputs);
                let _ = inputs.ready_timeout(self.patience().min(rest));
                self.streams.forget_lost_queue();
                self.jobs.try_recv()
            }
            append => append,
        };
        append.map_err(|error| match error {
            TryRecvError::Empty => RecvTimeoutError::Timeout,
            TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
        })
    }

    fn streams(&mut self) -> (&mut SharedStreamWriter, &mut StoreConnection, KnownLogs<'_>) {
        let PostgresAppender { epoch, heads, counters, clock, streams, connection, .. } = self;
        (streams, connection, KnownLogs { epoch, heads, counters, clock })
    }

    fn takes_writes(&self) -> bool {
        self.connection.is_up() && !self.epoch.is_replaced() && self.epoch.loss().is_none()
    }

    fn patience(&self) -> Duration {
        let oldest = self.doubt.iter().map(|waiting| waiting.since).min();
        let doubt = oldest.map_or(Duration::MAX, |since| DOUBT_MAX.saturating_sub(since.elapsed()));
        let trial = if self.connection.is_up() { self.trials.patience() } else { Duration::MAX };
        // Without a connection, streams wait for one.
        let streams = if self.takes_writes() { self.streams.patience() } else { Duration::MAX };
        self.connection.patience().min(doubt).min(trial).min(streams)
    }

    /// Refuses an append, because there is no connection or publications were lost. To its author that is a failed call, so it counts as one.
    fn refuse(&mut self, waiting: Waiting) {
        if let Some(cause) = self.epoch.loss().as_ref().or(self.connection.refusal()) {
            self.connection.wrote(Err(cause.clone()), Duration::ZERO);
        }
        self.answers.unavailable(&[waiting]);
    }

    /// Maintains the connection. Meanwhile, refuses arriving appends and gives up those in doubt for too long. A failed try to
    /// connect counts as a failed call, because it fails the calls of the channels that this worker serves.
    fn connect(&mut self) {
        let was_up = self.connection.is_up();
        if !was_up {
            self.presence.leave();
        }
        let begun = monotonic();
        let (jobs, answers, doubt) = (&self.jobs, &self.answers, &mut self.doubt);
        let presence = &mut self.presence;
        let result = self.connection.advance(|| {
            // It dials, so the connection it had is lost.
            presence.leave();
            // The end of an idle connection says nothing about the next one.
            if !was_up || begun.elapsed() >= FIRST_PATIENCE {
                answers.unavailable(&jobs.try_iter().collect::<Vec<_>>());
            }
            give_up_late(doubt, answers);
        });
        if self.connection.is_up() {
            self.presence.arrive();
        }
        match result {
            Ok(()) if !was_up && self.connection.is_up() => self.counters.failing.store(0, Ordering::Relaxed),
            Ok(()) => {}
            Err(refusal) => {
                self.counters.failing.store(1, Ordering::Relaxed);
                self.connection.wrote(Err(refusal.cause()), begun.elapsed());
            }
        }
    }

    /// Collects the appends that wait already. The batch exceeds its bound in bytes by less than one publication.
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

    /// Commits a batch without the appends that the reactor has already answered: a publication must not appear long after its
    /// author was notified of a failure.
    fn commit(&mut self, batch: Vec<Waiting>) {
        let now = monotonic();
        let (batch, late): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|waiting| now.duration_since(waiting.since) < REPLY_TIMEOUT);
        self.answers.unavailable(&late);
        let routes = self.relay.table();
        let batch = self.charge(self.streams.admit(batch, routes.as_ref()));
        if !batch.is_empty() {
            self.attempt(batch);
        }
    }

    /// Counts the channel of each append against its user's share: it may be new. Refuses those whose user may create none,
    /// unless their channel exists.
    fn charge(&mut self, mut batch: Vec<Waiting>) -> Vec<Waiting> {
        let mut refused = Vec::new();
        for (at, waiting) in batch.iter_mut().enumerate().filter(|(_, waiting)| is_new(waiting)) {
            match charge(&waiting.job.creation) {
                Ok(charged) => waiting.charge = charged,
                Err(error) => refused.push((at, error)),
            }
        }
        if refused.is_empty() {
            return batch;
        }
        let names: Vec<&str> = refused.iter().map(|(at, _)| batch[*at].job.channel.as_str()).collect();
        let existing = batch::existing(&mut self.connection, &names);
        if let Err(fault) = &existing
            && fault.fate == Fate::Unknown
        {
            self.connection.drop_link(fault);
        }
        let mut refused = refused.into_iter().peekable();
        let mut stay = Vec::with_capacity(batch.len());
        for (at, waiting) in batch.into_iter().enumerate() {
            match (refused.next_if(|(refused, _)| *refused == at), &existing) {
                (None, _) => stay.push(waiting),
                (Some(_), Ok(names)) if names.contains(waiting.job.channel.as_str()) => stay.push(waiting),
                (Some((_, error)), Ok(_)) => self.answers.refuse(&[waiting], &error),
                (Some(_), Err(_)) => self.answers.unavailable(&[waiting]),
            }
        }
        stay
    }

    /// Repeats appends in doubt if there is a connection, and gives up the ones that took too long.
    fn settle_doubt(&mut self) {
        give_up_late(&mut self.doubt, &self.answers);
        if self.connection.is_up() && !self.doubt.is_empty() && self.epoch.loss().is_none() {
            let batch = std::mem::take(&mut self.doubt);
            self.attempt(batch);
        }
    }

    fn attempt(&mut self, mut batch: Vec<Waiting>) {
        let begun = monotonic();
        let routes = self.relay.table();
        let result = self.store(&batch, routes.as_ref());
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
            Ok(settled) if self.is_of_other_logs(&settled) || self.has_gone_back(&batch, &settled) => {
                unconfirmed(&self.answers, &batch);
            }
            Ok(mut settled) => {
                self.counters.failing.store(0, Ordering::Relaxed);
                self.note_overfull(&batch, &settled);
                settle_charges(&mut batch, &settled);
                let table = routes.as_ref();
                let ended = self.streams.committed(&batch, &mut settled, table, &mut self.connection);
                let relayed = Relayed::of(&batch, &settled, table);
                let outcomes =
                    batch.iter().zip(settled).map(|(waiting, settled)| announced(waiting, settled));
                let streams = CommittedStreams { ended: &ended, ends: Vec::new(), answers: relayed.answers };
                self.answers.committed(&batch, outcomes.collect(), &streams);
                self.answers.relay(relayed.channels);
            }
            Err(fault) if batch.len() > 1 && fault.fate == Fate::OfTheData => self.halve(batch),
            Err(fault) if fault.is_held_up() && is_mixed(&batch) => self.apart(batch),
            Err(fault) => self.failed(batch, &fault),
        }
    }

    /// Stored, but in logs that this process does not know: the offsets to announce mean something else here.
    fn is_of_other_logs(&self, settled: &[SettledAppend]) -> bool {
        let mut epochs =
            settled.iter().filter_map(|settled| settled.outcome.as_ref().ok()).map(|it| it.epoch);
        epochs.any(|epoch| self.epoch.meet(epoch).is_err())
    }

    /// Stored, but an offset was acknowledged to another publication before: the log has lost that one.
    fn has_gone_back(&mut self, batch: &[Waiting], settled: &[SettledAppend]) -> bool {
        let mut has_gone_back = false;
        for (waiting, settled) in batch.iter().zip(settled) {
            if let Ok(Appended { offset, attempt: Attempt::First, .. }) = &settled.outcome
                && let Err(known) = self.heads.advance(&waiting.job.channel, *offset)
            {
                let (channel, found) = (waiting.job.channel.clone(), *offset);
                self.epoch.note_lost(&Contradiction { channel, known, found }, &self.counters);
                has_gone_back = true;
            }
        }
        has_gone_back
    }

    /// Something in the batch takes too long or waits for a lock. New publications go first and alone: a change of one
    /// publication may touch many rows, and must not fail all the others.
    fn apart(&mut self, batch: Vec<Waiting>) {
        let (new, changes) = batch.into_iter().partition(is_new);
        self.attempt(new);
        if self.connection.is_up() {
            self.attempt(changes);
        } else {
            self.not_done(changes);
        }
    }

    fn store(
        &mut self,
        batch: &[Waiting],
        routes: Option<&RouteTable>,
    ) -> Result<Vec<SettledAppend>, CallFault> {
        let jobs: Vec<&Append> = batch.iter().map(|waiting| &waiting.job).collect();
        let mut tried = 0;
        loop {
            let now_ms = self.clock.unix_ms();
            let (connection, bounds) = (&mut self.connection, self.bounds);
            let attempt = AssertUnwindSafe(|| batch::commit(connection, &jobs, now_ms, bounds, routes));
            match catch_unwind(attempt).unwrap_or_else(|_| Err(CallFault::panicked())) {
                Err(fault) if fault.fate == Fate::Again && tried < RETRIES => {
                    tried += 1;
                    pause(jittered(RETRY_PAUSE * tried * tried));
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

    /// One append of the batch is at fault: halving finds it, and only that one is refused.
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
                tracing::warn!(cause = %fault.cause.text, "append failed");
                let (doubtful, fresh): (Vec<_>, Vec<_>) =
                    batch.into_iter().partition(|waiting| waiting.doubtful);
                unconfirmed(&self.answers, &doubtful);
                self.not_done(fresh);
            }
            Fate::NotDone | Fate::Again => {
                self.counters.failing.store(1, Ordering::Relaxed);
                self.failed_writes.note(&fault.cause);
                self.not_done(batch);
            }
            Fate::Unknown => {
                let (keyed, bare): (Vec<_>, Vec<_>) =
                    batch.into_iter().partition(|waiting| waiting.job.key.is_some());
                unconfirmed(&self.answers, &bare);
                self.doubt.extend(keyed.into_iter().map(|waiting| Waiting { doubtful: true, ..waiting }));
            }
        }
    }

    /// This attempt certainly stored none of these. If an earlier one may have, the doubt remains.
    fn not_done(&mut self, batch: Vec<Waiting>) {
        let (doubtful, fresh): (Vec<_>, Vec<_>) = batch.into_iter().partition(|waiting| waiting.doubtful);
        self.doubt.extend(doubtful);
        self.answers.unavailable(&fresh);
    }

    fn note_overfull(&self, batch: &[Waiting], settled: &[SettledAppend]) {
        for (waiting, settled) in batch.iter().zip(settled) {
            let most = self.retention.publications_of(&waiting.job.channel);
            if most > 0 && settled.retained > most {
                // A lost note is made again by the next append.
                let _ = self.overfull.try_send(waiting.job.channel.clone());
            }
        }
    }
}

/// Keeps the charges of channels that were created and releases the others, before the answers: a user's next append may need
/// them.
fn settle_charges(batch: &mut [Waiting], settled: &[SettledAppend]) {
    for (waiting, settled) in batch.iter_mut().zip(settled) {
        let charge = waiting.charge.take();
        match settled.channel {
            ChannelAge::New => charge.into_iter().for_each(ChannelCharge::keep),
            ChannelAge::Old => drop(charge),
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

/// Answers the appends in doubt whose time is up.
fn give_up_late(doubt: &mut Vec<Waiting>, answers: &Answers) {
    if !doubt.is_empty() {
        let late: Vec<_> = doubt.extract_if(.., |waiting| waiting.since.elapsed() >= DOUBT_MAX).collect();
        unconfirmed(answers, &late);
    }
}

fn unconfirmed(answers: &Answers, batch: &[Waiting]) {
    answers.refuse(batch, &AppendError::Unconfirmed { retry_ms: RETRY_MS });
}
