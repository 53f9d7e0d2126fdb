//! One connection to the server, with a deadline on everything it does.
//!
//! The driver is asynchronous inside; each worker has a small runtime of its own and waits on it like on any
//! blocking call, only that every wait has an end. A server that takes bytes and says nothing, because it was
//! stopped or its disk hangs, costs a worker [`CALL_TIMEOUT`] and a connection, which is abandoned; it never
//! costs the worker.

use super::dial::{Dialled, Patience, Way};
use super::fault::CallFault;
use super::link::Link;
use super::schema::{self, Durability, Refusal};
use crate::health::definition::Use;
use crate::health::finding::{Cause, Evidence, Fault, Finding};
use crate::id::Epoch;
use crate::job::Witness;
use crate::metrics::store::{StoreCounters, bump};
use crate::worker::line::postgres::{AddressError, PostgresAddress, session_options};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

/// The server ends a transaction of ours that does nothing. Only a migration has one open between statements.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// When a process starts, who comes before its first connection waits for so long: nothing is known to be wrong.
const FIRST_PATIENCE: Duration = Duration::from_millis(500);
/// Between two tries to connect, at first and at most; each fails as often as the one before doubles it.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// It is short: people are told that the store is back when the probe says so, and then it should be.
const PAUSE_MAX: Duration = Duration::from_millis(800);
/// While it dials, a worker looks at its queue so often.
pub(super) const GLANCE: Duration = Duration::from_millis(20);

/// Where the store is, and how it is spoken to.
#[derive(Clone, Debug)]
pub(super) struct Target {
    way: Way,
    /// Whether the log has what is weak about the server: once for all connections.
    warned: Arc<AtomicBool>,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Appends.
    Append,
    /// Pages and heads.
    Read,
    /// Canaries of the bus.
    Canary,
    /// Deletes what is too old. It does not wait for the disk: what a crash brings back goes again.
    Retention,
}

impl Target {
    /// Reads a URL of PostgreSQL. Connections leave from `source`.
    pub(super) fn parse(url: &str, source: Option<IpAddr>) -> Result<Target, AddressError> {
        let mut address = PostgresAddress::parse(url)?;
        if address.config.get_application_name().is_none() {
            address.config.application_name("seawall");
        }
        Ok(Target { way: Way::new(&address, source), warned: Arc::default() })
    }

    fn for_role(&self, role: Role) -> Way {
        let mut way = self.way.clone();
        let durability = match role {
            Role::Append | Role::Read | Role::Canary => "",
            Role::Retention => " -c synchronous_commit=off",
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

enum State {
    Up(Box<Link>),
    /// Not to be dialled before this.
    Resting(Instant),
}

/// A connection that comes back by itself.
pub(super) struct Connection {
    runtime: Arc<Runtime>,
    way: Way,
    role: Role,
    state: State,
    pause: Duration,
    /// Whether there was a connection before: the next one is a reconnection.
    was_up: bool,
    told: bool,
    warned: Arc<AtomicBool>,
    last_used: Instant,
    counters: Arc<StoreCounters>,
    witness: Option<Witness>,
}

impl Connection {
    /// Opens nothing yet.
    pub(super) fn new(
        target: &Target,
        role: Role,
        counters: Arc<StoreCounters>,
        witness: Option<Witness>,
    ) -> io::Result<Connection> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build()?;
        let now = monotonic();
        Ok(Connection {
            runtime: Arc::new(runtime),
            way: target.for_role(role),
            role,
            state: State::Resting(now),
            pause: PAUSE_MIN,
            was_up: false,
            told: false,
            warned: Arc::clone(&target.warned),
            last_used: now,
            counters,
            witness,
        })
    }

    /// Whether it is open, as far as is known.
    pub(super) fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_))
    }

    /// How long to wait before [`Connection::advance`] has something to do.
    pub(super) fn patience(&self) -> Duration {
        match self.state {
            State::Up(_) => Duration::from_secs(1),
            State::Resting(until) => until.saturating_duration_since(monotonic()),
        }
    }

    /// Looks whether an idle connection is still there, and dials when it is time. `meanwhile` is called often.
    pub(super) fn advance(&mut self, mut meanwhile: impl FnMut()) -> Result<(), Refusal> {
        if let State::Up(link) = &mut self.state {
            link.listen();
            if link.is_lost() {
                let fault = link.closed_before();
                self.lose(&fault);
            }
        }
        match self.state {
            State::Up(_) => Ok(()),
            State::Resting(until) if until > monotonic() => Ok(()),
            State::Resting(_) => self.dial(&mut meanwhile),
        }
    }

    /// Runs one statement. A connection that is lost over it is dialled anew by the next
    /// [`Connection::advance`], at once.
    pub(super) fn query(
        &mut self,
        sql: &str,
        params: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, CallFault> {
        let idle = self.last_used.elapsed() > GLANCE;
        let State::Up(link) = &mut self.state else {
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

    /// Runs one statement that changes nothing: over a second connection when the first one turns out to be dead.
    pub(super) fn read(
        &mut self,
        sql: &str,
        params: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, CallFault> {
        match self.query(sql, params) {
            // Where the first one was silent there is no time for another.
            Err(fault) if !self.is_up() && fault.cause.fault != Fault::Timeout => {
                // A failure is told by the connection; the first fault stands for both.
                let _ = self.advance(|| {});
                if self.is_up() { self.query(sql, params) } else { Err(fault) }
            }
            result => result,
        }
    }

    /// Lets go of a connection that is in doubt.
    pub(super) fn drop_link(&mut self, fault: &CallFault) {
        if self.is_up() {
            self.lose(fault);
        }
    }

    fn lose(&mut self, fault: &CallFault) {
        tracing::warn!(cause = %fault.cause.text, role = ?self.role, "a connection to the store is lost");
        if fault.cause.fault == Fault::Timeout {
            bump(&self.counters.connections_abandoned);
        }
        self.testify(Duration::ZERO, Err(fault.cause.clone()));
        self.state = State::Resting(monotonic());
        self.pause = PAUSE_MIN;
    }

    fn dial(&mut self, meanwhile: &mut dyn FnMut()) -> Result<(), Refusal> {
        let begun = monotonic();
        let is_first = !self.was_up && !self.told;
        let meanwhile: &mut dyn FnMut() = &mut || {
            if !is_first || begun.elapsed() >= FIRST_PATIENCE {
                meanwhile();
            }
        };
        let result = self.open(meanwhile).map_err(Refusal::from).and_then(|mut link| {
            let durability = match self.role {
                Role::Append => Durability::Needed,
                Role::Read | Role::Canary | Role::Retention => Durability::Waived,
            };
            schema::prepare(&mut link, durability, fresh_epoch).map(|warning| (link, warning))
        });
        match result {
            Ok((link, warning)) => {
                if self.was_up {
                    bump(&self.counters.reconnects);
                }
                if self.told {
                    tracing::info!(role = ?self.role, "connected to the store");
                }
                (self.was_up, self.told) = (true, false);
                self.pause = PAUSE_MIN;
                self.last_used = monotonic();
                self.state = State::Up(Box::new(link));
                let was_warned = self.warned.swap(warning.is_some(), Ordering::Relaxed);
                if let (Some(warning), false) = (&warning, was_warned) {
                    tracing::warn!(warning, "the store works, and is worse than it should be");
                }
                self.testify(begun.elapsed(), Ok(warning));
                Ok(())
            }
            Err(refusal) => {
                let cause = refusal.cause();
                if !self.told {
                    tracing::warn!(cause = %cause.text, look_at = cause.look_at, role = ?self.role, "cannot connect to the store; trying again");
                    self.told = true;
                }
                self.testify(begun.elapsed(), Err(cause));
                self.state = State::Resting(monotonic() + jittered(self.pause));
                self.pause = (self.pause * 2).min(PAUSE_MAX);
                Err(refusal)
            }
        }
    }

    /// Dials, with glances at the queue.
    fn open(&self, meanwhile: &mut dyn FnMut()) -> Result<Link, CallFault> {
        let Dialled { client, driver, again } =
            self.way.dial(&mut Patience { runtime: &self.runtime, meanwhile })?;
        let driver = self.runtime.spawn(driver);
        Ok(Link::new(Arc::clone(&self.runtime), client, driver, again))
    }

    /// Waits on the runtime: for the pause before a statement is tried again.
    pub(super) fn pause(&self, length: Duration) {
        let _inside = self.runtime.enter();
        self.runtime.block_on(tokio::time::sleep(length));
    }

    /// The open connection, for what runs before the threads do.
    pub(super) fn link(&mut self) -> Option<&mut Link> {
        match &mut self.state {
            State::Up(link) => Some(link),
            State::Resting(_) => None,
        }
    }

    fn testify(&self, latency: Duration, result: Result<Option<String>, Cause>) {
        if let Some(witness) = &self.witness {
            witness.tell(Evidence::Connection(Finding { latency, result }));
        }
    }

    /// Tells whoever watches the store what became of a write.
    pub(super) fn wrote(&self, result: Result<(), Cause>, took: Duration) {
        if let Some(witness) = &self.witness {
            witness.tell(Evidence::Call(Use::Write, result, took));
        }
    }
}

/// A random epoch. Without randomness it is made of the clock, which differs from a restored store's as well.
fn fresh_epoch() -> Epoch {
    Epoch(getrandom::u32().unwrap_or_else(|_| super::super::wall::WallClock::System.unix_ms() as u32))
}

/// The length ± 20 %: many instances must not knock in step.
pub(super) fn jittered(length: Duration) -> Duration {
    length.mul_f64(0.8 + 0.4 * fastrand::f64())
}

#[allow(clippy::disallowed_methods, reason = "workers own the time of their own waits")]
pub(super) fn monotonic() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::super::link::CALL_TIMEOUT;
    use super::*;
    use crate::worker::line::postgres::{LOCK_TIMEOUT, STATEMENT_TIMEOUT};

    #[test]
    fn a_pause_keeps_to_its_fifth() {
        for _ in 0..1_000 {
            let pause = jittered(PAUSE_MAX);
            assert!(pause >= PAUSE_MAX.mul_f64(0.79) && pause <= PAUSE_MAX.mul_f64(1.21));
        }
    }

    #[test]
    fn the_timeouts_leave_time_for_an_answer() {
        assert!(LOCK_TIMEOUT < STATEMENT_TIMEOUT && STATEMENT_TIMEOUT < CALL_TIMEOUT);
        assert!(CALL_TIMEOUT + Duration::from_secs(1) < crate::limits::REPLY_TIMEOUT);
    }
}
