//! The parts of the thread, before it starts.

use crate::job::Mailbox;
use crate::job::bus::{SharedKey, SharedSlots};
use crate::job::presence::PresenceInbox;
use crate::job::registry::ClusterBoard;
use crate::job::segments::SegmentQueue;
use crate::metrics::presence::PresenceCounters;
use crate::net::target::Target;
use crate::roster::{RosterRules, SharingBounds};
use crate::wire::envelope::Origin;
use std::sync::Arc;

/// The settings that a reload may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresenceRules {
    pub rosters: RosterRules,
    pub sharing: SharingBounds,
}

/// The ways to the other instances.
pub struct SharingParts {
    /// The Redis of the bus.
    pub target: Target,
    /// `bus.prefix`
    pub prefix: Arc<str>,
    /// This process.
    pub origin: Origin,
    pub key: SharedKey,
    /// The masters, if it is a cluster.
    pub slots: SharedSlots,
    /// To the registry.
    pub segments: SegmentQueue,
}

/// The parts of the thread.
pub struct PresenceParts<C> {
    pub rules: PresenceRules,
    /// `None`: there is no bus, so rosters hold the clients of this instance.
    pub sharing: Option<SharingParts>,
    /// The instances that share the store; `None` if only this one can use it.
    pub cluster: Option<Arc<ClusterBoard>>,
    pub inbox: PresenceInbox,
    pub mailboxes: Arc<[Mailbox]>,
    pub counters: Arc<PresenceCounters>,
    pub clock: C,
}
