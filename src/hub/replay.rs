//! Catching up, one step at a time, as the socket drains.
//!
//! A subscriber that is behind is sent what it lacks: from the tail where that reaches, or can be made to reach by one read
//! for all that wait (see `shared`), else page by page from the store. The head it chases moves meanwhile; live publications
//! are not queued for it. When it reaches the head it becomes live in the same step, so nothing is skipped and nothing is
//! sent twice.
//!
//! The chase is bounded: one that lacks more than a recovery would replay is told `lag` and goes on at the
//! head.

use super::channel::{Knowledge, Question, RunState};
use super::{
    Behind, Catching, Channel, Hub, Live, Need, Stage, SubscriptionId, Waits, channel_mut, subscription_mut,
};
use crate::id::{ChannelName, Offset};
use crate::limits::{REPLAY_PAGE_BYTES_MAX, REPLAY_PUBLICATIONS_MAX, SHARED_FRAME_BYTES_MIN};
use crate::wire::push;
use std::sync::Arc;

/// What a step came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is live now, or was.
    Done,
    /// Frames were written; step again when there is room.
    Wrote,
    /// The same, and after what was written goes this frame. It is one that all who lack it share: see
    /// [`SHARED_FRAME_BYTES_MIN`].
    Shares(Arc<[u8]>),
    /// Nothing to do until the asked page is here or the channel's head moves.
    Waits,
    /// Ask the store for this, and answer with [`Hub::page_read`].
    Page {
        /// The channel.
        channel: ChannelName,
        /// Publications after this one …
        after: Offset,
        /// … and no more than this many: none may be above the hub's head.
        limit: u32,
    },
}

/// Whether a connection may have a page read for it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paging {
    /// It may.
    Allowed,
    /// Another of its pages is on its way: one at a time keeps a replay within the outbox's bound.
    Busy,
}

impl Hub {
    /// Does the next piece of catching up: at most a page of frames goes to `out`.
    ///
    /// To be called when the outbox has room, after a page was read, and after [`Hub::take_caught_up`].
    pub fn step(&mut self, id: SubscriptionId, paging: Paging, out: &mut Vec<u8>) -> Step {
        let Some(subscription) = subscription_mut(&mut self.subscriptions, id) else { return Step::Done };
        let Stage::Behind(behind) = &mut subscription.stage else {
            return match subscription.stage {
                Stage::Live { .. } => Step::Done,
                Stage::Opening { .. } | Stage::Behind(_) => Step::Waits,
            };
        };
        let Some(channel) = channel_mut(&mut self.channels, subscription.channel) else { return Step::Done };
        let Some(position) = channel.position() else { return Step::Waits };
        match behind.waits {
            Waits::Room => {}
            Waits::Page | Waits::Older | Waits::Head => return Step::Waits,
        }
        // A run that was not yet given out ends at the head: who became live now would be sent it again.
        if channel.run_state == RunState::Dirty {
            behind.waits = Waits::Head;
            channel.ahead.push(id);
            return Step::Waits;
        }
        limit_chase(behind, channel, position.head, position.floor, out);
        if behind.cursor == position.head && behind.until <= position.head {
            if behind.catching == Catching::Opening {
                push::synced(out, &channel.name, behind.cursor);
            }
            channel.live.push(Live { slot: subscription.slot, subscription: id.index });
            subscription.stage = Stage::Live { at: channel.live.len() as u32 - 1 };
            return Step::Done;
        }
        if behind.cursor >= position.head {
            behind.waits = Waits::Head;
            channel.ahead.push(id);
            return Step::Waits;
        }
        if let Some(step) = write_from_tail(behind, channel, out) {
            return step;
        }
        if behind.shared > 0 {
            behind.waits = Waits::Older;
            channel.for_older.push(id);
            if channel.lengthening == Question::None {
                channel.lengthening = Question::UnderWay;
                self.needs.push(Need::Older(subscription.channel));
            }
            return Step::Waits;
        }
        if paging == Paging::Busy {
            return Step::Waits;
        }
        behind.waits = Waits::Page;
        let limit = (position.head.0 - behind.cursor.0).min(REPLAY_PUBLICATIONS_MAX) as u32;
        Step::Page { channel: channel.name.clone(), after: behind.cursor, limit }
    }

    /// Answers [`Step::Page`]; with `None` the store could not be read. True exactly when the page is what the
    /// subscription lacks next: then its frames are to be sent. Step again afterwards, after a failure when it is worth
    /// another try.
    #[must_use]
    pub fn page_read(&mut self, id: SubscriptionId, page: Option<ReplayPage>) -> bool {
        let Some(subscription) = subscription_mut(&mut self.subscriptions, id) else { return false };
        let Stage::Behind(behind) = &mut subscription.stage else { return false };
        behind.waits = Waits::Room;
        let Some(page) = page else { return false };
        let Some(channel) = channel_mut(&mut self.channels, subscription.channel) else { return false };
        let Knowledge::Known(position) = &mut channel.knowledge else { return false };
        position.floor = position.floor.max(page.floor);
        let follows = page.first == behind.cursor.next() && page.last <= position.head;
        if follows {
            behind.cursor = page.last;
        } else {
            // Retention overtook the cursor: the next one is gone, and what stands in its place may be
            // above the hub's head. The next step tells `lag`.
            position.floor = position.floor.max(behind.cursor.next().next());
        }
        follows
    }
}

/// A page of a replay: whole frames, which the caller holds.
#[derive(Clone, Copy, Debug)]
pub struct ReplayPage {
    /// The oldest publication retained.
    pub floor: Offset,
    /// The first in the page; [`Offset::ZERO`] when it is empty.
    pub first: Offset,
    /// The last in the page.
    pub last: Offset,
}

/// Tells `lag` where what is missing is gone, or more than is replayed; what is told is not replayed.
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

fn write_from_tail(behind: &mut Behind, channel: &Channel, out: &mut Vec<u8>) -> Option<Step> {
    let start = out.len();
    for (offset, frame) in channel.tail.after(behind.cursor) {
        if out.len() > start && out.len() - start + frame.len() > REPLAY_PAGE_BYTES_MAX {
            break;
        }
        behind.cursor = offset;
        if frame.len() >= SHARED_FRAME_BYTES_MIN {
            return Some(Step::Shares(Arc::clone(frame)));
        }
        out.extend_from_slice(frame);
    }
    (out.len() > start).then_some(Step::Wrote)
}
