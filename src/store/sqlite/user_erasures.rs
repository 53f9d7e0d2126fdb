//! Erasures of users: what a user wrote is found by a scan of the log, deleted like any publication, and then loses its author.
//!
//! An order to erase a user notes it here, in its transaction. The thread that writes goes on with it in slices, also after a restart.
//! A slice first commits deletes, which readers are sent, and then notes how far it came. If the process ends in between, the next one
//! finds the same publications deleted, and only removes the name.

use super::place::RowKey;
use crate::id::{ChannelName, UserName};
use crate::job::{Append, AppendChange, Authority, Creation, Ticket};
use crate::store::columns::{integer, natural};
use crate::store::erased;
use rusqlite::{Connection, OptionalExtension as _, params};

/// Publications that a slice examines: about a millisecond.
const EXAMINED: i64 = 2_048;
/// Publications of the user that it deletes or renames. Appends wait for their commit.
const CHANGED: i64 = 64;
/// Channels whose keys it examines.
const CHANNELS: i64 = 512;

/// Notes a user whose publications and keys are to be erased. A repetition begins again.
pub(super) fn begin(connection: &Connection, user: &UserName, by: &str, now_ms: u64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO user_erasures (user_name, asked, stage, done, publications, keys, by)
             VALUES (?1, ?2, 0, 0, 0, 0, ?3)
             ON CONFLICT (user_name) DO UPDATE SET asked = excluded.asked, stage = 0, done = 0",
        )?
        .execute(params![user.as_str(), integer(now_ms), by])
        .map(drop)
}

/// True if an erasure of this user is not finished.
pub(super) fn is_begun(connection: &Connection, user: &UserName) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM user_erasures WHERE user_name = ?1")?.exists([user.as_str()])
}

/// The part of an erasure that is in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ErasureStage {
    /// `done` is a place in `publications`.
    Publications,
    /// `done` is the number of a channel.
    Keys,
}

/// The next part of an erasure.
#[derive(Debug)]
pub(super) struct UserSlice {
    user: String,
    stage: ErasureStage,
    /// The last place or channel that is examined; `None`: there is none after the last slice.
    reached: Option<i64>,
    /// Places of publications that lose their author, key and text.
    renamed: Vec<i64>,
    /// Channels that lose the user's keys.
    channels: Vec<i64>,
    /// Deletes to be committed before the slice is finished.
    pub(super) deletes: Vec<Append>,
}

/// The end of an erasure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UserErased {
    pub(super) user: String,
    pub(super) publications: u64,
    pub(super) keys: u64,
}

/// The result of a slice.
#[derive(Debug, Default)]
pub(super) struct UserProgress {
    /// Rows that were changed or deleted.
    pub(super) rows: u64,
    /// The whole erasure, if this was its last slice.
    pub(super) ended: Option<UserErased>,
}

/// Reads the next slice of the oldest erasure; `None` if there is none.
pub(super) fn next(connection: &Connection) -> rusqlite::Result<Option<UserSlice>> {
    let noted: Option<(String, i64, i64)> = connection
        .prepare_cached("SELECT user_name, stage, done FROM user_erasures ORDER BY asked, user_name LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    noted
        .map(|(user, stage, done)| match stage {
            0 => publications(connection, user, done),
            _ => keys(connection, user, done),
        })
        .transpose()
}

fn publications(connection: &Connection, user: String, done: i64) -> rusqlite::Result<UserSlice> {
    let mut reached: Option<i64> = connection
        .prepare_cached(
            "SELECT max(place) FROM (SELECT place FROM publications WHERE place > ?1 ORDER BY place LIMIT ?2)",
        )?
        .query_row(params![done, EXAMINED], |row| row.get(0))?;
    let mut statement = connection.prepare_cached(
        "SELECT p.place, p.kind, p.target, p.deleted_by, c.name
         FROM publications AS p CROSS JOIN channels AS c ON c.id = p.place >> 39
         WHERE p.place > ?1 AND p.place <= ?2 AND p.user = ?3 ORDER BY p.place LIMIT ?4",
    )?;
    let mut rows = statement.query(params![done, reached.unwrap_or(done), user, CHANGED])?;
    let (mut renamed, mut deletes) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let place: i64 = row.get(0)?;
        renamed.push(place);
        let target = match (row.get::<_, i64>(1)?, row.get::<_, Option<i64>>(3)?) {
            (0, None) => Some(place),
            // The text of an edit goes with the original, also with that of another author: readers see the edit in its place.
            (1, None) => row.get(2)?,
            _ => None,
        };
        if let (Some(target), Ok(channel)) = (target, ChannelName::parse(row.get_ref(4)?.as_str()?)) {
            deletes.push(delete(channel, RowKey(target)));
        }
    }
    if renamed.len() as i64 == CHANGED {
        reached = renamed.last().copied();
    }
    Ok(UserSlice { user, stage: ErasureStage::Publications, reached, renamed, channels: Vec::new(), deletes })
}

fn delete(channel: ChannelName, target: RowKey) -> Append {
    Append {
        ticket: Ticket::UNANSWERED,
        channel,
        user: erased::user(),
        key: None,
        change: AppendChange::Delete(target.offset(), Authority::Moderator),
        creation: Creation::Free,
        data: "null".into(),
    }
}

fn keys(connection: &Connection, user: String, done: i64) -> rusqlite::Result<UserSlice> {
    let mut statement =
        connection.prepare_cached("SELECT id FROM channels WHERE id > ?1 ORDER BY id LIMIT ?2")?;
    let channels: Vec<i64> =
        statement.query_map([done, CHANNELS], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let reached = channels.last().copied();
    let (renamed, deletes) = (Vec::new(), Vec::new());
    Ok(UserSlice { user, stage: ErasureStage::Keys, reached, renamed, channels, deletes })
}

/// Removes name and keys, and notes how far the erasure has come. The caller has a transaction open, and its deletes are committed.
/// Text that no delete removed goes here: of deletes, and of edits whose original is not retained. Such an edit names itself as its
/// delete.
pub(super) fn finish(connection: &Connection, slice: &UserSlice) -> rusqlite::Result<UserProgress> {
    let user = slice.user.as_str();
    let mut rename = connection.prepare_cached(
        "UPDATE publications AS p SET user = ?2, key = NULL, data = CASE WHEN kind = 2 THEN 'null' END,
             deleted_by = CASE WHEN kind <> 2 THEN coalesce(deleted_by,
                 (SELECT e.deleted_by FROM erasures AS e WHERE e.target = p.target), ?3) END
         WHERE place = ?1",
    )?;
    for place in &slice.renamed {
        rename.execute(params![place, erased::NAME, integer(RowKey(*place).offset().0)])?;
    }
    let mut forget = connection.prepare_cached("DELETE FROM keys WHERE channel = ?1 AND user = ?2")?;
    let mut forgotten = 0;
    for channel in &slice.channels {
        forgotten += forget.execute(params![channel, user])? as u64;
    }
    let renamed = slice.renamed.len() as u64;
    let (stage, done) = match (slice.stage, slice.reached) {
        (ErasureStage::Publications, Some(reached)) => (0, reached),
        (ErasureStage::Publications, None) => (1, 0),
        (ErasureStage::Keys, reached) => (1, reached.unwrap_or(i64::MAX)),
    };
    let (publications, keys): (i64, i64) = connection
        .prepare_cached(
            "UPDATE user_erasures SET stage = ?2, done = ?3, publications = publications + ?4, keys = keys + ?5
             WHERE user_name = ?1 RETURNING publications, keys",
        )?
        .query_row(params![user, stage, done, integer(renamed), integer(forgotten)], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let rows = renamed + forgotten;
    if (slice.stage, slice.reached) != (ErasureStage::Keys, None) {
        return Ok(UserProgress { rows, ended: None });
    }
    connection.prepare_cached("DELETE FROM user_erasures WHERE user_name = ?1")?.execute([user])?;
    let (user, publications, keys) = (slice.user.clone(), natural(publications), natural(keys));
    Ok(UserProgress { rows, ended: Some(UserErased { user, publications, keys }) })
}
