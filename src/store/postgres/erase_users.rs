//! Erasures of users: what a user wrote is found by a scan of the log, deleted like any publication, and then loses its author.
//!
//! An order notes the user in a table. The instances take turns with it: one holds the row while it does a slice. The deletes are
//! committed past the append workers, so all instances learn of them as of those of another instance without a bus: by the next
//! publication of the channel, or when they read the heads.

use super::connection::StoreConnection;
use super::fault::CallFault;
use crate::store::columns::{integer, natural};
use crate::store::erased;
use crate::store::retention::Rest;
use postgres_types::Type;

/// Publications that a slice examines, or channels whose keys it examines: a few milliseconds.
const EXAMINED: i32 = 2_048;
/// Publications that it changes. Appends to their channel wait for it.
const CHANGED: i32 = 64;

/// Does one slice of the oldest erasure.
pub(super) fn slice(connection: &mut StoreConnection, now_ms: u64) -> Result<Rest, CallFault> {
    let rows = connection.query(
        "SELECT username, ended, publications, keys FROM seawall.erase_slice($1, $2, $3, $4)",
        &[
            (&integer(now_ms), Type::INT8),
            (&erased::NAME, Type::TEXT),
            (&EXAMINED, Type::INT4),
            (&CHANGED, Type::INT4),
        ],
    )?;
    let Some(row) = rows.first() else { return Ok(Rest::None) };
    let Some(user) = row.try_get::<Option<String>>(0).ok().flatten() else { return Ok(Rest::None) };
    if row.try_get::<bool>(1).unwrap_or(false) {
        let count = |at| row.try_get::<i64>(at).map_or(0, natural);
        let (publications, keys) = (count(2), count(3));
        tracing::info!(target: "audit", user, publications, keys, "user erased");
    }
    Ok(Rest::Some)
}
