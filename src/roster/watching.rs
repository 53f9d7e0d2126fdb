//! The watchers of a roster, and the members as they know them.

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
    /// A complete WebSocket frame.
    pub frame: Arc<[u8]>,
}

/// The watchers that a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushAudience {
    /// Those of the members that have the frame before: it is a difference.
    Current,
    /// Those of the members that wait for a snapshot, which it is.
    Waiting,
    /// All of the members: it replaces everything.
    Members,
    /// Those of the numbers.
    Count,
    /// Those of the numbers that wait for them.
    WaitingCount,
}

/// The watchers of one roster.
#[derive(Debug, Default)]
pub(super) struct Watching {
    pub(super) members: ReactorSet,
    pub(super) count: ReactorSet,
    /// Reactors with watchers that wait for a snapshot of the members, or for the numbers.
    pub(super) waiting: ReactorSet,
    pub(super) waiting_count: ReactorSet,
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
    pub(super) fn add(&mut self, reactor: ReactorId, detail: WatchDetail) {
        match detail {
            WatchDetail::Members => {
                self.members.insert(reactor);
                self.waiting.insert(reactor);
            }
            WatchDetail::Count => {
                self.count.insert(reactor);
                self.waiting_count.insert(reactor);
            }
        }
    }

    pub(super) fn remove(&mut self, reactor: ReactorId, detail: WatchDetail) {
        match detail {
            WatchDetail::Members => {
                self.members.remove(reactor);
                self.waiting.remove(reactor);
            }
            WatchDetail::Count => {
                self.count.remove(reactor);
                self.waiting_count.remove(reactor);
            }
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
