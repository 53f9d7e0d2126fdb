//! Commits of what waits of streams, and what the store says about the ones whose outcome was unknown.

use super::super::connection::StoreConnection;
use super::super::epoch::KnownEpoch;
use super::super::fault::{CallFault, Fate};
use super::super::streams::{self, StoredFlush};
use super::super::timing::monotonic;
use super::SharedStreamWriter;
use super::commands::call;
use crate::metrics::store::add;
use crate::store::columns::integer;
use crate::store::stream_orders::published;
use crate::store::wall_clock::WallClock;
use crate::stream::{
    EndFate, EndRow, Flush, FlushFates, Ledger, RestartFate, RowFate, StateFate, StoredEndFate,
};
use crate::wire::stream::{StreamId, StreamState};
use postgres_types::Type;

/// The page of a channel that has one publication.
const EDIT: &str = "SELECT author, data FROM seawall.page($1, $2, $3, false, 1, 0)";

impl SharedStreamWriter {
    /// Does what is due: a commit, a look at the store, a sweep. Without a connection, or while the logs are not trusted, pieces wait.
    pub(in crate::store::postgres) fn tend(
        &mut self,
        connection: &mut StoreConnection,
        epoch: &KnownEpoch,
        clock: &WallClock,
    ) {
        if !connection.is_up() || epoch.is_replaced() || epoch.loss().is_some() {
            self.deliver();
            return self.times.writes_failed();
        }
        self.times.writes_work();
        if !self.is_empty() {
            self.catch_up(connection);
            let flush = self.cut(Ledger::cut);
            self.commit(flush, connection, epoch, clock);
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
        epoch: &KnownEpoch,
        clock: &WallClock,
    ) {
        self.take_work(connection);
        if connection.is_up() && !epoch.is_replaced() && epoch.loss().is_none() && !self.is_empty() {
            self.catch_up(connection);
            let flush = self.cut(Ledger::cut_all);
            self.commit(flush, connection, epoch, clock);
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

    /// Commits a flush, and settles it.
    fn commit(
        &mut self,
        flush: Flush,
        connection: &mut StoreConnection,
        epoch: &KnownEpoch,
        clock: &WallClock,
    ) {
        if flush.is_empty() {
            return;
        }
        if flush.has_no_rows() {
            self.settle(flush, &FlushFates::default(), connection);
            return self.deliver();
        }
        let begun = monotonic();
        let result = call(connection, |connection| streams::flush(connection, &flush, clock.unix_ms()));
        let took = begun.elapsed();
        self.counters.flushes.record(took);
        let result = result.and_then(|StoredFlush { fates, epoch: found }| epoch.meet(found).map(|()| fates));
        match result {
            Ok(fates) => {
                connection.wrote(Ok(()), took);
                self.settle(flush, &fates, connection);
            }
            Err(fault) => {
                if fault.fate != Fate::OfTheData {
                    connection.wrote(Err(fault.cause.clone()), took);
                }
                self.failed(flush, &fault);
            }
        }
        self.catch_up(connection);
        self.deliver();
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
        if ids.is_empty() {
            return;
        }
        match call(connection, |connection| streams::touch(connection, ids)) {
            Ok(touched) => {
                ids.iter().zip(touched).for_each(|(id, touched)| self.ledger.touched(id, touched));
            }
            Err(_) => self.ledger.touch_again(ids),
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
                self.ledger.finished(id, fate, &mut self.out);
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
