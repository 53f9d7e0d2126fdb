//! A thread that commits a canary every two seconds, and gives it to the bus as it is done with publications.
//!
//! Whether it comes back tells whether delivery works (`health::delivery`).

use super::connection::{Connection, jittered, monotonic};
use super::fault::CallFault;
use crate::health::delivery::Seen;
use crate::job::bus::{Bus, Committed};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_postgres::types::Type;

/// Between two canaries, spread by a fifth.
const PERIOD: Duration = Duration::from_secs(2);
/// While the bus does not deliver: whether it does again is to be seen soon.
const PERIOD_HURRIED: Duration = Duration::from_millis(400);
/// How often it looks whether it is to hurry.
const GLANCE: Duration = Duration::from_millis(200);

/// The canary thread.
pub(super) struct CanaryWorker {
    pub(super) connection: Connection,
    /// This process, and how people name it.
    pub(super) origin: u64,
    pub(super) instance: Arc<str>,
    pub(super) bus: Bus,
    /// Ends with the store.
    pub(super) over: Receiver<Infallible>,
}

impl CanaryWorker {
    /// Until the store ends.
    pub(super) fn run(mut self) {
        let mut number = 0;
        let mut last: Option<Instant> = None;
        let mut period = PERIOD;
        loop {
            // A failure is told and tried again by the connection.
            let _ = self.connection.advance(|| {});
            let wanted = if self.bus.is_hurried() { PERIOD_HURRIED } else { period };
            if self.connection.is_up() && last.is_none_or(|last| last.elapsed() >= wanted) {
                last = Some(monotonic());
                period = jittered(PERIOD);
                number += 1;
                match self.commit(number) {
                    Ok(seen) => self.bus.canary(Committed { number, seen }),
                    Err(fault) => tracing::debug!(cause = %fault.cause.text, "a canary was not committed"),
                }
            }
            match self.over.recv_timeout(GLANCE) {
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
                Ok(never) => match never {},
            }
        }
    }

    fn commit(&mut self, number: u64) -> Result<Vec<Seen>, CallFault> {
        // The bits are what counts: PostgreSQL has no unsigned numbers.
        let (origin, number) = (self.origin.cast_signed(), number.cast_signed());
        let rows = self.connection.query(
            "SELECT origin, instance, number FROM seawall.canary($1, $2, $3)",
            &[(&origin, Type::INT8), (&&*self.instance, Type::TEXT), (&number, Type::INT8)],
        )?;
        rows.iter()
            .map(|row| {
                let name = Arc::from(row.try_get::<_, &str>(1)?);
                let (origin, number): (i64, i64) = (row.try_get(0)?, row.try_get(2)?);
                Ok(Seen { origin: origin.cast_unsigned(), name, number: number.cast_unsigned() })
            })
            .collect::<Result<_, tokio_postgres::Error>>()
            .map_err(|error| CallFault::garbled(&error))
    }
}
