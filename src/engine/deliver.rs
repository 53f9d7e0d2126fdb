//! Fan-out, and replays for subscribers that fell behind.

use super::Engine;
use super::peer::{Chat, Peer, Queued, Replays};
use super::pending::Subscriber;
use super::recover::Retry;
use super::slots::SlotId;
use crate::hub::{CatchUpStep, LiveSubscriber, Paging, SubscriptionId};
use crate::limits::{REPLAY_PAGE_BYTES_MAX, SHARED_FRAME_BYTES_MIN};
use crate::slo::fan_out;
use crate::wire::outbox::{Offer, Outbox};
use crate::wire::publication::UNKNOWN_TIME;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

/// Frames whose copy is kept for a turn: twice as many as a page holds.
const SHARED_FRAMES: usize = 2 * REPLAY_PAGE_BYTES_MAX / SHARED_FRAME_BYTES_MIN;

#[derive(Debug)]
struct Shared {
    frame: Arc<[u8]>,
    copy: Rc<[u8]>,
}

/// Frames and pages that several outboxes share, queued by this turn outside the arena.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    /// Frames of the hub's memory, which all reactors share, with the copies that the outboxes of this reactor share.
    frames: VecDeque<Shared>,
    bytes: usize,
}

impl Sharing {
    /// The number of bytes that this turn queued.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets the turn.
    pub(super) fn clear(&mut self) {
        self.frames.clear();
        self.bytes = 0;
    }

    /// Another reference to a page.
    pub(super) fn page(&mut self, frames: &Rc<[u8]>) -> Rc<[u8]> {
        self.bytes += frames.len();
        Rc::clone(frames)
    }

    /// This turn's copy of a frame.
    fn frame(&mut self, frame: &Arc<[u8]>) -> Rc<[u8]> {
        self.bytes += frame.len();
        if let Some(known) = self.frames.iter().rev().find(|known| Arc::ptr_eq(&known.frame, frame)) {
            return Rc::clone(&known.copy);
        }
        if self.frames.len() == SHARED_FRAMES {
            self.frames.pop_front();
        }
        let copy: Rc<[u8]> = Rc::from(&**frame);
        self.frames.push_back(Shared { frame: Arc::clone(frame), copy: Rc::clone(&copy) });
        copy
    }
}

impl Chat {
    /// Notes that one of the session's subscriptions is not live.
    pub(super) fn fall_behind(&mut self) {
        if self.replays == Replays::None {
            self.replays = Replays::Stepping;
        }
    }
}

/// Deliveries of a turn that were committed in the same millisecond, as most of one batch are: they are counted together, because that
/// costs less than to count each run.
struct AlikeDeliveries {
    /// The time of the commit, in Unix milliseconds.
    time_ms: u64,
    /// Publications in outboxes, and those without room in one, counted once for each subscriber.
    taken: u64,
    refused: u64,
}

impl AlikeDeliveries {
    fn at(time_ms: u64) -> AlikeDeliveries {
        AlikeDeliveries { time_ms, taken: 0, refused: 0 }
    }
}

impl Engine {
    /// Queues each channel's run of this turn for its live subscribers: one reference each.
    pub fn deliver(&mut self) {
        let bytes_max = self.setup.policy.limits.outbox_bytes as usize;
        let mut fallen: Vec<LiveSubscriber> = Vec::new();
        let mut alike = AlikeDeliveries::at(UNKNOWN_TIME);
        while let Some(run) = self.hub.take_run() {
            for live in run.live {
                let Some((id, peer)) = self.peers.at_mut(live.slot.0) else { continue };
                match peer.outbox.offer(&run.bytes, bytes_max) {
                    Offer::Taken => {
                        if peer.queued == Queued::No {
                            peer.queued = Queued::Dirty;
                            self.due.dirty.push(id);
                        }
                    }
                    Offer::Full => fallen.push(*live),
                }
            }
            let taken = (run.live.len() - fallen.len()) as u64;
            self.tally.runs.add(taken);
            let publications = u64::from(run.publications);
            self.tally.deliveries.add(taken * publications);
            if publications > 0 && !run.is_of_canary {
                if run.time_ms != alike.time_ms {
                    let others = std::mem::replace(&mut alike, AlikeDeliveries::at(run.time_ms));
                    self.count_deliveries(&others);
                }
                alike.taken += taken * publications;
                alike.refused += fallen.len() as u64 * publications;
            }
            for live in fallen.drain(..) {
                self.tally.lagged.add(1);
                self.hub.fall_behind(live);
                if let Some((id, peer)) = self.peers.at_mut(live.slot.0) {
                    if let Some(chat) = peer.chat_mut() {
                        chat.fall_behind();
                    }
                    // A run that is too long even for an empty outbox is not announced by a drained one.
                    if peer.outbox.is_empty() {
                        self.reads.rooms.push(id);
                    }
                }
            }
        }
        self.count_deliveries(&alike);
        for subscription in self.hub.take_caught_up() {
            self.step(subscription);
        }
    }

    /// Counts deliveries of publications that were committed at the same time.
    #[inline(never)]
    fn count_deliveries(&self, alike: &AlikeDeliveries) {
        let AlikeDeliveries { time_ms, taken, refused } = *alike;
        if taken + refused == 0 {
            return;
        }
        let age_ms = fan_out::age_ms(time_ms, self.now.unix_ms);
        self.tally.slo.count_fan_out(age_ms, taken, refused);
        let vitals = self.setup.vitals.reactors.get(usize::from(self.basis.id.0));
        if let (Some(vitals), Some(age_ms)) = (vitals, age_ms) {
            vitals.deliveries.record(age_ms * 1_000, taken);
        }
    }

    /// Continues the replays of peers whose outboxes drained since the last turn.
    pub fn catch_up_rooms(&mut self) {
        let mut rooms = std::mem::take(&mut self.reads.rooms);
        // Several subscriptions of one connection may have listed it.
        rooms.sort_unstable_by_key(|id| id.index);
        rooms.dedup();
        if rooms.is_empty() {
            return;
        }
        for id in rooms {
            self.catch_up(id);
        }
        // The rest of the turn makes no requests, and the shell may be about to sleep.
        self.ask_needs();
    }

    /// Steps each of a connection's subscriptions that is behind.
    pub(super) fn catch_up(&mut self, id: SlotId) {
        let Some(chat) = self.peers.get_mut(id).and_then(Peer::chat_mut) else { return };
        let subscriptions = chat.session.subscriptions().iter().copied();
        let behind: Vec<SubscriptionId> = subscriptions.filter(|one| !self.hub.is_live(*one)).collect();
        if behind.is_empty() && chat.replays == Replays::Stepping {
            chat.replays = Replays::None;
        }
        for subscription in behind {
            self.step(subscription);
        }
    }

    /// Lets one subscription catch up while its outbox has room.
    pub(super) fn step(&mut self, subscription: SubscriptionId) {
        let Some(id) = self.slot_of(subscription) else { return };
        loop {
            let over = self.memory.relief.waiting_bytes > self.outbox_bytes_max();
            let is_full = self.turn_is_full();
            let Some(peer) = self.peers.get_mut(id) else { return };
            let room = peer.outbox.bytes() < REPLAY_PAGE_BYTES_MAX;
            // A peer that took everything before does not pay for others that do not read.
            let paused = over && peer.counted_bytes > 0;
            let Some(chat) = peer.chat_mut() else { return };
            if !chat.session.is_open() {
                return;
            }
            if !room {
                return chat.fall_behind();
            }
            let paging = match chat.replays {
                Replays::None | Replays::Stepping => Paging::Allowed,
                Replays::PageAsked | Replays::Resting => Paging::Busy,
            };
            if paused {
                return self.rest(id);
            }
            // This turn has written so much that further pieces wait for the next.
            if is_full {
                chat.fall_behind();
                self.reads.rooms.push(id);
                return;
            }
            let (start, out) = Outbox::mark(&mut self.scratch.arena);
            let step = self.hub.step(subscription, paging, out);
            let waiting = peer.outbox.bytes();
            peer.outbox.push_from(&self.scratch.arena, start);
            if let CatchUpStep::Shares(frame) = &step {
                peer.outbox.push_shared(self.scratch.sharing.frame(frame));
            }
            let bytes = peer.outbox.bytes() - waiting;
            if let Some(chat) = peer.chat_mut() {
                chat.session.replayed(bytes, &self.setup.policy, self.now.at);
            }
            self.mark_dirty(id);
            match step {
                CatchUpStep::Done => return,
                CatchUpStep::Wrote | CatchUpStep::Shares(_) => {}
                CatchUpStep::Waits => {
                    if let Some(chat) = self.chat_mut(id) {
                        chat.fall_behind();
                    }
                    return;
                }
                CatchUpStep::Page { channel, after, limit } => {
                    return self.ask_page(Subscriber { slot: id, subscription }, channel, after, limit);
                }
            }
        }
    }

    /// Pauses a peer's replays for a while. A peer has one retry, however many replays it has.
    pub(super) fn rest(&mut self, id: SlotId) {
        let Some(chat) = self.chat_mut(id) else { return };
        match chat.replays {
            Replays::None | Replays::Stepping => {
                chat.replays = Replays::Resting;
                self.reads.retry(Retry::CatchUp(id), self.now.at);
            }
            // The page or the retry will continue them.
            Replays::PageAsked | Replays::Resting => {}
        }
    }

    /// Continues replays after their pause.
    pub(super) fn catch_up_again(&mut self, id: SlotId) {
        if let Some(chat) = self.chat_mut(id)
            && chat.replays == Replays::Resting
        {
            chat.replays = Replays::Stepping;
        }
        self.catch_up(id);
    }

    /// This reactor's share of `limits.outbox_bytes_total`.
    pub fn outbox_bytes_max(&self) -> u64 {
        self.setup.policy.limits.outbox_bytes_total / self.setup.reactors.max(1) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turn_copies_each_shared_frame_once() {
        let mut sharing = Sharing::default();
        let frames: Vec<Arc<[u8]>> = (0..=SHARED_FRAMES).map(|_| Arc::from([7; 10].as_slice())).collect();
        let first = sharing.frame(&frames[0]);
        assert!(Rc::ptr_eq(&first, &sharing.frame(&frames[0])) && *first == *frames[0]);
        let others: Vec<_> = frames[1..].iter().map(|frame| sharing.frame(frame)).collect();
        assert!(others.iter().all(|copy| !Rc::ptr_eq(copy, &first)), "each frame has its own copy");
        assert!(!Rc::ptr_eq(&first, &sharing.frame(&frames[0])), "the oldest is forgotten");
        assert_eq!((sharing.frames.len(), sharing.bytes()), (SHARED_FRAMES, 10 * (SHARED_FRAMES + 3)));
        sharing.clear();
        assert_eq!((Rc::strong_count(&first), sharing.bytes()), (1, 0));
    }
}
