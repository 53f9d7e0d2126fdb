//! The answers that wait for a backend in vain, because their question is deleted or not retained.

use super::super::connection::StoreConnection;
use super::super::fault::CallFault;
use super::params::IdColumns;
use crate::id::{ChannelName, Offset};
use crate::net::postgres::Row;
use crate::net::trouble::Trouble;
use crate::store::columns::natural;
use crate::wire::stream::{StreamId, StreamState};
use postgres_types::Type;

/// Open streams that one page looks at: some ten milliseconds of a backend of the database.
pub(in crate::store::postgres) const LOST_PAGE: usize = 2_000;

/// The first row has the last place of the page, and the number of streams in it; the others have the answers whose question is gone. The
/// lateral join is a look at an index for each answer, whatever the planner knows of the tables.
const PAGE: &str = "WITH page AS MATERIALIZED (
         SELECT channel, \"offset\", state FROM seawall.streams
         WHERE kept_until IS NULL AND (channel, \"offset\") > ($1, $2) ORDER BY channel, \"offset\" LIMIT $3
     )
     SELECT * FROM (
         SELECT NULL::text AS name, \"offset\", channel, (SELECT count(*) FROM page) FROM page
         ORDER BY channel DESC, \"offset\" DESC LIMIT 1
     ) last
     UNION ALL
     SELECT c.name, s.\"offset\", s.channel, 0 FROM page s JOIN seawall.channels c ON c.id = s.channel
     LEFT JOIN LATERAL (
         SELECT true AS is_there FROM seawall.publications q
         WHERE q.channel = s.channel AND q.\"offset\" = s.\"offset\" - 1 AND q.deleted_by IS NULL LIMIT 1
     ) q ON true
     WHERE s.state = $4 AND q.is_there IS NULL";
/// The same of answers that are known.
const AGAIN: &str =
    "SELECT c.name, s.\"offset\" FROM unnest($1::text[], $2::bigint[]) AS i (name, \"offset\")
     JOIN seawall.channels c ON c.name = i.name
     JOIN seawall.streams s ON s.channel = c.id AND s.\"offset\" = i.\"offset\"
     LEFT JOIN LATERAL (
         SELECT true AS is_there FROM seawall.publications q
         WHERE q.channel = s.channel AND q.\"offset\" = s.\"offset\" - 1 AND q.deleted_by IS NULL LIMIT 1
     ) q ON true
     WHERE s.kept_until IS NULL AND s.state = $3 AND q.is_there IS NULL";

/// A place among the open streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store::postgres) struct OpenPlace {
    /// The number of the channel.
    channel: i64,
    offset: i64,
}

impl OpenPlace {
    /// Before all of them.
    pub(in crate::store::postgres) const START: OpenPlace = OpenPlace { channel: i64::MIN, offset: i64::MIN };
}

/// The answers in one page of the open streams whose question is gone.
#[derive(Debug)]
pub(in crate::store::postgres) struct LostPage {
    pub(in crate::store::postgres) lost: Vec<StreamId>,
    /// The place to go on after; `None`: there are no more.
    pub(in crate::store::postgres) next: Option<OpenPlace>,
}

/// Looks at `most` open streams after a place.
pub(in crate::store::postgres) fn lost_questions(
    connection: &mut StoreConnection,
    after: OpenPlace,
    most: usize,
) -> Result<LostPage, CallFault> {
    let (state, limit) = (accepted(), i64::try_from(most).unwrap_or(i64::MAX));
    let rows = connection.query(
        PAGE,
        &[
            (&after.channel, Type::INT8),
            (&after.offset, Type::INT8),
            (&limit, Type::INT8),
            (&state, Type::INT2),
        ],
    )?;
    let read = || -> Result<LostPage, Trouble> {
        let mut page = LostPage { lost: Vec::new(), next: None };
        for row in &rows {
            match row.try_get::<Option<&str>>(0)? {
                Some(name) => page.lost.extend(stream(name, row)?),
                None if natural(row.try_get(3)?) >= most as u64 => {
                    page.next = Some(OpenPlace { channel: row.try_get(2)?, offset: row.try_get(1)? });
                }
                None => {}
            }
        }
        Ok(page)
    };
    read().map_err(|error| CallFault::garbled(&error))
}

/// The ones among these answers that still wait, and whose question is still gone.
pub(in crate::store::postgres) fn still_lost(
    connection: &mut StoreConnection,
    ids: &[StreamId],
) -> Result<Vec<StreamId>, CallFault> {
    let (state, columns) = (accepted(), IdColumns::of(ids.iter()));
    let [names, offsets] = columns.params();
    let rows = connection.query(AGAIN, &[names, offsets, (&state, Type::INT2)])?;
    let found: Result<Vec<_>, Trouble> = rows.iter().map(|row| stream(row.try_get(0)?, row)).collect();
    Ok(found.map_err(|error| CallFault::garbled(&error))?.into_iter().flatten().collect())
}

fn accepted() -> i16 {
    StreamState::Accepted.code().into()
}

/// `None` if the channel has a name that this program does not know.
fn stream(name: &str, row: &Row) -> Result<Option<StreamId>, Trouble> {
    let Ok(channel) = ChannelName::parse_any(name) else { return Ok(None) };
    Ok(Some(StreamId { channel, offset: Offset(natural(row.try_get(1)?)) }))
}
