//! The search of the log for what erased users wrote: reads the next slice, and changes nothing.

use super::place::RowKey;
use crate::id::{ChannelName, Offset};
use crate::job::{Append, AppendChange, Authority, Creation, Ticket};
use crate::store::columns::integer;
use crate::store::erased;
use crate::store::erasure_turns::SETTLE_MS;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

/// Publications or keys that a slice examines: about a millisecond.
const EXAMINED: u32 = 2_048;
/// Keys that it deletes: about a millisecond.
const KEYS_CHANGED: usize = 512;
/// Users of one search.
const USERS_MAX: u32 = 1_000;

/// A row of `keys`: the number of a channel, a user and a key.
pub(super) type KeyPlace = (i64, String, String);

/// The place where a search goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SearchPlace {
    NotBegun,
    /// After this place in `publications`.
    Publications(i64),
    /// After this key.
    Keys(KeyPlace),
    End,
}

/// The changes of a slice.
#[derive(Clone, Debug)]
pub(super) enum SearchWork {
    /// A search begins for these users.
    Begin(Vec<String>),
    /// Places of publications that lose their author, key and text, and the author of each.
    Publications { renamed: Vec<(i64, String)>, next: SearchPlace },
    /// Keys to be deleted.
    Keys { keys: Vec<KeyPlace>, next: SearchPlace },
    /// The search ends.
    End,
}

/// The next part of a search.
#[derive(Debug)]
pub(super) struct UserSlice {
    /// The key or operator whose erasures these are.
    pub(super) by: String,
    pub(super) work: SearchWork,
    /// Deletes to be committed before the slice is finished.
    pub(super) deletes: Vec<Append>,
}

/// Reads the next slice of a search, with at most `change` publications to be erased. `None`: there is nothing to do yet.
pub(super) fn next(
    connection: &Connection,
    by: &str,
    change: u32,
    now_ms: u64,
) -> rusqlite::Result<Option<UserSlice>> {
    let mut statement = connection
        .prepare_cached("SELECT stage, place, channel, user, key FROM erasure_searches WHERE by = ?1")?;
    let place = |row: &Row<'_>| {
        Ok(match row.get::<_, i64>(0)? {
            0 => SearchPlace::NotBegun,
            1 => SearchPlace::Publications(row.get(1)?),
            2 => SearchPlace::Keys((row.get(2)?, row.get(3)?, row.get(4)?)),
            _ => SearchPlace::End,
        })
    };
    let Some(place) = statement.query_row([by], place).optional()? else { return Ok(None) };
    let mut deletes = Vec::new();
    let work = match place {
        SearchPlace::NotBegun => match settled(connection, by, now_ms)? {
            users if !users.is_empty() => SearchWork::Begin(users),
            _ if is_idle(connection, by)? => SearchWork::End,
            _ => return Ok(None),
        },
        SearchPlace::Publications(after) => {
            let (work, found) = publications(connection, by, after, change)?;
            deletes = found;
            work
        }
        SearchPlace::Keys(after) => keys(connection, by, &after)?,
        SearchPlace::End => SearchWork::End,
    };
    Ok(Some(UserSlice { by: by.to_owned(), work, deletes }))
}

/// The oldest erasures for which a search may begin. A time in the future is that of a clock that was wrong.
fn settled(connection: &Connection, by: &str, now_ms: u64) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare_cached(
        "SELECT user_name FROM user_erasures
         WHERE by = ?1 AND searched = 0 AND (asked <= ?2 OR asked > ?3) ORDER BY asked LIMIT ?4",
    )?;
    let settled = integer(now_ms.saturating_sub(SETTLE_MS));
    statement.query_map(params![by, settled, integer(now_ms), USERS_MAX], |row| row.get(0))?.collect()
}

/// True if no erasure of this author is left.
fn is_idle(connection: &Connection, by: &str) -> rusqlite::Result<bool> {
    Ok(!connection.prepare_cached("SELECT 1 FROM user_erasures WHERE by = ?1 LIMIT 1")?.exists([by])?)
}

fn publications(
    connection: &Connection,
    by: &str,
    after: i64,
    change: u32,
) -> rusqlite::Result<(SearchWork, Vec<Append>)> {
    let reached: Option<i64> = connection
        .prepare_cached(
            "SELECT max(place) FROM (SELECT place FROM publications WHERE place > ?1 ORDER BY place LIMIT ?2)",
        )?
        .query_row(params![after, EXAMINED], |row| row.get(0))?;
    let (mut renamed, mut deletes) = (Vec::new(), Vec::new());
    let Some(reached) = reached else {
        let next = SearchPlace::Keys((0, String::new(), String::new()));
        return Ok((SearchWork::Publications { renamed, next }, deletes));
    };
    let mut statement = connection.prepare_cached(
        "SELECT p.place, p.kind, p.target, p.deleted_by, c.name, p.user
         FROM publications AS p CROSS JOIN channels AS c ON c.id = p.place >> 39
         WHERE p.place > ?1 AND p.place <= ?2
             AND (SELECT e.searched FROM user_erasures AS e WHERE e.user_name = p.user AND e.by = ?3) = 1
         ORDER BY p.place LIMIT ?4",
    )?;
    let mut rows = statement.query(params![after, reached, by, change])?;
    while let Some(row) = rows.next()? {
        let place: i64 = row.get(0)?;
        renamed.push((place, row.get(5)?));
        let target = match (row.get::<_, i64>(1)?, row.get::<_, Option<i64>>(3)?) {
            (0, None) => Some(place),
            // The text of an edit goes with the original, also with that of another author: readers see the edit in its place.
            (1, None) => row.get(2)?,
            _ => None,
        };
        if let (Some(target), Ok(channel)) = (target, ChannelName::parse_any(row.get_ref(4)?.as_str()?)) {
            deletes.push(delete(channel, RowKey(target).offset()));
        }
    }
    let is_full = renamed.len() >= change as usize;
    let reached = renamed.last().filter(|_| is_full).map_or(reached, |(place, _)| *place);
    Ok((SearchWork::Publications { renamed, next: SearchPlace::Publications(reached) }, deletes))
}

fn delete(channel: ChannelName, target: Offset) -> Append {
    Append {
        ticket: Ticket::UNANSWERED,
        channel,
        user: erased::user(),
        key: None,
        change: AppendChange::Delete(target, Authority::Moderator),
        creation: Creation::Free,
        stream: None,
        claims: None,
        data: "null".into(),
    }
}

fn keys(connection: &Connection, by: &str, after: &KeyPlace) -> rusqlite::Result<SearchWork> {
    let mut statement = connection.prepare_cached(
        "SELECT k.channel, k.user, k.key,
             (SELECT e.searched FROM user_erasures AS e WHERE e.user_name = k.user AND e.by = ?4) = 1
         FROM keys AS k WHERE (k.channel, k.user, k.key) > (?1, ?2, ?3)
         ORDER BY k.channel, k.user, k.key LIMIT ?5",
    )?;
    let mut rows = statement.query(params![after.0, after.1, after.2, by, EXAMINED])?;
    let (mut keys, mut next) = (Vec::new(), SearchPlace::End);
    while keys.len() < KEYS_CHANGED
        && let Some(row) = rows.next()?
    {
        let place = (row.get(0)?, row.get(1)?, row.get(2)?);
        if row.get::<_, Option<bool>>(3)? == Some(true) {
            keys.push(place.clone());
        }
        next = SearchPlace::Keys(place);
    }
    Ok(SearchWork::Keys { keys, next })
}
