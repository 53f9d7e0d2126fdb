//! The reads of dead letters, and the names of their routes.

use super::super::connection::StoreConnection;
use super::super::fault::CallFault;
use super::reads::{garbled, offset};
use crate::id::ChannelName;
use crate::job::relay::{DeadCause, DeadLetter};
use crate::store::columns::{integer, natural};
use postgres_types::Type;

/// The number of dead letters of each route.
pub(super) fn count_dead(connection: &mut StoreConnection) -> Result<Vec<(String, u64)>, CallFault> {
    let rows = connection.query("SELECT route, count(*) FROM seawall.relay_dead GROUP BY route", &[])?;
    garbled(&rows, |row| Ok((row.try_get(0)?, natural(row.try_get(1)?))))
}

/// The newest dead letters that retention left, which does not know the routes.
pub(super) fn unnamed_dead(
    connection: &mut StoreConnection,
    most: u32,
) -> Result<Vec<(i64, Option<ChannelName>)>, CallFault> {
    let rows = connection.query(
        "SELECT number, channel FROM seawall.relay_dead WHERE route = '' ORDER BY number DESC LIMIT $1",
        &[(&i64::from(most), Type::INT8)],
    )?;
    garbled(&rows, |row| Ok((row.try_get(0)?, ChannelName::parse_any(&row.try_get::<String>(1)?).ok())))
}

/// Gives dead letters the names of their routes.
pub(super) fn name_dead(
    connection: &mut StoreConnection,
    (numbers, routes): (&[i64], &[&str]),
) -> Result<(), CallFault> {
    let params = [(&numbers as _, Type::INT8_ARRAY), (&routes as _, Type::TEXT_ARRAY)];
    let named = connection.query(
        "UPDATE seawall.relay_dead AS d SET route = n.route FROM unnest($1::bigint[], $2::text[]) AS n (number, route)
         WHERE d.number = n.number AND d.route = ''",
        &params,
    );
    named.map(drop)
}

/// Dead letters of a route, or of all, in the order of their numbers.
pub(super) fn dead_letters(
    connection: &mut StoreConnection,
    route: Option<&str>,
    after: u64,
    most: u32,
) -> Result<Vec<DeadLetter>, CallFault> {
    let rows = connection.query(
        "SELECT number, channel, \"offset\", through, route, cause, status, time FROM seawall.relay_dead
         WHERE ($1::text IS NULL OR route = $1) AND number > $2 ORDER BY number LIMIT $3",
        &[(&route, Type::TEXT), (&integer(after), Type::INT8), (&i64::from(most), Type::INT8)],
    )?;
    let letters = garbled(&rows, |row| {
        let channel = ChannelName::parse_any(&row.try_get::<String>(1)?).ok();
        let cause = DeadCause::of_code(row.try_get::<i16>(5)?.into());
        // A row that a newer program wrote may be unknown here.
        let Some((channel, cause)) = channel.zip(cause) else { return Ok(None) };
        Ok(Some(DeadLetter {
            number: natural(row.try_get(0)?),
            channel,
            offset: offset(row, 2)?,
            through: offset(row, 3)?,
            route: row.try_get::<String>(4)?.into(),
            cause,
            status: row.try_get::<Option<i32>>(6)?.and_then(|status| u16::try_from(status).ok()),
            time_ms: natural(row.try_get(7)?),
        }))
    })?;
    Ok(letters.into_iter().flatten().collect())
}
