//! Exclusions of all instances: times whose events are kept out of their budgets.

use super::connection::StoreConnection;
use super::fault::CallFault;
use crate::job::shared_questions::ExclusionRow;
use crate::net::postgres::Row;
use crate::net::trouble::Trouble;
use crate::slo::exclusion::EXCLUSIONS_MAX;
use crate::store::columns::{integer, natural};
use postgres_types::Type;

/// Adds the exclusions that only one instance has, as far as there is room, and reads all.
pub(super) fn share(
    connection: &mut StoreConnection,
    own: &[ExclusionRow],
) -> Result<Vec<(u64, String)>, CallFault> {
    for row in own {
        if add(connection, row)?.is_none() {
            tracing::warn!(exclusion = row.identity, "exclusion not shared: there are {EXCLUSIONS_MAX}");
        }
    }
    let rows = connection.read(
        "SELECT number, body FROM seawall.slo_exclusions ORDER BY number LIMIT $1",
        &[(&(EXCLUSIONS_MAX as i64), Type::INT8)],
    )?;
    let read = |row: &Row| -> Result<(u64, String), Trouble> {
        Ok((natural(row.try_get(0)?), row.try_get::<&str>(1)?.to_owned()))
    };
    garbled(rows.iter().map(read).collect())
}

/// Adds an exclusion unless the same one is there, and returns its number; `None` if there are too many.
pub(super) fn add(connection: &mut StoreConnection, row: &ExclusionRow) -> Result<Option<u64>, CallFault> {
    let rows = connection.query(
        "SELECT seawall.add_exclusion($1, $2, $3, $4)",
        &[
            (&row.identity, Type::TEXT),
            (&integer(row.until_ms), Type::INT8),
            (&row.body, Type::TEXT),
            (&(EXCLUSIONS_MAX as i64), Type::INT8),
        ],
    )?;
    let row = rows.first().ok_or_else(CallFault::incomplete)?;
    let number = natural(garbled(row.try_get::<i64>(0))?);
    Ok((number > 0).then_some(number))
}

/// Removes an exclusion, and returns its body; `None` if there is none of this number.
pub(super) fn end(connection: &mut StoreConnection, number: u64) -> Result<Option<String>, CallFault> {
    let rows = connection.query("SELECT seawall.end_exclusion($1)", &[(&integer(number), Type::INT8)])?;
    let row = rows.first().ok_or_else(CallFault::incomplete)?;
    garbled(row.try_get::<Option<String>>(0))
}

fn garbled<T>(read: Result<T, Trouble>) -> Result<T, CallFault> {
    read.map_err(|error| CallFault::garbled(&error))
}
