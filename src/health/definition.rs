//! What an operator says of a dependency: what it is, what hangs on it, and how it is looked at.

use super::finding::Fault;
use std::sync::Arc;
use std::time::Duration;

/// What speaks there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A PostgreSQL database.
    Postgres,
    /// A Redis, or what speaks its protocol.
    Redis,
    /// A server that answers HTTP.
    Http,
    /// Whatever accepts a TCP connection.
    Tcp,
    /// A ClickHouse, over HTTP.
    Clickhouse,
    /// This process itself: it is looked at without a probe, and is no dependency.
    Gateway,
}

impl Kind {
    /// All that a dependency may be.
    pub const ALL: [Kind; 5] = [Kind::Postgres, Kind::Redis, Kind::Http, Kind::Tcp, Kind::Clickhouse];

    /// As configuration and reports say it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Postgres => "postgres",
            Kind::Redis => "redis",
            Kind::Http => "http",
            Kind::Tcp => "tcp",
            Kind::Clickhouse => "clickhouse",
            Kind::Gateway => "gateway",
        }
    }

    /// The uses that have a breaker each.
    pub const fn uses(self) -> &'static [Use] {
        match self {
            Kind::Postgres => &[Use::Write, Use::Read],
            Kind::Redis => &[Use::Command, Use::Subscription],
            Kind::Http | Kind::Tcp | Kind::Clickhouse => &[Use::Call],
            Kind::Gateway => &[],
        }
    }

    /// `componentType` of draft-inadarei-api-health-check.
    pub const fn component_type(self) -> &'static str {
        match self {
            Kind::Postgres | Kind::Redis | Kind::Clickhouse => "datastore",
            Kind::Http | Kind::Tcp => "component",
            Kind::Gateway => "system",
        }
    }
}

/// What a dependency is asked for. Each has a breaker of its own: reads may work where writes do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Use {
    /// A store's appends.
    Write,
    /// A store's pages.
    Read,
    /// A bus's commands.
    Command,
    /// What a bus delivers.
    Subscription,
    /// Any call of another kind.
    Call,
}

impl Use {
    /// As reports and metrics say it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Use::Write => "write",
            Use::Read => "read",
            Use::Command => "command",
            Use::Subscription => "subscription",
            Use::Call => "call",
        }
    }

    /// True exactly when the dependency is down while this breaker is open; else it is degraded.
    pub const fn decides(self) -> bool {
        match self {
            Use::Write | Use::Command | Use::Call => true,
            Use::Read | Use::Subscription => false,
        }
    }
}

/// What follows when it is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Criticality {
    /// Nobody is let in.
    Critical,
    /// Service goes on without what it gives.
    Optional,
}

impl Criticality {
    /// As configuration and reports say it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Criticality::Critical => "critical",
            Criticality::Optional => "optional",
        }
    }

    /// Between two probes.
    pub const fn interval(self) -> Duration {
        match self {
            Criticality::Critical => Duration::from_secs(2),
            Criticality::Optional => Duration::from_secs(5),
        }
    }

    /// Of one probe.
    pub const fn timeout(self) -> Duration {
        match self {
            Criticality::Critical => Duration::from_secs(1),
            Criticality::Optional => Duration::from_secs(2),
        }
    }
}

/// Whom it stops while it is critical and down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gate {
    /// Everybody new, at the handshake.
    Handshake,
    /// Only who needs its word: whoever else can be judged is let in. Who cannot is told so then, by the same outage.
    Judgement,
}

impl Gate {
    /// All there are.
    pub const ALL: [Gate; 2] = [Gate::Handshake, Gate::Judgement];

    /// True exactly when a handshake is refused while the dependency is down.
    pub const fn stops_handshakes(self, criticality: Criticality) -> bool {
        match (self, criticality) {
            (Gate::Handshake, Criticality::Critical) => true,
            (Gate::Handshake, Criticality::Optional) | (Gate::Judgement, _) => false,
        }
    }
}

/// See the module. Its texts are bounded by the configuration that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// As an operator and `status` name it; no two are the same.
    pub name: Arc<str>,
    /// What speaks there.
    pub kind: Kind,
    /// Where, without secrets: for the admin listener and the log.
    pub address: Arc<str>,
    /// What follows when it is down.
    pub criticality: Criticality,
    /// Whom that stops.
    pub gate: Gate,
    /// What users cannot do without it.
    pub lost: Vec<Arc<str>>,
    /// The same as a sentence for people.
    pub sentence: Arc<str>,
    /// Between two probes; each is spread by a fifth, so that a hundred instances do not probe as one.
    pub interval: Duration,
    /// Of one probe.
    pub timeout: Duration,
    /// Misses in a row that make it down: at least 1.
    pub failures: u8,
    /// Successes in a row that make it up again: at least 1.
    pub successes: u8,
}

/// What a fault that work met says, beside what it does to the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspicion {
    /// The connection failed: one immediate reconnect tells, and its failure is the dependency's.
    Connection,
    /// Something else: the next probe comes at once, and counts as any other.
    Other,
}

impl Fault {
    /// What follows from it when work met it.
    pub const fn suspicion(self) -> Suspicion {
        match self {
            Fault::Refused
            | Fault::Unreachable
            | Fault::Reset
            | Fault::Tls
            | Fault::Credentials
            | Fault::ConnectionLimit
            | Fault::NotReady => Suspicion::Connection,
            Fault::Timeout
            | Fault::Protocol
            | Fault::Standby
            | Fault::ReadOnly
            | Fault::DiskFull
            | Fault::MemoryFull
            | Fault::Schema
            | Fault::Delivery
            | Fault::Status
            | Fault::Field
            | Fault::Internal => Suspicion::Other,
        }
    }

    /// As reports, metrics and the log say it.
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
            Fault::Delivery => "delivery",
            Fault::Status => "status",
            Fault::Field => "field",
            Fault::Internal => "internal",
        }
    }

    /// What it is to a breaker.
    pub const fn outcome(self) -> super::breaker::Outcome {
        use super::breaker::Outcome;
        match self {
            Fault::Refused
            | Fault::Unreachable
            | Fault::Reset
            | Fault::Timeout
            | Fault::Tls
            | Fault::Credentials
            | Fault::ConnectionLimit
            | Fault::NotReady => Outcome::Unreached,
            Fault::DiskFull => Outcome::Unseen,
            Fault::Protocol
            | Fault::Standby
            | Fault::ReadOnly
            | Fault::MemoryFull
            | Fault::Schema
            | Fault::Delivery
            | Fault::Status
            | Fault::Field
            | Fault::Internal => Outcome::Failed,
        }
    }
}
