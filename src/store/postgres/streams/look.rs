//! The progress of open streams, and the signs of life of their producers.

use super::super::connection::StoreConnection;
use super::super::fault::CallFault;
use super::params::{IdColumns, unsigned};
use crate::net::postgres::Row;
use crate::net::trouble::Trouble;
use crate::store::columns::natural;
use crate::stream::{StreamLook, Touched};
use crate::wire::stream::{Generation, Position, StreamId, StreamState};

const LOOK: &str = "SELECT gen, next, state, touched FROM seawall.look_streams($1, $2)";
const TOUCH: &str = "SELECT touched FROM seawall.touch_streams($1, $2)";

/// Looks at streams, in the order of `ids`. `None`: it is not open.
pub(in crate::store::postgres) fn look(
    connection: &mut StoreConnection,
    ids: &[StreamId],
) -> Result<Vec<Option<StreamLook>>, CallFault> {
    ask(connection, LOOK, ids, progress)
}

/// Notes that the producers of these streams live. Returns the new times, in the order of `ids`; `None`: it is not open.
pub(in crate::store::postgres) fn touch(
    connection: &mut StoreConnection,
    ids: &[StreamId],
) -> Result<Vec<Option<Touched>>, CallFault> {
    ask(connection, TOUCH, ids, |row| {
        Ok(row.try_get::<Option<i64>>(0)?.map(|touched| Touched(natural(touched))))
    })
}

/// Runs a statement that answers a row for each stream.
fn ask<T>(
    connection: &mut StoreConnection,
    sql: &str,
    ids: &[StreamId],
    read: impl Fn(&Row) -> Result<T, Trouble>,
) -> Result<Vec<T>, CallFault> {
    let rows = connection.query(sql, &IdColumns::of(ids.iter()).params())?;
    if rows.len() != ids.len() {
        return Err(CallFault::incomplete());
    }
    rows.iter().map(read).collect::<Result<_, _>>().map_err(|error| CallFault::garbled(&error))
}

pub(super) fn progress(row: &Row) -> Result<Option<StreamLook>, Trouble> {
    let Some(generation) = row.try_get::<Option<i32>>(0)? else { return Ok(None) };
    let state: i16 = row.try_get(2)?;
    Ok(Some(StreamLook {
        generation: Generation(unsigned(generation)),
        next: Position(unsigned(row.try_get(1)?)),
        state: StreamState::of_code(state.into()).unwrap_or(StreamState::Paused),
        touched: Touched(natural(row.try_get(3)?)),
    }))
}
