//! Commits of what waits of streams, and what the store says about the ones whose outcome was unknown.

use super::super::connection::StoreConnection;
use super::super::fault::{CallFault, Fate};
use super::super::known_logs::KnownLogs;
use super::super::streams::{self, StoredFlush};
use super::super::timing::monotonic;
use super::SharedStreamWriter;
use super::commands::call;
use super::holds::PAUSE_MAX;
use crate::metrics::store::add;
use crate::store::columns::integer;
use crate::store::stream_orders::published;
use crate::stream::{
    EndFate, EndRow, Flush, FlushFates, Ledger, RestartFate, RowFate, StateFate, StoredEndFate,
};
use crate::wire::stream::{StreamId, StreamState};
use postgres_types::Type;
use std::time::{Duration, Instant};

/// The page of a channel that has one publication.
const EDIT: &str = "SELECT author, data FROM seawall.page($1, $2, $3, false, 1, 0)";

/// Signs of life in one statement.
const TOUCHES_AT_ONCE: usize = 1_000;
/// Bytes of one statement, but for its last stream.
const PART_BYTES: usize = 1 << 20;
/// The time after which what is left of a flush waits for the next turn.
const TURN_MAX: Duration = Duration::from_secs(1);

impl SharedStreamWriter {
    /// Does what is due: a commit, a look at the store, a sweep. Without a connection, or while the logs are not trusted, pieces wait.
    pub(in crate::store::postgres) fn tend(
        &mut self,
        connection: &mut StoreConnection,
        logs: &mut KnownLogs<'_>,
    ) {
        if !connection.is_up() || !logs.are_trusted() {
            self.deliver();
            return self.times.writes_failed();
        }
        self.times.writes_work();
        if !self.is_empty() {
            self.catch_up(connection);
            let flush = self.cut(Ledger::cut);
            self.commit(flush, connection, logs);
            self.look(connection);
        }
        self.sweep(connection);
        self.deliver();
        if self.shown.open > 0 || !self.is_empty() {
            self.observe();
        }
    }

    /// The last commit of the process: everything that waits.
    pub(in crate::store::postgres) fn finish(
        &mut self,
        connection: &mut StoreConnection,
        logs: &mut KnownLogs<'_>,
    ) {
        self.take_work(connection);
        if connection.is_up() && logs.are_trusted() && !self.is_empty() {
            self.catch_up(connection);
            let flush = self.cut(Ledger::cut_all);
            self.commit(flush, connection, logs);
        }
        self.deliver();
    }

    fn cut(
        &mut self,
        cut: impl FnOnce(&mut Ledger<crate::job::Ticket>, crate::clock::Moment) -> Flush,
    ) -> Flush {
        let now = self.now();
        cut(&mut self.ledger, now)
    }

    /// Commits a flush in one statement or, if it is large, in several, and settles it. What is left when that took long waits for
    /// the next turn, so that publications do not wait for it.
    fn commit(&mut self, flush: Flush, connection: &mut StoreConnection, logs: &mut KnownLogs<'_>) {
        if flush.is_empty() {
            return;
        }
        if flush.has_no_rows() {
            self.settle(flush, &FlushFates::default(), connection);
            return self.deliver();
        }
        let begun = monotonic();
        let (rest, held) = match self.holds.are_none() {
            true => (flush, Vec::new()),
            false => flush.split_ends(|channel| self.holds.is_held(channel)),
        };
        for part in rest.divide(self.holds.streams, PART_BYTES) {
            self.attempt(part, begun, connection, logs);
        }
        self.attempt_ends(held, begun, connection, logs);
        self.catch_up(connection);
        self.deliver();
    }

    /// Commits a part of a flush. If something holds it up or the database refuses it, smaller parts find the streams at fault.
    fn attempt(
        &mut self,
        part: Flush,
        begun: Instant,
        connection: &mut StoreConnection,
        logs: &mut KnownLogs<'_>,
    ) {
        if part.is_empty() {
            return self.touch(&part.touches, connection);
        }
        if begun.elapsed() > TURN_MAX {
            let until = self.now() + self.ledger.window();
            return self.ledger.put_off(part, until, &mut self.out);
        }
        match self.store(&part, connection, logs) {
            Ok(fates) => {
                self.holds.stored(part.len());
                self.settle(part, &fates, connection);
            }
            Err(fault) if fault.fate == Fate::OfTheData && part.len() > 1 => {
                let half = part.len().div_ceil(2);
                part.divide(half, usize::MAX).into_iter().for_each(|half| {
                    self.attempt(half, begun, connection, logs);
                });
            }
            Err(fault) if fault.fate == Fate::OfTheData => {
                if let Some(StreamId { channel, offset }) = part.first() {
                    let (begin, cause) = (offset.0, &fault.cause.text);
                    tracing::error!(%channel, begin, cause, "the database refuses the data of a stream");
                }
                let until = self.now() + PAUSE_MAX;
                self.ledger.put_off(part, until, &mut self.out);
            }
            Err(fault) if fault.is_held_up() && !part.ends.is_empty() => {
                let (rest, ends) = part.split_ends(|_| true);
                // The statement that failed is not counted.
                let begun = monotonic();
                self.attempt(rest, begun, connection, logs);
                self.attempt_ends(ends, begun, connection, logs);
            }
            Err(fault) => {
                if fault.is_held_up() {
                    self.holds.took_too_long(part.len());
                }
                self.failed(part, &fault);
            }
        }
    }

    /// Commits the ends in some channels, each channel by itself. Those in a channel whose lock is held are put off.
    fn attempt_ends(
        &mut self,
        ends: Vec<Flush>,
        begun: Instant,
        connection: &mut StoreConnection,
        logs: &mut KnownLogs<'_>,
    ) {
        for part in ends {
            let Some(channel) = part.first().map(|id| id.channel.clone()) else { continue };
            let now = self.now();
            if let Some(until) = self.holds.until(&channel, now) {
                self.ledger.put_off(part, until, &mut self.out);
                continue;
            }
            if begun.elapsed() > TURN_MAX {
                let until = now + self.ledger.window();
                self.ledger.put_off(part, until, &mut self.out);
                continue;
            }
            match self.store(&part, connection, logs) {
                Ok(fates) => {
                    self.holds.went_through(&channel);
                    self.settle(part, &fates, connection);
                }
                Err(fault) if fault.is_held_up() => {
                    tracing::debug!(%channel, cause = %fault.cause.text, "ends of streams are put off");
                    let until = self.holds.held_up(&channel, self.now());
                    self.ledger.put_off(part, until, &mut self.out);
                }
                Err(fault) if fault.fate == Fate::OfTheData => self.attempt(part, begun, connection, logs),
                Err(fault) => self.failed(part, &fault),
            }
        }
    }

    fn store(
        &mut self,
        part: &Flush,
        connection: &mut StoreConnection,
        logs: &mut KnownLogs<'_>,
    ) -> Result<FlushFates, CallFault> {
        if part.has_no_rows() {
            return Ok(FlushFates::default());
        }
        // A part before this one may have proved it.
        if let Some(cause) = logs.epoch.loss() {
            return Err(CallFault::not_sent(cause));
        }
        let begun = monotonic();
        let result = call(connection, |connection| streams::flush(connection, part, logs.clock.unix_ms()));
        let took = begun.elapsed();
        self.counters.flushes.record(took);
        let result = result.and_then(|StoredFlush { fates, epoch }| {
            logs.epoch.meet(epoch)?;
            logs.check(part, &fates)?;
            Ok(fates)
        });
        match &result {
            Ok(_) => connection.wrote(Ok(()), took),
            Err(fault) if fault.fate == Fate::OfTheData => {}
            Err(fault) => connection.wrote(Err(fault.cause.clone()), took),
        }
        result
    }

    fn failed(&mut self, flush: Flush, fault: &CallFault) {
        self.taken.clear();
        self.times.writes_failed();
        match fault.fate {
            Fate::Unknown => {
                self.ledger.doubtful(&flush);
                self.doubtful.extend(flush.ends.into_iter().map(|row| (row.id.clone(), row)));
            }
            Fate::NotDone | Fate::Again | Fate::OfTheData => {
                tracing::debug!(cause = %fault.cause.text, "flush of streams failed");
                let now = self.now();
                self.ledger.failed(flush, now, &mut self.out);
            }
        }
    }

    fn settle(&mut self, flush: Flush, fates: &FlushFates, connection: &mut StoreConnection) {
        let mut ends = Vec::new();
        for (row, fate) in flush.ends.iter().zip(&fates.ends) {
            match *fate {
                StoredEndFate::Stored(fate, time_ms) => {
                    self.counters.count_end(fate.end);
                    self.ended.note(&row.id, fate);
                    ends.push(published(row, fate, time_ms));
                }
                StoredEndFate::Ended(fate) => self.ended.note(&row.id, fate),
                StoredEndFate::Moved => {}
            }
        }
        self.answers.announce(&ends);
        let stored = flush.rows.iter().zip(&fates.rows).filter(|(_, fate)| **fate == RowFate::Stored);
        add(
            &self.counters.bytes,
            stored.map(|(row, _)| u64::from(row.next.0.saturating_sub(row.at.0))).sum(),
        );
        for taken in self.taken.drain(..) {
            self.counters.latency.record(taken.elapsed());
        }
        let hints = changes_for_producers(&flush, fates);
        let (touches, now) = (flush.touches.clone(), self.now());
        self.ledger.settled_partly(flush, fates, now, &mut self.out);
        self.deliver();
        hints.iter().for_each(|id| self.answers.stream_hint(id));
        self.touch(&touches, connection);
    }

    /// Notes in the store that the producers of these streams live.
    fn touch(&mut self, ids: &[StreamId], connection: &mut StoreConnection) {
        let mut some_failed = false;
        for some in ids.chunks(TOUCHES_AT_ONCE) {
            if some_failed {
                self.ledger.touch_again(some);
                continue;
            }
            match call(connection, |connection| streams::touch(connection, some)) {
                Ok(touched) => {
                    some.iter().zip(touched).for_each(|(id, touched)| self.ledger.touched(id, touched));
                }
                Err(_) => {
                    some_failed = true;
                    self.ledger.touch_again(some);
                }
            }
        }
    }

    /// The store has the end of a stream.
    pub(super) fn found_ended(
        &mut self,
        id: &StreamId,
        fate: EndFate,
        time_ms: Option<u64>,
        connection: &mut StoreConnection,
    ) {
        self.ended.note(id, fate);
        let own = self.doubtful.remove(id).filter(|row| row.end == fate.end);
        match own.zip(time_ms) {
            Some((row, time_ms)) if is_stored(&row, fate, connection) => {
                self.counters.count_end(fate.end);
                self.answers.announce(&[published(&row, fate, time_ms)]);
                let now = self.now();
                self.ledger.finished(id, fate, now, &mut self.out);
            }
            Some(_) | None => {
                let _ = self.ledger.ended(id, fate, &mut self.out);
            }
        }
    }
}

/// True if the edit of an end is exactly this one. If that cannot be read, the readers find the edit in the log.
fn is_stored(row: &EndRow, fate: EndFate, connection: &mut StoreConnection) -> bool {
    let edit = integer(fate.edit.0);
    let rows = call(connection, |connection| {
        let (after, below) = (edit - 1, edit + 1);
        connection.query(
            EDIT,
            &[(&row.id.channel.as_str(), Type::TEXT), (&after, Type::INT8), (&below, Type::INT8)],
        )
    });
    rows.is_ok_and(|rows| {
        rows.first().is_some_and(|found| {
            let text = |place| found.try_get::<Option<&str>>(place).ok().flatten();
            text(0) == Some(row.author.as_str()) && text(1) == Some(&*row.data)
        })
    })
}

/// The streams that a flush changed in a way that their producers are to notice, wherever they are.
fn changes_for_producers(flush: &Flush, fates: &FlushFates) -> Vec<StreamId> {
    let cancelled = flush
        .states
        .iter()
        .zip(&fates.states)
        .filter(|(row, fate)| row.state == StreamState::Cancelling && **fate == StateFate::Stored);
    let restarted =
        flush.restarts.iter().zip(&fates.restarts).filter(|(_, fate)| **fate == RestartFate::Stored);
    cancelled.map(|(row, _)| row.id.clone()).chain(restarted.map(|(row, _)| row.id.clone())).collect()
}
