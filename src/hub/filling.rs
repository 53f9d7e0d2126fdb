//! Holes in a channel: publications that did not arrive on the live lane are read from the store once for all
//! subscribers.

use super::Hub;
use super::channel::{FillOutcome, Filling, channel_mut};
use super::exchange::{LogPage, Need};
use super::id::{ChannelId, SubscriptionId};
use super::subscription::{Behind, Catching, SubscriptionStage};
use crate::id::{ChannelName, Offset};
use crate::wire::push::LogPosition;

impl Hub {
    /// Answers [`Need::Fill`]. `None` means that the read failed; the caller then calls [`Hub::refill`] later.
    pub fn filled(&mut self, id: ChannelId, page: Option<LogPage<'_>>) {
        let Some(channel) = channel_mut(&mut self.channels, id) else { return };
        let Some(page) = page else { return };
        let is_outdated = channel.filling == Filling::Outdated;
        let filled = channel.fill(&page);
        let has_streams = channel.streams.is_some();
        match filled.outcome {
            FillOutcome::Taken => {
                // The page may erase something that the tail holds.
                self.tails.clear(&mut channel.tail, id);
                if !is_outdated {
                    self.remember(id, &page);
                }
                self.mark_dirty(id);
            }
            FillOutcome::Gone(head) => {
                self.tails.clear(&mut channel.tail, id);
                self.set_back(id, head);
            }
            FillOutcome::Nothing => {}
        }
        if let Some(after) = filled.more {
            self.needs.push(Need::Fill(id, after));
        }
        if (page.has_streams || has_streams) && filled.outcome != FillOutcome::Nothing {
            // The page may have begun or ended some.
            self.doubt_streams(id);
        }
    }

    /// Turns the live subscribers into lagging ones from `head`, because the publications that they lack are no
    /// longer retained. Their next step sends `lag`.
    fn set_back(&mut self, id: ChannelId, head: Offset) {
        let Some(channel) = channel_mut(&mut self.channels, id) else { return };
        let behind = Behind::at(head, Catching::Lagging);
        for live in channel.live.drain(..) {
            if let Some(subscription) = self.subscriptions.get_mut(live.subscription as usize) {
                subscription.stage = SubscriptionStage::Behind(behind);
                let serial = subscription.serial;
                self.caught_up.push(SubscriptionId { index: live.subscription, serial });
            }
        }
        self.caught_up.append(&mut channel.ahead);
    }

    /// Requests a failed fill again.
    pub fn refill(&mut self, id: ChannelId) {
        let Some(channel) = self.channel(id) else { return };
        if let (Filling::Asked | Filling::Outdated, Some(position)) = (channel.filling, channel.position()) {
            self.needs.push(Need::Fill(id, position.head));
        }
    }

    /// Takes a log's position from a periodic read of the store, which reveals publications that were lost on the
    /// live lane. Changes of open streams may have been lost as well, so the streams are read.
    pub fn heads_read(&mut self, name: &ChannelName, read: LogPosition) {
        let Some(id) = self.names.get(name).copied() else { return };
        let Some(channel) = channel_mut(&mut self.channels, id) else { return };
        if channel.position().is_none() {
            // A position read with an older answer may be under way.
            channel.seen = channel.seen.max(read.head);
        } else if let Some(after) = channel.learn(read) {
            self.needs.push(Need::Fill(id, after));
        } else if let Some(streams) = &mut channel.streams {
            streams.look(id, &mut self.needs);
        }
    }
}
