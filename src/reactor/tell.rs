//! What is known of the dependencies: taken in once a turn, and told to everybody when it changed.

use super::Reactor;
use super::connection::Queued;
use super::slots::SlotId;
use crate::clock::Moment;
use crate::limits::TELLS_PER_TURN;
use crate::wire::outbox::Offer;
use crate::wire::push;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// A `status` on its way to all sessions, some of them each turn: telling thousands at once would hold up everything else.
#[derive(Debug, Default)]
pub(super) struct Telling {
    frame: Option<Rc<[u8]>>,
    pub(super) left: Vec<SlotId>,
    /// Their outboxes were full; they are asked again after [`LATE_PERIOD`].
    late: Vec<SlotId>,
    again: Moment,
}

/// Who did not take a `status` gets it this much later, when they have room.
const LATE_PERIOD: Duration = Duration::from_secs(1);

impl Telling {
    /// True exactly when nobody is to be told now.
    pub(super) fn is_done(&self) -> bool {
        self.left.is_empty()
    }
}

impl Reactor {
    /// Takes the newest snapshot. Who is being told of an older one is told of this instead.
    pub(super) fn look(&mut self) {
        let newest = self.health.load();
        if Arc::ptr_eq(newest, &self.snapshot) {
            return;
        }
        let told = self.snapshot.revision;
        self.snapshot = Arc::clone(newest);
        if self.snapshot.revision != told {
            let mut frame = Vec::new();
            push::status(&mut frame, &self.snapshot.status);
            self.telling =
                Telling { frame: Some(Rc::from(frame)), left: self.slots.ids(), ..Telling::default() };
        }
    }

    /// Tells the next of them. A session that is not open yet learns it from `connected`.
    pub(super) fn tell(&mut self) {
        // Behind the inbox's door: who published since the look above found the bell rung and woke nobody.
        self.look();
        let Some(frame) = self.telling.frame.clone() else { return };
        let bytes_max = self.setup.policy.limits.outbox_bytes as usize;
        if self.telling.left.is_empty() && self.telling.again <= self.now.at {
            self.telling.left = std::mem::take(&mut self.telling.late);
        }
        let from = self.telling.left.len().saturating_sub(TELLS_PER_TURN);
        for id in self.telling.left.split_off(from) {
            let Some(connection) = self.slots.get_mut(id) else { continue };
            if !connection.chat_mut().is_some_and(|chat| chat.session.is_open()) {
                continue;
            }
            match connection.outbox.offer(&frame, bytes_max) {
                Offer::Taken => {
                    self.counters.statuses.add(1);
                    if connection.queued == Queued::No {
                        connection.queued = Queued::Dirty;
                        self.dirty.push(id);
                    }
                }
                Offer::Full => {
                    self.telling.late.push(id);
                    self.telling.again = self.now.at + LATE_PERIOD;
                }
            }
        }
        if self.telling.left.is_empty() && self.telling.late.is_empty() {
            self.telling.frame = None;
        }
    }
}
