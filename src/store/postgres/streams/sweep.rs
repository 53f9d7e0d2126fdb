//! The streams that no living instance ends in time.

use super::super::connection::StoreConnection;
use super::super::fault::CallFault;
use crate::id::{ChannelName, Offset};
use crate::net::postgres::Row;
use crate::net::trouble::Trouble;
use crate::store::columns::{integer, natural};
use crate::stream::StreamSettings;
use crate::wire::stream::{EndCause, StreamEnd, StreamId};
use postgres_types::Type;
use std::time::Duration;

const SWEEP: &str = "SELECT name, \"offset\", cause FROM seawall.sweep_streams($1, $2, $3, $4, $5)";

/// Streams found at once. Another sweep finds the rest.
const FOUND_MAX: i64 = 100;
/// The instance of a producer ends a stream itself, by its own clock. Only if it did not for this long is the stream found.
const MARGIN: Duration = Duration::from_secs(2);

/// A stream whose deadline is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store::postgres) struct SweptStream {
    pub(in crate::store::postgres) id: StreamId,
    pub(in crate::store::postgres) end: StreamEnd,
    /// `None`: a user cancelled it.
    pub(in crate::store::postgres) cause: Option<EndCause>,
}

/// Finds streams whose deadline is over by the clock of the database. While no stream is open it costs a look at an index.
pub(in crate::store::postgres) fn sweep(
    connection: &mut StoreConnection,
    settings: &StreamSettings,
) -> Result<Vec<SweptStream>, CallFault> {
    let late =
        |deadline: Duration| integer(u64::try_from((deadline + MARGIN).as_millis()).unwrap_or(u64::MAX));
    let StreamSettings { idle, orphan, cancel, life, .. } = settings;
    let [idle, orphan, cancel, life] = [idle, orphan, cancel, life].map(|deadline| late(*deadline));
    let rows = connection.query(
        SWEEP,
        &[
            (&idle, Type::INT8),
            (&orphan, Type::INT8),
            (&cancel, Type::INT8),
            (&life, Type::INT8),
            (&FOUND_MAX, Type::INT8),
        ],
    )?;
    let found: Result<Vec<_>, _> = rows.iter().map(swept).collect();
    Ok(found.map_err(|error| CallFault::garbled(&error))?.into_iter().flatten().collect())
}

/// `None` if the channel has a name that this program does not know.
fn swept(row: &Row) -> Result<Option<SweptStream>, Trouble> {
    let Ok(channel) = ChannelName::parse_any(row.try_get(0)?) else { return Ok(None) };
    let id = StreamId { channel, offset: Offset(natural(row.try_get(1)?)) };
    let (end, cause) = match row.try_get::<i16>(2)? {
        1 => (StreamEnd::Cancelled, None),
        2 => (StreamEnd::Interrupted, Some(EndCause::ProducerLost)),
        3 => (StreamEnd::Interrupted, Some(EndCause::Idle)),
        _ => (StreamEnd::Interrupted, Some(EndCause::Life)),
    };
    Ok(Some(SweptStream { id, end, cause }))
}
