//! The thread that renews the row of this instance every two seconds, reads the rows of the others, and takes or keeps the duty of
//! the leader. It also commits the orders of this instance, and reads those of the others.
//!
//! Each renewal has a number: it is a canary, which is passed to the bus the way publications are passed. Its return shows
//! whether delivery works (`health::delivery`).

use super::bus_key;
use super::connection::StoreConnection;
use super::fault::CallFault;
use super::member::ClusterMember;
use super::orders::PostgresOrders;
use super::timing::{jittered, monotonic};
use crate::health::delivery::Seen;
use crate::job::bus::{Bus, Committed};
use crate::job::registry::{Goodbye, InstanceRow, Leads, RowsReading};
use crate::net::postgres::Row;
use crate::net::trouble::Trouble;
use crossbeam_channel::{Receiver, never, select};
use postgres_types::Type;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The time between two renewals, varied by ±20 %.
const PERIOD: Duration = Duration::from_secs(2);
/// The same while the bus does not deliver, so that recovery is noticed soon.
const PERIOD_HURRIED: Duration = Duration::from_millis(400);
/// How often the thread checks whether to hurry.
const GLANCE: Duration = Duration::from_millis(200);
/// The canaries of rows older than this are not expected on the bus.
const CANARY_AGE_MAX: Duration = Duration::from_secs(6);

/// The state of the key of the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyState {
    /// The bus waits for it.
    Wanted,
    /// The bus has it, or there is no bus.
    Given,
}

pub(super) struct CanaryWorker {
    pub(super) connection: StoreConnection,
    pub(super) member: ClusterMember,
    pub(super) orders: PostgresOrders,
    /// Disconnects when the store ends.
    pub(super) over: Receiver<Infallible>,
}

impl CanaryWorker {
    /// Runs until the store ends, and says goodbye.
    pub(super) fn run(mut self) {
        let mut number = 0;
        let mut key = if self.member.bus.is_some() { KeyState::Wanted } else { KeyState::Given };
        let mut last: Option<Instant> = None;
        let mut requests = self.orders.requests.clone();
        let mut period = PERIOD;
        loop {
            // The connection reports a failure and tries again.
            let _ = self.connection.advance(|| {});
            if self.connection.is_up() && key == KeyState::Wanted {
                key = self.set_key();
            }
            let wanted = if self.is_hurried() { PERIOD_HURRIED } else { period };
            self.orders.look(&mut self.connection, wanted);
            let is_due = last.is_none_or(|last| last.elapsed() >= wanted) || self.has_done_more();
            if self.member.signs.take_hurry() || is_due {
                last = Some(monotonic());
                number += 1;
                period = match self.renew(number, key) {
                    Ok(()) => jittered(PERIOD),
                    Err(_) => PERIOD_HURRIED,
                };
            }
            select! {
                recv(self.over) -> over => match over {
                    Err(_) => break,
                    Ok(never) => match never {},
                },
                recv(requests) -> request => match request {
                    Ok(request) => {
                        self.orders.place(&mut self.connection, request);
                        // The rows say which instances are to be waited for.
                        self.member.signs.hurry();
                    }
                    Err(_) => requests = never(),
                },
                default(GLANCE) => {}
            }
        }
        // Without it the others judge this instance gone, some seconds later.
        let _ = self.call(number + 1, Goodbye::Said);
    }

    /// True if this instance has carried out an order that its row does not name yet: others wait for it.
    fn has_done_more(&self) -> bool {
        let noted = self.member.signs.done.load(Ordering::Relaxed);
        self.connection.is_up() && noted < self.orders.board.log().done().0
    }

    fn is_hurried(&self) -> bool {
        self.member.bus.as_ref().is_some_and(Bus::is_hurried)
    }

    /// Renews the row, and passes on what the others' rows say.
    fn renew(&mut self, number: u64, key: KeyState) -> Result<(), CallFault> {
        let (asked, as_of) = (monotonic(), self.orders.board.log().last);
        let called = self.call(number, Goodbye::NotSaid);
        if let (Ok(rows), Some(bus), KeyState::Given) = (&called, &self.member.bus, key) {
            bus.canary(Committed { number, seen: self.canaries(rows) });
        }
        let (rows, outcome) = match called {
            Ok(rows) => {
                self.orders.see(&rows, self.member.signs.origin, as_of);
                (Some(rows), Ok(()))
            }
            Err(fault) => {
                tracing::debug!(cause = %fault.cause.text, "row of this instance not renewed");
                (None, Err(fault))
            }
        };
        self.member.registry.rows(RowsReading { asked, rows });
        outcome
    }

    /// The canaries of others that must have come over the bus.
    fn canaries(&self, rows: &[InstanceRow]) -> Vec<Seen> {
        let others =
            rows.iter().filter(|row| row.origin != self.member.signs.origin && row.age < CANARY_AGE_MAX);
        others
            .filter(|row| row.leaving == Goodbye::NotSaid)
            .map(|row| Seen { origin: row.origin, name: Arc::clone(&row.name), number: row.canary })
            .collect()
    }

    /// Gives the bus the key of its messages.
    fn set_key(&mut self) -> KeyState {
        let Some(bus) = self.member.bus.clone() else { return KeyState::Given };
        match bus_key::fetch(&mut self.connection) {
            Ok(key) => {
                bus.set_key(key);
                KeyState::Given
            }
            Err(fault) => {
                tracing::warn!(cause = %fault.cause.text, "bus key unavailable");
                KeyState::Wanted
            }
        }
    }

    fn call(&mut self, number: u64, leaving: Goodbye) -> Result<Vec<InstanceRow>, CallFault> {
        let signs = &self.member.signs;
        signs.done.store(self.orders.board.log().done().0, Ordering::Relaxed);
        // Only the bits of unsigned numbers matter: PostgreSQL has none.
        let (origin, number) = (signs.origin.cast_signed(), number.cast_signed());
        let count = i64::from(signs.count.load(Ordering::Relaxed));
        let done = signs.done.load(Ordering::Relaxed).cast_signed();
        let rows = self.connection.query(
            "SELECT origin, instance, number, count, done, leaving, age_ms, leads
             FROM seawall.renew_instance($1, $2, $3, $4, $5, $6)",
            &[
                (&origin, Type::INT8),
                (&&*signs.name, Type::TEXT),
                (&number, Type::INT8),
                (&count, Type::INT8),
                (&done, Type::INT8),
                (&(leaving == Goodbye::Said), Type::BOOL),
            ],
        )?;
        rows.iter().map(read).collect::<Result<_, Trouble>>().map_err(|error| CallFault::garbled(&error))
    }
}

fn read(row: &Row) -> Result<InstanceRow, Trouble> {
    let number = |at: usize| row.try_get::<i64>(at);
    Ok(InstanceRow {
        origin: number(0)?.cast_unsigned(),
        name: Arc::from(row.try_get::<&str>(1)?),
        canary: number(2)?.cast_unsigned(),
        // Only another program writes what does not fit.
        count: u32::try_from(number(3)?).unwrap_or(u32::MAX),
        done: number(4)?.cast_unsigned(),
        leaving: if row.try_get(5)? { Goodbye::Said } else { Goodbye::NotSaid },
        age: Duration::from_millis(u64::try_from(number(6)?).unwrap_or(0)),
        leads: if row.try_get(7)? { Leads::Yes } else { Leads::No },
    })
}
