//! The table of idempotency keys. A key is kept for longer than its publication may be retained.
//!
//! The table is separate from the log, so that a repeat is recognised after its publication has expired and pruning one never
//! waits for the other. It holds a digest instead of the content: when a publication is deleted, its text is gone and its
//! digest stays until the key is forgotten.

use super::place::ChannelNumber;
use crate::id::Offset;
use crate::store::columns::{integer, natural};
use crate::store::idempotency::{ContentDigest, SweepEnd};
use rusqlite::{Connection, OptionalExtension as _, params};

/// The stored record of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KnownKey {
    /// The offset of the first publication with it.
    pub(crate) offset: Offset,
    /// The time of its commit, Unix milliseconds.
    pub(crate) time_ms: u64,
    /// The digest of its content; `None` if the file holds something else, which then matches no digest.
    pub(crate) digest: Option<ContentDigest>,
}

pub(crate) fn find(
    connection: &Connection,
    channel: ChannelNumber,
    user: &str,
    key: &str,
) -> rusqlite::Result<Option<KnownKey>> {
    let mut statement = connection.prepare_cached(
        "SELECT offset, time, digest FROM keys WHERE channel = ?1 AND user = ?2 AND key = ?3",
    )?;
    statement
        .query_row(params![channel.0, user, key], |row| {
            Ok(KnownKey {
                offset: Offset(natural(row.get(0)?)),
                time_ms: natural(row.get(1)?),
                digest: row.get_ref(2)?.as_blob()?.try_into().ok(),
            })
        })
        .optional()
}

/// A key with the channel and user it belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owned<'a> {
    pub(crate) channel: ChannelNumber,
    pub(crate) user: &'a str,
    pub(crate) key: &'a str,
}

/// The result of claiming a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It was free and now belongs to the publication.
    Taken,
    /// It belongs to an earlier publication; nothing is written.
    Known,
}

/// Claims a free key for a publication. Looks it up and writes it in one descent of the tree: nearly all keys are new, and a
/// lookup beforehand would cost a tenth of an append.
pub(crate) fn claim(
    connection: &Connection,
    owned: Owned<'_>,
    offset: Offset,
    time_ms: u64,
    digest: &ContentDigest,
) -> rusqlite::Result<Claim> {
    let written = connection
        .prepare_cached(
            "INSERT INTO keys (channel, user, key, offset, time, digest) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            owned.channel.0,
            owned.user,
            owned.key,
            integer(offset.0),
            integer(time_ms),
            digest
        ])?;
    Ok(if written == 0 { Claim::Known } else { Claim::Taken })
}

/// The key at which the last sweep stopped, in key order; initially before the first key.
#[derive(Clone, Debug, Default)]
pub(crate) struct SweepCursor {
    channel: i64,
    user: String,
    key: String,
}

/// The result of a sweep.
#[derive(Debug)]
pub(crate) struct Sweep {
    /// Keys that may be forgotten.
    pub(crate) expired: Vec<(i64, String, String)>,
    pub(crate) examined: u64,
    pub(crate) end: SweepEnd,
    /// The start of the next sweep.
    pub(crate) cursor: SweepCursor,
}

/// Searches the next `count` keys for those older than `before_ms` whose publication is gone.
///
/// A sweep through the table is free on the write path, whereas an index by time would cost a write per publication.
pub(crate) fn sweep(
    connection: &Connection,
    from: &SweepCursor,
    before_ms: u64,
    count: u64,
) -> rusqlite::Result<Sweep> {
    let mut statement = connection.prepare_cached(
        "SELECT k.channel, k.user, k.key, k.time < ?4 AND k.offset < c.floor
         FROM keys AS k CROSS JOIN channels AS c ON c.id = k.channel
         WHERE (k.channel, k.user, k.key) > (?1, ?2, ?3)
         ORDER BY k.channel, k.user, k.key LIMIT ?5",
    )?;
    let mut rows =
        statement.query(params![from.channel, from.user, from.key, integer(before_ms), integer(count)])?;
    let mut sweep =
        Sweep { expired: Vec::new(), examined: 0, end: SweepEnd::OfTable, cursor: SweepCursor::default() };
    while let Some(row) = rows.next()? {
        sweep.examined += 1;
        if row.get(3)? {
            sweep.expired.push((row.get(0)?, row.get(1)?, row.get(2)?));
        }
        if sweep.examined == count {
            sweep.end = SweepEnd::OfSlice;
            sweep.cursor = SweepCursor { channel: row.get(0)?, user: row.get(1)?, key: row.get(2)? };
        }
    }
    Ok(sweep)
}

pub(crate) fn forget(connection: &Connection, key: &(i64, String, String)) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM keys WHERE channel = ?1 AND user = ?2 AND key = ?3")?
        .execute(params![key.0, key.1, key.2])
        .map(drop)
}
