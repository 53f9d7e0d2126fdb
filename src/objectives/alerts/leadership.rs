//! The part of one instance in sending for all that share a store.

use super::shared_log::SharedLog;
use crate::alert::hold::SenderRole;
use crate::alert::notice::AlertNotice;
use crate::alert::order::NoticeFate;
use crate::job::registry::ClusterBoard;
use std::collections::VecDeque;
use std::sync::Arc;

/// Without a leader for this long, the last one sends although the store does not answer, in milliseconds. An instance that was stopped and
/// goes on has read by then who leads.
pub(super) const ALONE_MS: u64 = 8_000;
/// Notices that are over and not in the store yet; the oldest go.
const UNSHARED_MAX: usize = 1_000;

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
    /// Notices that are over since the store stopped answering. Their numbers mean them only in this term.
    pub(super) over_unshared: VecDeque<(AlertNotice, NoticeFate)>,
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
            over_unshared: VecDeque::new(),
        }
    }

    /// Takes that a leader is known.
    pub(super) fn note_leader(&mut self, now_ms: u64) {
        if now_ms >= self.led_ms + ALONE_MS {
            self.unled_ms = now_ms;
        }
        (self.led_ms, self.knew_leader) = (now_ms, true);
    }

    /// Keeps the ones among these notices that are over, until the store has them.
    pub(super) fn keep_over(&mut self, notices: &[(AlertNotice, NoticeFate)]) {
        let over = notices.iter().filter(|(_, fate)| *fate != NoticeFate::Waits);
        self.over_unshared.extend(over.cloned());
        let excess = self.over_unshared.len().saturating_sub(UNSHARED_MAX);
        drop(self.over_unshared.drain(..excess));
    }

    /// True exactly if this instance sends without the rows of the earlier leaders.
    pub(super) fn sends_unread(&self) -> bool {
        let has_read = self.shared.as_ref().is_none_or(SharedLog::leads);
        self.role == SenderRole::Sends && !has_read
    }
}
