//! Writes for the sake of writing, after one found no room.
//!
//! A full disk still takes a probe's small row, and then says that all is well. So the thread that met it goes on
//! trying a write as large as a publication may be, until some in a row went well: what its breaker hears is true
//! also while nobody publishes.

use super::connection::{Connection, jittered, monotonic};
use super::fault::CallFault;
use crate::health::breaker::QUIET;
use crate::health::finding::{Cause, Fault};
use std::time::{Duration, Instant};
use tokio_postgres::types::Type;

/// Between two trials, spread by a fifth. The breaker does not believe probes here; half-open, it believes the quiet, so several
/// trials fall into that.
const PERIOD: Duration = Duration::from_millis(250);
const _: () = assert!(PERIOD.as_millis() * 3 < QUIET.as_millis());
/// In a row, and there is room again: as many as close a breaker.
const WELL: u8 = 3;
/// What one writes: the largest publication at the defaults.
const BYTES: i32 = 64 << 10;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Trials {
    under_way: Option<Round>,
}

#[derive(Debug)]
struct Round {
    due: Instant,
    well: u8,
}

impl Trials {
    /// A write failed.
    pub(super) fn failed(&mut self, cause: &Cause) {
        if cause.fault == Fault::DiskFull {
            self.under_way = Some(Round { due: monotonic() + jittered(PERIOD), well: 0 });
        }
    }

    /// Until the next one.
    pub(super) fn patience(&self) -> Duration {
        self.under_way
            .as_ref()
            .map_or(Duration::MAX, |round| round.due.saturating_duration_since(monotonic()))
    }

    /// Makes the one that is due, and has it counted like any write.
    pub(super) fn advance(&mut self, connection: &mut Connection) {
        let Some(round) = &mut self.under_way else { return };
        if round.due > monotonic() || !connection.is_up() {
            return;
        }
        let begun = monotonic();
        let tried = try_write(connection);
        round.due = monotonic() + jittered(PERIOD);
        match tried {
            // Another instance tries: what it finds holds for this one, and comes with the next turn.
            Ok(false) => {}
            Ok(true) => {
                round.well += 1;
                connection.wrote(Ok(()), begun.elapsed());
                if round.well >= WELL {
                    self.under_way = None;
                }
            }
            Err(fault) => {
                round.well = 0;
                connection.wrote(Err(fault.cause), begun.elapsed());
            }
        }
    }
}

fn try_write(connection: &mut Connection) -> Result<bool, CallFault> {
    let rows = connection.query("SELECT seawall.try_write($1)", &[(&BYTES, Type::INT4)])?;
    let Some(row) = rows.first() else { return Err(CallFault::incomplete()) };
    row.try_get(0).map_err(|error| CallFault::garbled(&error))
}
