//! What did not arrive by itself: a hole in a channel is filled from the store, for all its subscribers at once.

use super::channel::{FillOutcome, Filling};
use super::{Behind, Catching, ChannelId, Hub, LogPage, Need, Stage, SubscriptionId, channel_mut};
use crate::id::{ChannelName, Offset};
use crate::wire::push::LogPosition;

impl Hub {
    /// Answers [`Need::Fill`] with whole frames; with `None` the store could not be read, and the caller
    /// calls [`Hub::refill`] later.
    pub fn filled(&mut self, id: ChannelId, page: Option<LogPage<'_>>) {
        let Some(channel) = channel_mut(&mut self.channels, id) else { return };
        let Some(page) = page else { return };
        let filled = channel.fill(&page);
        match filled.outcome {
            FillOutcome::Taken => {
                // It may have erased something that the tail holds.
                self.tails.clear(&mut channel.tail);
                self.remember(id, &page);
                self.mark_dirty(id);
            }
            FillOutcome::Gone(head) => {
                self.tails.clear(&mut channel.tail);
                self.set_back(id, head);
            }
            FillOutcome::Nothing => {}
        }
        if let Some(after) = filled.more {
            self.needs.push(Need::Fill(id, after));
        }
    }

    /// What the live ones lack is no longer retained: each goes on by itself from `head`, and is told.
    fn set_back(&mut self, id: ChannelId, head: Offset) {
        let Some(channel) = channel_mut(&mut self.channels, id) else { return };
        let behind = Behind::at(head, Catching::Lagging);
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
