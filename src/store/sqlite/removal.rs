//! The removal of channels that are empty and idle, and what new channels get from it: a base and a number.
//!
//! A sweep through the empty channels finds them. They have an index of their own, which a publication to a channel that is not
//! empty never touches.

use super::place::ChannelNumber;
use crate::id::{ChannelName, Offset};
use crate::store::columns::{integer, natural};
use crate::store::emptied;
use crate::store::idempotency::SweepEnd;
use rusqlite::{Connection, OptionalExtension as _, params};

/// A channel that may be removed.
#[derive(Debug)]
pub(super) struct Emptied {
    pub(super) number: ChannelNumber,
    /// `None` if the file holds a name that is none.
    pub(super) name: Option<ChannelName>,
    pub(super) head: Offset,
}

/// The result of a sweep.
#[derive(Debug)]
pub(super) struct EmptiedSlice {
    pub(super) emptied: Vec<Emptied>,
    pub(super) examined: u64,
    pub(super) end: SweepEnd,
    /// The start of the next sweep.
    pub(super) from: i64,
}

/// Searches the next `count` empty channels for those whose last publication is older than `before_ms` and that have neither keys
/// nor open streams, nor wait for the relay, which first notes what retention removed unsent.
pub(super) fn sweep(
    connection: &Connection,
    from: i64,
    before_ms: u64,
    count: u64,
) -> rusqlite::Result<EmptiedSlice> {
    let mut statement = connection.prepare_cached(
        "SELECT c.id, c.name, c.head,
             c.time < ?2 AND NOT EXISTS (SELECT 1 FROM keys AS k WHERE k.channel = c.id)
                 AND NOT EXISTS (SELECT 1 FROM streams AS s WHERE s.place >= c.id << 39 AND s.place < (c.id + 1) << 39)
                 AND NOT EXISTS (SELECT 1 FROM relays AS r WHERE r.channel = c.name AND r.cursor < r.head)
         FROM channels AS c INDEXED BY channels_empty
         WHERE c.oldest IS NULL AND c.id > ?1 ORDER BY c.id LIMIT ?3",
    )?;
    let mut rows = statement.query(params![from, integer(before_ms), integer(count)])?;
    let mut sweep = EmptiedSlice { emptied: Vec::new(), examined: 0, end: SweepEnd::OfTable, from: 0 };
    while let Some(row) = rows.next()? {
        sweep.examined += 1;
        if row.get(3)? {
            let name = ChannelName::parse_any(row.get_ref(1)?.as_str()?).ok();
            let number = ChannelNumber(row.get(0)?);
            sweep.emptied.push(Emptied { number, name, head: Offset(natural(row.get(2)?)) });
        }
        if sweep.examined == count {
            (sweep.end, sweep.from) = (SweepEnd::OfSlice, row.get(0)?);
        }
    }
    Ok(sweep)
}

/// Removes the channels and returns the base from now on. The caller has a transaction open.
pub(super) fn remove(connection: &Connection, emptied: &[Emptied], base: Offset) -> rusqlite::Result<Offset> {
    let mut raised = base;
    let mut remove = connection.prepare_cached("DELETE FROM channels WHERE id = ?1")?;
    let mut free = connection.prepare_cached("INSERT OR IGNORE INTO free_numbers VALUES (?1)")?;
    for channel in emptied {
        remove.execute([channel.number.0])?;
        free.execute([channel.number.0])?;
        raised = emptied::raised(raised, channel.head);
    }
    if raised != base {
        connection
            .prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES ('base', ?1)")?
            .execute([integer(raised.0)])?;
    }
    Ok(raised)
}

/// The offset after which channels start that are created from now on.
pub(super) fn base(connection: &Connection) -> rusqlite::Result<Offset> {
    let base: Option<i64> = connection
        .prepare_cached("SELECT value FROM meta WHERE name = 'base'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(Offset(base.map_or(0, natural)))
}

/// Takes the number of a removed channel for a new one; `None` if there is none left, so that the new one gets the next number.
/// Numbers are few: they share an integer with offsets. An older program, which may have run meanwhile, leaves numbers here that
/// it used.
pub(super) fn take_number(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached(
            "DELETE FROM free_numbers WHERE number = (
                 SELECT f.number FROM free_numbers AS f
                 WHERE NOT EXISTS (SELECT 1 FROM channels AS c WHERE c.id = f.number) LIMIT 1
             ) RETURNING number",
        )?
        .query_row([], |row| row.get(0))
        .optional()
}
