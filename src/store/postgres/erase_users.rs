//! Erasures of users: what a user wrote is found by a search of the log, deleted like any publication, and then loses its author.
//!
//! An order notes the user in a table. Each key or operator that asked has a search of its own, for up to a thousand users at once,
//! and the instances take turns with them: one holds the row of a search while it does a slice. The deletes are committed past the
//! append workers, so all instances learn of them as of those of another instance without a bus: by the next publication of the
//! channel, or when they read the heads. At the end, an order has all instances drop the publications that they hold in memory.

use super::connection::StoreConnection;
use super::fault::CallFault;
use super::timing::monotonic;
use crate::metrics::store::StoreCounters;
use crate::store::columns::{integer, natural};
use crate::store::erased;
use crate::store::erasure_turns::{ErasureTurns, SETTLE_MS};
use crate::store::retention::Rest;
use postgres_types::Type;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Publications or keys that a slice examines: a few milliseconds.
const EXAMINED: i32 = 2_048;
/// Slices of one round; the rest waits for the next round.
const SLICES_MAX: u32 = 64;
/// Searches that have a turn in one round.
const SEARCHES_MAX: i64 = 1_024;
/// The pause between two counts of the erasures that are not finished.
const COUNT_PERIOD: Duration = Duration::from_secs(5);

/// The erasures of one instance.
#[derive(Debug, Default)]
pub(super) struct UserErasures {
    turns: ErasureTurns,
    counted: Option<Instant>,
}

impl UserErasures {
    /// Does slices of the searches that no other instance works on, in turn.
    pub(super) fn advance(
        &mut self,
        connection: &mut StoreConnection,
        now_ms: u64,
        counters: &StoreCounters,
    ) -> Result<(), CallFault> {
        self.count(connection, counters)?;
        let rows = connection.query(
            "SELECT by FROM seawall.erasure_searches ORDER BY by LIMIT $1",
            &[(&SEARCHES_MAX, Type::INT8)],
        )?;
        let searches = rows.iter().filter_map(|row| row.try_get::<String>(0).ok()).collect();
        let mut turns = self.turns.begin_round(searches);
        let mut outcome = Ok(());
        for _ in 0..SLICES_MAX {
            let Some(search) = turns.pop_front() else { break };
            let Some(change) = self.turns.take(&search) else { break };
            match self.slice(connection, &search, now_ms, change) {
                Ok(Rest::Some) => turns.push_back(search),
                Ok(Rest::None) => {}
                Err(fault) => {
                    self.turns.failed(&search, &fault.cause.text);
                    outcome = Err(fault);
                    if !connection.is_up() {
                        break;
                    }
                }
            }
        }
        outcome
    }

    /// Does one slice of a search.
    fn slice(
        &mut self,
        connection: &mut StoreConnection,
        search: &str,
        now_ms: u64,
        change: u32,
    ) -> Result<Rest, CallFault> {
        let rows = connection.query(
            "SELECT worked, deletes, users, publications, keys FROM seawall.erase_slice($1, $2, $3, $4, $5, $6)",
            &[
                (&search, Type::TEXT),
                (&integer(now_ms), Type::INT8),
                (&erased::NAME, Type::TEXT),
                (&integer(SETTLE_MS), Type::INT8),
                (&EXAMINED, Type::INT4),
                (&change.cast_signed(), Type::INT4),
            ],
        )?;
        let Some(row) = rows.first() else { return Ok(Rest::None) };
        self.turns.succeeded(search, row.try_get::<i64>(1).map_or(0, natural));
        if let Some(users) = row.try_get::<Option<Vec<String>>>(2).ok().flatten() {
            self.counted = None;
            let counts =
                |at| row.try_get::<Option<Vec<i64>>>(at).ok().flatten().unwrap_or_default().into_iter();
            for ((user, publications), keys) in users.iter().zip(counts(3)).zip(counts(4)) {
                tracing::info!(target: "audit", user, publications, keys, "user erased");
            }
        }
        Ok(if row.try_get::<bool>(0).unwrap_or(false) { Rest::Some } else { Rest::None })
    }

    /// Counts the erasures that are not finished, now and then.
    fn count(&mut self, connection: &mut StoreConnection, counters: &StoreCounters) -> Result<(), CallFault> {
        if self.counted.is_some_and(|counted| counted.elapsed() < COUNT_PERIOD) {
            return Ok(());
        }
        let rows = connection.query(
            "SELECT count(*), (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - min(asked)) * 1000)::bigint
             FROM seawall.user_erasures",
            &[],
        )?;
        self.counted = Some(monotonic());
        let Some(row) = rows.first() else { return Ok(()) };
        let number = |at| natural(row.try_get::<Option<i64>>(at).ok().flatten().unwrap_or(0).max(0));
        counters.erasures_unfinished.store(number(0), Ordering::Relaxed);
        counters.erasure_age_ms.store(number(1), Ordering::Relaxed);
        Ok(())
    }
}
