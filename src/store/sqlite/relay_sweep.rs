//! Removes rows of the relay that are over, and notes the publications that retention removed unsent.

use super::log::{BatchFault, Log};
use super::place::{ChannelNumber, RowKey};
use super::relay_rows;
use crate::id::{ChannelName, Offset};
use crate::relay::route::RouteTable;
use crate::store::columns::{integer, natural};
use crate::store::relay::{DEAD_AGE, DEAD_MAX, NewDead, RelayRow};
use crate::store::retention::Rest;
use rusqlite::{Connection, params};

/// Rows of each table in a slice.
const ROWS: usize = 512;

/// The progress of the sweep.
#[derive(Debug, Default)]
pub(super) struct RelaySweep {
    /// The last channel looked at.
    channel: String,
    /// The last claims looked at.
    place: i64,
}

impl Log {
    /// Does one slice.
    pub(super) fn sweep_relay(
        &mut self,
        sweep: &mut RelaySweep,
        table: &RouteTable,
        now_ms: u64,
    ) -> Result<Rest, BatchFault> {
        let swept = self.transaction(|connection| {
            let dead = delete_dead(connection, now_ms)?;
            let claims = delete_claims(connection, &mut sweep.place)?;
            let channels = expire(connection, &mut sweep.channel, table, now_ms)?;
            Ok(dead.or(claims).or(channels))
        });
        swept.inspect_err(|fault| {
            *sweep = RelaySweep::default();
            self.recover(fault);
        })
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

/// Deletes the claims of publications that are gone.
fn delete_claims(connection: &Connection, reached: &mut i64) -> rusqlite::Result<Rest> {
    let last: Option<i64> = connection
        .prepare_cached(
            "SELECT max(place) FROM (SELECT place FROM relay_claims WHERE place > ?1 ORDER BY place LIMIT ?2)",
        )?
        .query_row(params![*reached, ROWS as i64], |row| row.get(0))?;
    let Some(last) = last else {
        *reached = 0;
        return Ok(Rest::None);
    };
    connection
        .prepare_cached(
            "DELETE FROM relay_claims WHERE place > ?1 AND place <= ?2 AND NOT EXISTS
                 (SELECT 1 FROM publications AS p WHERE p.place = relay_claims.place AND p.deleted_by IS NULL)",
        )?
        .execute([*reached, last])?;
    *reached = last;
    Ok(Rest::Some)
}

/// Forgets channels that do not exist, and notes the publications of others that retention removed unsent.
fn expire(
    connection: &Connection,
    reached: &mut String,
    table: &RouteTable,
    now_ms: u64,
) -> rusqlite::Result<Rest> {
    let mut statement = connection.prepare_cached(
        "SELECT r.channel, r.head, r.cursor, r.attempts, r.next, c.id, c.floor
         FROM relays AS r LEFT JOIN channels AS c ON c.name = r.channel
         WHERE r.channel > ?1 ORDER BY r.channel LIMIT ?2",
    )?;
    let rows = statement.query_map(params![*reached, ROWS as i64], |row| {
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
    let rest = if found.len() < ROWS { Rest::None } else { Rest::Some };
    *reached = found.last().filter(|_| rest == Rest::Some).map(|(name, ..)| name.clone()).unwrap_or_default();
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
    Ok(rest)
}
