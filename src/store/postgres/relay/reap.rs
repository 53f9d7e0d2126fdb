//! The deletion of what is over.

use super::super::connection::StoreConnection;
use super::super::fault::CallFault;
use super::super::timing::{jittered, monotonic};
use crate::store::columns::{integer, natural};
use crate::store::relay::{DEAD_AGE, DEAD_MAX};
use postgres_types::Type;
use std::time::{Duration, Instant};

/// The pause between two sweeps through the channels.
const PERIOD: Duration = Duration::from_secs(60);
/// Rows of each table in a slice: a few milliseconds.
const ROWS: i32 = 512;
/// Slices in a row. The rest waits for the next round of retention, a second later.
const SLICES: usize = 16;

/// The sweep through the channels of the relay. The database's clock decides what is old.
pub(in crate::store::postgres) struct RelayReaper {
    due: Instant,
    /// The last channel looked at.
    channel: i64,
}

impl RelayReaper {
    pub(in crate::store::postgres) fn new(now: Instant) -> RelayReaper {
        RelayReaper { due: now + jittered(PERIOD), channel: 0 }
    }

    /// Does the next slices of a sweep that is due.
    pub(in crate::store::postgres) fn run(
        &mut self,
        connection: &mut StoreConnection,
    ) -> Result<(), CallFault> {
        if self.due > monotonic() {
            return Ok(());
        }
        for _ in 0..SLICES {
            if reap_dead(connection)? < ROWS as u64 {
                break;
            }
        }
        for _ in 0..SLICES {
            match reap(connection, self.channel)? {
                Some(channel) => self.channel = channel,
                None => {
                    *self = RelayReaper::new(monotonic());
                    break;
                }
            }
        }
        Ok(())
    }
}

/// Deletes dead letters that are too old or too many, and returns how many.
pub(super) fn reap_dead(connection: &mut StoreConnection) -> Result<u64, CallFault> {
    let age_ms = i64::try_from(DEAD_AGE.as_millis()).unwrap_or(i64::MAX);
    let most = integer(DEAD_MAX);
    let params = [(&age_ms as _, Type::INT8), (&most as _, Type::INT8), (&ROWS as _, Type::INT4)];
    let rows = connection.query("SELECT seawall.relay_reap_dead($1, $2, $3)", &params)?;
    let row = rows.first().ok_or_else(CallFault::incomplete)?;
    row.try_get::<i64>(0).map(natural).map_err(|error| CallFault::garbled(&error))
}

/// Deletes what is over of the channels after this number. Returns the number to go on after; `None` at the end.
pub(super) fn reap(connection: &mut StoreConnection, after: i64) -> Result<Option<i64>, CallFault> {
    let params = [(&after as _, Type::INT8), (&ROWS as _, Type::INT4)];
    let rows = connection.query("SELECT seawall.relay_reap($1, $2)", &params)?;
    let row = rows.first().ok_or_else(CallFault::incomplete)?;
    row.try_get(0).map_err(|error| CallFault::garbled(&error))
}
