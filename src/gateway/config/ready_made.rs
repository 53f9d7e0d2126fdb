//! The ready-made names of dependencies, and the defaults that each brings.

use crate::health::definition::{Criticality, DependencyKind, Gate};

/// The defaults of a ready-made name.
#[derive(Clone, Copy, Debug)]
pub struct ReadyMade {
    pub name: &'static str,
    pub kind: DependencyKind,
    pub criticality: Criticality,
    /// The features that users lose while it is down.
    pub lost: &'static [&'static str],
    /// The same for people. Clients show it.
    pub sentence: &'static str,
    /// The setting that holds its URL; the dependency exists exactly when that is set. (`auth` has `None`, because its URL
    /// may be in its table instead.)
    pub setting: Option<&'static str>,
    /// The clients that an outage stops, if the gateway itself uses this service.
    pub gate: Gate,
}

macro_rules! ready_made {
    ($($name:literal = $kind:ident, $criticality:ident, [$($lost:literal),+], $setting:expr, $gate:ident: $sentence:literal;)+) => {
        /// Store and bus come first: the gateway itself depends on them, and settings hold their URLs.
        pub const READY_MADE: &[ReadyMade] = &[$(ReadyMade {
            name: $name,
            kind: DependencyKind::$kind,
            criticality: Criticality::$criticality,
            lost: &[$($lost),+],
            sentence: $sentence,
            setting: $setting,
            gate: Gate::$gate,
        }),+];
    };
}

ready_made! {
    "store" = Postgres, Critical, ["publish", "history"], Some("store.url"), Handshake:
        "Messages can be neither sent nor loaded at the moment.";
    "bus" = Redis, Optional, ["instant_delivery"], Some("bus.url"), Handshake:
        "New messages may take a moment longer to arrive.";
    "auth" = Http, Critical, ["sign_in"], None, Judgement:
        "New sign-ins are not possible at the moment.";
    "backend" = Http, Critical, ["service"], None, Handshake:
        "The service behind this chat is not available at the moment.";
    "clickhouse" = Clickhouse, Optional, ["reports"], None, Handshake:
        "Reports are not up to date.";
    "analytics" = Http, Optional, ["analytics"], None, Handshake:
        "Statistics are not collected at the moment.";
}

pub(super) fn ready_made(name: &str) -> Option<&'static ReadyMade> {
    READY_MADE.iter().find(|ready| ready.name == name)
}
