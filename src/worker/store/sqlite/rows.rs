//! Channel rows: where each log stands, as the file has it and as memory remembers it.
//!
//! The memory holds committed state only. A batch works on copies and hands them over after its commit, so
//! that a rollback has nothing to undo here.

use super::place::{ChannelId, integer, natural};
use crate::id::{ChannelName, Offset};
use crate::wire::publication::Change;
use ahash::AHashMap;
use rusqlite::{Connection, OptionalExtension as _, params};
use std::mem;

/// Rows remembered in each of the two generations: some 10 MiB for both.
const REMEMBERED: usize = 32_768;

/// Where one channel's log stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Its number in this store.
    pub(crate) id: ChannelId,
    /// The newest offset.
    pub(crate) head: Offset,
    /// The oldest retained offset; head + 1 when none is.
    pub(crate) floor: Offset,
    /// The time of the newest publication, Unix milliseconds: the next one's is not below it.
    pub(crate) time_ms: u64,
}

impl Row {
    /// Publications retained. There are no gaps, so it need not be counted.
    pub(crate) fn retained(&self) -> u64 {
        self.head.next().0.saturating_sub(self.floor.0)
    }

    /// The row after one publication more at `now_ms`. Its floor is the caller's to raise when the log was empty.
    pub(crate) fn advanced(self, now_ms: u64) -> Row {
        Row { head: self.head.next(), time_ms: self.time_ms.max(now_ms), ..self }
    }
}

/// Reads a row.
pub(crate) fn find(connection: &Connection, name: &str) -> rusqlite::Result<Option<Row>> {
    let mut statement =
        connection.prepare_cached("SELECT id, head, floor, time FROM channels WHERE name = ?1")?;
    statement
        .query_row([name], |row| {
            Ok(Row {
                id: ChannelId(row.get(0)?),
                head: Offset(natural(row.get(1)?)),
                floor: Offset(natural(row.get(2)?)),
                time_ms: natural(row.get(3)?),
            })
        })
        .optional()
}

/// Makes the row of a channel that never had a publication.
pub(crate) fn create(connection: &Connection, name: &str) -> rusqlite::Result<Row> {
    connection
        .prepare_cached("INSERT INTO channels (name, head, floor, time) VALUES (?1, 0, 1, 0)")?
        .execute([name])?;
    let id = ChannelId(connection.last_insert_rowid());
    Ok(Row { id, head: Offset::ZERO, floor: Offset(1), time_ms: 0 })
}

/// Writes a new head and its time.
pub(crate) fn raise_head(connection: &Connection, row: &Row) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE channels SET head = ?2, time = ?3 WHERE id = ?1")?
        .execute(params![row.id.0, integer(row.head.0), integer(row.time_ms)])
        .map(drop)
}

/// Writes the floor and the time of the publication there, `None` when nothing is retained. It is apart from
/// the head because it moves an index entry, which a commit of usual publications need not pay for.
pub(crate) fn set_floor(connection: &Connection, row: &Row, oldest_ms: Option<u64>) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE channels SET floor = ?2, oldest = ?3 WHERE id = ?1")?
        .execute(params![row.id.0, integer(row.floor.0), oldest_ms.map(integer)])
        .map(drop)
}

/// What `kind` and the offset of `target` say together.
pub(crate) fn change(kind: i64, target: Option<i64>) -> Change {
    match (kind, target) {
        (1, Some(target)) => Change::Edits(Offset(natural(target))),
        (2, Some(target)) => Change::Deletes(Offset(natural(target))),
        (_, _) => Change::None,
    }
}

/// The `kind` of a change.
pub(crate) fn kind(change: Change) -> i64 {
    match change {
        Change::None => 0,
        Change::Edits(_) => 1,
        Change::Deletes(_) => 2,
    }
}

/// Rows of channels that were written lately. When the young generation is full it becomes the old one, and
/// the old one goes: what is used is carried over, what is not is forgotten.
#[derive(Debug, Default)]
pub(crate) struct RowMemory {
    young: AHashMap<ChannelName, Row>,
    old: AHashMap<ChannelName, Row>,
}

impl RowMemory {
    /// The committed row, if it is remembered.
    pub(crate) fn recall(&self, name: &ChannelName) -> Option<Row> {
        self.young.get(name).or_else(|| self.old.get(name)).copied()
    }

    /// Remembers a committed row.
    pub(crate) fn remember(&mut self, name: ChannelName, row: Row) {
        if self.young.len() >= REMEMBERED {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(name, row);
    }

    /// Forgets everything: what was committed is in doubt.
    pub(crate) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_keeps_what_was_written_last() {
        let mut memory = RowMemory::default();
        let row = Row { id: ChannelId(1), head: Offset(3), floor: Offset(2), time_ms: 0 };
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
