//! The part of one instance in sending for all that share a store.

use super::shared_log::SharedLog;
use crate::alert::hold::SenderRole;
use crate::job::registry::ClusterBoard;
use std::sync::Arc;

/// The right of this instance to send for all, and the leader as far as it knows.
pub(super) struct AlertLeadership {
    /// `None`: it shares its store with no other, and always sends.
    pub(super) cluster: Option<Arc<ClusterBoard>>,
    /// The way to the rows that they share.
    pub(super) shared: Option<SharedLog>,
    pub(super) role: SenderRole,
    /// The begin of the last week that another leader reported, in milliseconds since 1970.
    pub(super) reported_ms: u64,
    /// The last time at which a leader was known; the start if none was.
    pub(super) led_ms: u64,
    pub(super) knew_leader: bool,
    /// The closed incidents are those of another leader, and not marked in the counts yet.
    pub(super) is_unmarked: bool,
}

impl AlertLeadership {
    pub(super) fn new(
        cluster: Option<Arc<ClusterBoard>>,
        shared: Option<SharedLog>,
        now_ms: u64,
    ) -> AlertLeadership {
        let role = if cluster.is_some() { SenderRole::Follows } else { SenderRole::Sends };
        AlertLeadership {
            cluster,
            shared,
            role,
            reported_ms: 0,
            led_ms: now_ms,
            knew_leader: false,
            is_unmarked: false,
        }
    }
}
