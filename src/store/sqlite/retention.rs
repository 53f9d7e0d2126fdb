//! Retention: deletes publications over their channel's number or age, keys that no client will send again, and channels that
//! are empty.
//!
//! Each duty works in slices, a short transaction each, so that appends wait for one slice at most. None of them scans all
//! channels: channels over the number are noted when they are written, those over the age have an index, and keys are swept a
//! piece at a time.

use super::erasures;
use super::keys;
use super::log::{BatchFault, Log};
use super::place::RowKey;
use super::removal;
use super::room;
use super::rows::{self, ChannelRow};
use super::user_erasures::{self, UnfinishedErasures, UserProgress};
use super::user_search::{self, UserSlice};
use crate::id::{ChannelName, Offset};
use crate::limits::APPEND_BATCH_MAX;
use crate::store::columns::{integer, natural};
use crate::store::emptied::IDLE_MIN;
use crate::store::idempotency::{KEY_AGE_MIN, SweepPace};
use crate::store::retention::Rest;
use rusqlite::{Connection, OptionalExtension as _, params};
use std::time::Duration;

/// The number of rows that a slice deletes: as many as take a few milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SliceRows(u64);

impl SliceRows {
    pub(crate) const MAX: SliceRows = SliceRows(512);
    const MIN: SliceRows = SliceRows(16);
    /// Appends wait for a slice, so a longer one is halved the next time.
    const LONG: Duration = Duration::from_millis(8);

    /// The size with which each of the duties that take turns deletes two rows for one that the batches before it wrote, however
    /// long that takes: otherwise a log that is written fast enough would grow without end.
    pub(crate) fn outrunning(self, written: usize, duties: usize) -> SliceRows {
        SliceRows(self.0.max(2 * written as u64 * duties as u64))
    }

    /// The size after a slice that took this long. Deleting overwrites the text, so large publications take longer.
    pub(crate) fn after(self, took: Duration) -> SliceRows {
        if took > SliceRows::LONG {
            SliceRows((self.0 / 2).max(SliceRows::MIN.0))
        } else if took < SliceRows::LONG / 4 {
            SliceRows((self.0 * 2).min(SliceRows::MAX.0))
        } else {
            self
        }
    }
}

/// Keys or empty channels examined per slice.
const SWEEP_MIN: u64 = 512;
/// Keys or empty channels examined per slice while many are due: a few milliseconds.
const SWEEP_MAX: u64 = 14_336;

// An append writes one publication, claims one key and creates one channel at most. Between two commits there is a slice, and all
// duties take turns, so each of them outruns the largest batches.
const _: () =
    assert!(SWEEP_MAX >= DUTIES.len() as u64 * SweepPace::EXAMINED_PER_CLAIM * APPEND_BATCH_MAX as u64);

/// Publications of a channel within this time of the oldest one are deleted with it, in milliseconds.
const SAME_TIME_MS: u64 = 60_000;
/// Publications deleted between two looks at the bytes in use.
const CUT_BY_BYTES: u64 = 64;

/// A task of retention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duty {
    /// Channels with more publications than `retention.publications`.
    Number,
    /// Publications older than `retention.age`.
    Age,
    /// The oldest publications, while the file holds more than `retention.bytes`.
    Bytes,
    /// Keys older than eight days, and than `retention.age`, whose publication is gone.
    Keys,
    /// Channels without publications and keys, after a minute.
    Channels,
    /// Pieces of streams that have ended.
    Parts,
    /// The text of edits whose original was deleted, and then what erased users wrote.
    Erase,
}

impl Duty {
    /// True if the wall clock decides what is deleted.
    pub(crate) fn is_by_age(self) -> bool {
        match self {
            Duty::Number | Duty::Bytes | Duty::Parts | Duty::Erase => false,
            Duty::Age | Duty::Keys | Duty::Channels => true,
        }
    }
}

/// The duties of a round.
pub(crate) const DUTIES: [Duty; 7] =
    [Duty::Number, Duty::Age, Duty::Bytes, Duty::Keys, Duty::Channels, Duty::Parts, Duty::Erase];

/// The result of one slice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RetentionSlice {
    /// The number deleted.
    pub(crate) publications: u64,
    /// The number forgotten.
    pub(crate) keys: u64,
    /// The number of channels removed.
    pub(crate) channels: u64,
    /// The number of edits whose text was removed, and of rows of erased users.
    pub(crate) erased: u64,
    /// The number of rows with pieces of streams that were deleted.
    pub(crate) parts: u64,
    pub(crate) rest: Rest,
}

/// A channel whose floor rose.
struct Cut {
    name: ChannelName,
    row: ChannelRow,
    removed: u64,
}

impl Log {
    /// Does one slice of a duty.
    pub(crate) fn retain(
        &mut self,
        duty: Duty,
        now_ms: u64,
        rows: SliceRows,
    ) -> Result<RetentionSlice, BatchFault> {
        let slice = match duty {
            Duty::Number => self.retain_number(rows.0),
            Duty::Age => self.retain_age(now_ms, rows.0),
            Duty::Bytes => self.retain_bytes(rows.0),
            Duty::Keys => self.retain_keys(now_ms),
            Duty::Channels => self.remove_channels(now_ms),
            Duty::Parts => self.retain_parts(),
            Duty::Erase => self.erase_edits(rows.0),
        };
        slice.inspect_err(|fault| self.recover(fault))
    }

    fn retain_number(&mut self, rows: u64) -> Result<RetentionSlice, BatchFault> {
        let retention = self.bounds.retention;
        let mut names = Vec::new();
        while (names.len() as u64) < rows
            && let Some(name) = self.overfull.pop()
        {
            names.push(name);
        }
        if names.is_empty() {
            return Ok(RetentionSlice::default());
        }
        let cuts = self.transaction(|connection| {
            let share = (rows / names.len() as u64).max(1);
            let mut cuts = Vec::with_capacity(names.len());
            for name in &names {
                if let Some(row) = rows::find(connection, name.as_str())? {
                    let excess = row.retained().saturating_sub(retention.publications_of(name));
                    cuts.push(cut(connection, name.clone(), row, excess.min(share))?);
                }
            }
            Ok(cuts)
        });
        if cuts.is_err() {
            names.into_iter().for_each(|name| self.overfull.push(name));
        }
        let removed = self.adopt_cuts(cuts?);
        let rest = if self.overfull.is_empty() { Rest::None } else { Rest::Some };
        Ok(RetentionSlice { publications: removed, rest, ..RetentionSlice::default() })
    }

    fn retain_age(&mut self, now_ms: u64, rows: u64) -> Result<RetentionSlice, BatchFault> {
        let Some(age) = self.bounds.retention.age else { return Ok(RetentionSlice::default()) };
        let before_ms = before(now_ms, age);
        let due = self.connection().and_then(|connection| oldest_due(connection, before_ms));
        if due.map_err(BatchFault::NotStored)?.is_none() {
            return Ok(RetentionSlice::default());
        }
        let (cuts, rest) = self.transaction(|connection| {
            let mut cuts = Vec::new();
            let mut left = rows;
            while left > 0 {
                let Some((name, row)) = oldest_due(connection, before_ms)? else {
                    return Ok((cuts, Rest::None));
                };
                let aged = aged(connection, &row, before_ms, left)?;
                cuts.push(cut(connection, name, row, aged)?);
                // A row with a wrong `oldest` is corrected by the cut, and counts as one.
                left = left.saturating_sub(aged.max(1));
            }
            Ok((cuts, Rest::Some))
        })?;
        for cut in &cuts {
            self.large_cuts.note(&cut.name, cut.row.retained() + cut.removed, cut.removed);
        }
        Ok(RetentionSlice { publications: self.adopt_cuts(cuts), rest, ..RetentionSlice::default() })
    }

    /// Deletes the oldest publications of all channels, those of about the same time together.
    fn retain_bytes(&mut self, rows: u64) -> Result<RetentionSlice, BatchFault> {
        let most = self.bounds.bytes_max;
        if most == 0 || self.connection().and_then(room::used_bytes).map_err(BatchFault::NotStored)? <= most {
            return Ok(RetentionSlice::default());
        }
        let (cuts, rest) = self.transaction(|connection| {
            let (mut cuts, mut left) = (Vec::new(), rows);
            while left > 0 && room::used_bytes(connection)? > most {
                let Some((name, oldest_ms)) = oldest(connection)? else { return Ok((cuts, Rest::None)) };
                let Some(row) = rows::find(connection, name.as_str())? else { return Ok((cuts, Rest::None)) };
                let count =
                    aged(connection, &row, oldest_ms.saturating_add(SAME_TIME_MS), left.min(CUT_BY_BYTES))?;
                cuts.push(cut(connection, name, row, count)?);
                left = left.saturating_sub(count.max(1));
            }
            Ok((cuts, if left == 0 { Rest::Some } else { Rest::None }))
        })?;
        for cut in &cuts {
            self.large_cuts.note(&cut.name, cut.row.retained() + cut.removed, cut.removed);
        }
        Ok(RetentionSlice { publications: self.adopt_cuts(cuts), rest, ..RetentionSlice::default() })
    }

    fn retain_keys(&mut self, now_ms: u64) -> Result<RetentionSlice, BatchFault> {
        let age = self.bounds.retention.age.map_or(KEY_AGE_MIN, |age| age.max(KEY_AGE_MIN));
        let before_ms = before(now_ms, age);
        let (from, count) = (self.keys.from.clone(), self.keys.pace.slice(SWEEP_MIN, SWEEP_MAX));
        let sweep = self
            .connection()
            .and_then(|connection| keys::sweep(connection, &from, before_ms, count))
            .map_err(BatchFault::NotStored)?;
        if !sweep.expired.is_empty() {
            self.transaction(|connection| {
                sweep.expired.iter().try_for_each(|key| keys::forget(connection, key))
            })?;
        }
        let keys = sweep.expired.len() as u64;
        let rest = self.keys.pace.advance(sweep.examined, keys, sweep.end);
        self.keys.from = sweep.cursor;
        Ok(RetentionSlice { keys, rest, ..RetentionSlice::default() })
    }

    fn remove_channels(&mut self, now_ms: u64) -> Result<RetentionSlice, BatchFault> {
        let before_ms = before(now_ms, IDLE_MIN);
        let (from, count) = (self.emptied.from, self.emptied.pace.slice(SWEEP_MIN, SWEEP_MAX));
        let sweep = self
            .connection()
            .and_then(|connection| removal::sweep(connection, from, before_ms, count))
            .map_err(BatchFault::NotStored)?;
        let channels = sweep.emptied.len() as u64;
        if channels > 0 {
            let base = self.base;
            self.base = self.transaction(|connection| removal::remove(connection, &sweep.emptied, base))?;
            self.channels = self.channels.saturating_sub(channels);
            let names = sweep.emptied.iter().filter_map(|channel| channel.name.as_ref());
            names.for_each(|name| self.memory.forget(name));
        }
        let rest = self.emptied.pace.advance(sweep.examined, channels, sweep.end);
        self.emptied.from = sweep.from;
        Ok(RetentionSlice { channels, rest, ..RetentionSlice::default() })
    }

    fn erase_edits(&mut self, rows: u64) -> Result<RetentionSlice, BatchFault> {
        let next = self.connection().and_then(erasures::next).map_err(BatchFault::NotStored)?;
        let Some(erasure) = next else { return Ok(RetentionSlice::default()) };
        let erased = self.transaction(|connection| erasures::advance(connection, erasure, rows))?;
        Ok(RetentionSlice { erased, rest: Rest::Some, ..RetentionSlice::default() })
    }

    /// The erasures that are not finished, and at most `most` searches for them.
    pub(super) fn unfinished_erasures(&mut self, most: u32) -> Result<UnfinishedErasures, BatchFault> {
        let found = self.connection().and_then(|connection| user_erasures::unfinished(connection, most));
        found.map_err(BatchFault::NotStored).inspect_err(|fault| self.recover(fault))
    }

    /// Reads the next slice of a search.
    pub(super) fn next_user_slice(
        &mut self,
        search: &str,
        change: u32,
        now_ms: u64,
    ) -> Result<Option<UserSlice>, BatchFault> {
        let next =
            self.connection().and_then(|connection| user_search::next(connection, search, change, now_ms));
        next.map_err(BatchFault::NotStored).inspect_err(|fault| self.recover(fault))
    }

    /// Finishes a slice whose deletes are committed.
    pub(super) fn finish_user_slice(
        &mut self,
        slice: &UserSlice,
        now_ms: u64,
    ) -> Result<UserProgress, BatchFault> {
        let finished = self.transaction(|connection| user_erasures::finish(connection, slice, now_ms));
        finished.inspect_err(|fault| self.recover(fault))
    }

    /// Remembers committed rows. Those still over their number are noted again, after the others.
    fn adopt_cuts(&mut self, cuts: Vec<Cut>) -> u64 {
        let mut removed = 0;
        for cut in cuts {
            removed += cut.removed;
            self.overfull.note(&cut.name, &cut.row, self.bounds.retention);
            self.memory.remember(cut.name, cut.row);
        }
        removed
    }
}

fn before(now_ms: u64, age: Duration) -> u64 {
    now_ms.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
}

/// The channel with the oldest publication, and the time of that.
fn oldest(connection: &Connection) -> rusqlite::Result<Option<(ChannelName, u64)>> {
    let mut statement = connection.prepare_cached(
        "SELECT name, oldest FROM channels WHERE oldest IS NOT NULL ORDER BY oldest LIMIT 1",
    )?;
    let found: Option<(String, i64)> =
        statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    Ok(found.and_then(|(name, ms)| Some((ChannelName::parse_any(&name).ok()?, natural(ms)))))
}

/// The channel with the oldest publication, if that is older than `before_ms`.
fn oldest_due(
    connection: &Connection,
    before_ms: u64,
) -> rusqlite::Result<Option<(ChannelName, ChannelRow)>> {
    let mut statement =
        connection.prepare_cached("SELECT name FROM channels WHERE oldest < ?1 ORDER BY oldest LIMIT 1")?;
    let name: Option<String> = statement.query_row([integer(before_ms)], |row| row.get(0)).optional()?;
    let Some(name) = name.and_then(|name| ChannelName::parse_any(&name).ok()) else { return Ok(None) };
    Ok(rows::find(connection, name.as_str())?.map(|row| (name, row)))
}

/// The number of the channel's oldest publications that are older than `before_ms`, up to `most`. Times never decrease along a
/// log.
fn aged(connection: &Connection, row: &ChannelRow, before_ms: u64, most: u64) -> rusqlite::Result<u64> {
    let most = most.min(row.retained());
    let mut statement = connection.prepare_cached(
        "SELECT place FROM publications WHERE place >= ?1 AND place < ?2 AND time >= ?3
         ORDER BY place LIMIT 1",
    )?;
    let end = Offset(row.floor.0 + most);
    let young: Option<i64> = statement
        .query_row(
            params![RowKey::of(row.id, row.floor).0, RowKey::of(row.id, end).0, integer(before_ms)],
            |row| row.get(0),
        )
        .optional()?;
    Ok(young.map_or(most, |place| RowKey(place).offset().0.saturating_sub(row.floor.0)))
}

/// Deletes the channel's `count` oldest publications and raises its floor. The caller has a transaction open.
fn cut(connection: &Connection, name: ChannelName, mut row: ChannelRow, count: u64) -> rusqlite::Result<Cut> {
    let first = RowKey::of(row.id, row.floor);
    row.floor = Offset(row.floor.0 + count);
    let floor = RowKey::of(row.id, row.floor);
    let removed = connection
        .prepare_cached("DELETE FROM publications WHERE place >= ?1 AND place < ?2")?
        .execute(params![first.0, floor.0])?;
    let oldest: Option<i64> = connection
        .prepare_cached("SELECT time FROM publications WHERE place = ?1")?
        .query_row([floor.0], |row| row.get(0))
        .optional()?;
    rows::set_floor(connection, &row, oldest.map(natural))?;
    Ok(Cut { name, row, removed: removed as u64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_of_large_publications_get_smaller() {
        let mut rows = SliceRows::MAX;
        for expected in [256, 128, 64, 32, 16, 16] {
            rows = rows.after(Duration::from_millis(30));
            assert_eq!(rows, SliceRows(expected));
        }
        assert_eq!(rows.after(Duration::from_millis(5)), rows);
        assert_eq!(rows.after(Duration::from_millis(1)), SliceRows(32));
        assert_eq!(SliceRows::MAX.after(Duration::ZERO), SliceRows::MAX);
    }

    #[test]
    fn slice_deletes_more_than_the_largest_batches_write_between_two_slices_of_its_duty() {
        assert_eq!(SliceRows::MAX.outrunning(10, 2), SliceRows::MAX);
        for duties in 1..=DUTIES.len() {
            let rows = SliceRows::MIN.outrunning(APPEND_BATCH_MAX, duties);
            assert!(rows.0 > (APPEND_BATCH_MAX * duties) as u64);
        }
    }
}
