//! One connection to the server, with a deadline on everything it does.
//!
//! A server that takes bytes and says nothing, because it was stopped or its disk hangs, costs a worker
//! [`CALL_TIMEOUT`](super::link::CALL_TIMEOUT) and a connection, which is abandoned; it never costs the worker.

use super::fault::{CallFault, cause, silence};
use super::link::Link;
use super::schema::{self, ConnectRefusal, Durability, FitServer, Missing};
use super::timing::{GLANCE, jittered, monotonic};
use crate::health::definition::Use;
use crate::health::finding::{Cause, Evidence, Fault, Finding};
use crate::id::Epoch;
use crate::job::EvidenceSender;
use crate::metrics::store::{StoreCounters, bump};
use crate::net::dial::Dialer;
use crate::net::postgres::{self, AddressError, Param, PostgresAddress, Row, Startup, session_options};
use crate::net::tls::TlsTrust;
use crate::store::StoreSchema;
use crossbeam_channel::{RecvTimeoutError, bounded};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long the server keeps an idle transaction of ours. Only a migration has one open between statements.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an append or read waits for the first connection of a new process, before anything is known to be wrong. The same for an
/// append after a connection that ended while it was idle.
pub(super) const FIRST_PATIENCE: Duration = Duration::from_millis(500);
/// The time to connect, for all hosts together.
const DIAL_TIMEOUT: Duration = Duration::from_secs(2);
/// The same after a failed try. It is shorter because a try that began while the server was silent delays the end of an outage.
const DIAL_AGAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// The least share of that time for each of several hosts.
const SHARE_MIN: Duration = Duration::from_millis(400);
/// The longest answer, a list of overfull channels for retention, has about 15 MB.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Between two tries to connect, at first and at most; each fails as often as the one before doubles it.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause. It is short because clients are notified that the store is back when the probe says so, and then it
/// should be.
const PAUSE_MAX: Duration = Duration::from_millis(800);

/// The address of the store, and the parameters of its connections.
#[derive(Clone, Debug)]
pub(super) struct ServerTarget {
    startup: Startup,
    trust: Arc<TlsTrust>,
    source: Option<IpAddr>,
    /// Set once the weaknesses of the server are logged, for all connections.
    warned: Arc<AtomicBool>,
    /// The version of a newer schema that is logged, for all connections; 0: none.
    newer: Arc<AtomicU32>,
    /// Set once a connection of this process found or created the tables.
    was_there: Arc<AtomicBool>,
}

/// The purpose of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionRole {
    Append,
    Read,
    /// Commits claims of the relay.
    Relay,
    Canary,
    /// Shares what objectives counted. It does not wait for the disk either: rows are written again.
    Counts,
    /// Deletes. It does not wait for the disk: rows that a crash brings back are deleted again.
    Retention,
    /// Does what the others do, to see that it works.
    Probe,
}

impl ServerTarget {
    /// Reads a URL of PostgreSQL. Connections leave from `source`.
    pub(super) fn parse(url: &str, source: Option<IpAddr>) -> Result<ServerTarget, AddressError> {
        let address = PostgresAddress::parse(url)?;
        let trust = Arc::new(address.trust());
        let application_name = address.application_name.clone().unwrap_or_else(|| "seawall".into());
        let (share_min, answer_bytes_max) = (SHARE_MIN, ANSWER_BYTES_MAX);
        let startup =
            Startup { address, application_name, options: String::new(), share_min, answer_bytes_max };
        let (warned, newer, was_there) = Default::default();
        Ok(ServerTarget { startup, trust, source, warned, newer, was_there })
    }

    pub(super) fn for_role(&self, role: ConnectionRole) -> Startup {
        let durability = match role {
            ConnectionRole::Append
            | ConnectionRole::Read
            | ConnectionRole::Relay
            | ConnectionRole::Canary
            | ConnectionRole::Probe => "",
            ConnectionRole::Counts | ConnectionRole::Retention => " -c synchronous_commit=off",
        };
        let options = format!(
            "{} -c idle_in_transaction_session_timeout={} -c default_transaction_isolation=read\\ committed{durability} {}",
            session_options(),
            IDLE_TIMEOUT.as_millis(),
            self.startup.address.options.as_deref().unwrap_or_default(),
        );
        Startup { options, ..self.startup.clone() }
    }

    /// A dialer for connections to it.
    pub(super) fn dialer(&self) -> Dialer {
        Dialer::new(self.source, Arc::clone(&self.trust))
    }
}

enum ConnectionState {
    Up(Box<Link>),
    /// Not dialled before this. The cause is that of the last failed try.
    Resting(Instant, Option<Cause>),
}

/// A connection that comes back by itself.
pub(super) struct StoreConnection {
    dialer: Dialer,
    startup: Startup,
    role: ConnectionRole,
    state: ConnectionState,
    pause: Duration,
    /// There was a connection before, so the next one is a reconnection.
    was_up: bool,
    reported: bool,
    warned: Arc<AtomicBool>,
    newer: Arc<AtomicU32>,
    was_there: Arc<AtomicBool>,
    /// The time at which the dial of the last connection began.
    dialled: Instant,
    last_used: Instant,
    counters: Arc<StoreCounters>,
    evidence: Option<EvidenceSender>,
}

impl StoreConnection {
    /// Opens nothing yet.
    pub(super) fn new(
        target: &ServerTarget,
        role: ConnectionRole,
        counters: Arc<StoreCounters>,
        evidence: Option<EvidenceSender>,
    ) -> StoreConnection {
        let now = monotonic();
        StoreConnection {
            dialer: target.dialer(),
            startup: target.for_role(role),
            role,
            state: ConnectionState::Resting(now, None),
            pause: PAUSE_MIN,
            was_up: false,
            reported: false,
            warned: Arc::clone(&target.warned),
            newer: Arc::clone(&target.newer),
            was_there: Arc::clone(&target.was_there),
            dialled: now,
            last_used: now,
            counters,
            evidence,
        }
    }

    /// True if the connection is open, as far as is known.
    pub(super) fn is_up(&self) -> bool {
        matches!(self.state, ConnectionState::Up(_))
    }

    /// True if the connection is open and was not used for a moment, in which the server may have ended it.
    pub(super) fn is_idle(&self) -> bool {
        self.is_up() && self.last_used.elapsed() > GLANCE
    }

    /// The time until [`StoreConnection::advance`] has something to do.
    pub(super) fn patience(&self) -> Duration {
        match self.state {
            ConnectionState::Up(_) => Duration::from_secs(1),
            ConnectionState::Resting(until, _) => until.saturating_duration_since(monotonic()),
        }
    }

    /// The reason why there is no connection; `None` if there is one, or if none was tried since the last one was lost.
    pub(super) fn refusal(&self) -> Option<&Cause> {
        match &self.state {
            ConnectionState::Up(_) => None,
            ConnectionState::Resting(_, cause) => cause.as_ref(),
        }
    }

    /// Looks whether an idle connection is still there, and dials when it is time. `meanwhile` is called often.
    pub(super) fn advance(&mut self, mut meanwhile: impl FnMut()) -> Result<(), ConnectRefusal> {
        if let ConnectionState::Up(link) = &mut self.state
            && let Err(fault) = link.listen()
        {
            self.lose(&fault);
        }
        match self.state {
            ConnectionState::Up(_) => Ok(()),
            ConnectionState::Resting(until, _) if until > monotonic() => Ok(()),
            ConnectionState::Resting(..) => self.dial(&mut meanwhile),
        }
    }

    /// Runs one statement. A connection that is lost over it is dialled again by the next
    /// [`StoreConnection::advance`], at once.
    pub(super) fn query(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, CallFault> {
        let idle = self.is_idle();
        let ConnectionState::Up(link) = &mut self.state else {
            return Err(CallFault::not_sent(Cause::new(
                Fault::Refused,
                "there is no connection",
                "the line before",
            )));
        };
        let heard = if idle { link.listen() } else { Ok(()) };
        let result = heard.and_then(|()| link.query(sql, params));
        let lost = link.is_lost();
        if let Err(fault) = &result
            && lost
        {
            self.lose(fault);
        }
        self.last_used = monotonic();
        result
    }

    /// Runs one statement that changes nothing: over a second connection when the first one turns out to be dead.
    pub(super) fn read(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, CallFault> {
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

    /// The time at which the dial of the last connection began.
    pub(super) fn dialled(&self) -> Instant {
        self.dialled
    }

    /// Closes a connection that works. The next [`StoreConnection::advance`] dials another one, at once.
    pub(super) fn redial(&mut self) {
        self.state = ConnectionState::Resting(monotonic(), None);
        self.pause = PAUSE_MIN;
    }

    fn lose(&mut self, fault: &CallFault) {
        tracing::debug!(cause = %fault.cause.text, role = ?self.role, "store connection lost");
        if fault.cause.fault == Fault::Timeout {
            bump(&self.counters.connections_abandoned);
        }
        self.testify(Duration::ZERO, Err(fault.cause.clone()));
        self.state = ConnectionState::Resting(monotonic(), None);
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
                ConnectionRole::Append | ConnectionRole::Relay | ConnectionRole::Probe => Durability::Needed,
                ConnectionRole::Read
                | ConnectionRole::Canary
                | ConnectionRole::Counts
                | ConnectionRole::Retention => Durability::Waived,
            };
            let missing =
                if self.was_there.load(Ordering::Relaxed) { Missing::Refuse } else { Missing::Create };
            schema::prepare(&mut link, durability, missing, fresh_epoch).map(|prepared| (link, prepared))
        });
        match result {
            Ok((link, FitServer { warning, schema })) => {
                if self.was_up {
                    bump(&self.counters.reconnects);
                }
                if self.reported {
                    tracing::debug!(role = ?self.role, "store connected");
                }
                (self.was_up, self.reported) = (true, false);
                self.was_there.store(true, Ordering::Relaxed);
                self.pause = PAUSE_MIN;
                (self.dialled, self.last_used) = (begun, monotonic());
                self.state = ConnectionState::Up(Box::new(link));
                let was_warned = self.warned.swap(warning.is_some(), Ordering::Relaxed);
                if let (Some(warning), false) = (&warning, was_warned) {
                    tracing::warn!(warning, "store connected, but its settings weaken durability");
                }
                self.note_newer(schema);
                self.testify(begun.elapsed(), Ok(warning));
                Ok(())
            }
            Err(refusal) => {
                let cause = refusal.cause();
                if !self.reported {
                    tracing::debug!(cause = %cause.text, look_at = cause.look_at, role = ?self.role, "store connection failed; retrying");
                    self.reported = true;
                }
                self.testify(begun.elapsed(), Err(cause.clone()));
                // A try that took long was a pause as well.
                let pause = jittered(self.pause).saturating_sub(begun.elapsed()).max(PAUSE_MIN);
                self.state = ConnectionState::Resting(monotonic() + pause, Some(cause));
                self.pause = (self.pause * 2).min(PAUSE_MAX);
                Err(refusal)
            }
        }
    }

    /// Logs once that a newer program migrated the schema.
    fn note_newer(&self, found: Option<StoreSchema>) {
        let Some(found) = found.filter(|found| found.version > schema::VERSION) else { return };
        if self.newer.swap(found.version, Ordering::Relaxed) != found.version {
            let (known, oldest) = (schema::VERSION, found.oldest);
            tracing::info!(found = found.version, known, oldest, "store schema newer and compatible");
        }
    }

    /// Connects on another thread, which ends by the deadline, and meanwhile keeps looking at the queue on this one. Checks
    /// nothing of the server.
    pub(super) fn open(&mut self, meanwhile: &mut dyn FnMut()) -> Result<Link, CallFault> {
        let timeout = if self.reported { DIAL_AGAIN_TIMEOUT } else { DIAL_TIMEOUT };
        let (dialer, startup) = (&mut self.dialer, &self.startup);
        let (sender, opened) = bounded(1);
        std::thread::scope(|scope| {
            let deadline = monotonic() + timeout;
            let dial =
                move || sender.send(postgres::Connection::open(dialer, startup, deadline)).unwrap_or(());
            if let Err(error) =
                std::thread::Builder::new().name("store-dial".into()).spawn_scoped(scope, dial)
            {
                let text = format!("no thread to connect with: {error}");
                let cause = Cause::new(Fault::Internal, text, "the limits of this process");
                return Err(CallFault::not_sent(cause));
            }
            loop {
                match opened.recv_timeout(GLANCE) {
                    Ok(Ok(connection)) => return Ok(Link::new(connection)),
                    Ok(Err(failure)) if failure.is_silence() => {
                        return Err(CallFault::not_sent(silence("a new connection", timeout)));
                    }
                    Ok(Err(failure)) => return Err(CallFault::not_sent(cause(&failure))),
                    Err(RecvTimeoutError::Timeout) => meanwhile(),
                    Err(RecvTimeoutError::Disconnected) => return Err(CallFault::panicked()),
                }
            }
        })
    }

    /// The open connection, for use before the threads run.
    pub(super) fn link(&mut self) -> Option<&mut Link> {
        match &mut self.state {
            ConnectionState::Up(link) => Some(link),
            ConnectionState::Resting(..) => None,
        }
    }

    fn testify(&self, latency: Duration, result: Result<Option<String>, Cause>) {
        if let Some(evidence) = &self.evidence {
            evidence.tell(Evidence::Connection(Finding { latency, result }));
        }
    }

    /// Reports the result of a write to the watch thread.
    pub(super) fn wrote(&self, result: Result<(), Cause>, took: Duration) {
        if let Some(evidence) = &self.evidence {
            evidence.tell(Evidence::Call(Use::Write, result, took));
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
