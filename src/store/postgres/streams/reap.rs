//! The deletion of the parts of streams that have ended.

use super::super::connection::StoreConnection;
use super::super::fault::CallFault;
use super::super::link::Link;
use crate::store::columns::natural;
use crate::store::retention::Rest;
use postgres_types::Type;

const REAP: &str = "SELECT parts, streams, more FROM seawall.reap_parts($1)";

/// The result of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store::postgres) struct Reaped {
    /// The parts that were deleted.
    pub(in crate::store::postgres) parts: u64,
    /// The streams of which nothing is left.
    pub(in crate::store::postgres) streams: u64,
    pub(in crate::store::postgres) rest: Rest,
}

/// Deletes at most about `most` parts of streams that ended ten minutes ago, or whose begin was deleted. It waits for no lock.
pub(in crate::store::postgres) fn reap_parts(
    connection: &mut StoreConnection,
    most: u32,
) -> Result<Reaped, CallFault> {
    let rows = connection.query(REAP, &[(&i64::from(most), Type::INT8)])?;
    let row = rows.first().ok_or_else(CallFault::incomplete)?;
    let count = |place| row.try_get::<i64>(place).map(natural).map_err(|error| CallFault::garbled(&error));
    let more: bool = row.try_get(2).map_err(|error| CallFault::garbled(&error))?;
    let rest = if more { Rest::Some } else { Rest::None };
    Ok(Reaped { parts: count(0)?, streams: count(1)?, rest })
}

/// Deletes the text of a channel's streams, whose channel is gone, in slices of `most` parts. The marks at their ends stay, because a
/// writer may not have seen them yet; retention deletes them, and everything of a stream that it is working on.
pub(in crate::store::postgres) fn forget_parts(
    link: &mut Link,
    channel: i64,
    most: i64,
) -> Result<(), CallFault> {
    loop {
        let rows = link.query(
            "WITH few AS (
                 SELECT p.stream, p.gen, p.at FROM seawall.streams s JOIN seawall.stream_parts p ON p.stream = s.id
                 WHERE s.channel = $1 AND p.body IS NOT NULL LIMIT $2 FOR UPDATE OF s SKIP LOCKED
             ), gone AS (
                 DELETE FROM seawall.stream_parts p USING few f
                 WHERE (p.stream, p.gen, p.at) = (f.stream, f.gen, f.at) RETURNING 1
             ) SELECT count(*) FROM gone",
            &[(&channel, Type::INT8), (&most, Type::INT8)],
        )?;
        let deleted: i64 = rows.first().and_then(|row| row.try_get(0).ok()).unwrap_or(0);
        if deleted < most {
            return Ok(());
        }
    }
}
