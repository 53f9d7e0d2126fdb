//! `subscribe` and `unsubscribe`: rights, bounds and replies. The hub decides where a subscription begins.

use super::context::Context;
use super::effect::Effect;
use super::member::{Member, Opening};
use super::refusal::Refusal;
use crate::auth::permission::Right;
use crate::hub::{Decision, OpenRefused, SubscriptionId};
use crate::id::{ChannelName, CommandId};
use crate::limits::REPLY_TIMEOUT;
use crate::roster::Departure;
use crate::wire::command::Subscribe;
use crate::wire::push::{self, Recovered, RecoveryOutcome, SubscriptionEnd};
use crate::wire::stream::KnownStream;

/// When a client should subscribe again if the log could not be read, in milliseconds.
const SUBSCRIBE_RETRY_MS: u32 = 2_000;

/// Notes what a client has of open streams, if it has the log before its cursor or may turn out to have it.
pub(super) fn know_streams(
    subscription: SubscriptionId,
    decision: Option<Decision>,
    streams: Box<[KnownStream]>,
    cx: &mut Context<'_>,
) {
    let is_possible = decision.is_none_or(|decision| decision.outcome == RecoveryOutcome::Recovered);
    if is_possible && !streams.is_empty() {
        cx.hub.know_streams(subscription, streams);
    }
}

impl Member {
    pub(super) fn subscribe(
        &mut self,
        id: CommandId,
        Subscribe { channel, from, streams, roster }: Subscribe,
        cx: &mut Context<'_>,
    ) {
        let channel = &channel;
        if !self.may(Right::Subscribe, channel, Some(id), cx) {
            return;
        }
        if let Some(refusal) = self.refusal_of_roster(channel, &roster, cx) {
            return cx.refuse(Some(id), &refusal);
        }
        // A second subscribe replaces the first, with its own start.
        if let Some(earlier) = self.find(channel, cx) {
            self.drop_subscription(earlier, cx);
        }
        if self.subscriptions.len() >= cx.policy.limits.subscriptions as usize {
            cx.refuse(Some(id), &Refusal::Subscriptions);
            return;
        }
        if !self.meters.subscribe(cx.policy) {
            cx.refuse(Some(id), &Refusal::UserSubscriptions);
            return;
        }
        match cx.hub.open(channel, cx.slot, from) {
            Err(OpenRefused::TooManyChannels) => {
                self.meters.unsubscribe(1);
                cx.refuse(Some(id), &Refusal::Channels);
            }
            Ok((subscription, decision)) => {
                // Most sessions follow one channel, so spare capacity would be wasted in each.
                self.subscriptions.reserve_exact(1);
                self.subscriptions.push(subscription);
                let answer_by = cx.asked + REPLY_TIMEOUT;
                self.opening.push(Opening { subscription, id, answer_by });
                self.hold_roster(channel, roster, cx.policy);
                know_streams(subscription, decision, streams, cx);
                if decision.is_some() {
                    self.opened(subscription, decision, cx);
                }
            }
        }
    }

    pub(super) fn opened(
        &mut self,
        subscription: SubscriptionId,
        decision: Option<Decision>,
        cx: &mut Context<'_>,
    ) {
        let Some(Opening { id, answer_by, .. }) = self.take_opening(subscription) else { return };
        let Some(decision) = decision else {
            self.drop_subscription(subscription, cx);
            cx.refuse(Some(id), &Refusal::Unavailable { retry_ms: SUBSCRIBE_RETRY_MS });
            return;
        };
        if let Some(channel) = cx.hub.name(subscription) {
            let rights = self.rights_on(channel, cx.policy);
            let log = Some(decision.position);
            let recovered = Recovered { channel, log, outcome: decision.outcome, roster: None, rights };
            push::subscribed(cx.out, id, &recovered);
            if !self.user.is_canary() {
                cx.effects.push(Effect::Replied { asked: answer_by - REPLY_TIMEOUT });
            }
            cx.effects.push(Effect::Replay(subscription));
            self.announce_roster(subscription, cx);
        }
    }

    /// Takes the command that waits for the subscription's reply.
    fn take_opening(&mut self, subscription: SubscriptionId) -> Option<Opening> {
        let at = self.opening.iter().position(|opening| opening.subscription == subscription)?;
        let opening = self.opening.swap_remove(at);
        if self.opening.is_empty() {
            // An idle session holds no allocation for these.
            self.opening = Vec::new();
        }
        Some(opening)
    }

    /// Refuses the subscriptions whose position is still unknown at their deadline.
    pub(super) fn expire_openings(&mut self, cx: &mut Context<'_>) {
        let late = |opening: &&Opening| opening.answer_by <= cx.now.at;
        let late: Vec<SubscriptionId> =
            self.opening.iter().filter(late).map(|opening| opening.subscription).collect();
        for subscription in late {
            if !self.user.is_canary() {
                cx.effects.push(Effect::ReplyLate);
            }
            self.opened(subscription, None, cx);
        }
    }

    pub(super) fn unsubscribe(&mut self, id: CommandId, channel: &ChannelName, cx: &mut Context<'_>) {
        match self.find(channel, cx) {
            None => cx.refuse(Some(id), &Refusal::NotSubscribed),
            Some(subscription) => {
                self.drop_subscription(subscription, cx);
                push::unsubscribed(cx.out, id, channel);
            }
        }
    }

    /// Ends a subscription, and answers its `subscribe` if that is still pending.
    pub(super) fn drop_subscription(&mut self, subscription: SubscriptionId, cx: &mut Context<'_>) {
        if let Some(id) = self.close(subscription, Departure::Deliberate, cx) {
            cx.refuse(Some(id), &Refusal::Abandoned);
        }
    }

    /// Ends the subscriptions that the member's rights no longer grant, and tells the client of each.
    pub(super) fn end_forbidden(&mut self, cx: &mut Context<'_>) {
        for subscription in self.subscriptions.clone() {
            let Some(channel) = cx.hub.name(subscription).cloned() else { continue };
            if self.has(Right::Subscribe, &channel, cx.policy) {
                continue;
            }
            match self.close(subscription, Departure::Ended, cx) {
                Some(id) => cx.refuse(Some(id), &Refusal::Forbidden(Right::Subscribe.name())),
                None => push::subscription_ended(cx.out, &channel, SubscriptionEnd::Forbidden),
            }
        }
        self.revise_rosters(cx);
    }

    /// Ends a subscription, with its use of the roster, and returns its `subscribe` if that is still pending.
    fn close(
        &mut self,
        subscription: SubscriptionId,
        departure: Departure,
        cx: &mut Context<'_>,
    ) -> Option<CommandId> {
        self.drop_roster(subscription, departure, cx);
        cx.hub.close(subscription);
        let before = self.subscriptions.len();
        self.subscriptions.retain(|other| *other != subscription);
        self.meters.unsubscribe(before - self.subscriptions.len());
        self.take_opening(subscription).map(|opening| opening.id)
    }
}
