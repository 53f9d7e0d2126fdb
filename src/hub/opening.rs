//! Opening a subscription: from memory if that suffices, otherwise with the position read from the store.
//!
//! One position read per channel is under way at a time, even if the subscriptions that it was made for are closed
//! meanwhile. A read that began before a subscription was registered must not decide that subscription.

use super::Hub;
use super::channel::{ReadState, channel_mut};
use super::cursor::{self, Decision};
use super::exchange::{LogPage, Need};
use super::id::{ChannelId, SubscriptionId};
use super::subscription::{Behind, Catching, SubscriptionStage, subscription_mut};
use crate::wire::command::StartAt;
use crate::wire::push::RecoveryOutcome;

impl Hub {
    /// Answers [`Need::Position`], and returns the subscriptions that were decided. `None` means that the read
    /// failed; the caller must close the subscriptions returned without a decision.
    pub fn position_read(
        &mut self,
        id: ChannelId,
        read: Option<LogPage<'_>>,
    ) -> Vec<(SubscriptionId, Option<Decision>)> {
        let Some(channel) = channel_mut(&mut self.channels, id) else { return Vec::new() };
        let may_keep = std::mem::replace(&mut channel.position_read, ReadState::Idle).may_keep();
        let asked = std::mem::take(&mut channel.asked);
        let waiting = std::mem::take(&mut channel.waiting);
        let Some(page) = read else {
            // A second read may fail as well, and would take too long for the subscriptions that wait for it.
            return asked.into_iter().chain(waiting).map(|id| (id, None)).collect();
        };
        let read = page.position;
        if let Some(after) = channel.learn(read) {
            self.needs.push(Need::Fill(id, after));
        }
        if page.has_streams && channel.streams.is_none() {
            self.doubt_streams(id);
        }
        if may_keep {
            self.remember(id, &page);
        }
        let mut decided = Vec::with_capacity(asked.len() + waiting.len());
        for id in asked {
            let Some(from) = self.opens_from(id) else { continue };
            let decision = cursor::decide(from, read);
            self.begin(id, decision);
            decided.push((id, Some(decision)));
        }
        // The position may suffice for the subscriptions that came later; the others need another read.
        for late in waiting {
            let Some(from) = self.opens_from(late) else { continue };
            match self.decide_from_memory(id, from) {
                Some(decision) => {
                    self.begin(late, decision);
                    decided.push((late, Some(decision)));
                }
                None => self.ask_again(late, id),
            }
        }
        decided
    }

    pub(super) fn opens_from(&self, id: SubscriptionId) -> Option<StartAt> {
        match self.subscription(id)?.stage {
            SubscriptionStage::Opening { from } => Some(from),
            SubscriptionStage::Behind(_) | SubscriptionStage::Live { .. } => None,
        }
    }

    pub(super) fn decide_from_memory(&self, id: ChannelId, from: StartAt) -> Option<Decision> {
        let channel = self.channel(id)?;
        cursor::decide_from_memory(from, channel.position()?, self.tails.covers(&channel.tail))
    }

    /// Adds a subscription to the position read that follows an answer.
    fn ask_again(&mut self, id: SubscriptionId, channel_id: ChannelId) {
        let Some(channel) = channel_mut(&mut self.channels, channel_id) else { return };
        channel.asked.push(id);
        if channel.position_read == ReadState::Idle {
            channel.position_read = ReadState::UnderWay;
            self.needs.push(Need::Position(channel_id));
        }
    }

    /// Requests the position for a subscription. A read that is already under way may have been answered by the store
    /// before the subscription was registered, so the subscription waits for the next read.
    pub(super) fn ask_position(&mut self, id: SubscriptionId, channel_id: ChannelId) {
        let Some(channel) = channel_mut(&mut self.channels, channel_id) else { return };
        match channel.position_read {
            ReadState::UnderWay | ReadState::Outdated => channel.waiting.push(id),
            ReadState::Idle => {
                channel.position_read = ReadState::UnderWay;
                channel.asked.push(id);
                self.needs.push(Need::Position(channel_id));
            }
        }
    }

    pub(super) fn begin(&mut self, id: SubscriptionId, decision: Decision) {
        let Some(subscription) = subscription_mut(&mut self.subscriptions, id) else { return };
        subscription.sent_head = decision.position.head;
        if decision.outcome != RecoveryOutcome::Recovered {
            self.known_streams.remove(&id);
        }
        let until = decision.position.head;
        subscription.stage =
            SubscriptionStage::Behind(Behind { until, ..Behind::at(decision.cursor, Catching::Opening) });
    }
}
