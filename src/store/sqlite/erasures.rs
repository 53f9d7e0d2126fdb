//! Deletes in progress: the text of an original's edits is removed in slices.
//!
//! The original's own text goes with the delete. Its edits may be many and large, and all appends would wait for them. So the
//! delete notes the original here, in its transaction, and pages show no text of edits of a noted original.

use super::place::RowKey;
use rusqlite::{Connection, OptionalExtension as _, params};

/// Bytes of text that a slice removes: about two milliseconds.
const SLICE_BYTES: u64 = 512 << 10;

/// Notes an original whose edits are to be erased because of the delete at offset `by`.
pub(super) fn begin(connection: &Connection, original: RowKey, by: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR IGNORE INTO erasures (target, deleted_by, done) VALUES (?1, ?2, ?1)")?
        .execute(params![original.0, by])
        .map(drop)
}

/// A noted original: the place up to which its edits are erased.
#[derive(Clone, Copy, Debug)]
pub(super) struct Erasure {
    target: i64,
    deleted_by: i64,
    done: i64,
}

/// The next original to go on with.
pub(super) fn next(connection: &Connection) -> rusqlite::Result<Option<Erasure>> {
    connection
        .prepare_cached("SELECT target, deleted_by, done FROM erasures LIMIT 1")?
        .query_row([], |row| Ok(Erasure { target: row.get(0)?, deleted_by: row.get(1)?, done: row.get(2)? }))
        .optional()
}

/// Removes the text of the next edits, `most` at most, and returns their number. The caller has a transaction open.
pub(super) fn advance(connection: &Connection, erasure: Erasure, most: u64) -> rusqlite::Result<u64> {
    let edits = next_edits(connection, erasure, most)?;
    let mut erase =
        connection.prepare_cached("UPDATE publications SET data = NULL, deleted_by = ?2 WHERE place = ?1")?;
    for place in &edits {
        erase.execute(params![place, erasure.deleted_by])?;
    }
    match edits.last() {
        Some(done) => connection
            .prepare_cached("UPDATE erasures SET done = ?2 WHERE target = ?1")?
            .execute(params![erasure.target, done])?,
        None => connection
            .prepare_cached("DELETE FROM erasures WHERE target = ?1")?
            .execute(params![erasure.target])?,
    };
    Ok(edits.len() as u64)
}

fn next_edits(connection: &Connection, erasure: Erasure, most: u64) -> rusqlite::Result<Vec<i64>> {
    let mut statement = connection.prepare_cached(
        "SELECT place, coalesce(octet_length(data), 0) FROM publications
         WHERE target = ?1 AND kind = 1 AND place > ?2 ORDER BY place LIMIT ?3",
    )?;
    let mut rows =
        statement.query(params![erasure.target, erasure.done, i64::try_from(most).unwrap_or(i64::MAX)])?;
    let (mut edits, mut bytes) = (Vec::new(), 0);
    while bytes < SLICE_BYTES
        && let Some(row) = rows.next()?
    {
        edits.push(row.get(0)?);
        bytes += row.get::<_, i64>(1)?.unsigned_abs();
    }
    Ok(edits)
}
