//! The logs that this process knows, and the proof that an answer comes from others.

use super::epoch::KnownEpoch;
use super::fault::{CallFault, Fate};
use super::known_heads::KnownHeads;
use crate::hub::Contradiction;
use crate::metrics::store::StoreCounters;
use crate::store::wall_clock::WallClock;
use crate::stream::{Flush, FlushFates};

/// The facts by which answers are known to come from the logs that this process has acknowledged.
pub(super) struct KnownLogs<'a> {
    pub(super) epoch: &'a KnownEpoch,
    pub(super) heads: &'a mut KnownHeads,
    pub(super) counters: &'a StoreCounters,
    pub(super) clock: &'a WallClock,
}

impl KnownLogs<'_> {
    pub(super) fn are_trusted(&self) -> bool {
        !self.epoch.is_replaced() && self.epoch.loss().is_none()
    }

    /// An error if an end has an offset that was acknowledged before: the log has lost that publication.
    pub(super) fn check(&mut self, flush: &Flush, fates: &FlushFates) -> Result<(), CallFault> {
        for (channel, found) in flush.stored_ends(fates) {
            if let Err(known) = self.heads.advance(channel, found) {
                let channel = channel.clone();
                self.epoch.note_lost(&Contradiction { channel, known, found }, self.counters);
            }
        }
        self.epoch.loss().map_or(Ok(()), |cause| Err(CallFault { fate: Fate::Unknown, cause }))
    }
}
