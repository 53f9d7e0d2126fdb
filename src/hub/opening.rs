//! How a subscription begins: by what memory knows, or by what the store is asked.
//!
//! One question a channel is under way at a time, whoever left meanwhile: what was asked before a
//! subscription was registered must not decide it.

use super::channel::Question;
use super::{
    Behind, Catching, ChannelId, Decision, Hub, LogPage, Need, Stage, SubscriptionId, channel_mut, cursor,
    subscription_mut,
};
use crate::wire::command::From;

impl Hub {
    /// Answers [`Need::Position`]. The subscriptions it decides are named with their decision; with `None`
    /// the position could not be read, and they are to be closed.
    pub fn position_read(
        &mut self,
        id: ChannelId,
        read: Option<LogPage<'_>>,
    ) -> Vec<(SubscriptionId, Option<Decision>)> {
        let Some(channel) = channel_mut(&mut self.channels, id) else { return Vec::new() };
        channel.question = Question::None;
        let asked = std::mem::take(&mut channel.asked);
        let waiting = std::mem::take(&mut channel.waiting);
        let Some(page) = read else {
            // Whoever waited for the next answer would wait too long for one that may fail as well.
            return asked.into_iter().chain(waiting).map(|id| (id, None)).collect();
        };
        let read = page.position;
        if let Some(after) = channel.learn(read) {
            self.needs.push(Need::Fill(id, after));
        }
        self.remember(id, &page);
        let mut decided = Vec::with_capacity(asked.len() + waiting.len());
        for id in asked {
            let Some(from) = self.opens_from(id) else { continue };
            let decision = cursor::decide(from, read);
            self.begin(id, decision);
            decided.push((id, Some(decision)));
        }
        // What is known now may do for those that came later; for the others the store is asked once more.
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

    pub(super) fn opens_from(&self, id: SubscriptionId) -> Option<From> {
        match self.subscription(id)?.stage {
            Stage::Opening { from } => Some(from),
            Stage::Behind(_) | Stage::Live { .. } => None,
        }
    }

    pub(super) fn decide_from_memory(&self, id: ChannelId, from: From) -> Option<Decision> {
        let channel = self.channel(id)?;
        cursor::decide_from_memory(from, channel.position()?, self.tails.covers(&channel.tail))
    }

    /// One more that the question after an answer is for.
    fn ask_again(&mut self, id: SubscriptionId, channel_id: ChannelId) {
        let Some(channel) = channel_mut(&mut self.channels, channel_id) else { return };
        channel.asked.push(id);
        if channel.question == Question::None {
            channel.question = Question::UnderWay;
            self.needs.push(Need::Position(channel_id));
        }
    }

    /// A question that is already under way may have been answered before this subscription was
    /// registered, so a later one waits for the next answer.
    pub(super) fn ask_position(&mut self, id: SubscriptionId, channel_id: ChannelId) {
        let Some(channel) = channel_mut(&mut self.channels, channel_id) else { return };
        match channel.question {
            Question::UnderWay => channel.waiting.push(id),
            Question::None => {
                channel.question = Question::UnderWay;
                channel.asked.push(id);
                self.needs.push(Need::Position(channel_id));
            }
        }
    }

    pub(super) fn begin(&mut self, id: SubscriptionId, decision: Decision) {
        let Some(subscription) = subscription_mut(&mut self.subscriptions, id) else { return };
        subscription.told = decision.position.head;
        let until = decision.position.head;
        subscription.stage =
            Stage::Behind(Behind { until, ..Behind::at(decision.cursor, Catching::Opening) });
    }
}
