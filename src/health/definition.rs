//! The definition of a dependency: its kind, its importance, and how it is probed.

use std::sync::Arc;
use std::time::Duration;

/// The kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DependencyKind {
    Postgres,
    /// Redis, or a server with its protocol.
    Redis,
    Http,
    /// Any server that accepts a TCP connection.
    Tcp,
    /// ClickHouse over HTTP.
    Clickhouse,
    /// This process itself. It is judged without a probe and cannot be configured as a dependency.
    Gateway,
}

impl DependencyKind {
    /// The kinds that a dependency may have.
    pub const ALL: [DependencyKind; 5] = [
        DependencyKind::Postgres,
        DependencyKind::Redis,
        DependencyKind::Http,
        DependencyKind::Tcp,
        DependencyKind::Clickhouse,
    ];

    /// The name in the configuration and in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            DependencyKind::Postgres => "postgres",
            DependencyKind::Redis => "redis",
            DependencyKind::Http => "http",
            DependencyKind::Tcp => "tcp",
            DependencyKind::Clickhouse => "clickhouse",
            DependencyKind::Gateway => "gateway",
        }
    }

    /// The uses, each with its own breaker.
    pub const fn uses(self) -> &'static [Use] {
        match self {
            DependencyKind::Postgres => &[Use::Write, Use::Read],
            DependencyKind::Redis => &[Use::Command, Use::Subscription],
            DependencyKind::Http | DependencyKind::Tcp | DependencyKind::Clickhouse => &[Use::Call],
            DependencyKind::Gateway => &[],
        }
    }

    /// The `componentType` of draft-inadarei-api-health-check.
    pub const fn component_type(self) -> &'static str {
        match self {
            DependencyKind::Postgres | DependencyKind::Redis | DependencyKind::Clickhouse => "datastore",
            DependencyKind::Http | DependencyKind::Tcp => "component",
            DependencyKind::Gateway => "system",
        }
    }
}

/// A use of a dependency. Each has its own breaker, because reads may work while writes fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Use {
    /// Appends to a store.
    Write,
    /// Reads from a store.
    Read,
    /// Commands to a bus.
    Command,
    /// Messages from a bus.
    Subscription,
    /// Any call to a dependency of another kind.
    Call,
}

impl Use {
    /// The name in reports and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Use::Write => "write",
            Use::Read => "read",
            Use::Command => "command",
            Use::Subscription => "subscription",
            Use::Call => "call",
        }
    }

    /// True exactly if the dependency counts as down while this breaker is open; otherwise it counts as degraded.
    pub const fn decides(self) -> bool {
        match self {
            Use::Write | Use::Command | Use::Call => true,
            Use::Read | Use::Subscription => false,
        }
    }
}

/// The consequence of an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Criticality {
    /// No new client is admitted.
    Critical,
    /// Service continues without what the dependency provides.
    Optional,
}

impl Criticality {
    /// The name in the configuration and in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Criticality::Critical => "critical",
            Criticality::Optional => "optional",
        }
    }

    /// The default time between two probes.
    pub const fn interval(self) -> Duration {
        match self {
            Criticality::Critical => Duration::from_secs(2),
            Criticality::Optional => Duration::from_secs(5),
        }
    }

    /// The default timeout of one probe.
    pub const fn timeout(self) -> Duration {
        match self {
            Criticality::Critical => Duration::from_secs(1),
            Criticality::Optional => Duration::from_secs(2),
        }
    }
}

/// The clients that an outage of a critical dependency stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gate {
    /// All new clients, at the handshake.
    Handshake,
    /// Only clients whose token cannot be judged without the dependency. They are refused at that point, with the
    /// same outage. All others are admitted.
    Judgement,
}

impl Gate {
    pub const ALL: [Gate; 2] = [Gate::Handshake, Gate::Judgement];

    /// True exactly if handshakes are refused while the dependency is down.
    pub const fn stops_handshakes(self, criticality: Criticality) -> bool {
        match (self, criticality) {
            (Gate::Handshake, Criticality::Critical) => true,
            (Gate::Handshake, Criticality::Optional) | (Gate::Judgement, _) => false,
        }
    }
}

/// The successes that end an outage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EndedBy {
    /// Those of its probes.
    #[default]
    Probes,
    /// Those of calls, three in a row, after its probes succeed. Workers of this process make trial calls meanwhile.
    Calls,
}

/// The definition of a dependency. The configuration bounds the length of its texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// The unique name, used by operators and in `status`.
    pub name: Arc<str>,
    pub kind: DependencyKind,
    /// The address without secrets, for the admin listener and the log.
    pub address: Arc<str>,
    pub criticality: Criticality,
    pub gate: Gate,
    pub ended_by: EndedBy,
    /// The capabilities that users lose without the dependency.
    pub lost: Vec<Arc<str>>,
    /// The loss as a sentence for people.
    pub sentence: Arc<str>,
    /// The time between two probes. Each is spread by a fifth, so that a hundred instances do not probe at once.
    pub interval: Duration,
    /// The timeout of one probe.
    pub timeout: Duration,
    /// The number of consecutive failures that make it down: at least 1.
    pub failures: u8,
    /// The number of consecutive successes that make it up again: at least 1.
    pub successes: u8,
}
