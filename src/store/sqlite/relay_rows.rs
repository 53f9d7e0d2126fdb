//! The tables of the relay.

use super::place::{ChannelNumber, RowKey};
use crate::id::{ChannelName, Key, Offset, UserName};
use crate::job::relay::{DeadCause, DeadLetter, OpenAnswer, RelayedQuestion};
use crate::relay::route::{AnswerMode, RelayRoute};
use crate::store::columns::{self, integer, natural};
use crate::store::relay::{NewDead, RelayRow, ScannedRow, StoredAnswer, answer_data, ended_answer};
use crate::wire::publication::Change;
use crate::wire::stream::{Generation, StreamMark, StreamState};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use std::sync::Arc;

pub(super) fn find(connection: &Connection, channel: &ChannelName) -> rusqlite::Result<Option<RelayRow>> {
    connection
        .prepare_cached("SELECT head, cursor, attempts, next FROM relays WHERE channel = ?1")?
        .query_row([channel.as_str()], |row| {
            Ok(RelayRow {
                head: Offset(natural(row.get(0)?)),
                cursor: Offset(natural(row.get(1)?)),
                attempts: row.get(2)?,
                next_ms: natural(row.get(3)?),
            })
        })
        .optional()
}

/// A publication is to be relayed. If nothing waited before, what is older is not relayed.
pub(super) fn raise(
    connection: &Connection,
    channel: &ChannelName,
    head: Offset,
    now_ms: u64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO relays (channel, head, cursor, attempts, next) VALUES (?1, ?2, ?2 - 1, 0, ?3)
             ON CONFLICT (channel) DO UPDATE SET head = excluded.head,
                 cursor = CASE WHEN cursor < head THEN cursor ELSE excluded.cursor END,
                 attempts = CASE WHEN cursor < head THEN attempts ELSE 0 END,
                 next = CASE WHEN cursor < head THEN next ELSE excluded.next END",
        )?
        .execute(params![channel.as_str(), integer(head.0), integer(now_ms)])
        .map(drop)
}

pub(super) fn write(connection: &Connection, channel: &ChannelName, row: &RelayRow) -> rusqlite::Result<()> {
    let RelayRow { head: _, cursor, attempts, next_ms } = *row;
    connection
        .prepare_cached("UPDATE relays SET cursor = ?2, attempts = ?3, next = ?4 WHERE channel = ?1")?
        .execute(params![channel.as_str(), integer(cursor.0), attempts, integer(next_ms)])
        .map(drop)
}

/// Forgets a channel that does not exist any more.
pub(super) fn forget(connection: &Connection, channel: &ChannelName) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM relays WHERE channel = ?1")?.execute([channel.as_str()]).map(drop)
}

pub(super) fn add_claims(connection: &Connection, place: RowKey, claims: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO relay_claims (place, claims) VALUES (?1, ?2)")?
        .execute(params![place.0, claims])
        .map(drop)
}

/// Deletes the claims of publications after the first one, up to the last one.
pub(super) fn delete_claims(connection: &Connection, after: RowKey, through: RowKey) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM relay_claims WHERE place > ?1 AND place <= ?2")?
        .execute([after.0, through.0])
        .map(drop)
}

pub(super) fn claims(connection: &Connection, place: RowKey) -> rusqlite::Result<Option<Arc<str>>> {
    connection
        .prepare_cached("SELECT claims FROM relay_claims WHERE place = ?1")?
        .query_row([place.0], |row| row.get_ref(0)?.as_str().map(Arc::from).map_err(Into::into))
        .optional()
}

pub(super) fn add_dead(
    connection: &Connection,
    channel: &ChannelName,
    route: &str,
    dead: &NewDead,
    now_ms: u64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO relay_dead (channel, offset, through, route, cause, status, time)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            channel.as_str(),
            integer(dead.offset.0),
            integer(dead.through.0),
            route,
            dead.cause.code(),
            dead.status,
            integer(now_ms)
        ])
        .map(drop)
}

/// The publications after an offset, up to another one.
pub(super) fn scan(
    connection: &Connection,
    number: ChannelNumber,
    (after, through): (Offset, Offset),
    limit: u32,
) -> rusqlite::Result<Vec<ScannedRow>> {
    let mut statement = connection.prepare_cached(
        "SELECT place, user, kind, target, stream, deleted_by IS NOT NULL FROM publications
         WHERE place > ?1 AND place <= ?2 ORDER BY place LIMIT ?3",
    )?;
    let bounds = params![RowKey::of(number, after).0, RowKey::of(number, through).0, limit];
    let rows = statement.query_map(bounds, |row| {
        Ok(ScannedRow {
            offset: RowKey(row.get(0)?).offset(),
            user: row.get_ref(1)?.as_str()?.into(),
            change: change(row, 2)?,
            mark: row.get::<_, Option<i64>>(4)?.and_then(StreamMark::of_code).unwrap_or_default(),
            is_deleted: row.get(5)?,
        })
    })?;
    rows.collect()
}

/// The change in the columns `kind` and `target`.
fn change(row: &Row<'_>, at: usize) -> rusqlite::Result<Change> {
    let target = row.get::<_, Option<i64>>(at + 1)?;
    Ok(columns::change(row.get(at)?, target.map(|place| integer(RowKey(place).offset().0))))
}

/// A publication to send; `None` if it has no text any more.
pub(super) fn question(connection: &Connection, place: RowKey) -> rusqlite::Result<Option<RelayedQuestion>> {
    connection
        .prepare_cached("SELECT user, key, time, kind, target, data FROM publications WHERE place = ?1")?
        .query_row([place.0], |row| {
            let user = UserName::parse(row.get_ref(0)?.as_str()?).ok();
            let key = row.get_ref(1)?.as_str_or_null()?.and_then(|key| Key::parse(key).ok());
            let data = row.get_ref(5)?.as_str_or_null()?;
            let (time_ms, change) = (natural(row.get(2)?), change(row, 3)?);
            Ok(user.zip(data).map(|(user, data)| RelayedQuestion {
                offset: place.offset(),
                key,
                user,
                time_ms,
                change,
                data: data.into(),
            }))
        })
        .optional()
        .map(Option::flatten)
}

/// The answer to a question.
pub(super) fn answer(
    connection: &Connection,
    question: RowKey,
    route: &RelayRoute,
) -> rusqlite::Result<StoredAnswer> {
    let offset = question.offset().next();
    let is_answered = route.answers == AnswerMode::Stored;
    let found = connection
        .prepare_cached(
            "SELECT s.gen, s.state FROM publications AS p LEFT JOIN streams AS s ON s.place = p.place
             WHERE p.place = ?1 AND p.stream = 1 AND p.user = ?2
                 AND (p.data = ?3 OR (?4 AND p.deleted_by IS NOT NULL))",
        )?
        .query_row(
            params![
                question.of_same_channel(offset).0,
                route.user.as_str(),
                &*answer_data(question.offset()),
                is_answered
            ],
            |row| Ok((row.get::<_, Option<u32>>(0)?, row.get::<_, Option<i64>>(1)?)),
        )
        .optional()?;
    Ok(match found {
        None => StoredAnswer::None,
        Some((Some(generation), Some(state))) => StoredAnswer::Open(OpenAnswer {
            offset,
            generation: Generation(generation),
            state: StreamState::of_code(state).unwrap_or(StreamState::Paused),
        }),
        Some(_) => return end_of(connection, question.of_same_channel(offset)),
    })
}

fn end_of(connection: &Connection, begin: RowKey) -> rusqlite::Result<StoredAnswer> {
    let end = connection
        .prepare_cached(
            "SELECT stream, data FROM publications WHERE target = ?1 AND stream IN (3, 5) ORDER BY place LIMIT 1",
        )?
        .query_row([begin.0], |row| Ok(ended_answer(StreamMark::of_code(row.get(0)?), row.get_ref(1)?.as_str_or_null()?)))
        .optional()?;
    Ok(end.unwrap_or(StoredAnswer::Ended))
}

/// True if a stream that this user has begun before an offset is open in the channel, and can still end: no backend will take a question that
/// is deleted or not retained.
pub(super) fn has_open_before(
    connection: &Connection,
    number: ChannelNumber,
    before: Offset,
    author: &UserName,
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT 1 FROM streams AS s WHERE s.place > ?1 AND s.place < ?2 AND s.author = ?3
                 AND (s.state <> 4 OR EXISTS (SELECT 1 FROM publications AS q
                     WHERE q.place = s.place - 1 AND q.deleted_by IS NULL)) LIMIT 1",
        )?
        .exists(params![RowKey::of(number, Offset::ZERO).0, RowKey::of(number, before).0, author.as_str()])
}

/// A channel that waits.
pub(super) struct WaitingRow {
    pub(super) channel: Box<str>,
    pub(super) row: RelayRow,
    /// The commit of the publication after the cursor; `None`: it is not retained.
    pub(super) oldest_ms: Option<u64>,
}

/// A place in the list of channels that wait.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WaitingPlace {
    pub(super) next_ms: i64,
    pub(super) channel: Box<str>,
}

impl Default for WaitingPlace {
    fn default() -> WaitingPlace {
        WaitingPlace { next_ms: i64::MIN, channel: "".into() }
    }
}

/// Channels that wait and whose time has come, in the order of their times and names, after a place.
pub(super) fn waiting(
    connection: &Connection,
    after: &WaitingPlace,
    until_ms: u64,
    limit: u32,
) -> rusqlite::Result<Vec<WaitingRow>> {
    let mut statement = connection.prepare_cached(
        "SELECT r.channel, r.head, r.cursor, r.attempts, r.next,
             (SELECT p.time FROM channels AS c JOIN publications AS p ON p.place = (c.id << 39) | (r.cursor + 1)
              WHERE c.name = r.channel)
         FROM relays AS r INDEXED BY relays_waiting
         WHERE r.cursor < r.head AND (r.next, r.channel) > (?1, ?2) AND r.next <= ?3
         ORDER BY r.next, r.channel LIMIT ?4",
    )?;
    let bounds = params![after.next_ms, &*after.channel, integer(until_ms), limit];
    let rows = statement.query_map(bounds, |row| {
        Ok(WaitingRow {
            channel: row.get_ref(0)?.as_str()?.into(),
            row: RelayRow {
                head: Offset(natural(row.get(1)?)),
                cursor: Offset(natural(row.get(2)?)),
                attempts: row.get(3)?,
                next_ms: natural(row.get(4)?),
            },
            oldest_ms: row.get::<_, Option<i64>>(5)?.map(natural),
        })
    })?;
    rows.collect()
}

/// The first time after this one at which a channel that waits becomes due.
pub(super) fn next_after(connection: &Connection, now_ms: u64) -> rusqlite::Result<Option<u64>> {
    connection
        .prepare_cached(
            "SELECT min(next) FROM relays INDEXED BY relays_waiting WHERE cursor < head AND next > ?1",
        )?
        .query_row([integer(now_ms)], |row| row.get::<_, Option<i64>>(0).map(|next| next.map(natural)))
}

/// The number of dead letters of each route.
pub(super) fn count_dead(connection: &Connection) -> rusqlite::Result<Vec<(String, u64)>> {
    let mut statement = connection.prepare_cached("SELECT route, count(*) FROM relay_dead GROUP BY route")?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1).map(natural)?)))?.collect()
}

/// Dead letters of a route, or of all, in the order of their numbers.
pub(super) fn dead(
    connection: &Connection,
    route: Option<&str>,
    after: u64,
    limit: u32,
) -> rusqlite::Result<Vec<DeadLetter>> {
    let columns = "SELECT number, channel, offset, through, route, cause, status, time FROM relay_dead";
    let mut statement = match route {
        Some(_) => connection.prepare_cached(&format!(
            "{columns} WHERE route = ?1 AND number > ?2 ORDER BY number LIMIT ?3"
        ))?,
        None => connection.prepare_cached(&format!(
            "{columns} WHERE ?1 IS NULL AND number > ?2 ORDER BY number LIMIT ?3"
        ))?,
    };
    let rows = statement.query_map(params![route, integer(after), limit], |row| {
        let channel = ChannelName::parse_any(row.get_ref(1)?.as_str()?).ok();
        let cause = DeadCause::of_code(row.get(5)?);
        Ok(channel.zip(cause).map(|(channel, cause)| {
            Ok(DeadLetter {
                number: natural(row.get(0)?),
                channel,
                offset: Offset(natural(row.get(2)?)),
                through: Offset(natural(row.get(3)?)),
                route: row.get_ref(4)?.as_str()?.into(),
                cause,
                status: row.get(6)?,
                time_ms: natural(row.get(7)?),
            })
        }))
    })?;
    // A row that a newer program wrote may be unknown here.
    rows.filter_map(|row: rusqlite::Result<_>| row.transpose()).map(|row| row?).collect()
}

/// Removes everything of a channel that is dropped. Its publications are gone.
pub(super) fn drop_channel(
    connection: &Connection,
    number: ChannelNumber,
    name: Option<&ChannelName>,
) -> rusqlite::Result<()> {
    let (first, last) = (RowKey::of(number, Offset::ZERO), RowKey::of(number, Offset(u64::MAX)));
    delete_claims(connection, first, last)?;
    if let Some(name) = name {
        forget(connection, name)?;
        connection.execute("DELETE FROM relay_dead WHERE channel = ?1", [name.as_str()])?;
    }
    Ok(())
}
