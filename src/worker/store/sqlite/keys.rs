//! Idempotency: what was published under which key, for longer than the publication may be retained.
//!
//! The table stands apart from the log, so that a repeat is recognised after its publication expired, and
//! so that pruning one never waits for the other. It holds a digest in place of the content: when a
//! publication is deleted, its text is gone and its digest stays until the key is forgotten.

use super::place::{ChannelId, integer, natural};
use crate::id::Offset;
use crate::wire::publication::Change;
use rusqlite::{Connection, OptionalExtension as _, params};
use sha1::{Digest as _, Sha1};
use std::time::Duration;

/// Keys stay known at least so long: a client that was offline for a week may still send again.
pub(crate) const KEY_AGE_MIN: Duration = Duration::from_secs(8 * 24 * 60 * 60);

/// What a publication says, in 20 bytes. A client that found two contents with one digest would only have
/// deceived itself, since keys are each user's own.
pub(crate) type ContentDigest = [u8; 20];

/// The digest of kind, target and data.
pub(crate) fn digest(change: Change, data: &str) -> ContentDigest {
    let (kind, target) = match change {
        Change::None => (0u8, 0),
        Change::Edits(target) => (1, target.0),
        Change::Deletes(target) => (2, target.0),
    };
    let mut hash = Sha1::new();
    hash.update([kind]);
    hash.update(target.to_le_bytes());
    hash.update(data.as_bytes());
    hash.finalize().into()
}

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// The first publication's offset.
    pub(crate) offset: Offset,
    /// When it was committed, Unix milliseconds.
    pub(crate) time_ms: u64,
    /// What it said; `None` when the file holds something else than a digest, which then equals none.
    pub(crate) digest: Option<ContentDigest>,
}

/// Looks a key up.
pub(crate) fn find(
    connection: &Connection,
    channel: ChannelId,
    user: &str,
    key: &str,
) -> rusqlite::Result<Option<Known>> {
    let mut statement = connection.prepare_cached(
        "SELECT offset, time, digest FROM keys WHERE channel = ?1 AND user = ?2 AND key = ?3",
    )?;
    statement
        .query_row(params![channel.0, user, key], |row| {
            Ok(Known {
                offset: Offset(natural(row.get(0)?)),
                time_ms: natural(row.get(1)?),
                digest: row.get_ref(2)?.as_blob()?.try_into().ok(),
            })
        })
        .optional()
}

/// A key and the channel and user it belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owned<'a> {
    /// The channel's number.
    pub(crate) channel: ChannelId,
    /// The author.
    pub(crate) user: &'a str,
    /// The key.
    pub(crate) key: &'a str,
}

/// Whether a key was taken for a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It was free, and is that publication's now.
    Taken,
    /// It stands for an earlier one; nothing is written.
    Known,
}

/// Takes a key for a publication, if it is free. It looks the key up and writes it in one descent of the tree: nearly all
/// keys are new, and a look beforehand costs a tenth of an append.
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

/// Where the last sweep stopped, in key order; before the first key at the start.
#[derive(Clone, Debug, Default)]
pub(crate) struct SweepCursor {
    channel: i64,
    user: String,
    key: String,
}

/// What a sweep found.
#[derive(Debug)]
pub(crate) struct Sweep {
    /// Keys that may be forgotten.
    pub(crate) expired: Vec<(i64, String, String)>,
    /// Where the next sweep begins.
    pub(crate) cursor: SweepCursor,
}

/// Looks at the next `count` keys for those older than `before_ms` whose publication is gone.
///
/// A sweep through the table costs nothing where an index over time would cost a write a publication. Keys
/// live for days, so it does not matter that a sweep of a large table takes hours.
pub(crate) fn sweep(
    connection: &Connection,
    from: &SweepCursor,
    before_ms: u64,
    count: usize,
) -> rusqlite::Result<Sweep> {
    let mut statement = connection.prepare_cached(
        "SELECT k.channel, k.user, k.key, k.time < ?4 AND k.offset < c.floor
         FROM keys AS k CROSS JOIN channels AS c ON c.id = k.channel
         WHERE (k.channel, k.user, k.key) > (?1, ?2, ?3)
         ORDER BY k.channel, k.user, k.key LIMIT ?5",
    )?;
    let mut rows = statement.query(params![
        from.channel,
        from.user,
        from.key,
        integer(before_ms),
        integer(count as u64)
    ])?;
    let mut sweep = Sweep { expired: Vec::new(), cursor: SweepCursor::default() };
    let mut seen = 0;
    while let Some(row) = rows.next()? {
        seen += 1;
        if row.get(3)? {
            sweep.expired.push((row.get(0)?, row.get(1)?, row.get(2)?));
        }
        if seen == count {
            sweep.cursor = SweepCursor { channel: row.get(0)?, user: row.get(1)?, key: row.get(2)? };
        }
    }
    Ok(sweep)
}

/// Forgets one key.
pub(crate) fn forget(connection: &Connection, key: &(i64, String, String)) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM keys WHERE channel = ?1 AND user = ?2 AND key = ?3")?
        .execute(params![key.0, key.1, key.2])
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_tells_kind_target_and_data_apart() {
        let digests = [
            digest(Change::None, "1"),
            digest(Change::None, "2"),
            digest(Change::Edits(Offset(1)), "1"),
            digest(Change::Edits(Offset(2)), "1"),
            digest(Change::Deletes(Offset(1)), "1"),
        ];
        for (at, one) in digests.iter().enumerate() {
            assert!(digests[at + 1..].iter().all(|other| other != one));
        }
        assert_eq!(digest(Change::None, "1"), digests[0]);
    }
}
