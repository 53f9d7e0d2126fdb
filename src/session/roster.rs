//! `present`, `absent`, `presence`, and the use of rosters that comes with a subscription.
//!
//! A member is on a roster, or watches it, only while it is subscribed to the channel. All rosters belong to one thread, so a user has a
//! share of them (`presence.channels`) and of its work (`presence.commands_per_s`), all connections together.

use super::context::Context;
use super::effect::RosterEffect;
use super::held_rosters::{Announced, HeldRoster, HeldRosters, push, withdraw};
use super::member::Member;
use super::policy::Policy;
use super::refusal::Refusal;
use super::{PresenceOutcome, Session, SessionStage};
use crate::auth::permission::Right;
use crate::hub::SubscriptionId;
use crate::id::{ChannelName, CommandId, PresenceState};
use crate::roster::{Departure, PageWish, Shown};
use crate::wire::command::{Entrance, RosterUse};
use crate::wire::presence;
use std::sync::Arc;

/// When a client should ask again if the rosters did not answer, in milliseconds.
const PRESENCE_RETRY_MS: u32 = 2_000;

impl Member {
    /// Refuses a use of a roster that the member may not have.
    pub(super) fn refusal_of_roster(
        &mut self,
        channel: &ChannelName,
        using: &RosterUse,
        cx: &Context<'_>,
    ) -> Option<Refusal<'static>> {
        if *using == RosterUse::default() {
            return None;
        }
        if !cx.policy.presence.enabled {
            return Some(Refusal::PresenceOff);
        }
        if using.present != Entrance::Outside && !self.has(Right::Present, channel, cx.policy) {
            return Some(Refusal::Forbidden(Right::Present.name()));
        }
        if using.watch.is_some() && !self.has(Right::Presence, channel, cx.policy) {
            return Some(Refusal::Forbidden(Right::Presence.name()));
        }
        let rosters = self.rosters.as_mut();
        let (count, is_held) =
            rosters.map_or((0, false), |rosters| (rosters.held.len(), rosters.find(channel).is_some()));
        if is_held {
            None
        } else if count >= cx.policy.presence.channels as usize {
            Some(Refusal::Rosters)
        } else {
            let is_of_user = self.meters.belong_to_user();
            (is_of_user && self.meters.roster_place(cx.policy).is_none()).then_some(Refusal::UserRosters)
        }
    }

    /// Keeps a use of a roster until the subscription begins.
    pub(super) fn hold_roster(&mut self, channel: &ChannelName, using: RosterUse, policy: &Policy) {
        if using == RosterUse::default() {
            return;
        }
        let (channel, announced) = (channel.clone(), Announced::No);
        self.rosters_mut().remove(&channel);
        let _place = self.meters.roster_place(policy);
        self.rosters_mut().hold(HeldRoster { channel, using, announced, _place });
    }

    fn rosters_mut(&mut self) -> &mut HeldRosters {
        let (user, info) = (&self.user, &self.info);
        self.rosters.get_or_insert_with(|| {
            let shown = Arc::new(Shown { user: user.clone(), info: info.clone() });
            Box::new(HeldRosters { shown, held: Vec::new() })
        })
    }

    /// Announces the held use of a roster, now that the subscription has begun.
    pub(super) fn announce_roster(&mut self, subscription: SubscriptionId, cx: &mut Context<'_>) {
        let Some(rosters) = &mut self.rosters else { return };
        let Some(channel) = cx.hub.name(subscription).cloned() else { return };
        let shown = Arc::clone(&rosters.shown);
        if let Some(held) = rosters.find(&channel)
            && held.announced == Announced::No
        {
            held.announced = Announced::Yes;
            held.enter(&shown, cx);
            if let Some(detail) = held.using.watch {
                push(cx, RosterEffect::Watch { channel, detail });
            }
        }
    }

    /// Ends the use of a roster with its subscription.
    pub(super) fn drop_roster(
        &mut self,
        subscription: SubscriptionId,
        departure: Departure,
        cx: &mut Context<'_>,
    ) {
        let Some(rosters) = &mut self.rosters else { return };
        let Some(channel) = cx.hub.name(subscription).cloned() else { return };
        if let Some(held) = rosters.remove(&channel) {
            held.leave(&self.user, departure, cx);
        }
    }

    /// Ends the use of all rosters.
    pub(super) fn drop_rosters(&mut self, departure: Departure, cx: &mut Context<'_>) {
        for held in self.rosters.take().map(|rosters| rosters.held).unwrap_or_default() {
            held.leave(&self.user, departure, cx);
        }
    }

    /// Ends what the member's rights on rosters no longer grant, and shows what a new token says of the user.
    pub(super) fn revise_rosters(&mut self, cx: &mut Context<'_>) {
        let Some(mut rosters) = self.rosters.take() else { return };
        let is_new = rosters.shown.info != self.info;
        if is_new {
            rosters.shown = Arc::new(Shown { user: self.user.clone(), info: self.info.clone() });
        }
        rosters.held.retain_mut(|held| {
            let announced = held.announced == Announced::Yes;
            if held.using.present != Entrance::Outside && !self.has(Right::Present, &held.channel, cx.policy)
            {
                held.using.present = Entrance::Outside;
                if announced {
                    withdraw(&held.channel, &self.user, Departure::Ended, cx);
                }
            }
            if let Some(detail) = held.using.watch
                && !self.has(Right::Presence, &held.channel, cx.policy)
            {
                held.using.watch = None;
                if announced {
                    push(cx, RosterEffect::Unwatch { channel: held.channel.clone(), detail });
                }
                presence::ended(cx.out, &held.channel);
            }
            if is_new && announced {
                held.enter(&rosters.shown, cx);
            }
            held.using != RosterUse::default()
        });
        self.rosters = Some(rosters);
    }

    pub(super) fn present(
        &mut self,
        id: CommandId,
        channel: &ChannelName,
        state: Option<PresenceState>,
        cx: &mut Context<'_>,
    ) {
        let using = RosterUse { present: Entrance::Inside(state), watch: None };
        if let Some(refusal) = self.refusal_of_roster(channel, &using, cx) {
            return cx.refuse(Some(id), &refusal);
        }
        let Some(subscription) = self.find(channel, cx) else {
            return cx.refuse(Some(id), &Refusal::NotSubscribed);
        };
        let is_opening = self.opening.iter().any(|opening| opening.subscription == subscription);
        match self.rosters_mut().find(channel) {
            Some(held) => held.using.present = using.present,
            None => self.hold_roster(channel, using, cx.policy),
        }
        let rosters = self.rosters_mut();
        let shown = Arc::clone(&rosters.shown);
        if !is_opening && let Some(held) = rosters.find(channel) {
            held.announced = Announced::Yes;
            held.enter(&shown, cx);
        }
        presence::done(cx.out, id, "present", channel);
    }

    pub(super) fn absent(&mut self, id: CommandId, channel: &ChannelName, cx: &mut Context<'_>) {
        if self.find(channel, cx).is_none() {
            return cx.refuse(Some(id), &Refusal::NotSubscribed);
        }
        if let Some(rosters) = &mut self.rosters
            && let Some(held) = rosters.find(channel)
            && std::mem::take(&mut held.using.present) != Entrance::Outside
        {
            if held.announced == Announced::Yes {
                withdraw(channel, &self.user, Departure::Deliberate, cx);
            }
            if held.using == RosterUse::default() {
                rosters.remove(channel);
            }
        }
        presence::done(cx.out, id, "absent", channel);
    }

    pub(super) fn presence(&mut self, id: CommandId, wish: PageWish, cx: &mut Context<'_>) {
        if !cx.policy.presence.enabled {
            return cx.refuse(Some(id), &Refusal::PresenceOff);
        }
        if self.may(Right::Presence, &wish.channel, Some(id), cx) && self.reserve(id, cx) {
            let asked = cx.asked;
            push(cx, RosterEffect::Page { id, wish, asked });
        }
    }
}

impl Session {
    /// Takes the answer to a read of a roster.
    pub fn presence_read(&mut self, id: CommandId, outcome: &PresenceOutcome<'_>, cx: &mut Context<'_>) {
        let SessionStage::Open(member) = &mut self.stage else { return };
        member.pending = member.pending.saturating_sub(1);
        match outcome {
            PresenceOutcome::Page(object) => {
                member.read(object.len(), cx.policy, cx.now.at);
                presence::reply(cx.out, id, object);
            }
            PresenceOutcome::QueueFull => cx.refuse(Some(id), &Refusal::Queue),
            PresenceOutcome::Late => {
                cx.refuse(Some(id), &Refusal::PresenceSilent { retry_ms: PRESENCE_RETRY_MS });
            }
        }
    }

    /// Repeats everything that the session has on rosters.
    pub fn repeat_rosters(&self, cx: &mut Context<'_>) {
        let SessionStage::Open(member) = &self.stage else { return };
        let Some(rosters) = &member.rosters else { return };
        for held in rosters.held.iter().filter(|held| held.announced == Announced::Yes) {
            held.enter(&rosters.shown, cx);
        }
    }
}
