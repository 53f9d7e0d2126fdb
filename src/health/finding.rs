//! The result of one check of a dependency: of a probe, or of a worker's request. Probes and workers create findings;
//! this module's siblings judge them.

use super::breaker::CallOutcome;
use super::definition::Use;
use std::time::Duration;

/// The reason why a dependency failed. The kind is for decisions and metrics; the text of the [`Cause`] is for
/// people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Nothing listens at the address, or the connection is refused.
    Refused,
    /// The name does not resolve, or there is no route.
    Unreachable,
    /// The connection ended in the middle of a call.
    Reset,
    /// No answer arrived in time.
    Timeout,
    /// The server uses another protocol or violates it.
    Protocol,
    /// TLS failed because of the certificate, the name or the version.
    Tls,
    /// The server rejects the credentials.
    Credentials,
    /// The server is a standby or a replica, which only reads.
    Standby,
    /// The server is configured to reject writes.
    ReadOnly,
    DiskFull,
    MemoryFull,
    /// The server has no free connection.
    ConnectionLimit,
    /// The server is starting, loading or stopping.
    NotReady,
    /// The server lacks a required table, function, right or setting.
    Schema,
    /// The tables are of a version that this program cannot use.
    Version,
    /// The database cannot hold every text.
    Encoding,
    /// The server has lost what it had committed.
    WentBack,
    /// Commands work, but published messages do not arrive.
    Delivery,
    /// The server answered with an unexpected status.
    Status,
    /// The answer lacks the requested field, or its value is unexpected.
    Field,
    /// Any other error that the server reports.
    Internal,
}

/// The consequence of a fault that a worker met, in addition to its effect on the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspicion {
    /// The connection failed, or what was found on a new one excludes all use. One immediate reconnect decides: if it fails
    /// too, the dependency has failed.
    Connection,
    /// Anything else. The next probe runs at once and counts like any other.
    Other,
}

impl Fault {
    /// The consequence of this fault if a worker met it.
    pub const fn suspicion(self) -> Suspicion {
        match self {
            Fault::Refused
            | Fault::Unreachable
            | Fault::Reset
            | Fault::Tls
            | Fault::Credentials
            | Fault::ConnectionLimit
            | Fault::NotReady
            | Fault::Version
            | Fault::Encoding => Suspicion::Connection,
            Fault::Timeout
            | Fault::Protocol
            | Fault::Standby
            | Fault::ReadOnly
            | Fault::DiskFull
            | Fault::MemoryFull
            | Fault::Schema
            | Fault::WentBack
            | Fault::Delivery
            | Fault::Status
            | Fault::Field
            | Fault::Internal => Suspicion::Other,
        }
    }

    /// The name in reports, metrics and the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Fault::Refused => "refused",
            Fault::Unreachable => "unreachable",
            Fault::Reset => "reset",
            Fault::Timeout => "timeout",
            Fault::Protocol => "protocol",
            Fault::Tls => "tls",
            Fault::Credentials => "credentials",
            Fault::Standby => "standby",
            Fault::ReadOnly => "read_only",
            Fault::DiskFull => "disk_full",
            Fault::MemoryFull => "memory_full",
            Fault::ConnectionLimit => "connection_limit",
            Fault::NotReady => "not_ready",
            Fault::Schema => "schema",
            Fault::Version => "version",
            Fault::Encoding => "encoding",
            Fault::WentBack => "went_back",
            Fault::Delivery => "delivery",
            Fault::Status => "status",
            Fault::Field => "field",
            Fault::Internal => "internal",
        }
    }

    /// The meaning of this fault for a breaker.
    pub const fn outcome(self) -> CallOutcome {
        match self {
            Fault::Refused
            | Fault::Unreachable
            | Fault::Reset
            | Fault::Timeout
            | Fault::Tls
            | Fault::Credentials
            | Fault::ConnectionLimit
            | Fault::NotReady
            // It lasts until an operator acts, so a few calls suffice.
            | Fault::WentBack => CallOutcome::Unreached,
            Fault::DiskFull => CallOutcome::Unseen,
            Fault::Protocol
            | Fault::Standby
            | Fault::ReadOnly
            | Fault::MemoryFull
            | Fault::Schema
            | Fault::Version
            | Fault::Encoding
            | Fault::Delivery
            | Fault::Status
            | Fault::Field
            | Fault::Internal => CallOutcome::Failed,
        }
    }
}

/// A fault with its explanation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    pub fault: Fault,
    /// The event, for the log and the admin listener, at most [`CAUSE_BYTES`]. It may contain addresses, so it is
    /// never public.
    pub text: String,
    /// The first thing that an operator should check, as a sentence.
    pub look_at: &'static str,
}

/// The longest text of a cause, in bytes. It may quote a server's error message, which has no bound of its own.
pub const CAUSE_BYTES: usize = 300;

impl Cause {
    /// Creates a cause and truncates the text at a character boundary.
    pub fn new(fault: Fault, text: impl Into<String>, look_at: &'static str) -> Cause {
        let mut text = text.into();
        text.truncate(text.floor_char_boundary(CAUSE_BYTES));
        Cause { fault, text, look_at }
    }
}

/// Observations from a worker's use of a dependency, for the watch worker.
#[derive(Clone, Debug)]
pub enum Evidence {
    /// A connection was established, could not be established, or was lost.
    Connection(Finding),
    /// A call of this use was answered, or failed because of the dependency, and its duration. Errors that a client
    /// caused are no evidence.
    Call(Use, Result<(), Cause>, Duration),
    /// A part fails while the rest works, such as one master of a cluster; `None`: no part does. Repeated while it lasts, because
    /// evidence may be dropped.
    Part(Option<Cause>),
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub latency: Duration,
    /// `Ok` may hold a warning that changes no state, such as nearly exhausted connections or a lagging replica.
    pub result: Result<Option<String>, Cause>,
}
