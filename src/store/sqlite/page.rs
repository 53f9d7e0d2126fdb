//! Reading pages of the log, and the positions of logs.
//!
//! A page is one read transaction, so its rows and its position agree whatever is committed meanwhile. It reads a snapshot: it
//! neither waits for an append nor delays one.

use super::place::RowKey;
use super::{connection, removal, rows, streams};
use crate::id::{ChannelName, Epoch, Offset};
use crate::job::{Page, PageRequest, Span};
use crate::store::columns::{change, integer, natural};
use crate::store::page_body::{PageBody, Room};
use crate::stream::EndFate;
use crate::wire::publication::Stored;
use crate::wire::push::LogPosition;
use crate::wire::stream::{StreamId, StreamMark};
use rusqlite::{Connection, Row, Transaction, params};
use std::path::PathBuf;

/// A reading connection, opened when first needed and reopened after a failure.
#[derive(Debug)]
pub(crate) struct LogReader {
    path: PathBuf,
    epoch: Epoch,
    connection: Option<Connection>,
}

impl LogReader {
    /// Opens nothing yet.
    pub(crate) fn new(path: PathBuf, epoch: Epoch) -> LogReader {
        LogReader { path, epoch, connection: None }
    }

    pub(crate) fn page(&mut self, request: &PageRequest) -> rusqlite::Result<Page> {
        let epoch = self.epoch;
        self.snapshot(|snapshot| read_page(snapshot, epoch, request))
    }

    /// Reads the positions of these logs, all at one point in time.
    pub(crate) fn heads(
        &mut self,
        channels: &[ChannelName],
    ) -> rusqlite::Result<Vec<(ChannelName, LogPosition)>> {
        let epoch = self.epoch;
        self.snapshot(|snapshot| {
            channels
                .iter()
                .map(|name| {
                    let row = rows::find(snapshot, name.as_str())?;
                    Ok((name.clone(), position(snapshot, epoch, row.as_ref())?))
                })
                .collect()
        })
    }

    /// The end of a stream, if the log has it.
    pub(crate) fn stream_end(&mut self, id: &StreamId) -> rusqlite::Result<Option<EndFate>> {
        self.snapshot(|snapshot| match streams::place(snapshot, id)? {
            Some(place) => Ok(streams::end_of(snapshot, place)?.map(|end| end.fate)),
            None => Ok(None),
        })
    }

    /// Drops the connection; the next read opens another.
    pub(crate) fn close(&mut self) {
        self.connection = None;
    }

    fn snapshot<T>(
        &mut self,
        read: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        if self.connection.is_none() {
            self.connection = Some(connection::reader(&self.path)?);
        }
        let result = match &self.connection {
            Some(connection) => connection.unchecked_transaction().and_then(|snapshot| read(&snapshot)),
            None => Err(rusqlite::Error::InvalidQuery),
        };
        if result.is_err() {
            self.close();
        }
        result
    }
}

/// The position of a log. That of a channel which does not exist is where it would start.
fn position(
    snapshot: &Connection,
    epoch: Epoch,
    row: Option<&rows::ChannelRow>,
) -> rusqlite::Result<LogPosition> {
    let (head, floor) = match row {
        Some(row) => (row.head, row.floor),
        None => removal::base(snapshot).map(|base| (base, base.next()))?,
    };
    Ok(LogPosition { epoch, head, floor })
}

fn read_page(snapshot: &Transaction<'_>, epoch: Epoch, request: &PageRequest) -> rusqlite::Result<Page> {
    let row = rows::find(snapshot, request.channel.as_str())?;
    let mut body = PageBody::new(request);
    if let Some(row) = &row
        && request.limit > 0
    {
        fill(&mut body, snapshot, row)?;
    }
    Ok(body.finish(position(snapshot, epoch, row.as_ref())?))
}

/// Fills the page from the channel's rows.
fn fill(body: &mut PageBody<'_>, snapshot: &Transaction<'_>, row: &rows::ChannelRow) -> rusqlite::Result<()> {
    let request = body.request();
    // Client offsets are clamped to the log before they become row keys.
    let (from, until, sql) = match request.span {
        Span::After(offset) => (offset.min(row.head).next().max(row.floor), row.head, ASCENDING),
        Span::Before(offset) => (row.floor, Offset(offset.0.saturating_sub(1)).min(row.head), DESCENDING),
    };
    if from > until {
        return Ok(());
    }
    let mut statement = snapshot.prepare_cached(sql)?;
    let mut found = statement.query(params![
        RowKey::of(row.id, from).0,
        RowKey::of(row.id, until).0,
        i64::from(request.limit)
    ])?;
    while let Some(row) = found.next()? {
        let offset = RowKey(row.get(0)?).offset();
        if body.take(&stored(row, offset)?) == Room::None {
            break;
        }
    }
    Ok(())
}

const ASCENDING: &str = "SELECT place, user, key, time, kind, target,
         CASE WHEN kind = 1 THEN coalesce(deleted_by, (SELECT e.deleted_by FROM erasures AS e WHERE e.target = p.target))
         ELSE deleted_by END, data, stream
     FROM publications AS p WHERE place >= ?1 AND place <= ?2 ORDER BY place LIMIT ?3";
const DESCENDING: &str = "SELECT place, user, key, time, kind, target,
         CASE WHEN kind = 1 THEN coalesce(deleted_by, (SELECT e.deleted_by FROM erasures AS e WHERE e.target = p.target))
         ELSE deleted_by END, data, stream
     FROM publications AS p WHERE place >= ?1 AND place <= ?2 ORDER BY place DESC LIMIT ?3";

/// The mark of a column `stream`. One of a later version is none to this one.
fn mark(code: Option<i64>) -> StreamMark {
    code.and_then(StreamMark::of_code).unwrap_or_default()
}

fn stored<'r>(row: &'r Row<'_>, offset: Offset) -> rusqlite::Result<Stored<'r>> {
    let target: Option<i64> = row.get(5)?;
    let target = target.map(|place| integer(RowKey(place).offset().0));
    let deleted_by: Option<i64> = row.get(6)?;
    Ok(Stored {
        offset,
        key: row.get_ref(2)?.as_str_or_null()?,
        user: row.get_ref(1)?.as_str()?,
        time_ms: natural(row.get(3)?),
        change: change(row.get(4)?, target),
        stream: mark(row.get(8)?),
        deleted_by: deleted_by.map(|by| Offset(natural(by))),
        // The text of an edit may still wait to be erased.
        data: match deleted_by {
            Some(_) => "null",
            None => row.get_ref(7)?.as_str_or_null()?.unwrap_or("null"),
        },
    })
}
