//! Streams with their texts, as the store has them.

use super::super::connection::StoreConnection;
use super::super::fault::CallFault;
use super::flush::stream_end;
use super::options::stream_options;
use super::params::{IdColumns, unsigned};
use crate::id::{ChannelName, Offset, UserName};
use crate::net::postgres::Row;
use crate::net::trouble::Trouble;
use crate::store::columns::{integer, natural};
use crate::stream::{EndFate, Loaded, LoadedStream, PartRow, StoredStream, Touched};
use crate::wire::stream::{Generation, Position, StreamId, StreamOptions, StreamState};
use postgres_types::Type;
use std::time::Duration;

const LOAD: &str = "SELECT * FROM seawall.load_streams($1, $2)";
const READ_OPEN: &str = "SELECT * FROM seawall.load_open($1, $2)";

/// Loads streams, in the order of `ids`. All of their texts are in one answer, so the caller bounds their number.
pub(in crate::store::postgres) fn load(
    connection: &mut StoreConnection,
    ids: &[StreamId],
) -> Result<Vec<Loaded>, CallFault> {
    let rows = connection.query(LOAD, &IdColumns::of(ids.iter()).params())?;
    if rows.len() != ids.len() {
        return Err(CallFault::incomplete());
    }
    let loaded = rows.iter().zip(ids).map(|(row, id)| loaded(row, &id.channel));
    loaded.collect::<Result<_, _>>().map_err(|error| CallFault::garbled(&error))
}

/// Reads the open streams of a channel, or one of them, in the order of their begins.
pub(in crate::store::postgres) fn read_open(
    connection: &mut StoreConnection,
    channel: &ChannelName,
    only: Option<Offset>,
) -> Result<Vec<LoadedStream>, CallFault> {
    let only = only.map(|offset| integer(offset.0));
    let rows = connection.read(READ_OPEN, &[(&channel.as_str(), Type::TEXT), (&only, Type::INT8)])?;
    let mut open = Vec::with_capacity(rows.len());
    for row in &rows {
        match loaded(row, channel).map_err(|error| CallFault::garbled(&error))? {
            Loaded::Open(stream) => open.push(*stream),
            Loaded::Ended(..) | Loaded::Absent => {}
        }
    }
    Ok(open)
}

fn loaded(row: &Row, channel: &ChannelName) -> Result<Loaded, Trouble> {
    let status: i16 = row.try_get(0)?;
    match status {
        1 => Ok(open(row, channel)?.map_or(Loaded::Absent, |stream| Loaded::Open(Box::new(stream)))),
        2 => {
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
            state: StreamState::of_code(state.into()).unwrap_or(StreamState::Paused),
            age: Duration::from_millis(natural(row.try_get(9)?)),
        },
        touched: Touched(natural(row.try_get(8)?)),
        canceller: user(4)?,
        parts: if next == Position::ZERO { Vec::new() } else { vec![part] },
        restarted: row.try_get::<Option<i64>>(13)?.map_or(0, |bytes| natural(bytes) as usize),
    }))
}
