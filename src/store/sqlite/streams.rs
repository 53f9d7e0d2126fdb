//! The tables of streams: a row for each open one, and the parts of their text in the order of the commits.
//!
//! Nothing searches for the parts of one stream, because memory has the texts of open ones. So the parts have no index, and those of
//! all streams in one commit are on the same few pages. Their numbers only rise; `first_part` of a stream is the number that was
//! next at its begin, so a start reads each part once, from the lowest `first_part` on.

use super::place::{ChannelNumber, RowKey};
use super::rows;
use super::stream_end::WrittenEnd;
use crate::id::{ChannelName, Offset, UserName};
use crate::store::answer_column::AnswerJson;
use crate::store::columns::{integer, natural};
use crate::stream::{EndFate, PartRow, StoredStream};
use crate::wire::stream::{
    AnswerOptions, EventKeep, Generation, Position, StreamEnd, StreamId, StreamMark, StreamOptions,
    StreamState,
};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The column `options`.
#[derive(Default, Serialize, Deserialize)]
struct OptionsColumn {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    idle_ms: Option<u32>,
    #[serde(default)]
    keep_events: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answer: Option<AnswerJson>,
    /// The channel. A program of the release before removes channels without looking at streams, and another one may get the number.
    #[serde(default)]
    channel: String,
}

/// A stream that begins.
pub(super) struct NewStream<'a> {
    pub(super) place: RowKey,
    pub(super) channel: &'a ChannelName,
    pub(super) author: &'a UserName,
    pub(super) options: &'a StreamOptions,
    pub(super) first_part: i64,
    pub(super) since_ms: u64,
}

pub(super) fn open(connection: &Connection, stream: &NewStream<'_>) -> rusqlite::Result<()> {
    let StreamOptions { asker, idle_ms, events, answer } = stream.options;
    let (channel, keep_events) = (stream.channel.as_str().to_string(), *events == EventKeep::Keep);
    let options =
        OptionsColumn { idle_ms: *idle_ms, keep_events, answer: answer.map(AnswerJson::from), channel };
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO streams (place, author, asker, gen, state, options, first_part, since)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            stream.place.0,
            stream.author.as_str(),
            asker.as_ref().map(UserName::as_str),
            Generation::FIRST.0,
            stream.options.first_state().code(),
            serde_json::to_string(&options).unwrap_or_default(),
            stream.first_part,
            integer(stream.since_ms)
        ])
        .map(drop)
}

/// Removes the row of a stream. True if there was one.
pub(super) fn close(connection: &Connection, place: RowKey) -> rusqlite::Result<bool> {
    let closed = connection.prepare_cached("DELETE FROM streams WHERE place = ?1")?.execute([place.0])?;
    Ok(closed > 0)
}

/// An answer that leaves its first state counts its age from then on.
pub(super) fn set_state(
    connection: &Connection,
    place: RowKey,
    state: StreamState,
    now_ms: u64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE streams SET state = ?2, since = CASE WHEN state = ?3 THEN ?4 ELSE since END WHERE place = ?1",
        )?
        .execute(params![place.0, state.code(), StreamState::Accepted.code(), integer(now_ms)])
        .map(drop)
}

/// Begins a generation, whose parts have no lower number than `first_part`.
pub(super) fn set_generation(
    connection: &Connection,
    place: RowKey,
    generation: Generation,
    first_part: i64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE streams SET gen = ?2, first_part = ?3 WHERE place = ?1")?
        .execute(params![place.0, generation.0, first_part])
        .map(drop)
}

/// A part that is one text has no heads of entries, and 0 in place of `next`, which takes no byte: that is its position and its length.
pub(super) fn add_part(
    connection: &Connection,
    id: i64,
    place: RowKey,
    part: &PartRow,
) -> rusqlite::Result<()> {
    let (next, body) = match part.only_text() {
        Some(text) => (Position::ZERO, text),
        None => (part.next, &*part.body),
    };
    connection
        .prepare_cached(
            "INSERT INTO stream_parts (id, place, gen, at, next, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![id, place.0, part.generation.0, part.at.0, next.0, body])
        .map(drop)
}

/// True if this part is stored.
pub(super) fn has_part(connection: &Connection, id: i64) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM stream_parts WHERE id = ?1")?.exists([id])
}

/// The generation and state of an open stream.
pub(super) fn progress(
    connection: &Connection,
    place: RowKey,
) -> rusqlite::Result<Option<(Generation, i64)>> {
    connection
        .prepare_cached("SELECT gen, state FROM streams WHERE place = ?1")?
        .query_row([place.0], |row| Ok((Generation(row.get(0)?), row.get(1)?)))
        .optional()
}

/// The answers among `most` open streams after a place that wait for a backend, and whose question is deleted or not retained; and the place
/// to go on after, `None` at the end. Only open streams have rows.
pub(super) fn lost_questions(
    connection: &Connection,
    after: RowKey,
    most: usize,
) -> rusqlite::Result<(Vec<StreamId>, Option<RowKey>)> {
    let mut statement = connection.prepare_cached(
        "SELECT c.name, s.place, s.state = ?3 AND NOT EXISTS
             (SELECT 1 FROM publications AS q WHERE q.place = s.place - 1 AND q.deleted_by IS NULL)
         FROM (SELECT place, state FROM streams WHERE place > ?1 ORDER BY place LIMIT ?2) AS s
         LEFT JOIN channels AS c ON c.id = s.place >> 39 ORDER BY s.place",
    )?;
    let mut rows = statement.query(params![after.0, most as i64, StreamState::Accepted.code()])?;
    let (mut lost, mut count, mut last) = (Vec::new(), 0, after);
    while let Some(row) = rows.next()? {
        (count, last) = (count + 1, RowKey(row.get(1)?));
        if let (Some(name), true) = (row.get_ref(0)?.as_str_or_null()?, row.get(2)?)
            && let Ok(channel) = ChannelName::parse_any(name)
        {
            lost.push(StreamId { channel, offset: last.offset() });
        }
    }
    Ok((lost, (count >= most).then_some(last)))
}

/// The number of the next part. It is above the numbers of all parts, deleted ones included.
pub(super) fn next_part(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row(
        "SELECT max(1, coalesce((SELECT max(id) + 1 FROM stream_parts), 1),
                    coalesce((SELECT max(first_part) FROM streams), 1))",
        [],
        |row| row.get(0),
    )
}

/// The lowest number that a part of an open stream may have; `None` if no stream is open.
pub(super) fn first_part(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    connection.prepare_cached("SELECT min(first_part) FROM streams")?.query_row([], |row| row.get(0))
}

/// The edit or delete that ended a stream, if it is retained.
pub(super) fn end_of(connection: &Connection, begin: RowKey) -> rusqlite::Result<Option<WrittenEnd>> {
    connection
        .prepare_cached(
            "SELECT place, stream, time FROM publications WHERE target = ?1 AND stream >= 2 ORDER BY place LIMIT 1",
        )?
        .query_row([begin.0], |row| {
            let (edit, time_ms) = (RowKey(row.get(0)?).offset(), Some(natural(row.get(2)?)));
            Ok(end(row.get(1)?).map(|end| WrittenEnd { fate: EndFate { end, edit }, time_ms }))
        })
        .optional()
        .map(Option::flatten)
}

fn end(code: i64) -> Option<StreamEnd> {
    match StreamMark::of_code(code) {
        Some(StreamMark::Ended(end)) => Some(end),
        Some(StreamMark::None | StreamMark::Begun) | None => None,
    }
}

/// The row key of a begin; `None` if the channel does not exist.
pub(super) fn place(connection: &Connection, id: &StreamId) -> rusqlite::Result<Option<RowKey>> {
    Ok(rows::find(connection, id.channel.as_str())?.map(|row| RowKey::of(row.id, id.offset)))
}

/// The open streams of the file.
#[derive(Debug, Default)]
pub(super) struct StoredStreams {
    pub(super) open: Vec<(RowKey, StoredStream)>,
    /// Rows that no stream belongs to.
    pub(super) stale: Vec<StaleStream>,
}

/// A row whose begin a program of the release before has edited or deleted, which ends the stream, or whose channel it has removed.
#[derive(Clone, Copy, Debug)]
pub(super) struct StaleStream {
    begin: RowKey,
    /// The first edit or delete of the begin.
    change: Option<RowKey>,
}

/// Removes a row that no stream belongs to. The change that ended the stream gets its mark.
pub(super) fn close_stale(connection: &Connection, stale: StaleStream) -> rusqlite::Result<()> {
    if let Some(change) = stale.change {
        connection
            .prepare_cached(
                "UPDATE publications SET stream = CASE kind WHEN 2 THEN ?3 ELSE ?2 END
                 WHERE place = ?1 AND stream IS NULL",
            )?
            .execute(params![
                change.0,
                StreamMark::Ended(StreamEnd::Replaced).code(),
                StreamMark::Ended(StreamEnd::Deleted).code()
            ])?;
    }
    close(connection, stale.begin).map(drop)
}

/// Reads the open streams at `now_ms`.
pub(super) fn stored(connection: &Connection, now_ms: u64) -> rusqlite::Result<StoredStreams> {
    let mut statement = connection.prepare_cached(
        "SELECT s.place, c.name, s.author, s.asker, s.gen, s.state, s.options, s.since, p.data,
             p.place IS NULL, p.stream IS 1 AND p.user IS s.author AND p.deleted_by IS NULL,
             (SELECT min(place) FROM publications AS change WHERE change.target = s.place), p.time
         FROM streams AS s
         LEFT JOIN channels AS c ON c.id = s.place >> 39
         LEFT JOIN publications AS p ON p.place = s.place
         ORDER BY s.place",
    )?;
    let mut found = statement.query([])?;
    let mut stored = StoredStreams::default();
    while let Some(row) = found.next()? {
        let place = RowKey(row.get(0)?);
        match stream(row, place, now_ms)? {
            Some(stream) => stored.open.push((place, stream)),
            None => {
                let change = row.get::<_, Option<i64>>(11)?.map(RowKey);
                stored.stale.push(StaleStream { begin: place, change });
            }
        }
    }
    Ok(stored)
}

/// `None` if no stream belongs to the row. A begin that retention has removed, which it may while the stream is open, is as if its
/// data were null.
fn stream(row: &Row<'_>, place: RowKey, now_ms: u64) -> rusqlite::Result<Option<StoredStream>> {
    let name = row.get_ref(1)?.as_str_or_null()?.and_then(|name| ChannelName::parse_any(name).ok());
    let author = UserName::parse(row.get_ref(2)?.as_str()?).ok();
    let asker = row.get_ref(3)?.as_str_or_null()?.and_then(|name| UserName::parse(name).ok());
    let options: Option<OptionsColumn> = serde_json::from_str(row.get_ref(6)?.as_str()?).ok();
    let (Some(channel), Some(author)) = (name, author) else { return Ok(None) };
    let options = options.unwrap_or_default();
    let (is_absent, is_sound, change): (bool, bool, Option<i64>) = (row.get(9)?, row.get(10)?, row.get(11)?);
    let is_cut = is_absent && options.channel == channel.as_str();
    if change.is_some() || !(is_sound || is_cut) {
        return Ok(None);
    }
    let state = StreamState::of_code(row.get(5)?).unwrap_or(StreamState::Paused);
    let time_ms: Option<i64> = row.get(12)?;
    let asked = time_ms.filter(|_| options.answer.is_some() && state.is_without_text());
    let events = if options.keep_events { EventKeep::Keep } else { EventKeep::Drop };
    Ok(Some(StoredStream {
        id: StreamId { channel, offset: place.offset() },
        author,
        options: StreamOptions {
            asker,
            idle_ms: options.idle_ms,
            events,
            answer: options.answer.map(AnswerOptions::from),
        },
        begun: Box::from(row.get_ref(8)?.as_str_or_null()?.unwrap_or("null")),
        generation: Generation(row.get(4)?),
        state,
        age: Duration::from_millis(now_ms.saturating_sub(natural(row.get(7)?))),
        asked: asked.map(|time_ms| Duration::from_millis(now_ms.saturating_sub(natural(time_ms)))),
    }))
}

/// Reads the parts from a number on, in order, and gives each to `take` with the place of its stream.
pub(super) fn parts(
    connection: &Connection,
    from: i64,
    mut take: impl FnMut(RowKey, StoredPart<'_>),
) -> rusqlite::Result<()> {
    let mut statement = connection
        .prepare_cached("SELECT place, gen, at, next, body FROM stream_parts WHERE id >= ?1 ORDER BY id")?;
    let mut rows = statement.query([from])?;
    while let Some(row) = rows.next()? {
        let part = StoredPart {
            generation: Generation(row.get(1)?),
            at: Position(row.get(2)?),
            next: Position(row.get(3)?),
            body: row.get_ref(4)?.as_blob()?,
        };
        take(RowKey(row.get(0)?), part);
    }
    Ok(())
}

/// A row of `stream_parts`.
pub(super) struct StoredPart<'a> {
    generation: Generation,
    at: Position,
    next: Position,
    body: &'a [u8],
}

impl StoredPart<'_> {
    /// The part, of this stream.
    pub(super) fn of(self, id: StreamId) -> PartRow {
        let StoredPart { generation, at, next, body } = self;
        if next == Position::ZERO {
            PartRow::of_text(id, generation, at, body)
        } else {
            PartRow { id, generation, at, next, body: body.to_vec() }
        }
    }
}

/// True if there is a part below a number.
pub(super) fn has_part_below(connection: &Connection, below: i64) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM stream_parts WHERE id < ?1 LIMIT 1")?.exists([below])
}

/// Parts, and the bytes of their bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PartsBound {
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

impl PartsBound {
    /// A slice of a few milliseconds: deleting overwrites the bodies.
    pub(super) const LEAST: PartsBound = PartsBound { rows: 4_096, bytes: 512 << 10 };
    /// The largest slice, after much was written.
    const MOST: PartsBound = PartsBound { rows: 16_384, bytes: 8 << 20 };

    /// A slice that deletes two for one that was written, within the bounds.
    pub(super) fn outrun(self) -> PartsBound {
        PartsBound {
            rows: self.rows.saturating_mul(2).clamp(PartsBound::LEAST.rows, PartsBound::MOST.rows),
            bytes: self.bytes.saturating_mul(2).clamp(PartsBound::LEAST.bytes, PartsBound::MOST.bytes),
        }
    }

    /// The last of these parts that is within the bound; `None` if there are none. Each is a number, and its bytes.
    fn last(self, mut parts: rusqlite::Rows<'_>) -> rusqlite::Result<Option<i64>> {
        let (mut last, mut bytes) = (None, 0);
        while bytes < self.bytes
            && let Some(row) = parts.next()?
        {
            last = Some(row.get(0)?);
            bytes += row.get(1).map(natural)?;
        }
        Ok(last)
    }
}

/// Deletes parts below a number, the lowest first, and returns how many.
pub(super) fn delete_below(connection: &Connection, below: i64, most: PartsBound) -> rusqlite::Result<u64> {
    let mut lowest = connection.prepare_cached(
        "SELECT id, octet_length(body) FROM stream_parts WHERE id < ?1 ORDER BY id LIMIT ?2",
    )?;
    let Some(last) = most.last(lowest.query(params![below, integer(most.rows)])?)? else { return Ok(0) };
    let deleted = connection.prepare_cached("DELETE FROM stream_parts WHERE id <= ?1")?.execute([last])?;
    Ok(deleted as u64)
}

/// The progress of a sweep through the parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PartSweep {
    pub(super) deleted: u64,
    /// The last part examined; `None` at the end of the table.
    pub(super) reached: Option<i64>,
}

/// Looks at the parts after a number, and deletes the parts whose stream is not open, or has another generation.
pub(super) fn sweep(connection: &Connection, after: i64, most: PartsBound) -> rusqlite::Result<PartSweep> {
    let mut next = connection.prepare_cached(
        "SELECT id, CASE WHEN EXISTS (SELECT 1 FROM streams AS s WHERE s.place = part.place AND s.gen = part.gen)
                         THEN 0 ELSE octet_length(body) END
         FROM stream_parts AS part WHERE id > ?1 ORDER BY id LIMIT ?2",
    )?;
    let reached = most.last(next.query(params![after, integer(most.rows)])?)?;
    let Some(last) = reached else { return Ok(PartSweep { deleted: 0, reached: None }) };
    let deleted = connection
        .prepare_cached(
            "DELETE FROM stream_parts WHERE id > ?1 AND id <= ?2
                 AND NOT EXISTS (SELECT 1 FROM streams AS s WHERE s.place = stream_parts.place AND s.gen = stream_parts.gen)",
        )?
        .execute(params![after, last])?;
    Ok(PartSweep { deleted: deleted as u64, reached })
}

/// Removes everything of a channel's streams.
pub(super) fn drop_channel(connection: &Connection, channel: ChannelNumber) -> rusqlite::Result<()> {
    let (first, last) = (RowKey::of(channel, Offset::ZERO), RowKey::of(channel, Offset(u64::MAX)));
    for table in ["streams", "stream_parts"] {
        let sql = format!("DELETE FROM {table} WHERE place >= ?1 AND place <= ?2");
        connection.execute(&sql, params![first.0, last.0])?;
    }
    Ok(())
}
