//! The streams that no living instance ends in time.

use super::super::connection::StoreConnection;
use super::super::fault::CallFault;
use crate::id::{ChannelName, Offset};
use crate::net::postgres::Row;
use crate::net::trouble::Trouble;
use crate::store::columns::{integer, natural};
use crate::stream::StreamSettings;
use crate::wire::stream::{StreamId, StreamState};
use postgres_types::Type;
use std::time::Duration;

const SWEEP: &str = "SELECT name, \"offset\" FROM seawall.sweep_streams($1, $2, $3, $4, $5, $6)";

/// Streams found at once. Another sweep finds the rest.
const FOUND_MAX: i64 = 100;
/// The instance of a producer ends a stream itself, by its own clock. Only if it did not for this long is the stream found.
const MARGIN: Duration = Duration::from_secs(2);

/// Finds streams whose deadline is over by the clock of the database, which may be wrong. While no stream is open it costs a look at an
/// index.
pub(in crate::store::postgres) fn sweep(
    connection: &mut StoreConnection,
    settings: &StreamSettings,
) -> Result<Vec<StreamId>, CallFault> {
    let ms = |time: Duration| integer(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let StreamSettings { idle, orphan, cancel, life, .. } = settings;
    let [idle, orphan, cancel, life, margin] = [idle, orphan, cancel, life, &MARGIN].map(|time| ms(*time));
    let rows = connection.query(
        SWEEP,
        &[
            (&idle, Type::INT8),
            (&orphan, Type::INT8),
            (&cancel, Type::INT8),
            (&life, Type::INT8),
            (&margin, Type::INT8),
            (&FOUND_MAX, Type::INT8),
        ],
    )?;
    let found: Result<Vec<_>, _> = rows.iter().map(swept).collect();
    Ok(found.map_err(|error| CallFault::garbled(&error))?.into_iter().flatten().collect())
}

/// Answers whose question is gone that are found at once. They have no text.
const LOST_MAX: i64 = 1_000;
/// Answers that wait for a backend, and whose question is deleted or not retained.
const LOST: &str =
    "SELECT c.name, s.\"offset\" FROM seawall.streams s JOIN seawall.channels c ON c.id = s.channel
     WHERE s.kept_until IS NULL AND s.state = $1 AND NOT EXISTS (SELECT FROM seawall.publications q
         WHERE q.channel = s.channel AND q.\"offset\" = s.\"offset\" - 1 AND q.deleted_by IS NULL)
     LIMIT $2";

/// Finds the answers that wait for a backend in vain.
pub(in crate::store::postgres) fn lost_questions(
    connection: &mut StoreConnection,
) -> Result<Vec<StreamId>, CallFault> {
    let state = i16::from(StreamState::Accepted.code());
    let rows = connection.query(LOST, &[(&state, Type::INT2), (&LOST_MAX, Type::INT8)])?;
    let found: Result<Vec<_>, _> = rows.iter().map(swept).collect();
    Ok(found.map_err(|error| CallFault::garbled(&error))?.into_iter().flatten().collect())
}

/// `None` if the channel has a name that this program does not know.
fn swept(row: &Row) -> Result<Option<StreamId>, Trouble> {
    let Ok(channel) = ChannelName::parse_any(row.try_get(0)?) else { return Ok(None) };
    Ok(Some(StreamId { channel, offset: Offset(natural(row.try_get(1)?)) }))
}
