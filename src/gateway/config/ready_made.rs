//! Dependencies that most gateways have, with the defaults of the field: a name is enough.

use crate::health::definition::{Criticality, Gate, Kind};

/// What a name of ours means where nothing else is said.
#[derive(Clone, Copy, Debug)]
pub struct ReadyMade {
    /// The name.
    pub name: &'static str,
    /// What speaks there.
    pub kind: Kind,
    /// What follows when it is down.
    pub criticality: Criticality,
    /// What users cannot do without it.
    pub lost: &'static [&'static str],
    /// The same for people.
    pub sentence: &'static str,
    /// The setting that says where it is; there is the dependency exactly when it is set. (Of `auth`, a setting may and need not.)
    pub setting: Option<&'static str>,
    /// Whom it stops where it is what the gateway itself asks.
    pub gate: Gate,
}

/// Store and bus first: what they are is said elsewhere, and they are what the gateway itself stands on.
pub const READY_MADE: [ReadyMade; 6] = [
    ReadyMade {
        name: "store",
        kind: Kind::Postgres,
        criticality: Criticality::Critical,
        lost: &["publish", "history"],
        sentence: "Messages can be neither sent nor loaded at the moment.",
        setting: Some("store.url"),
        gate: Gate::Handshake,
    },
    ReadyMade {
        name: "bus",
        kind: Kind::Redis,
        criticality: Criticality::Optional,
        lost: &["instant_delivery"],
        sentence: "New messages may take a moment longer to arrive.",
        setting: Some("bus.url"),
        gate: Gate::Handshake,
    },
    ReadyMade {
        name: "auth",
        kind: Kind::Http,
        criticality: Criticality::Critical,
        lost: &["sign_in"],
        sentence: "Nobody new can sign in at the moment.",
        setting: None,
        gate: Gate::Judgement,
    },
    ReadyMade {
        name: "backend",
        kind: Kind::Http,
        criticality: Criticality::Critical,
        lost: &["service"],
        sentence: "The service behind this chat is not available at the moment.",
        setting: None,
        gate: Gate::Handshake,
    },
    ReadyMade {
        name: "clickhouse",
        kind: Kind::Clickhouse,
        criticality: Criticality::Optional,
        lost: &["reports"],
        sentence: "Reports are not up to date.",
        setting: None,
        gate: Gate::Handshake,
    },
    ReadyMade {
        name: "analytics",
        kind: Kind::Http,
        criticality: Criticality::Optional,
        lost: &["analytics"],
        sentence: "Statistics are not collected at the moment.",
        setting: None,
        gate: Gate::Handshake,
    },
];

/// The one of this name.
pub fn ready_made(name: &str) -> Option<&'static ReadyMade> {
    READY_MADE.iter().find(|ready| ready.name == name)
}
