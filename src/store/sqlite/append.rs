//! The thread that writes: batches of appends, and retention between them.
//!
//! A batch is what arrived during the last commit. No append waits for a timer: an idle store commits the first one at once,
//! and a busy store shares each sync among all that arrived.

use super::checkpoints::Checkpoints;
use super::log::{BatchFault, CommittedBatch, Log};
use super::relay_desk::RelayDesk;
use super::relay_turn::RelayPart;
use super::retention::{Duty, RetentionSlice, SliceRows};
use super::round::RetentionRound;
use super::stream_writer::StreamWriter;
use super::user_erasures::{UserErased, UserProgress};
use super::user_searches::UserSearches;
use crate::job::{Append, AppendChange, AppendError};
use crate::limits::{APPEND_BATCH_BYTES_MAX, APPEND_BATCH_MAX};
use crate::metrics::store::{StoreCounters, add, bump};
use crate::store::answers::{Answers, CommittedStreams};
use crate::store::clock_trust::{self, ClockTrust, Verdict};
use crate::store::fullness::Fullness;
use crate::store::outcome::RETRY_MS;
use crate::store::retention::Rest;
use crate::store::wall_clock::WallClock;
use crate::store::{OrderEnds, RelayEnds, StreamEnds};
use crate::stream::Flush;
use crossbeam_channel::{Receiver, RecvTimeoutError, Select, TryRecvError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Orders committed before appends are looked for again.
const ORDERS_AT_ONCE: usize = 8;
/// Between two sweeps of orders and restrictions that have ended.
const SWEEP_PERIOD: Duration = Duration::from_secs(60);
/// The same while there is more.
const SWEEP_AGAIN: Duration = Duration::from_millis(100);

/// About what a row with pieces takes besides its body, and what the end of a stream or a state changes.
const ROW_BYTES: usize = 32;
const PAGE_BYTES: usize = 4_096;

/// How long the end of the process waits for deletes in progress.
const ERASING_AT_END: Duration = Duration::from_secs(1);

/// The append thread.
pub(super) struct SqliteAppender {
    log: Log,
    clock: WallClock,
    jobs: Receiver<Append>,
    orders: OrderEnds,
    streams: StreamWriter,
    relay: RelayDesk,
    sweep_at: Instant,
    answers: Answers,
    counters: Arc<StoreCounters>,
    checkpoints: Checkpoints,
    round: RetentionRound,
    searches: UserSearches,
    slice_rows: SliceRows,
    /// Publications of the batch before the next slice.
    written: usize,
    trust: ClockTrust,
    fullness: Fullness,
    writes: Writes,
}

/// The queues of the append thread.
pub(super) struct WriterInputs {
    /// The thread ends when all senders are gone.
    pub(super) appends: Receiver<Append>,
    pub(super) orders: OrderEnds,
    pub(super) streams: StreamEnds,
    pub(super) relay: RelayEnds,
}

/// The result of the last attempt to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writes {
    Work,
    Fail,
}

impl SqliteAppender {
    pub(super) fn new(
        mut log: Log,
        clock: WallClock,
        inputs: WriterInputs,
        answers: Answers,
        counters: Arc<StoreCounters>,
        checkpoints: Checkpoints,
    ) -> SqliteAppender {
        let WriterInputs { appends: jobs, orders, streams, relay } = inputs;
        let streams = StreamWriter::new(Arc::clone(log.open_streams()), log.epoch(), streams);
        let now = monotonic();
        let mut trust = ClockTrust::new(log.last_use_ms().unwrap_or_default());
        // Even if nothing was ever published, a step after this is noticed.
        clock_trust::report(trust.look(now, clock.unix_ms()), &counters);
        SqliteAppender {
            log,
            clock,
            jobs,
            orders,
            streams,
            relay: RelayDesk::new(relay),
            sweep_at: now + SWEEP_PERIOD,
            answers,
            counters,
            checkpoints,
            round: RetentionRound::new(now),
            searches: UserSearches::default(),
            slice_rows: SliceRows::MAX,
            written: 0,
            trust,
            fullness: Fullness::default(),
            writes: Writes::Work,
        }
    }

    /// Runs until all senders are gone. What they sent is committed and answered by then.
    pub(super) fn run(mut self) -> Log {
        loop {
            let arrived = self.next_append();
            self.streams.settle_doubt(&mut self.log, &self.clock, &self.answers);
            self.streams.take_work(&mut self.log, &self.answers);
            self.relay.take();
            match arrived {
                Ok(first) => {
                    let batch = self.gather(first);
                    let batch = self.refuse_if_short(batch);
                    let flush = self.cut();
                    self.commit(&batch, flush);
                    self.written = batch.len();
                }
                Err(RecvTimeoutError::Timeout) => {
                    let flush = self.cut();
                    self.commit(&[], flush);
                    self.written = 0;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let flush = self.streams.cut_all();
                    self.commit(&[], flush);
                    self.finish_erasing();
                    return self.log;
                }
            }
            self.begin_round();
            self.retain();
            self.checkpoints.tidy(&mut self.log, &self.counters);
            self.place_orders();
        }
    }

    /// Waits for an append, until an order, a command about a stream or a request of the relay arrives, or other work is due.
    fn next_append(&self) -> Result<Append, RecvTimeoutError> {
        let append = match self.jobs.try_recv() {
            Err(TryRecvError::Empty) => {
                let mut inputs = Select::new_biased();
                inputs.recv(&self.jobs);
                inputs.recv(&self.orders.requests);
                inputs.recv(self.relay.requests());
                let rest = self.streams.listen(&mut inputs);
                let patience = self.round.patience(monotonic()).min(rest);
                let _ = inputs.ready_timeout(self.streams.patience().map_or(patience, |it| it.min(patience)));
                self.jobs.try_recv()
            }
            append => append,
        };
        append.map_err(|error| match error {
            TryRecvError::Empty => RecvTimeoutError::Timeout,
            TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
        })
    }

    /// Commits the orders that wait, some at a time because appends wait meanwhile, and sweeps old ones once a minute.
    fn place_orders(&mut self) {
        for request in self.orders.requests.try_iter().take(ORDERS_AT_ONCE) {
            self.log.place_order(request, &self.orders.board, self.clock.unix_ms());
        }
        let now = monotonic();
        if now < self.sweep_at {
            return;
        }
        self.sweep_at = now + SWEEP_PERIOD;
        self.orders.board.sweep();
        let now_ms = self.clock.unix_ms();
        if self.log.read_orders(&self.orders.board, now_ms).is_err() {
            tracing::debug!("orders not read");
        }
        let Verdict::Trusted(_) = self.trust.look(now, now_ms) else { return };
        let swept = self.log.sweep_orders(now_ms);
        match swept.and_then(|rest| Ok(rest.or(self.relay.sweep(&mut self.log, now_ms)?))) {
            // The next batch of appends comes first.
            Ok(Rest::Some) => self.sweep_at = now + SWEEP_AGAIN,
            Ok(Rest::None) => {}
            Err(BatchFault::NotStored(error) | BatchFault::Unknown(error)) => {
                tracing::debug!(%error, "orders or the relay not swept");
            }
        }
    }

    /// Removes what is deleted before the process ends, unless it is too much; then the next start goes on with it.
    fn finish_erasing(&mut self) {
        let end = monotonic() + ERASING_AT_END;
        self.round.only_erase();
        while self.round.len() > 0 && monotonic() < end {
            self.retain();
        }
    }

    /// Collects the appends that wait already. The batch exceeds its bound in bytes by less than one publication.
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

    /// The share of streams in this commit.
    fn cut(&mut self) -> Flush {
        if self.checkpoints.signals.is_short_of_room() {
            return self.streams.cut_without_pieces();
        }
        self.streams.cut()
    }

    /// While the disk is short of room, refuses all but deletes.
    fn refuse_if_short(&self, batch: Vec<Append>) -> Vec<Append> {
        if !self.checkpoints.signals.is_short_of_room() {
            return batch;
        }
        let (deletes, refused): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|job| matches!(job.change, AppendChange::Delete(..)));
        self.answers.refuse(&refused, &AppendError::NoRoom { retry_ms: RETRY_MS });
        deletes
    }

    /// Commits a batch together with what streams and the relay have for the store, and answers all.
    fn commit(&mut self, batch: &[Append], flush: Flush) {
        if batch.is_empty() && flush.writes_nothing() && self.relay.is_empty() {
            return self.streams.settle_repeats(flush, &self.answers);
        }
        let (begun, first_part, written) = (monotonic(), self.log.next_part(), flush_bytes(&flush));
        let result = self.attempt(batch, &flush);
        if !batch.is_empty() {
            bump(&self.counters.batches);
            add(&self.counters.batched, batch.len() as u64);
            self.counters.commit_latency.record(begun.elapsed());
        }
        match result {
            Ok(CommittedBatch { mut outcomes, streams, relay }) => {
                let ends = self.streams.committed(&mut self.log, (batch, &mut outcomes), &streams, flush);
                let answers = self.relay.committed(relay);
                let streams = CommittedStreams { ended: &streams.ended, ends, answers };
                self.answers.committed(batch, outcomes, &streams);
                self.relay.answer();
            }
            Err(error) => {
                match error {
                    AppendError::Unconfirmed { .. } => self.streams.doubtful(flush, first_part),
                    _ => self.streams.failed(flush),
                }
                self.answers.refuse(batch, &error);
                self.relay.failed();
            }
        }
        self.streams.deliver(&self.answers);
        if written > 0 {
            self.streams.flushed(begun.elapsed());
        }
        self.checkpoints.note_growth(batch, written);
        if batch.iter().any(|job| matches!(job.change, AppendChange::Delete(..))) {
            self.checkpoints.signals.note_erased();
            self.round.erase();
        }
    }

    fn attempt(&mut self, batch: &[Append], flush: &Flush) -> Result<CommittedBatch, AppendError> {
        let (log, clock, relay) = (&mut self.log, &self.clock, &self.relay);
        let routes = relay.table();
        let turn = relay.turn(routes.as_ref());
        let part = RelayPart { routes: routes.as_ref(), turn: turn.as_ref() };
        match catch_unwind(AssertUnwindSafe(|| log.commit_all(batch, flush, part, clock.unix_ms()))) {
            Ok(Ok(committed)) => {
                self.writes_work();
                Ok(committed)
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
                self.log.forget_beginning();
                self.writes_fail(&"the append thread panicked");
                Err(AppendError::Unconfirmed { retry_ms: RETRY_MS })
            }
        }
    }

    /// Begins a round of retention when it is due. While writes fail, first tests whether the store takes writes again, so that
    /// an idle gateway notices when the disk has room.
    fn begin_round(&mut self) {
        let now = monotonic();
        if !self.round.is_due(now) {
            return;
        }
        self.round.pause(now);
        let (channels, max) = self.log.channels();
        self.fullness.observe(channels, max, &self.counters);
        self.streams.observe();
        if self.writes == Writes::Fail {
            match self.log.probe() {
                Ok(()) => self.writes_work(),
                Err(BatchFault::NotStored(error) | BatchFault::Unknown(error)) => {
                    return self.writes_fail(&error);
                }
            }
        }
        self.round.begin();
        if let Err(fault) = self.searches.begin_round(&mut self.log, self.clock.unix_ms(), &self.counters) {
            self.retention_failed(fault.cause());
        }
    }

    /// Does one slice of the round in progress.
    fn retain(&mut self) {
        let duties = self.round.len();
        let Some(duty) = self.round.take() else { return };
        let (begun, rows) = (monotonic(), self.slice_rows);
        match catch_unwind(AssertUnwindSafe(|| {
            self.slice(duty, rows.outrunning(self.written, duties), begun)
        })) {
            Ok(Ok(RetentionSlice { publications, keys, channels, erased, parts, rest })) => {
                self.streams.parts_deleted(parts);
                if publications > 0 {
                    self.slice_rows = rows.after(begun.elapsed());
                }
                add(&self.counters.retention_deletes, publications);
                add(&self.counters.keys_forgotten, keys);
                add(&self.counters.channels_removed, channels);
                if publications + erased > 0 {
                    self.checkpoints.signals.note_erased();
                }
                if rest == Rest::Some {
                    self.round.go_on(duty);
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

    /// Does one slice, unless it would delete by a clock that is not trusted.
    fn slice(&mut self, duty: Duty, rows: SliceRows, now: Instant) -> Result<RetentionSlice, BatchFault> {
        let now_ms = self.clock.unix_ms();
        let verdict = self.trust.look(now, now_ms);
        clock_trust::report(verdict, &self.counters);
        match verdict {
            Verdict::Doubted(..) if duty.is_by_age() => return Ok(RetentionSlice::default()),
            Verdict::Trusted(_) | Verdict::Doubted(..) => {}
        }
        if self.trust.note_is_due(now) {
            self.log.note_use(now_ms)?;
            self.trust.noted(now);
        }
        let slice = self.log.retain(duty, now_ms, rows);
        self.log.large_cuts.log(now);
        match slice {
            Ok(RetentionSlice { rest: Rest::None, .. }) if duty == Duty::Erase => self.erase_of_users(),
            slice => slice,
        }
    }

    /// Does one slice of the erasure of a user. The deletes are announced like those of a moderator.
    fn erase_of_users(&mut self) -> Result<RetentionSlice, BatchFault> {
        let now_ms = self.clock.unix_ms();
        let Some(slice) = self.searches.next(&mut self.log, now_ms)? else {
            return Ok(RetentionSlice::default());
        };
        self.commit(&slice.deletes, Flush::default());
        if self.writes == Writes::Fail {
            // The next round goes on at the same place.
            return Ok(RetentionSlice::default());
        }
        let UserProgress { rows: erased, ended, order } =
            self.searches.finish(&mut self.log, slice, now_ms)?;
        if order.is_some() {
            // A failure is noticed at the next order, which reads this one first.
            let _ = self.log.read_orders(&self.orders.board, now_ms);
        }
        for UserErased { user, publications, keys } in ended {
            tracing::info!(target: "audit", user, publications, keys, "user erased");
        }
        Ok(RetentionSlice { erased, rest: Rest::Some, ..RetentionSlice::default() })
    }

    fn retention_failed(&mut self, cause: &dyn std::fmt::Display) {
        bump(&self.counters.retention_failures);
        self.round.give_up();
        self.writes_fail(cause);
    }

    fn writes_work(&mut self) {
        if self.writes == Writes::Fail {
            tracing::info!("the store takes writes again");
        }
        self.writes = Writes::Work;
        self.counters.failing.store(0, Ordering::Relaxed);
    }

    /// Logs once per outage; sets the gauge each time.
    fn writes_fail(&mut self, cause: &dyn std::fmt::Display) {
        if self.writes == Writes::Work {
            tracing::error!(%cause, "the store does not take writes");
        }
        self.writes = Writes::Fail;
        self.counters.failing.store(1, Ordering::Relaxed);
    }
}

/// About how many bytes a flush writes.
fn flush_bytes(flush: &Flush) -> usize {
    let rows = flush.rows.iter().map(|row| row.body.len() + ROW_BYTES).sum::<usize>();
    let ends = flush.ends.iter().map(|row| row.data.len() + PAGE_BYTES).sum::<usize>();
    if flush.writes_nothing() { 0 } else { PAGE_BYTES + rows + ends }
}

#[allow(clippy::disallowed_methods, reason = "workers own the time of their own waits")]
fn monotonic() -> Instant {
    Instant::now()
}
