//! Channel rows: the position of each log, in the file and in memory.
//!
//! The memory holds only committed state. A batch works on copies and hands them over after its commit, so that a rollback has
//! nothing to undo here.

use super::place::ChannelNumber;
use super::removal;
use crate::id::{ChannelName, Offset};
use crate::store::columns::{integer, natural};
use ahash::AHashMap;
use rusqlite::{Connection, OptionalExtension as _, params};
use std::mem;

/// Rows remembered per generation: about 10 MiB for both.
const REMEMBERED: usize = 32_768;

/// The position of one channel's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChannelRow {
    pub(crate) id: ChannelNumber,
    pub(crate) head: Offset,
    /// The oldest retained offset; head + 1 if none is retained.
    pub(crate) floor: Offset,
    /// The time of the newest publication, Unix milliseconds. The next one's is not below it.
    pub(crate) time_ms: u64,
}

impl ChannelRow {
    /// The number of publications retained. There are no gaps, so it need not be counted.
    pub(crate) fn retained(&self) -> u64 {
        self.head.next().0.saturating_sub(self.floor.0)
    }

    /// The row after one more publication at `now_ms`. If the log was empty, the caller raises the floor.
    pub(crate) fn advanced(self, now_ms: u64) -> ChannelRow {
        ChannelRow { head: self.head.next(), time_ms: self.time_ms.max(now_ms), ..self }
    }
}

pub(crate) fn find(connection: &Connection, name: &str) -> rusqlite::Result<Option<ChannelRow>> {
    let mut statement =
        connection.prepare_cached("SELECT id, head, floor, time FROM channels WHERE name = ?1")?;
    statement
        .query_row([name], |row| {
            Ok(ChannelRow {
                id: ChannelNumber(row.get(0)?),
                head: Offset(natural(row.get(1)?)),
                floor: Offset(natural(row.get(2)?)),
                time_ms: natural(row.get(3)?),
            })
        })
        .optional()
}

/// Creates the row of a channel whose offsets start after `base`.
pub(crate) fn create(connection: &Connection, name: &str, base: Offset) -> rusqlite::Result<ChannelRow> {
    let number = removal::take_number(connection)?;
    let (head, floor) = (base, base.next());
    connection
        .prepare_cached("INSERT INTO channels (id, name, head, floor, time) VALUES (?1, ?2, ?3, ?4, 0)")?
        .execute(params![number, name, integer(head.0), integer(floor.0)])?;
    let id = ChannelNumber(connection.last_insert_rowid());
    Ok(ChannelRow { id, head, floor, time_ms: 0 })
}

pub(crate) fn raise_head(connection: &Connection, row: &ChannelRow) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE channels SET head = ?2, time = ?3 WHERE id = ?1")?
        .execute(params![row.id.0, integer(row.head.0), integer(row.time_ms)])
        .map(drop)
}

/// Writes the floor and the time of the publication there, `None` if nothing is retained. It is separate from the head because
/// it moves an index entry, which an ordinary commit should not pay for.
pub(crate) fn set_floor(
    connection: &Connection,
    row: &ChannelRow,
    oldest_ms: Option<u64>,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE channels SET floor = ?2, oldest = ?3 WHERE id = ?1")?
        .execute(params![row.id.0, integer(row.floor.0), oldest_ms.map(integer)])
        .map(drop)
}

/// Rows of recently written channels. When the young generation is full it replaces the old one: rows in use are carried over,
/// the others are forgotten.
#[derive(Debug, Default)]
pub(crate) struct RowMemory {
    young: AHashMap<ChannelName, ChannelRow>,
    old: AHashMap<ChannelName, ChannelRow>,
}

impl RowMemory {
    pub(crate) fn recall(&self, name: &ChannelName) -> Option<ChannelRow> {
        self.young.get(name).or_else(|| self.old.get(name)).copied()
    }

    pub(crate) fn remember(&mut self, name: ChannelName, row: ChannelRow) {
        if self.young.len() >= REMEMBERED {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(name, row);
    }

    /// Forgets a channel that was removed.
    pub(crate) fn forget(&mut self, name: &ChannelName) {
        self.young.remove(name);
        self.old.remove(name);
    }

    /// Forgets everything, because the committed state is in doubt.
    pub(crate) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_keeps_the_rows_written_last() {
        let mut memory = RowMemory::default();
        let row = ChannelRow { id: ChannelNumber(1), head: Offset(3), floor: Offset(2), time_ms: 0 };
        let name = |n: usize| ChannelName::parse(&format!("c{n}")).expect("a name");
        for n in 0..REMEMBERED * 3 {
            memory.remember(name(n), row);
        }
        assert!(memory.young.len() + memory.old.len() <= 2 * REMEMBERED);
        assert_eq!(memory.recall(&name(0)), None);
        assert_eq!(memory.recall(&name(REMEMBERED * 3 - 1)), Some(row));
        assert_eq!(row.retained(), 2);
    }
}
