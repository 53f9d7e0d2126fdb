//! The streams of the file: reading them at a start and after a commit of unknown outcome, and deleting their parts.

use super::log::{BatchFault, Log};
use super::log_streams::DeletedSweep;
use super::place::RowKey;
use super::retention::RetentionSlice;
use super::stream_end::WrittenEnd;
use super::streams::{self, StoredStreams};
use crate::store::open_streams::{OpenStreams, Output};
use crate::store::retention::Rest;
use crate::stream::Flush;
use crate::wire::stream::StreamId;
use ahash::{AHashMap, AHashSet};
use std::sync::Arc;

impl Log {
    /// The open streams.
    pub(crate) fn open_streams(&self) -> &Arc<OpenStreams> {
        &self.streams.open
    }

    /// Nothing of the transaction in progress is stored, or its outcome is unknown.
    pub(super) fn forget_beginning(&self) {
        self.streams.forget_beginning();
    }

    /// The number that the next part gets.
    pub(super) fn next_part(&self) -> i64 {
        self.streams.next_part
    }

    /// Opens the streams that are open in the file, with their texts. Rows that no stream belongs to are removed.
    pub(super) fn load_streams(&mut self, now_ms: u64) -> Result<(), BatchFault> {
        let (stored, first) = self.read(|connection| {
            Ok((streams::stored(connection, now_ms)?, streams::first_part(connection)?))
        })?;
        let places: AHashMap<RowKey, StreamId> =
            stored.open.iter().map(|(place, stream)| (*place, stream.id.clone())).collect();
        self.open_stored(stored);
        let (Some(first), false) = (first, places.is_empty()) else { return Ok(()) };
        let open = Arc::clone(&self.streams.open);
        self.read(|connection| {
            streams::parts(connection, first, |place, part| {
                if let Some(id) = places.get(&place) {
                    open.restore_part(&part.of(id.clone()));
                }
            })
        })?;
        tracing::info!(streams = places.len(), "open streams read; their producers may go on");
        Ok(())
    }

    fn open_stored(&mut self, stored: StoredStreams) {
        for (_, stream) in stored.open {
            self.streams.open.restore(stream);
        }
        self.streams.stale = stored.stale;
        // A start needs no room on the disk: the rows may go later.
        if let Err(fault) = self.close_stale() {
            tracing::warn!(cause = %fault.cause(), "rows of streams that have ended not removed yet");
            self.recover(&fault);
        }
    }

    fn close_stale(&mut self) -> Result<(), BatchFault> {
        if self.streams.stale.is_empty() {
            return Ok(());
        }
        let stale = std::mem::take(&mut self.streams.stale);
        let closed = self.transaction(|connection| {
            stale.iter().try_for_each(|stale| streams::close_stale(connection, *stale))
        });
        if closed.is_err() {
            self.streams.stale = stale;
        }
        closed
    }

    /// After a commit whose outcome was unknown: opens the streams that its appends have begun, and ends the streams that they have ended.
    /// The ends of its flush are `ending`.
    pub(super) fn reconcile_streams(
        &mut self,
        ending: &AHashSet<StreamId>,
        now_ms: u64,
        out: &mut Output,
    ) -> Result<(), BatchFault> {
        let mut stored = self.read(|connection| streams::stored(connection, now_ms))?;
        let open: AHashSet<StreamId> = self.streams.open.ids().into_iter().collect();
        let of_file: AHashSet<StreamId> = stored.open.iter().map(|(_, stream)| stream.id.clone()).collect();
        for id in open.difference(&of_file).filter(|id| !ending.contains(*id)) {
            if let Some(WrittenEnd { fate, .. }) = self.end_of(id)? {
                self.streams.open.ended(id, fate, out);
            }
        }
        stored.open.retain(|(_, stream)| !open.contains(&stream.id));
        self.open_stored(stored);
        Ok(())
    }

    /// The end of a stream, if the log has it.
    pub(super) fn end_of(&mut self, id: &StreamId) -> Result<Option<WrittenEnd>, BatchFault> {
        self.read(|connection| match streams::place(connection, id)? {
            Some(place) => streams::end_of(connection, place),
            None => Ok(None),
        })
    }

    /// True if this flush is committed. `first_part` was the number of the next part before it.
    pub(super) fn has_flush(&mut self, flush: &Flush, first_part: i64) -> Result<bool, BatchFault> {
        self.read(|connection| {
            if !flush.rows.is_empty() {
                return streams::has_part(connection, first_part);
            }
            let progress = |id: &StreamId| match streams::place(connection, id)? {
                Some(place) => streams::progress(connection, place),
                None => Ok(None),
            };
            Ok(match (flush.ends.first(), flush.restarts.first(), flush.states.first()) {
                (Some(end), ..) => progress(&end.id)?.is_none(),
                (None, Some(row), _) => {
                    progress(&row.id)?.is_some_and(|(generation, _)| generation == row.generation)
                }
                (None, None, Some(row)) => {
                    progress(&row.id)?.is_some_and(|(_, state)| state == i64::from(row.state.code()))
                }
                (None, None, None) => true,
            })
        })
    }

    pub(super) fn read<T>(
        &mut self,
        read: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T>,
    ) -> Result<T, BatchFault> {
        let result = self.connection().and_then(read);
        result.map_err(BatchFault::NotStored).inspect_err(|fault| self.recover(fault))
    }

    /// Deletes parts that no open stream may have, and then those of ended streams and earlier generations wherever they are: of
    /// deleted streams at once, of others when much was written.
    pub(super) fn retain_parts(&mut self) -> Result<RetentionSlice, BatchFault> {
        self.close_stale()?;
        let (most, next_part) = (self.streams.take_slice(), self.streams.next_part);
        let below = self.connection().and_then(|connection| {
            let below = streams::first_part(connection)?.unwrap_or(next_part);
            Ok(streams::has_part_below(connection, below)?.then_some(below))
        });
        if let Some(below) = below.map_err(BatchFault::NotStored)? {
            let parts = self.transaction(|connection| streams::delete_below(connection, below, most))?;
            // While a sweep is due they may be of a deleted stream.
            let erased = if self.streams.sweep == DeletedSweep::Rests { 0 } else { parts };
            return Ok(RetentionSlice { parts, erased, rest: Rest::Some, ..RetentionSlice::default() });
        }
        self.streams.sweep_if_due();
        let DeletedSweep::After { part, again } = self.streams.sweep else {
            return Ok(RetentionSlice::default());
        };
        let sweep = self.transaction(|connection| streams::sweep(connection, part, most))?;
        self.streams.sweep = match (sweep.reached, again) {
            (Some(part), again) => DeletedSweep::After { part, again },
            (None, true) => DeletedSweep::After { part: 0, again: false },
            (None, false) => DeletedSweep::Rests,
        };
        let rest = if self.streams.sweep == DeletedSweep::Rests { Rest::None } else { Rest::Some };
        let parts = sweep.deleted;
        Ok(RetentionSlice { parts, erased: parts, rest, ..RetentionSlice::default() })
    }
}
