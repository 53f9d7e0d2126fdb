//! Dropping channels that an operator names. Gateways may run: they find the channels gone as after retention.

use super::fault::CallFault;
use super::link::Link;
use super::streams::forget_parts;
use crate::store::columns::{integer, natural};
use crate::store::emptied::BASE_STEP;
use crate::store::{Dropped, Selection};
use postgres_types::Type;

/// Rows deleted by one statement, because each has a deadline.
const SLICE_ROWS: i64 = 2_000;
/// Channels listed at once.
const NAMES_MAX: i64 = 1_000;

/// Deletes the channels with everything in them.
pub(super) fn drop_all(link: &mut Link, selection: &Selection) -> Result<Dropped, CallFault> {
    let mut dropped = Dropped::default();
    let (mut first, end) = selection.range();
    loop {
        let rows = link.query(
            "SELECT name FROM seawall.channels WHERE name >= $1 AND name < $2 ORDER BY name LIMIT $3",
            &[(&first, Type::TEXT), (&end, Type::TEXT), (&NAMES_MAX, Type::INT8)],
        )?;
        let names: Vec<String> = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
        let Some(last) = names.last() else { return Ok(dropped) };
        // The next name in order.
        first = format!("{last}!");
        for name in &names {
            dropped.publications += empty(link, name)?;
            dropped.publications += remove(link, name)?;
            dropped.channels += 1;
        }
    }
}

/// Deletes most of what the channel holds, in slices. Returns the number of publications.
fn empty(link: &mut Link, name: &str) -> Result<u64, CallFault> {
    let mut publications = 0;
    loop {
        let rows = link.query(
            "SELECT removed, excess FROM seawall.cut_number(ARRAY[$1], 0, $2)",
            &[(&name, Type::TEXT), (&SLICE_ROWS, Type::INT8)],
        )?;
        let Some(row) = rows.first() else { break };
        publications += natural(row.try_get(0).unwrap_or(0));
        if row.try_get::<i64>(1).unwrap_or(0) == 0 {
            break;
        }
    }
    loop {
        let rows = link.query(
            "WITH few AS (
                 SELECT k.channel, k.author, k.key FROM seawall.keys k
                 WHERE k.channel = (SELECT c.id FROM seawall.channels c WHERE c.name = $1) LIMIT $2
             ), gone AS (
                 DELETE FROM seawall.keys k USING few s
                 WHERE (k.channel, k.author, k.key) = (s.channel, s.author, s.key) RETURNING 1
             ) SELECT count(*) FROM gone",
            &[(&name, Type::TEXT), (&SLICE_ROWS, Type::INT8)],
        )?;
        let deleted: i64 = rows.first().and_then(|row| row.try_get(0).ok()).unwrap_or(0);
        if deleted < SLICE_ROWS {
            return Ok(publications);
        }
    }
}

/// Removes the channel with what was published meanwhile. Returns the number of publications.
fn remove(link: &mut Link, name: &str) -> Result<u64, CallFault> {
    link.batch("BEGIN")?;
    let removed = remove_locked(link, name);
    link.batch(if removed.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    let Some(Removed { channel, publications }) = removed? else { return Ok(0) };
    // Streams end with their channel, so no part is added any more.
    forget_parts(link, channel, SLICE_ROWS)?;
    Ok(publications)
}

/// A channel that was removed.
struct Removed {
    channel: i64,
    /// The number of publications that went with it.
    publications: u64,
}

/// `None`: there is no such channel.
fn remove_locked(link: &mut Link, name: &str) -> Result<Option<Removed>, CallFault> {
    // In the order of `append`: the row that counts channels, then the channel.
    link.query("SELECT FROM seawall.meta WHERE name = 'channels' FOR NO KEY UPDATE", &[])?;
    let locked = "SELECT id, head FROM seawall.channels WHERE name = $1 FOR UPDATE";
    let rows = link.query(locked, &[(&name, Type::TEXT)])?;
    let Some(row) = rows.first() else { return Ok(None) };
    let number = |at| row.try_get::<i64>(at).map_err(|error| CallFault::garbled(&error));
    let (id, head) = (number(0)?, number(1)?);
    link.query("SELECT seawall.drop_streams($1)", &[(&id, Type::INT8)])?;
    link.query("SELECT seawall.relay_drop($1, $2)", &[(&id, Type::INT8), (&name, Type::TEXT)])?;
    let gone = link.query(
        "WITH gone AS (DELETE FROM seawall.publications WHERE channel = $1 RETURNING 1) SELECT count(*) FROM gone",
        &[(&id, Type::INT8)],
    )?;
    link.query("DELETE FROM seawall.keys WHERE channel = $1", &[(&id, Type::INT8)])?;
    link.query("DELETE FROM seawall.channels WHERE id = $1", &[(&id, Type::INT8)])?;
    link.query("UPDATE seawall.meta SET value = value - 1 WHERE name = 'channels'", &[])?;
    link.query(
        "UPDATE seawall.meta SET value = ($1 + $2 - 1) / $2 * $2 WHERE name = 'base' AND value < $1",
        &[(&head, Type::INT8), (&integer(BASE_STEP), Type::INT8)],
    )?;
    let publications = gone.first().and_then(|row| row.try_get::<i64>(0).ok()).map_or(0, natural);
    Ok(Some(Removed { channel: id, publications }))
}
