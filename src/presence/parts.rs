//! The parts of the thread, before it starts.

use crate::job::Mailbox;
use crate::job::presence::PresenceInbox;
use crate::metrics::presence::PresenceCounters;
use crate::roster::RosterRules;
use std::sync::Arc;

/// The parts of the thread.
pub struct PresenceParts<C> {
    pub rules: RosterRules,
    pub inbox: PresenceInbox,
    pub mailboxes: Arc<[Mailbox]>,
    pub counters: Arc<PresenceCounters>,
    pub clock: C,
}
