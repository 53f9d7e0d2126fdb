//! Erasures of users: what a user wrote is found by a search of the log, deleted like any publication, and then loses its author.
//!
//! An order to erase a user notes it here, in its transaction. Each key or operator that asked has a search of its own, for up to
//! a thousand users at once. The thread that writes goes on with the searches in slices, also after a restart. A slice first commits
//! deletes, which readers are sent, and then notes how far it came. If the process ends in between, the next one finds the same
//! publications deleted, and only removes the name. The end of a search is an order: reactors drop what they hold in memory,
//! because no delete announced all that changed.

use super::place::RowKey;
use super::user_search::{SearchPlace, SearchWork, UserSlice};
use crate::cluster::order::OrderKind;
use crate::id::{OrderId, UserName};
use crate::store::columns::{integer, natural};
use crate::store::erased;
use rusqlite::{Connection, params};

/// Notes a user whose publications and keys are to be erased. After a repetition, another search begins for this user.
pub(super) fn begin(connection: &Connection, user: &UserName, by: &str, now_ms: u64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO user_erasures (user_name, by, asked, searched, publications, keys)
             VALUES (?1, ?2, ?3, 0, 0, 0)
             ON CONFLICT (user_name) DO UPDATE SET asked = excluded.asked, searched = 0",
        )?
        .execute(params![user.as_str(), by, integer(now_ms)])?;
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO erasure_searches (by, stage, place, channel, user, key)
             SELECT by, 0, 0, 0, '', '' FROM user_erasures WHERE user_name = ?1",
        )?
        .execute([user.as_str()])
        .map(drop)
}

/// True if an erasure of this user is not finished.
pub(super) fn is_begun(connection: &Connection, user: &UserName) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM user_erasures WHERE user_name = ?1")?.exists([user.as_str()])
}

/// The erasures that are not finished.
#[derive(Debug)]
pub(super) struct UnfinishedErasures {
    /// The searches for them, by name.
    pub(super) searches: Vec<String>,
    /// The number of users.
    pub(super) count: u64,
    /// When the oldest was asked for, in Unix milliseconds.
    pub(super) oldest_ms: Option<u64>,
}

/// Reads the erasures that are not finished, and at most `most` searches for them.
pub(super) fn unfinished(connection: &Connection, most: u32) -> rusqlite::Result<UnfinishedErasures> {
    let mut searches = connection.prepare_cached("SELECT by FROM erasure_searches ORDER BY by LIMIT ?1")?;
    let searches = searches.query_map([most], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let count: i64 =
        connection.prepare_cached("SELECT count(*) FROM user_erasures")?.query_row([], |row| row.get(0))?;
    let oldest: Option<i64> =
        connection.prepare_cached("SELECT min(asked) FROM user_erasures")?.query_row([], |row| row.get(0))?;
    Ok(UnfinishedErasures { searches, count: natural(count), oldest_ms: oldest.map(natural) })
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
    /// The erasures that have ended.
    pub(super) ended: Vec<UserErased>,
    /// The order that says so.
    pub(super) order: Option<OrderId>,
}

/// Removes names and keys, and notes how far the search has come. The caller has a transaction open, and the slice's deletes are
/// committed.
pub(super) fn finish(
    connection: &Connection,
    slice: &UserSlice,
    now_ms: u64,
) -> rusqlite::Result<UserProgress> {
    let by = slice.by.as_str();
    match &slice.work {
        SearchWork::Begin(users) => {
            let mut search =
                connection.prepare_cached("UPDATE user_erasures SET searched = 1 WHERE user_name = ?1")?;
            for user in users {
                search.execute([user])?;
            }
            note(connection, by, &SearchPlace::Publications(0))?;
            Ok(UserProgress::default())
        }
        SearchWork::Publications { renamed, next } => {
            rename(connection, renamed)?;
            note(connection, by, next)?;
            Ok(UserProgress { rows: renamed.len() as u64, ..UserProgress::default() })
        }
        SearchWork::Keys { keys, next } => {
            let mut forget = connection
                .prepare_cached("DELETE FROM keys WHERE channel = ?1 AND user = ?2 AND key = ?3")?;
            let mut count =
                connection.prepare_cached("UPDATE user_erasures SET keys = keys + 1 WHERE user_name = ?1")?;
            for (channel, user, key) in keys {
                forget.execute(params![channel, user, key])?;
                count.execute([user])?;
            }
            note(connection, by, next)?;
            Ok(UserProgress { rows: keys.len() as u64, ..UserProgress::default() })
        }
        SearchWork::End => end(connection, by, now_ms),
    }
}

/// Text that no delete removed goes here: of deletes, and of edits whose original is not retained. Such an edit names itself as its
/// delete.
fn rename(connection: &Connection, renamed: &[(i64, String)]) -> rusqlite::Result<()> {
    let mut rename = connection.prepare_cached(
        "UPDATE publications AS p SET user = ?2, key = NULL, data = CASE WHEN kind = 2 THEN 'null' END,
             deleted_by = CASE WHEN kind <> 2 THEN coalesce(deleted_by,
                 (SELECT e.deleted_by FROM erasures AS e WHERE e.target = p.target), ?3) END
         WHERE place = ?1",
    )?;
    let mut count = connection
        .prepare_cached("UPDATE user_erasures SET publications = publications + 1 WHERE user_name = ?1")?;
    for (place, user) in renamed {
        rename.execute(params![place, erased::NAME, integer(RowKey(*place).offset().0)])?;
        count.execute([user])?;
    }
    Ok(())
}

/// Notes where the search goes on.
fn note(connection: &Connection, by: &str, next: &SearchPlace) -> rusqlite::Result<()> {
    let none = (0, String::new(), String::new());
    let (stage, place, (channel, user, key)) = match next {
        SearchPlace::NotBegun => (0, 0, &none),
        SearchPlace::Publications(place) => (1, *place, &none),
        SearchPlace::Keys(key) => (2, 0, key),
        SearchPlace::End => (3, 0, &none),
    };
    connection
        .prepare_cached(
            "UPDATE erasure_searches SET stage = ?2, place = ?3, channel = ?4, user = ?5, key = ?6 WHERE by = ?1",
        )?
        .execute(params![by, stage, place, channel, user, key])
        .map(drop)
}

/// Ends a search, and the erasures that it was for.
fn end(connection: &Connection, by: &str, now_ms: u64) -> rusqlite::Result<UserProgress> {
    let ended = connection
        .prepare_cached(
            "DELETE FROM user_erasures WHERE by = ?1 AND searched = 1 RETURNING user_name, publications, keys",
        )?
        .query_map([by], |row| {
            let (publications, keys) = (natural(row.get(1)?), natural(row.get(2)?));
            Ok(UserErased { user: row.get(0)?, publications, keys })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut order = None;
    if !ended.is_empty() {
        connection
            .prepare_cached("INSERT INTO orders (kind, args, made, by) VALUES (?1, '{}', ?2, ?3)")?
            .execute(params![OrderKind::Erased.word(), integer(now_ms), by])?;
        order = Some(OrderId(natural(connection.last_insert_rowid())));
    }
    note(connection, by, &SearchPlace::NotBegun)?;
    connection
        .prepare_cached(
            "DELETE FROM erasure_searches WHERE by = ?1
                 AND NOT EXISTS (SELECT 1 FROM user_erasures AS e WHERE e.by = ?1)",
        )?
        .execute([by])?;
    Ok(UserProgress { rows: ended.len() as u64, ended, order })
}
