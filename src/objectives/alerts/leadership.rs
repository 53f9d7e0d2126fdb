//! The part of one instance in sending for all that share a store.

use super::shared_log::SharedLog;
use crate::alert::hold::SenderRole;
use crate::job::registry::ClusterBoard;
use std::sync::Arc;

/// Without a leader for this long, the last one sends although the store does not answer, in milliseconds. An instance that was stopped and
/// goes on has read by then who leads.
pub(super) const ALONE_MS: u64 = 8_000;

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
    /// The end of the last time without a known leader in which the last one may have sent alone; 0: there was none.
    pub(super) unled_ms: u64,
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
            unled_ms: 0,
            is_unmarked: false,
        }
    }

    /// Takes that a leader is known.
    pub(super) fn note_leader(&mut self, now_ms: u64) {
        if now_ms >= self.led_ms + ALONE_MS {
            self.unled_ms = now_ms;
        }
        (self.led_ms, self.knew_leader) = (now_ms, true);
    }

    /// True exactly if this instance sends without the rows of the earlier leaders.
    pub(super) fn sends_unread(&self) -> bool {
        let has_read = self.shared.as_ref().is_none_or(SharedLog::leads);
        self.role == SenderRole::Sends && !has_read
    }
}
