//! The health snapshot: taken once a turn, and sent to every session if its `status` changed.

use super::Engine;
use super::peer::Queued;
use super::slots::SlotId;
use crate::clock::Moment;
use crate::health::snapshot::Snapshot;
use crate::limits::TELLS_PER_TURN;
use crate::wire::outbox::Offer;
use crate::wire::push;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The snapshot of this turn, and a `status` on its way to all sessions: some of them each turn, because sending to thousands
/// at once would hold up everything else.
#[derive(Debug)]
pub(super) struct StatusRound {
    pub(super) snapshot: Arc<Snapshot>,
    frame: Option<Rc<[u8]>>,
    left: Vec<SlotId>,
    /// Peers whose outboxes were full. They are retried after [`LATE_PERIOD`].
    late: Vec<SlotId>,
    again: Moment,
}

/// The delay after which a full outbox is offered a `status` again.
const LATE_PERIOD: Duration = Duration::from_secs(1);

impl StatusRound {
    pub(super) fn new(snapshot: Arc<Snapshot>) -> StatusRound {
        StatusRound { snapshot, frame: None, left: Vec::new(), late: Vec::new(), again: Moment::ZERO }
    }

    /// True exactly when no session is to be notified now.
    pub(super) fn is_done(&self) -> bool {
        self.left.is_empty()
    }
}

impl Engine {
    /// Takes a new snapshot. Sessions that were to be notified of an older one are notified of this one instead.
    pub fn handle_snapshot(&mut self, snapshot: Arc<Snapshot>) {
        let known = self.rounds.health.snapshot.revision;
        if snapshot.revision == known {
            self.rounds.health.snapshot = snapshot;
            return;
        }
        let mut frame = Vec::new();
        push::status(&mut frame, &snapshot.status);
        let (frame, left) = (Some(Rc::from(frame)), self.peers.ids());
        self.rounds.health = StatusRound { frame, left, ..StatusRound::new(snapshot) };
    }

    /// Sends the `status` and changed flags to the next sessions, and the frames about rosters to the next watchers.
    pub fn push_status(&mut self) {
        self.push_rosters();
        self.tell_status();
        self.tell_flags();
    }

    /// True exactly when no session is to be notified of the status or of the flags now.
    pub(super) fn has_told(&self) -> bool {
        self.rounds.health.is_done() && self.rounds.clients.flags.is_done()
    }

    /// A session that is not `connected` yet learns the status from `connected`.
    fn tell_status(&mut self) {
        let Some(frame) = self.rounds.health.frame.clone() else { return };
        let bytes_max = self.setup.policy.limits.outbox_bytes as usize;
        if self.rounds.health.left.is_empty() && self.rounds.health.again <= self.now.at {
            self.rounds.health.left = std::mem::take(&mut self.rounds.health.late);
        }
        let from = self.rounds.health.left.len().saturating_sub(TELLS_PER_TURN);
        for id in self.rounds.health.left.split_off(from) {
            let Some(peer) = self.peers.get_mut(id) else { continue };
            if !peer.is_open() {
                continue;
            }
            match peer.outbox.offer(&frame, bytes_max) {
                Offer::Taken => {
                    self.tally.statuses.add(1);
                    if peer.queued == Queued::No {
                        peer.queued = Queued::Dirty;
                        self.due.dirty.push(id);
                    }
                }
                Offer::Full => {
                    self.rounds.health.late.push(id);
                    self.rounds.health.again = self.now.at + LATE_PERIOD;
                }
            }
        }
        if self.rounds.health.left.is_empty() && self.rounds.health.late.is_empty() {
            self.rounds.health.frame = None;
        }
    }
}
