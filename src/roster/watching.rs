//! The watchers of a roster, and the members as they know them.

use super::event::WatchNumber;
use super::members::{RosterMember, SentMember};
use super::pace::CHANGES_MAX;
use super::reactors::ReactorSet;
use crate::id::{ChannelName, ReactorId, UserName};
use crate::wire::command::WatchDetail;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A frame for watchers on some reactors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterPush {
    pub channel: ChannelName,
    pub audience: PushAudience,
    pub reactors: ReactorSet,
    /// For a snapshot: the newest watch of each of the reactors.
    pub answers: Arc<[WatchOf]>,
    /// A complete WebSocket frame.
    pub frame: Arc<[u8]>,
}

/// A watch of a reactor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchOf {
    pub reactor: ReactorId,
    pub number: WatchNumber,
}

impl RosterPush {
    /// The watch of a reactor that this snapshot answers.
    pub fn answered(&self, reactor: ReactorId) -> Option<WatchNumber> {
        self.answers.iter().find(|of| of.reactor == reactor).map(|of| of.number)
    }
}

/// The watchers that a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushAudience {
    /// Watchers of the members that have the frame before.
    Current,
    /// Watchers of the members that wait for a snapshot, which it is.
    Waiting,
    /// Watchers of the numbers that have those before.
    Count,
    /// Watchers of the numbers that wait for them.
    WaitingCount,
}

/// The watchers of one roster.
#[derive(Debug, Default)]
pub(super) struct Watching {
    pub(super) members: ReactorSet,
    pub(super) count: ReactorSet,
    /// Reactors with watchers that wait for a snapshot of the members, or for the numbers.
    pub(super) waiting: Vec<WatchOf>,
    pub(super) waiting_count: Vec<WatchOf>,
    pub(super) changes: RosterChanges,
}

/// The users that have changed since the last frame, as watchers know them.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RosterChanges {
    /// `None`: the user was not there.
    Few(BTreeMap<UserName, Option<SentMember>>),
    /// More than [`CHANGES_MAX`].
    Many,
}

impl Default for RosterChanges {
    fn default() -> RosterChanges {
        RosterChanges::Few(BTreeMap::new())
    }
}

impl RosterChanges {
    /// Notes that a user is about to change, with the member before it.
    fn note(&mut self, user: &UserName, before: Option<&RosterMember>) {
        let RosterChanges::Few(few) = self else { return };
        if few.contains_key(user) {
            return;
        }
        if few.len() == CHANGES_MAX {
            *self = RosterChanges::Many;
            return;
        }
        few.insert(user.clone(), before.map(RosterMember::sent));
    }
}

impl Watching {
    pub(super) fn add(&mut self, watch: WatchOf, detail: WatchDetail) {
        let (all, waiting) = self.lists(detail);
        all.insert(watch.reactor);
        waiting.retain(|other| other.reactor != watch.reactor);
        waiting.push(watch);
    }

    pub(super) fn remove(&mut self, reactor: ReactorId, detail: WatchDetail) {
        let (all, waiting) = self.lists(detail);
        all.remove(reactor);
        waiting.retain(|watch| watch.reactor != reactor);
    }

    fn lists(&mut self, detail: WatchDetail) -> (&mut ReactorSet, &mut Vec<WatchOf>) {
        match detail {
            WatchDetail::Members => (&mut self.members, &mut self.waiting),
            WatchDetail::Count => (&mut self.count, &mut self.waiting_count),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.count.is_empty()
    }

    /// Notes that a user is about to change.
    pub(super) fn note(&mut self, user: &UserName, before: Option<&RosterMember>) {
        if !self.members.is_empty() {
            self.changes.note(user, before);
        }
    }
}
