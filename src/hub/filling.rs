//! What did not arrive by itself: a hole in a channel is filled from the store, for all its subscribers at once.

use super::channel::{FillOutcome, Filling};
use super::{Behind, Catching, ChannelId, Hub, Need, Stage, SubscriptionId, Waits, channel_mut};
use crate::id::{ChannelName, Offset};
use crate::wire::push::LogPosition;

impl Hub {
    /// Answers [`Need::Fill`] with whole frames; with `None` the store could not be read, and the caller
    /// calls [`Hub::refill`] later.
    pub fn filled(&mut self, id: ChannelId, page: Option<FillPage<'_>>) {
        let Some(channel) = channel_mut(&mut self.channels, id) else { return };
        let Some(page) = page else { return };
        let filled = channel.fill(&page);
        self.tails.clear(&mut channel.tail);
        match filled.outcome {
            FillOutcome::Taken => self.mark_dirty(id),
            FillOutcome::Gone(head) => self.set_back(id, head),
            FillOutcome::Nothing => {}
        }
        if let Some(after) = filled.more {
            self.needs.push(Need::Fill(id, after));
        }
    }

    /// What the live ones lack is no longer retained: each goes on by itself from `head`, and is told.
    fn set_back(&mut self, id: ChannelId, head: Offset) {
        let Some(channel) = channel_mut(&mut self.channels, id) else { return };
        let behind = Behind { cursor: head, until: head, catching: Catching::Lagging, waits: Waits::Room };
        for live in channel.live.drain(..) {
            if let Some(subscription) = self.subscriptions.get_mut(live.subscription as usize) {
                subscription.stage = Stage::Behind(behind);
                let serial = subscription.serial;
                self.caught_up.push(SubscriptionId { index: live.subscription, serial });
            }
        }
        self.caught_up.append(&mut channel.ahead);
    }

    /// Asks again for what [`Hub::filled`] could not bring.
    pub fn refill(&mut self, id: ChannelId) {
        let Some(channel) = self.channel(id) else { return };
        if let (Filling::Asked, Some(position)) = (channel.filling, channel.position()) {
            self.needs.push(Need::Fill(id, position.head));
        }
    }

    /// Takes where a log stands as the store has it: a publication lost on its way shows here.
    pub fn heads_read(&mut self, name: &ChannelName, read: LogPosition) {
        let Some(id) = self.names.get(name).copied() else { return };
        let Some(channel) = channel_mut(&mut self.channels, id) else { return };
        if channel.position().is_none() {
            // An older answer to where the log stands may be under way.
            channel.seen = channel.seen.max(read.head);
        } else if let Some(after) = channel.learn(read) {
            self.needs.push(Need::Fill(id, after));
        }
    }
}

/// A page that fills a hole.
pub struct FillPage<'a> {
    /// Where the log stood.
    pub position: LogPosition,
    /// The first publication in it; [`Offset::ZERO`] when there is none.
    pub first: Offset,
    /// The last publication in it.
    pub last: Offset,
    /// Publications in it.
    pub count: u32,
    /// Whole frames.
    pub frames: &'a [u8],
}
