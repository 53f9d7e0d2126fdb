//! Removes rows of the relay that are over, and notes the publications that retention removed unsent. Their answers end.

use super::log::{BatchFault, Log};
use super::place::{ChannelNumber, RowKey};
use super::relay_rows;
use super::streams;
use crate::id::{ChannelName, Offset};
use crate::relay::route::RouteTable;
use crate::store::columns::{integer, natural};
use crate::store::relay::{DEAD_AGE, DEAD_MAX, NewDead, RelayRow};
use crate::store::retention::Rest;
use rusqlite::{Connection, params};

/// Rows of each table in a slice.
const ROWS: usize = 512;
/// Open streams in a slice, of which only a few are written.
const STREAMS: usize = 2_048;

/// The progress of the sweep.
#[derive(Debug)]
pub(super) enum RelaySweep {
    /// Claims after this place; then channels.
    Claims(i64),
    /// Channels after this one.
    Channels(String),
    /// Open streams after this one.
    Streams(RowKey),
}

impl Default for RelaySweep {
    fn default() -> RelaySweep {
        RelaySweep::Claims(0)
    }
}

impl Log {
    /// Does one slice.
    pub(super) fn sweep_relay(
        &mut self,
        sweep: &mut RelaySweep,
        table: &RouteTable,
        now_ms: u64,
    ) -> Result<Rest, BatchFault> {
        let has_streams = !self.open_streams().is_empty();
        let swept = self.transaction(|connection| {
            let (dead, mut lost) = (delete_dead(connection, now_ms)?, Vec::new());
            let next = match sweep {
                RelaySweep::Claims(after) => match delete_claims(connection, *after)? {
                    Some(place) => Some(RelaySweep::Claims(place)),
                    None => Some(RelaySweep::Channels(String::new())),
                },
                RelaySweep::Channels(after) => match expire(connection, after, table, now_ms)? {
                    Some(channel) => Some(RelaySweep::Channels(channel)),
                    None => has_streams.then_some(RelaySweep::Streams(RowKey(0))),
                },
                RelaySweep::Streams(after) => {
                    let next;
                    (lost, next) = streams::lost_questions(connection, *after, STREAMS)?;
                    next.map(RelaySweep::Streams)
                }
            };
            let rest = if next.is_some() { Rest::Some } else { Rest::None };
            *sweep = next.unwrap_or_default();
            Ok((dead.or(rest), lost))
        });
        let (rest, lost) = swept.inspect_err(|fault| {
            *sweep = RelaySweep::default();
            self.recover(fault);
        })?;
        if !lost.is_empty() {
            self.open_streams().order(|ledger, _| lost.iter().for_each(|id| ledger.lose_question(id)));
        }
        Ok(rest)
    }
}

/// Deletes dead letters that are too old or too many.
fn delete_dead(connection: &Connection, now_ms: u64) -> rusqlite::Result<Rest> {
    let before_ms = now_ms.saturating_sub(DEAD_AGE.as_millis() as u64);
    let deleted = connection
        .prepare_cached(
            "DELETE FROM relay_dead WHERE number IN (SELECT number FROM relay_dead ORDER BY number LIMIT ?3)
                 AND (time < ?1 OR number <= (SELECT max(number) FROM relay_dead) - ?2)",
        )?
        .execute(params![integer(before_ms), integer(DEAD_MAX), ROWS as i64])?;
    Ok(if deleted >= ROWS { Rest::Some } else { Rest::None })
}

/// Deletes the claims of publications that are gone. Returns the place to go on after; `None` at the end.
fn delete_claims(connection: &Connection, after: i64) -> rusqlite::Result<Option<i64>> {
    let last: Option<i64> = connection
        .prepare_cached(
            "SELECT max(place) FROM (SELECT place FROM relay_claims WHERE place > ?1 ORDER BY place LIMIT ?2)",
        )?
        .query_row(params![after, ROWS as i64], |row| row.get(0))?;
    let Some(last) = last else { return Ok(None) };
    connection
        .prepare_cached(
            "DELETE FROM relay_claims WHERE place > ?1 AND place <= ?2 AND NOT EXISTS
                 (SELECT 1 FROM publications AS p WHERE p.place = relay_claims.place AND p.deleted_by IS NULL)",
        )?
        .execute([after, last])?;
    Ok(Some(last))
}

/// Forgets channels that do not exist, and notes the publications of others that retention removed unsent. Returns the channel to go on after;
/// `None` at the end.
fn expire(
    connection: &Connection,
    after: &str,
    table: &RouteTable,
    now_ms: u64,
) -> rusqlite::Result<Option<String>> {
    let mut statement = connection.prepare_cached(
        "SELECT r.channel, r.head, r.cursor, r.attempts, r.next, c.id, c.floor
         FROM relays AS r LEFT JOIN channels AS c ON c.name = r.channel
         WHERE r.channel > ?1 ORDER BY r.channel LIMIT ?2",
    )?;
    let rows = statement.query_map(params![after, ROWS as i64], |row| {
        let relay = RelayRow {
            head: Offset(natural(row.get(1)?)),
            cursor: Offset(natural(row.get(2)?)),
            attempts: row.get(3)?,
            next_ms: natural(row.get(4)?),
        };
        let of_channel = (row.get::<_, Option<i64>>(5)?, row.get::<_, Option<i64>>(6)?);
        Ok((row.get::<_, String>(0)?, relay, of_channel))
    })?;
    let found: Vec<_> = rows.collect::<rusqlite::Result<_>>()?;
    let next = found.last().filter(|_| found.len() >= ROWS).map(|(name, ..)| name.clone());
    for (name, row, of_channel) in found {
        let Ok(channel) = ChannelName::parse_any(&name) else { continue };
        let (Some(number), Some(floor)) = of_channel else {
            relay_rows::forget(connection, &channel)?;
            continue;
        };
        let Some(expired) = row.expired(Offset(natural(floor))) else { continue };
        let route = table.of(&channel).map_or("", |route| &*route.name);
        relay_rows::add_dead(connection, &channel, route, &NewDead::expired(expired), now_ms)?;
        let number = ChannelNumber(number);
        let (after, through) = (RowKey::of(number, row.cursor), RowKey::of(number, expired.1));
        relay_rows::delete_claims(connection, after, through)?;
        relay_rows::write(connection, &channel, &row.done(expired.1))?;
    }
    Ok(next)
}
