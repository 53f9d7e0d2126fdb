//! Streams with their texts, as the store has them.

use super::super::connection::StoreConnection;
use super::super::epoch::KnownEpoch;
use super::super::fault::CallFault;
use super::flush::stream_end;
use super::options::stream_options;
use super::params::{IdColumns, unsigned};
use crate::health::finding::{Cause, Fault};
use crate::id::{ChannelName, Epoch, Offset, UserName};
use crate::net::postgres::{Param, Row};
use crate::net::trouble::Trouble;
use crate::store::columns::natural;
use crate::stream::{EndFate, Loaded, LoadedStream, PartRow, StoredStream, Touched};
use crate::wire::stream::{Generation, Position, StreamId, StreamOptions, StreamState};
use postgres_types::Type;
use std::time::Duration;

/// With the epoch of the same snapshot, and the proof that no standby answered, which may lag: a pooler can send reads to one.
/// The last column is the age of the question, of an answer that has no text: 4 accepted, 5 processing.
const LOAD: &str = "SELECT l.*, (SELECT m.value FROM seawall.meta m WHERE m.name = 'epoch'), NOT pg_catalog.pg_is_in_recovery(),
         CASE WHEN l.state IN (4, 5) THEN (
             SELECT (date_part('epoch', clock_timestamp()) * 1000)::bigint - p.time
             FROM seawall.channels c JOIN seawall.publications p ON p.channel = c.id AND p.\"offset\" = l.\"offset\"
             WHERE c.name = ($1::text[])[l.ordinality::integer]
         ) END
     FROM seawall.load_streams($1, $2) WITH ORDINALITY l";
/// The same for readers, without that age, and one row of the epoch and the proof alone if there is no stream.
const LOAD_OPEN: &str = "SELECT l.*, NULL::bigint, m.value, NOT pg_catalog.pg_is_in_recovery(), NULL::bigint
     FROM (SELECT value FROM seawall.meta WHERE name = 'epoch') m
     LEFT JOIN seawall.load_open($1, $2, $3) l ON true ORDER BY l.\"offset\"";

/// Streams in one answer, whatever their texts are.
const LOADS_MAX: usize = 64;
/// The bytes that the texts of one answer should not exceed: less than [`ANSWER_BYTES_MAX`](super::super::connection) by much.
const LOAD_BYTES: usize = 16 << 20;

/// The number of streams that are loaded at once, where a text has at most `message_bytes`. With its events it may take twice that.
pub(in crate::store::postgres) fn loads_at_once(message_bytes: usize) -> usize {
    (LOAD_BYTES / (2 * message_bytes).max(1)).clamp(1, LOADS_MAX)
}

/// Loads streams, in the order of `ids`. All of their texts are in one answer, so the caller bounds their number.
pub(in crate::store::postgres) fn load(
    connection: &mut StoreConnection,
    epoch: &KnownEpoch,
    ids: &[StreamId],
) -> Result<Vec<Loaded>, CallFault> {
    let rows = connection.query(LOAD, &IdColumns::of(ids.iter()).params())?;
    in_order(&rows, epoch, ids)
}

/// The same of one stream for a reader, over a second connection if the first one turns out to be dead.
pub(in crate::store::postgres) fn read_one(
    connection: &mut StoreConnection,
    epoch: &KnownEpoch,
    id: &StreamId,
) -> Result<Option<Loaded>, CallFault> {
    let ids = std::slice::from_ref(id);
    let rows = connection.read(LOAD, &IdColumns::of(ids.iter()).params())?;
    Ok(in_order(&rows, epoch, ids)?.pop())
}

fn in_order(rows: &[Row], epoch: &KnownEpoch, ids: &[StreamId]) -> Result<Vec<Loaded>, CallFault> {
    if rows.len() != ids.len() {
        return Err(CallFault::incomplete());
    }
    if !ids.is_empty() {
        check_source(rows, epoch)?;
    }
    let loaded = rows.iter().zip(ids).map(|(row, id)| loaded(row, &id.channel));
    loaded.collect::<Result<_, _>>().map_err(|error| CallFault::garbled(&error))
}

/// Reads the open streams of a channel, in the order of their begins, some at a time.
pub(in crate::store::postgres) fn read_open(
    connection: &mut StoreConnection,
    epoch: &KnownEpoch,
    channel: &ChannelName,
    at_once: usize,
) -> Result<Vec<LoadedStream>, CallFault> {
    let most = i64::try_from(at_once).unwrap_or(i64::MAX);
    let (mut open, mut after) = (Vec::new(), 0);
    loop {
        let params: [Param<'_>; 3] =
            [(&channel.as_str(), Type::TEXT), (&after, Type::INT8), (&most, Type::INT8)];
        let rows = connection.read(LOAD_OPEN, &params)?;
        check_source(&rows, epoch)?;
        for row in &rows {
            match loaded(row, channel).map_err(|error| CallFault::garbled(&error))? {
                Loaded::Open(stream) => open.push(*stream),
                Loaded::Ended(..) | Loaded::Absent => {}
            }
        }
        let last: Option<i64> = match rows.last() {
            Some(row) => row.try_get(1).map_err(|error| CallFault::garbled(&error))?,
            None => None,
        };
        match last {
            Some(last) if rows.len() >= at_once => after = last,
            Some(_) | None => return Ok(open),
        }
    }
}

/// An older state than the one that readers have seen would retract text. One statement reads one epoch.
fn check_source(rows: &[Row], epoch: &KnownEpoch) -> Result<(), CallFault> {
    let Some(first) = rows.first() else { return Err(CallFault::incomplete()) };
    let source = || -> Result<(i64, bool), Trouble> { Ok((first.try_get(18)?, first.try_get(19)?)) };
    let (found, is_primary) = source().map_err(|error| CallFault::garbled(&error))?;
    if !is_primary {
        let text = "a standby answered a read of streams, and it may lag";
        return Err(CallFault::not_sent(Cause::new(
            Fault::Standby,
            text,
            "the server that the URL or the pooler names",
        )));
    }
    epoch.meet(Epoch(found as u32))
}

fn loaded(row: &Row, channel: &ChannelName) -> Result<Loaded, Trouble> {
    match row.try_get::<Option<i16>>(0)? {
        Some(1) => Ok(open(row, channel)?.map_or(Loaded::Absent, |stream| Loaded::Open(Box::new(stream)))),
        Some(2) => {
            let edit = Offset(natural(row.try_get(14)?));
            let (end, time_ms) = (stream_end(row.try_get(15)?), natural(row.try_get(16)?));
            Ok(end.map_or(Loaded::Absent, |end| Loaded::Ended(EndFate { end, edit }, Some(time_ms))))
        }
        _ => Ok(Loaded::Absent),
    }
}

/// `None` if the row names no user.
fn open(row: &Row, channel: &ChannelName) -> Result<Option<LoadedStream>, Trouble> {
    let user = |place| -> Result<Option<UserName>, Trouble> {
        Ok(row.try_get::<Option<&str>>(place)?.and_then(|name| UserName::parse(name).ok()))
    };
    let Some(author) = user(2)? else { return Ok(None) };
    let id = StreamId { channel: channel.clone(), offset: Offset(natural(row.try_get(1)?)) };
    let generation = Generation(unsigned(row.try_get(6)?));
    let options = stream_options(row.try_get(5)?);
    let state: i16 = row.try_get(7)?;
    let asked: Option<i64> = row.try_get(20)?;
    let age = Duration::from_millis(natural(row.try_get(9)?));
    let state = StreamState::of_code(state.into()).unwrap_or(StreamState::Paused);
    let has_answer = options.answer.is_some();
    // The age of an accepted answer is by one clock. A publication has the time of its instance.
    let asked = match state {
        StreamState::Accepted => Some(age),
        StreamState::Processing | StreamState::Streaming | StreamState::Paused | StreamState::Cancelling => {
            asked.map(|ms| Duration::from_millis(natural(ms)))
        }
    };
    let body = row.try_get::<Option<&[u8]>>(12)?.unwrap_or_default();
    let next = Position(row.try_get::<Option<i32>>(11)?.map_or(0, unsigned));
    let part = PartRow { id: id.clone(), generation, at: Position::ZERO, next, body: body.to_vec() };
    Ok(Some(LoadedStream {
        stream: StoredStream {
            id,
            author,
            options: StreamOptions { asker: user(3)?, ..options },
            // Retention may delete the begin while the stream is open.
            begun: Box::from(row.try_get::<Option<&str>>(10)?.unwrap_or("null")),
            generation,
            state,
            age,
            asked: asked.filter(|_| has_answer),
        },
        touched: Touched(natural(row.try_get(8)?)),
        canceller: user(4)?,
        parts: if next == Position::ZERO { Vec::new() } else { vec![part] },
        restarted: row.try_get::<Option<i64>>(13)?.map_or(0, |bytes| natural(bytes) as usize),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longer_messages_are_loaded_fewer_at_once() {
        assert_eq!([64 << 10, 512 << 10, 16 << 20].map(loads_at_once), [64, 16, 1]);
    }
}
