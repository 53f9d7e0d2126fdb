//! Test writes after a write found no room.
//!
//! A full disk still accepts a probe's small row, so the probe reports that all is well. Therefore the thread that met the full
//! disk keeps trying a write as large as a publication may be, until several in a row succeed. So its breaker learns the truth
//! even while no client publishes.

use super::connection::StoreConnection;
use super::fault::CallFault;
use super::timing::{jittered, monotonic};
use crate::health::breaker::QUIET;
use crate::health::finding::{Cause, Fault};
use postgres_types::Type;
use std::time::{Duration, Instant};

/// The time between two trials, varied by ±20 %. The breaker ignores probes here; half-open, it takes silence as success, so
/// several trials must fall into that time.
const PERIOD: Duration = Duration::from_millis(250);
const _: () = assert!(PERIOD.as_millis() * 3 < QUIET.as_millis());
/// Successes in a row that prove room: as many as close a breaker.
const WELL: u8 = 3;
/// The size of a trial: the largest publication at the defaults.
const BYTES: i32 = 64 << 10;

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
    /// A write failed: begins the trials.
    pub(super) fn failed(&mut self, cause: &Cause) {
        if cause.fault == Fault::DiskFull {
            self.under_way = Some(Round { due: monotonic() + jittered(PERIOD), well: 0 });
        }
    }

    /// The time until the next trial.
    pub(super) fn patience(&self) -> Duration {
        self.under_way
            .as_ref()
            .map_or(Duration::MAX, |round| round.due.saturating_duration_since(monotonic()))
    }

    /// Makes the trial that is due, and has it counted like any write.
    pub(super) fn advance(&mut self, connection: &mut StoreConnection) {
        let Some(round) = &mut self.under_way else { return };
        if round.due > monotonic() || !connection.is_up() {
            return;
        }
        let begun = monotonic();
        let tried = try_write(connection);
        round.due = monotonic() + jittered(PERIOD);
        match tried {
            // Another instance tries: its result holds for this one, and arrives on the next turn.
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

fn try_write(connection: &mut StoreConnection) -> Result<bool, CallFault> {
    let rows = connection.query("SELECT seawall.try_write($1)", &[(&BYTES, Type::INT4)])?;
    let Some(row) = rows.first() else { return Err(CallFault::incomplete()) };
    row.try_get(0).map_err(|error| CallFault::garbled(&error))
}
