//! One connection to the server, with a deadline on everything it does.
//!
//! The driver is asynchronous inside. Each worker has a small runtime of its own and waits on it as on any blocking call,
//! except that every wait is bounded. A server that accepts bytes and stays silent, because it was stopped or its disk hangs,
//! costs the worker [`CALL_TIMEOUT`](super::link::CALL_TIMEOUT) and a connection, which is abandoned; it never blocks the worker.

use super::dial::{Dialled, Patience, Way};
use super::fault::CallFault;
use super::link::Link;
use super::schema::{self, ConnectRefusal, Durability};
use super::timing::{GLANCE, jittered, monotonic};
use crate::health::definition::Use;
use crate::health::finding::{Cause, Evidence, Fault, Finding};
use crate::id::Epoch;
use crate::job::Witness;
use crate::metrics::store::{StoreCounters, bump};
use crate::net::postgres::{AddressError, PostgresAddress, session_options};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

/// How long the server keeps an idle transaction of ours. Only a migration has one open between statements.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an append or read waits for the first connection of a new process, before anything is known to be wrong.
const FIRST_PATIENCE: Duration = Duration::from_millis(500);
/// The pause between two attempts to connect, at first; each failure doubles it.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause. It is short because clients are notified that the store is back when the probe says so, and then it
/// should be.
const PAUSE_MAX: Duration = Duration::from_millis(800);
/// The server's address and how to connect to it.
#[derive(Clone, Debug)]
pub(super) struct ServerTarget {
    way: Way,
    /// Set once the server's weaknesses are logged: once for all connections.
    warned: Arc<AtomicBool>,
}

/// The purpose of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionRole {
    Append,
    Read,
    Canary,
    /// Deletes. It does not wait for the disk: rows that a crash brings back are deleted again.
    Retention,
}

impl ServerTarget {
    /// Reads a PostgreSQL URL. Connections leave from `source`.
    pub(super) fn parse(url: &str, source: Option<IpAddr>) -> Result<ServerTarget, AddressError> {
        let mut address = PostgresAddress::parse(url)?;
        if address.config.get_application_name().is_none() {
            address.config.application_name("seawall");
        }
        Ok(ServerTarget { way: Way::new(&address, source), warned: Arc::default() })
    }

    fn for_role(&self, role: ConnectionRole) -> Way {
        let mut way = self.way.clone();
        let durability = match role {
            ConnectionRole::Append | ConnectionRole::Read | ConnectionRole::Canary => "",
            ConnectionRole::Retention => " -c synchronous_commit=off",
        };
        let own = way.config.get_options().unwrap_or_default().to_owned();
        way.config.options(format!(
            "{} -c idle_in_transaction_session_timeout={} -c default_transaction_isolation=read\\ committed{durability} {own}",
            session_options(),
            IDLE_TIMEOUT.as_millis(),
        ));
        way
    }
}

enum ConnectionState {
    Up(Box<Link>),
    /// Not dialled before this.
    Resting(Instant),
}

/// A connection that reconnects by itself.
pub(super) struct StoreConnection {
    runtime: Arc<Runtime>,
    way: Way,
    role: ConnectionRole,
    state: ConnectionState,
    pause: Duration,
    /// There was a connection before, so the next one is a reconnection.
    was_up: bool,
    reported: bool,
    warned: Arc<AtomicBool>,
    last_used: Instant,
    counters: Arc<StoreCounters>,
    witness: Option<Witness>,
}

impl StoreConnection {
    /// Opens nothing yet.
    pub(super) fn new(
        target: &ServerTarget,
        role: ConnectionRole,
        counters: Arc<StoreCounters>,
        witness: Option<Witness>,
    ) -> io::Result<StoreConnection> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build()?;
        let now = monotonic();
        Ok(StoreConnection {
            runtime: Arc::new(runtime),
            way: target.for_role(role),
            role,
            state: ConnectionState::Resting(now),
            pause: PAUSE_MIN,
            was_up: false,
            reported: false,
            warned: Arc::clone(&target.warned),
            last_used: now,
            counters,
            witness,
        })
    }

    /// True if the connection is open, as far as is known.
    pub(super) fn is_up(&self) -> bool {
        matches!(self.state, ConnectionState::Up(_))
    }

    /// The time until [`StoreConnection::advance`] has something to do.
    pub(super) fn patience(&self) -> Duration {
        match self.state {
            ConnectionState::Up(_) => Duration::from_secs(1),
            ConnectionState::Resting(until) => until.saturating_duration_since(monotonic()),
        }
    }

    /// Checks whether an idle connection is still there, and dials when it is time. Calls `meanwhile` often.
    pub(super) fn advance(&mut self, mut meanwhile: impl FnMut()) -> Result<(), ConnectRefusal> {
        if let ConnectionState::Up(link) = &mut self.state {
            link.listen();
            if link.is_lost() {
                let fault = link.closed_before();
                self.lose(&fault);
            }
        }
        match self.state {
            ConnectionState::Up(_) => Ok(()),
            ConnectionState::Resting(until) if until > monotonic() => Ok(()),
            ConnectionState::Resting(_) => self.dial(&mut meanwhile),
        }
    }

    /// Runs one statement. If the connection is lost during it, the next [`StoreConnection::advance`] reconnects at once.
    pub(super) fn query(
        &mut self,
        sql: &str,
        params: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, CallFault> {
        let idle = self.last_used.elapsed() > GLANCE;
        let ConnectionState::Up(link) = &mut self.state else {
            return Err(CallFault::not_sent(Cause::new(
                Fault::Refused,
                "there is no connection",
                "the line before",
            )));
        };
        if idle {
            link.listen();
        }
        let result = link.query(sql, params);
        let lost = link.is_lost();
        if let Err(fault) = &result
            && lost
        {
            self.lose(&fault.clone());
        }
        self.last_used = monotonic();
        result
    }

    /// Runs one statement that changes nothing, over a second connection if the first proves dead.
    pub(super) fn read(
        &mut self,
        sql: &str,
        params: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, CallFault> {
        match self.query(sql, params) {
            // If the first connection was silent, there is no time for another.
            Err(fault) if !self.is_up() && fault.cause.fault != Fault::Timeout => {
                // The connection reports the failure; the first fault stays the result of both.
                let _ = self.advance(|| {});
                if self.is_up() { self.query(sql, params) } else { Err(fault) }
            }
            result => result,
        }
    }

    /// Drops a connection that is in doubt.
    pub(super) fn drop_link(&mut self, fault: &CallFault) {
        if self.is_up() {
            self.lose(fault);
        }
    }

    fn lose(&mut self, fault: &CallFault) {
        tracing::warn!(cause = %fault.cause.text, role = ?self.role, "store connection lost");
        if fault.cause.fault == Fault::Timeout {
            bump(&self.counters.connections_abandoned);
        }
        self.testify(Duration::ZERO, Err(fault.cause.clone()));
        self.state = ConnectionState::Resting(monotonic());
        self.pause = PAUSE_MIN;
    }

    fn dial(&mut self, meanwhile: &mut dyn FnMut()) -> Result<(), ConnectRefusal> {
        let begun = monotonic();
        let is_first = !self.was_up && !self.reported;
        let meanwhile: &mut dyn FnMut() = &mut || {
            if !is_first || begun.elapsed() >= FIRST_PATIENCE {
                meanwhile();
            }
        };
        let result = self.open(meanwhile).map_err(ConnectRefusal::from).and_then(|mut link| {
            let durability = match self.role {
                ConnectionRole::Append => Durability::Needed,
                ConnectionRole::Read | ConnectionRole::Canary | ConnectionRole::Retention => {
                    Durability::Waived
                }
            };
            schema::prepare(&mut link, durability, fresh_epoch).map(|warning| (link, warning))
        });
        match result {
            Ok((link, warning)) => {
                if self.was_up {
                    bump(&self.counters.reconnects);
                }
                if self.reported {
                    tracing::info!(role = ?self.role, "store connected");
                }
                (self.was_up, self.reported) = (true, false);
                self.pause = PAUSE_MIN;
                self.last_used = monotonic();
                self.state = ConnectionState::Up(Box::new(link));
                let was_warned = self.warned.swap(warning.is_some(), Ordering::Relaxed);
                if let (Some(warning), false) = (&warning, was_warned) {
                    tracing::warn!(warning, "store connected, but its settings weaken durability");
                }
                self.testify(begun.elapsed(), Ok(warning));
                Ok(())
            }
            Err(refusal) => {
                let cause = refusal.cause();
                if !self.reported {
                    tracing::warn!(cause = %cause.text, look_at = cause.look_at, role = ?self.role, "store connection failed; retrying");
                    self.reported = true;
                }
                self.testify(begun.elapsed(), Err(cause));
                self.state = ConnectionState::Resting(monotonic() + jittered(self.pause));
                self.pause = (self.pause * 2).min(PAUSE_MAX);
                Err(refusal)
            }
        }
    }

    /// Dials, and looks at the queue meanwhile.
    fn open(&self, meanwhile: &mut dyn FnMut()) -> Result<Link, CallFault> {
        let Dialled { client, driver, again } =
            self.way.dial(&mut Patience { runtime: &self.runtime, meanwhile })?;
        let driver = self.runtime.spawn(driver);
        Ok(Link::new(Arc::clone(&self.runtime), client, driver, again))
    }

    /// Waits on the runtime for the pause before a retry.
    pub(super) fn pause(&self, length: Duration) {
        let _inside = self.runtime.enter();
        self.runtime.block_on(tokio::time::sleep(length));
    }

    /// The open connection, for use before the threads run.
    pub(super) fn link(&mut self) -> Option<&mut Link> {
        match &mut self.state {
            ConnectionState::Up(link) => Some(link),
            ConnectionState::Resting(_) => None,
        }
    }

    fn testify(&self, latency: Duration, result: Result<Option<String>, Cause>) {
        if let Some(witness) = &self.witness {
            witness.tell(Evidence::Connection(Finding { latency, result }));
        }
    }

    /// Reports the result of a write to the watch thread.
    pub(super) fn wrote(&self, result: Result<(), Cause>, took: Duration) {
        if let Some(witness) = &self.witness {
            witness.tell(Evidence::Call(Use::Write, result, took));
        }
    }
}

/// A random epoch. Without randomness it comes from the clock, which differs from a restored store's epoch as well.
fn fresh_epoch() -> Epoch {
    Epoch(getrandom::u32().unwrap_or_else(|_| crate::store::wall_clock::WallClock::System.unix_ms() as u32))
}

#[cfg(test)]
mod tests {
    use super::super::link::CALL_TIMEOUT;
    use super::*;
    use crate::net::postgres::{LOCK_TIMEOUT, STATEMENT_TIMEOUT};

    #[test]
    fn jittered_pause_stays_within_a_fifth() {
        for _ in 0..1_000 {
            let pause = jittered(PAUSE_MAX);
            assert!(pause >= PAUSE_MAX.mul_f64(0.79) && pause <= PAUSE_MAX.mul_f64(1.21));
        }
    }

    #[test]
    fn timeouts_leave_time_for_an_answer() {
        assert!(LOCK_TIMEOUT < STATEMENT_TIMEOUT && STATEMENT_TIMEOUT < CALL_TIMEOUT);
        assert!(CALL_TIMEOUT + Duration::from_secs(1) < crate::limits::REPLY_TIMEOUT);
    }
}
