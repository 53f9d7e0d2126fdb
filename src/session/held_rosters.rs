//! The rosters that a member is on or watches.

use super::context::Context;
use super::effect::{Effect, RosterEffect};
use crate::auth::account::RosterPlace;
use crate::id::{ChannelName, UserName};
use crate::roster::{Departure, Shown};
use crate::wire::command::{Entrance, RosterUse};
use std::sync::Arc;

/// The rosters that a member uses.
#[derive(Debug)]
pub(super) struct HeldRosters {
    pub(super) shown: Arc<Shown>,
    pub(super) held: Vec<HeldRoster>,
}

#[derive(Debug)]
pub(super) struct HeldRoster {
    pub(super) channel: ChannelName,
    pub(super) using: RosterUse,
    pub(super) announced: Announced,
    /// The user's place, which is released with this; `None` if auth is off.
    pub(super) _place: Option<RosterPlace>,
}

/// The rosters know of a use once the subscription has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Announced {
    No,
    Yes,
}

impl HeldRosters {
    pub(super) fn find(&mut self, channel: &ChannelName) -> Option<&mut HeldRoster> {
        self.held.iter_mut().find(|held| held.channel == *channel)
    }

    pub(super) fn hold(&mut self, roster: HeldRoster) {
        // Most sessions use one roster, so spare capacity would be wasted in each.
        self.held.reserve_exact(1);
        self.held.push(roster);
    }

    pub(super) fn remove(&mut self, channel: &ChannelName) -> Option<HeldRoster> {
        let at = self.held.iter().position(|held| held.channel == *channel)?;
        Some(self.held.swap_remove(at))
    }
}

impl HeldRoster {
    /// The effect that shows it, if it is present.
    pub(super) fn enter(&self, shown: &Arc<Shown>, cx: &mut Context<'_>) {
        if let Entrance::Inside(state) = &self.using.present {
            let (channel, shown, state) = (self.channel.clone(), Arc::clone(shown), state.clone());
            let connection = cx.connection;
            push(cx, RosterEffect::Present { channel, connection, shown, state });
        }
    }

    /// The effects that withdraw it.
    pub(super) fn leave(&self, user: &UserName, departure: Departure, cx: &mut Context<'_>) {
        if self.announced == Announced::No {
            return;
        }
        if self.using.present != Entrance::Outside {
            withdraw(&self.channel, user, departure, cx);
        }
        if let Some(detail) = self.using.watch {
            push(cx, RosterEffect::Unwatch { channel: self.channel.clone(), detail });
        }
    }
}

/// Appends an effect on a roster.
pub(super) fn push(cx: &mut Context<'_>, effect: RosterEffect) {
    cx.effects.push(Effect::Roster(Box::new(effect)));
}

/// Appends the effect that a connection is not on a roster any more.
pub(super) fn withdraw(channel: &ChannelName, user: &UserName, departure: Departure, cx: &mut Context<'_>) {
    let (channel, user, connection) = (channel.clone(), user.clone(), cx.connection);
    push(cx, RosterEffect::Absent { channel, connection, user, departure });
}
