//! Dropping channels that an operator names, while no gateway runs.

use super::connection::{self, Checkpoint, FILE_NAME};
use super::fault::SqliteOpenError;
use super::lock::FolderLock;
use super::place::{ChannelNumber, RowKey};
use super::relay_rows;
use super::removal::{self, Emptied};
use super::store::open_file;
use super::streams;
use crate::id::{ChannelName, Offset};
use crate::store::columns::natural;
use crate::store::{Dropped, Selection};
use rusqlite::{Connection, TransactionBehavior, params};
use std::path::Path;

/// Deletes the channels with everything in them from the store in `data`. Their offsets are not used again.
pub fn drop_channels(data: &Path, selection: &Selection) -> Result<Dropped, SqliteOpenError> {
    let path = data.join(FILE_NAME);
    if !path.is_file() {
        return Err(SqliteOpenError::Missing { path });
    }
    let _lock = FolderLock::take(data)?;
    let mut file = open_file(&path)?;
    let failed = |source| SqliteOpenError::Sqlite { path: path.clone(), doing: "dropping channels", source };
    let dropped = drop_all(&mut file, selection).map_err(failed)?;
    connection::checkpoint(&file, Checkpoint::Truncate).map_err(failed)?;
    Ok(dropped)
}

/// Each channel in a transaction of its own.
fn drop_all(file: &mut Connection, selection: &Selection) -> rusqlite::Result<Dropped> {
    let mut dropped = Dropped::default();
    for channel in selected(file, selection)? {
        let transaction = file.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (first, last) =
            (RowKey::of(channel.number, Offset::ZERO), RowKey::of(channel.number, Offset(u64::MAX)));
        let range = params![first.0, last.0];
        dropped.publications +=
            transaction.execute("DELETE FROM publications WHERE place >= ?1 AND place <= ?2", range)? as u64;
        transaction.execute("DELETE FROM erasures WHERE target >= ?1 AND target <= ?2", range)?;
        transaction.execute("DELETE FROM keys WHERE channel = ?1", [channel.number.0])?;
        streams::drop_channel(&transaction, channel.number)?;
        relay_rows::drop_channel(&transaction, channel.number, channel.name.as_ref())?;
        let base = removal::base(&transaction)?;
        removal::remove(&transaction, &[channel], base)?;
        transaction.commit()?;
        dropped.channels += 1;
    }
    Ok(dropped)
}

fn selected(file: &Connection, selection: &Selection) -> rusqlite::Result<Vec<Emptied>> {
    let (first, end) = selection.range();
    let mut statement =
        file.prepare("SELECT id, name, head FROM channels WHERE name >= ?1 AND name < ?2 ORDER BY name")?;
    let rows = statement.query_map([first, end], |row| {
        Ok(Emptied {
            number: ChannelNumber(row.get(0)?),
            name: ChannelName::parse_any(row.get_ref(1)?.as_str()?).ok(),
            head: Offset(natural(row.get(2)?)),
        })
    })?;
    rows.collect()
}
