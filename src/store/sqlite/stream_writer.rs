//! The streams in the thread that writes: takes commands, has the ledger cut a flush when one is due, and answers after the commit.
//!
//! While no stream is open and no command waits, all of this is two loads for each batch of appends.

use super::log::{BatchFault, Log};
use super::log_streams::StreamsAtCommit;
use super::stream_end::WrittenEnd;
use crate::id::Epoch;
use crate::job::stream::{StreamOrder, StreamWork};
use crate::job::{Append, AppendChange, AppendError, Appended, Attempt};
use crate::metrics::store::{add, bump};
use crate::metrics::streams::StreamCounters;
use crate::store::StreamEnds;
use crate::store::answers::Answers;
use crate::store::ended_streams::EndedStreams;
use crate::store::late_share::LateShare;
use crate::store::open_streams::{OpenStreams, Output};
use crate::store::outcome::{Outcome, RETRY_MS};
use crate::store::pace::CommandPace;
use crate::store::stream_orders::{self, LateCommand, LateOrder, order, published};
use crate::store::wall_clock::WallClock;
use crate::stream::{EndFate, EndRow, Flush, Ledger};
use crate::wire::publication::Published;
use crate::wire::stream::{
    BegunStream, Generation, Piece, Position, StreamEnd, StreamFault, StreamId, StreamOutcome,
};
use ahash::AHashSet;
use crossbeam_channel::{Receiver, Select};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Commands that are taken between two commits: a millisecond or two of work.
const WORK_AT_ONCE: usize = 4_096;
/// Times of one flush whose latency is measured.
const LATENCIES: usize = 32;

/// The streams in the thread that writes.
pub(super) struct StreamWriter {
    open: Arc<OpenStreams>,
    /// Of the logs.
    epoch: Epoch,
    work: Receiver<StreamWork>,
    queued_bytes: Arc<AtomicUsize>,
    counters: Arc<StreamCounters>,
    out: Output,
    /// When pieces were taken that wait for a commit.
    taken: Vec<Instant>,
    doubt: Option<DoubtfulFlush>,
    ended: EndedStreams,
    late_share: LateShare,
    pace: CommandPace,
}

/// A flush whose commit is unknown. Nothing else of streams is committed until the file says.
struct DoubtfulFlush {
    flush: Flush,
    /// The number of the next part before it.
    first_part: i64,
}

impl StreamWriter {
    pub(super) fn new(open: Arc<OpenStreams>, epoch: Epoch, ends: StreamEnds) -> StreamWriter {
        let StreamEnds { work, queued_bytes, counters } = ends;
        StreamWriter {
            open,
            epoch,
            work,
            queued_bytes,
            counters,
            out: Output::default(),
            taken: Vec::new(),
            doubt: None,
            ended: EndedStreams::default(),
            late_share: LateShare::default(),
            pace: CommandPace::default(),
        }
    }

    /// The time until a flush is due; `None`: nothing waits.
    pub(super) fn patience(&self) -> Option<Duration> {
        if self.open.is_empty() {
            return None;
        }
        if self.doubt.is_some() {
            return Some(self.open.order(|ledger, _| ledger.window()));
        }
        self.open.due().map(|due| due.since(self.open.now()))
    }

    /// Adds the commands to the inputs that wake the thread, or returns the time for which they may wait.
    pub(super) fn listen<'a>(&'a self, inputs: &mut Select<'a>) -> Duration {
        self.pace.listen(&self.work, inputs)
    }

    /// Takes the commands that wait.
    pub(super) fn take_work(&mut self, log: &mut Log, answers: &Answers) {
        if self.work.is_empty() {
            return self.pace.found_none();
        }
        self.pace.took(monotonic());
        let (mut late, mut has_pieces) = (Vec::new(), false);
        let StreamWriter { open, work, queued_bytes, counters, out, .. } = self;
        open.order(|ledger, now| {
            for each in work.try_iter().take(WORK_AT_ONCE) {
                queued_bytes.fetch_sub(each.bytes(), Ordering::AcqRel);
                match each {
                    StreamWork::Job(job) => {
                        if let StreamOrder::Append { piece, .. } = &job.order
                            && *piece != Piece::Alive
                        {
                            bump(&counters.pieces);
                            has_pieces = true;
                        }
                        late.extend(order(ledger, job, now, out));
                    }
                    StreamWork::Detach { producer } => ledger.detach(producer, now),
                    StreamWork::Leave { producer } => ledger.leave(producer),
                    // No other instance writes to this file.
                    StreamWork::Hint { .. } => {}
                }
            }
            has_pieces &= ledger.has_waiting();
        });
        if has_pieces && self.taken.len() < LATENCIES {
            self.taken.push(monotonic());
        }
        late.into_iter().for_each(|command| self.answer_late(log, command));
        self.deliver(answers);
    }

    /// Answers a command about a stream that has ended, or that there never was.
    fn answer_late(&mut self, log: &mut Log, command: LateCommand) {
        let outcome = match self.late_end_of(log, &command) {
            None => StreamOutcome::Refused(StreamFault::Overloaded { retry_ms: RETRY_MS }),
            Some(Ok(end)) => command.outcome(end),
            Some(Err(_)) => StreamOutcome::Unavailable { retry_ms: RETRY_MS },
        };
        command.answer(outcome, &mut self.out);
    }

    /// The end of a stream for a late command, or `None` if the file was looked at too often.
    fn late_end_of(
        &mut self,
        log: &mut Log,
        command: &LateCommand,
    ) -> Option<Result<Option<EndFate>, BatchFault>> {
        let LateCommand { id, user, asked, .. } = command;
        if *asked == LateOrder::CancelUnseen {
            return Some(Ok(None));
        }
        if let Some(known) = self.ended.find(id) {
            return Some(Ok(Some(known)));
        }
        if !self.late_share.take(user, self.open.now()) {
            return None;
        }
        let found = self.end_of(log, id);
        if found.is_err() {
            // Each further attempt would open the file again.
            self.late_share.give_up();
        }
        Some(found)
    }

    fn end_of(&mut self, log: &mut Log, id: &StreamId) -> Result<Option<EndFate>, BatchFault> {
        if let Some(known) = self.ended.find(id) {
            return Ok(Some(known));
        }
        let found = log.end_of(id)?.map(|end| end.fate);
        if let Some(fate) = found {
            self.ended.note(id, fate);
        }
        Ok(found)
    }

    /// The contents of the next commit: empty unless a flush is due.
    pub(super) fn cut(&mut self) -> Flush {
        if self.open.is_empty() || self.doubt.is_some() {
            return Flush::default();
        }
        self.open.order(Ledger::cut)
    }

    /// The same while the disk is short of room: nothing of the texts of open streams.
    pub(super) fn cut_without_pieces(&mut self) -> Flush {
        if self.open.is_empty() || self.doubt.is_some() {
            return Flush::default();
        }
        self.open.order(Ledger::cut_without_pieces)
    }

    /// Everything that waits, for the last commit of the process.
    pub(super) fn cut_all(&mut self) -> Flush {
        if self.open.is_empty() || self.doubt.is_some() {
            return Flush::default();
        }
        self.open.order(Ledger::cut_all)
    }

    /// The flush and the batch are committed. Completes the outcomes of begins that were repeats, and returns the ends to announce.
    pub(super) fn committed(
        &mut self,
        log: &mut Log,
        (batch, outcomes): (&[Append], &mut [Outcome]),
        streams: &StreamsAtCommit,
        flush: Flush,
    ) -> Vec<Published> {
        let ends = match &streams.ends {
            Some(ends) if ends.is_empty() && self.open.is_empty() => Vec::new(),
            Some(ends) => self.settle(flush, ends),
            None => {
                self.failed(flush);
                Vec::new()
            }
        };
        for (id, fate) in &streams.ended {
            self.counters.count_end(fate.end);
            self.ended.note(id, *fate);
            let out = &mut self.out;
            self.open.order(|ledger, _| ledger.overwritten(id, *fate, out));
            self.open.ended(id, *fate, &mut self.out);
        }
        for (job, outcome) in batch.iter().zip(outcomes) {
            if job.stream.is_some() {
                self.attach(log, job, outcome);
            }
            if let (AppendChange::Delete(question, _), Ok(_)) = (&job.change, &outcome)
                && !self.open.is_empty()
            {
                self.open.order(|ledger, now| ledger.withdraw(&job.channel, *question, &job.user, now));
            }
        }
        ends
    }

    /// Gives the answer to a repeated begin its stream. If that cannot be read, the begin must be repeated once more.
    fn attach(&mut self, log: &mut Log, job: &Append, outcome: &mut Outcome) {
        let Some(begin) = &job.stream else { return };
        let Ok(Appended { offset, attempt: Attempt::Repeat, stream, .. }) = outcome else { return };
        let id = StreamId { channel: job.channel.clone(), offset: *offset };
        *stream = self.open.attach(&id, begin.producer, &mut self.out);
        if stream.is_some() {
            return;
        }
        match self.end_of(log, &id) {
            Ok(end) => {
                *stream = end.map(|EndFate { end, edit }| BegunStream {
                    generation: Generation::FIRST,
                    next: Position::ZERO,
                    ended: Some((end, edit)),
                });
            }
            Err(_) => *outcome = Err(AppendError::Unavailable { retry_ms: RETRY_MS }),
        }
    }

    /// Settles a flush with the ends that are stored, and returns those to announce.
    fn settle(&mut self, flush: Flush, ends: &[WrittenEnd]) -> Vec<Published> {
        // Nothing was due: most commits have publications only.
        if flush.is_empty() {
            return Vec::new();
        }
        let fates: Vec<EndFate> = ends.iter().map(|end| end.fate).collect();
        let published = flush.ends.iter().zip(ends).filter_map(|(row, end)| announced(row, *end)).collect();
        for (row, fate) in flush.ends.iter().zip(&fates) {
            self.counters.count_end(fate.end);
            self.ended.note(&row.id, *fate);
        }
        let bytes = flush.rows.iter().map(|row| u64::from(row.next.0.saturating_sub(row.at.0))).sum();
        add(&self.counters.bytes, bytes);
        for taken in self.taken.drain(..) {
            self.counters.latency.record(taken.elapsed());
        }
        self.open.settled(flush, &fates, &mut self.out);
        published
    }

    /// Settles a flush that only acknowledges what is committed already.
    pub(super) fn settle_repeats(&mut self, flush: Flush, answers: &Answers) {
        self.settle(flush, &[]);
        self.deliver(answers);
    }

    /// Nothing of the flush is stored.
    pub(super) fn failed(&mut self, flush: Flush) {
        self.taken.clear();
        let out = &mut self.out;
        self.open.order(|ledger, now| ledger.failed(flush, now, out));
    }

    /// All or nothing of the flush is stored.
    pub(super) fn doubtful(&mut self, flush: Flush, first_part: i64) {
        // A later commit has no flush while one is doubtful, and a look at the file reconciles what it has done.
        if self.doubt.is_none() {
            self.taken.clear();
            self.doubt = Some(DoubtfulFlush { flush, first_part });
        }
    }

    /// Asks the file for the outcome of a commit that was unknown.
    pub(super) fn settle_doubt(&mut self, log: &mut Log, clock: &WallClock, answers: &Answers) {
        let Some(doubtful) = self.doubt.take() else { return };
        match self.look_at_file(log, &doubtful, clock.unix_ms()) {
            Ok(None) => self.failed(doubtful.flush),
            Ok(Some(ends)) => {
                let published = self.settle(doubtful.flush, &ends);
                answers.announce(&published);
            }
            Err(_) => self.doubt = Some(doubtful),
        }
        self.deliver(answers);
    }

    /// The ends of the flush, if it is stored. Makes the open streams those of the file.
    fn look_at_file(
        &mut self,
        log: &mut Log,
        doubtful: &DoubtfulFlush,
        now_ms: u64,
    ) -> Result<Option<Vec<WrittenEnd>>, BatchFault> {
        let DoubtfulFlush { flush, first_part } = doubtful;
        if !log.has_flush(flush, *first_part)? {
            log.reconcile_streams(&AHashSet::new(), now_ms, &mut self.out)?;
            return Ok(None);
        }
        let mut ends = Vec::with_capacity(flush.ends.len());
        for row in &flush.ends {
            let lost = EndFate { end: StreamEnd::Deleted, edit: row.id.offset };
            ends.push(log.end_of(&row.id)?.unwrap_or(WrittenEnd { fate: lost, time_ms: None }));
        }
        let ending = flush.ends.iter().map(|row| row.id.clone()).collect();
        log.reconcile_streams(&ending, now_ms, &mut self.out)?;
        Ok(Some(ends))
    }

    /// Sends what the ledger has for reactors.
    pub(super) fn deliver(&mut self, answers: &Answers) {
        stream_orders::deliver(&mut self.out, &self.counters, answers, self.epoch);
    }

    /// Notes a commit that took this long.
    pub(super) fn flushed(&self, took: Duration) {
        self.counters.flushes.record(took);
    }

    /// Sets the gauges.
    pub(super) fn observe(&self) {
        self.open.observe(&self.counters);
    }

    /// Counts parts that retention has deleted.
    pub(super) fn parts_deleted(&self, parts: u64) {
        add(&self.counters.parts_deleted, parts);
    }
}

#[allow(clippy::disallowed_methods, reason = "workers own the time of their own waits")]
fn monotonic() -> Instant {
    Instant::now()
}

/// The edit that ended a stream, as it is announced; `None`: it is not this one.
fn announced(row: &EndRow, end: WrittenEnd) -> Option<Published> {
    let WrittenEnd { fate, time_ms } = end;
    time_ms.filter(|_| fate.end == row.end).map(|time_ms| published(row, fate, time_ms))
}
