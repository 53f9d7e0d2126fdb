//! The parts of the thread, before it starts.

use crate::job::Mailbox;
use crate::job::presence::PresenceInbox;
use crate::job::registry::ClusterBoard;
use crate::metrics::presence::PresenceCounters;
use crate::roster::RosterRules;
use std::sync::Arc;

/// The parts of the thread.
pub struct PresenceParts<C> {
    pub rules: RosterRules,
    /// The instances that share the store; `None` if only this one can use it.
    pub cluster: Option<Arc<ClusterBoard>>,
    pub inbox: PresenceInbox,
    pub mailboxes: Arc<[Mailbox]>,
    pub counters: Arc<PresenceCounters>,
    pub clock: C,
}
