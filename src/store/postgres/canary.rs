//! The thread that commits a canary every two seconds and passes it to the bus the way publications are passed.
//!
//! Its return shows whether delivery works (`health::delivery`).

use super::bus_key;
use super::connection::StoreConnection;
use super::fault::CallFault;
use super::timing::{jittered, monotonic};
use crate::health::delivery::Seen;
use crate::job::bus::{Bus, Committed};
use crate::net::trouble::Trouble;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use postgres_types::Type;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The time between two canaries, varied by ±20 %.
const PERIOD: Duration = Duration::from_secs(2);
/// The same while the bus does not deliver, so that recovery is noticed soon.
const PERIOD_HURRIED: Duration = Duration::from_millis(400);
/// How often the thread checks whether to hurry.
const GLANCE: Duration = Duration::from_millis(200);

pub(super) struct CanaryWorker {
    pub(super) connection: StoreConnection,
    /// This process, and its name for people.
    pub(super) origin: u64,
    pub(super) instance: Arc<str>,
    pub(super) bus: Bus,
    /// Disconnects when the store ends.
    pub(super) over: Receiver<Infallible>,
}

impl CanaryWorker {
    /// Runs until the store ends.
    pub(super) fn run(mut self) {
        let mut number = 0;
        let mut keyed = false;
        let mut last: Option<Instant> = None;
        let mut period = PERIOD;
        loop {
            // The connection reports a failure and tries again.
            let _ = self.connection.advance(|| {});
            if self.connection.is_up() && !keyed {
                keyed = self.set_key();
            }
            let wanted = if self.bus.is_hurried() { PERIOD_HURRIED } else { period };
            if keyed && self.connection.is_up() && last.is_none_or(|last| last.elapsed() >= wanted) {
                last = Some(monotonic());
                period = jittered(PERIOD);
                number += 1;
                match self.commit(number) {
                    Ok(seen) => self.bus.canary(Committed { number, seen }),
                    Err(fault) => tracing::debug!(cause = %fault.cause.text, "canary not committed"),
                }
            }
            match self.over.recv_timeout(GLANCE) {
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
                Ok(never) => match never {},
            }
        }
    }

    /// Gives the bus the key of its messages. True if it has one.
    fn set_key(&mut self) -> bool {
        match bus_key::fetch(&mut self.connection) {
            Ok(key) => {
                self.bus.set_key(key);
                true
            }
            Err(fault) => {
                tracing::warn!(cause = %fault.cause.text, "bus key unavailable");
                false
            }
        }
    }

    fn commit(&mut self, number: u64) -> Result<Vec<Seen>, CallFault> {
        // Only the bits matter: PostgreSQL has no unsigned numbers.
        let (origin, number) = (self.origin.cast_signed(), number.cast_signed());
        let rows = self.connection.query(
            "SELECT origin, instance, number FROM seawall.canary($1, $2, $3)",
            &[(&origin, Type::INT8), (&&*self.instance, Type::TEXT), (&number, Type::INT8)],
        )?;
        rows.iter()
            .map(|row| {
                let name = Arc::from(row.try_get::<&str>(1)?);
                let (origin, number): (i64, i64) = (row.try_get(0)?, row.try_get(2)?);
                Ok(Seen { origin: origin.cast_unsigned(), name, number: number.cast_unsigned() })
            })
            .collect::<Result<_, Trouble>>()
            .map_err(|error| CallFault::garbled(&error))
    }
}
