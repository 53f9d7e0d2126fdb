//! Catching up, one step at a time, as the socket drains.
//!
//! A subscriber that is behind is sent what it lacks from the tail. If the tail begins too late, one read for all
//! waiting subscribers may lengthen it (see `shared`); otherwise the subscriber gets page after page from the store.
//! Meanwhile the head moves on; live publications are not queued for the subscriber. It becomes live in the same step
//! in which it reaches the head and has been shown the open streams (see `streams`), so nothing is skipped and nothing is sent twice.
//!
//! This is bounded: a subscriber that lacks more than a recovery would replay is sent `lag` and continues at the head.

use super::Hub;
use super::channel::{Channel, Knowledge, LiveSubscriber, ReadState, RunState, channel_mut};
use super::exchange::{CatchUpStep, Need, Paging, ReplayPage};
use super::id::SubscriptionId;
use super::streams::state::ShowStep;
use super::subscription::{Behind, Catching, SubscriptionStage, WaitsFor, subscription_mut};
use crate::id::Offset;
use crate::limits::{REPLAY_PAGE_BYTES_MAX, REPLAY_PUBLICATIONS_MAX, SHARED_FRAME_BYTES_MIN};
use crate::wire::push;
use std::sync::Arc;

impl Hub {
    /// Performs the next step of catching up, and appends at most one page of frames to `out`.
    ///
    /// Call when the outbox has room, after a page was read, and after [`Hub::take_caught_up`].
    pub fn step(&mut self, id: SubscriptionId, paging: Paging, out: &mut Vec<u8>) -> CatchUpStep {
        let Some(subscription) = subscription_mut(&mut self.subscriptions, id) else {
            return CatchUpStep::Done;
        };
        let SubscriptionStage::Behind(behind) = &mut subscription.stage else {
            return match subscription.stage {
                SubscriptionStage::Live { .. } => CatchUpStep::Done,
                SubscriptionStage::Opening { .. } | SubscriptionStage::Behind(_) => CatchUpStep::Waits,
            };
        };
        let Some(channel) = channel_mut(&mut self.channels, subscription.channel) else {
            return CatchUpStep::Done;
        };
        let Some(position) = channel.position() else { return CatchUpStep::Waits };
        match behind.waits_for {
            WaitsFor::Room => {}
            WaitsFor::Page | WaitsFor::Older | WaitsFor::Head | WaitsFor::Streams => {
                return CatchUpStep::Waits;
            }
        }
        // The pending run ends at the head; a subscriber that became live now would be sent it a second time.
        if channel.run_state == RunState::Dirty {
            behind.waits_for = WaitsFor::Head;
            channel.ahead.push(id);
            return CatchUpStep::Waits;
        }
        limit_chase(behind, channel, position.head, position.floor, out);
        if behind.cursor == position.head && behind.until <= position.head {
            if let Some(streams) = &mut channel.streams {
                match streams.show(id, subscription.channel, &mut self.known_streams, &mut self.needs, out) {
                    Some(ShowStep::Shows(frame)) => return CatchUpStep::Shares(frame),
                    Some(ShowStep::Waits) => {
                        behind.waits_for = WaitsFor::Streams;
                        return CatchUpStep::Waits;
                    }
                    None => {}
                }
                channel.streams.take_if(|streams| streams.is_spent());
            }
            if behind.catching == Catching::Opening {
                push::synced(out, &channel.name, behind.cursor);
            }
            channel.live.push(LiveSubscriber { slot: subscription.slot, subscription: id.index });
            subscription.stage = SubscriptionStage::Live { at: channel.live.len() as u32 - 1 };
            self.known_streams.remove(&id);
            return CatchUpStep::Done;
        }
        if behind.cursor >= position.head {
            behind.waits_for = WaitsFor::Head;
            channel.ahead.push(id);
            return CatchUpStep::Waits;
        }
        if let Some(step) = write_from_tail(behind, channel, out) {
            return step;
        }
        if behind.shared_reads > 0 {
            behind.waits_for = WaitsFor::Older;
            channel.older.waiting.push(id);
            if channel.older.state == ReadState::Idle {
                channel.older.state = ReadState::UnderWay;
                self.needs.push(Need::Older(subscription.channel));
            }
            return CatchUpStep::Waits;
        }
        if paging == Paging::Busy {
            return CatchUpStep::Waits;
        }
        behind.waits_for = WaitsFor::Page;
        let limit = (position.head.0 - behind.cursor.0).min(REPLAY_PUBLICATIONS_MAX) as u32;
        CatchUpStep::Page { channel: channel.name.clone(), after: behind.cursor, limit }
    }

    /// Answers [`CatchUpStep::Page`]; `None` means that the read failed. True exactly when the page holds the publications
    /// that the subscription lacks next, so that its frames must be sent. Call [`Hub::step`] afterwards; after a
    /// failure, only when a retry is worthwhile.
    #[must_use]
    pub fn page_read(&mut self, id: SubscriptionId, page: Option<ReplayPage>) -> bool {
        let Some(subscription) = subscription_mut(&mut self.subscriptions, id) else { return false };
        let SubscriptionStage::Behind(behind) = &mut subscription.stage else { return false };
        behind.waits_for = WaitsFor::Room;
        let Some(page) = page else { return false };
        let Some(channel) = channel_mut(&mut self.channels, subscription.channel) else { return false };
        let Knowledge::Known(position) = &mut channel.knowledge else { return false };
        position.floor = position.floor.max(page.floor);
        let follows = page.first == behind.cursor.next() && page.last <= position.head;
        if follows {
            behind.cursor = page.last;
        } else {
            // Retention overtook the cursor: the next publication is gone, and the page's first one may be above the
            // hub's head. The next step sends `lag`.
            position.floor = position.floor.max(behind.cursor.next().next());
        }
        follows
    }
}

/// Writes `lag` and moves the cursor to the head if the missing publications are gone or are more than a replay may hold.
fn limit_chase(behind: &mut Behind, channel: &Channel, head: Offset, floor: Offset, out: &mut Vec<u8>) {
    if behind.cursor >= head {
        return;
    }
    let gone = behind.cursor.next() < floor;
    let too_far = head.0 - behind.cursor.0 > REPLAY_PUBLICATIONS_MAX;
    if gone || too_far {
        push::lag(out, &channel.name, behind.cursor.next(), head);
        behind.cursor = head;
    }
}

fn write_from_tail(behind: &mut Behind, channel: &Channel, out: &mut Vec<u8>) -> Option<CatchUpStep> {
    let start = out.len();
    for (offset, frame) in channel.tail.after(behind.cursor) {
        if out.len() > start && out.len() - start + frame.len() > REPLAY_PAGE_BYTES_MAX {
            break;
        }
        behind.cursor = offset;
        if frame.len() >= SHARED_FRAME_BYTES_MIN {
            return Some(CatchUpStep::Shares(Arc::clone(frame)));
        }
        out.extend_from_slice(frame);
    }
    (out.len() > start).then_some(CatchUpStep::Wrote)
}
