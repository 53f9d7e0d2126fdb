//! The members of a roster, sorted by user.
//!
//! Sorted chunks: a page is a walk, a change moves at most one chunk, and a roster of two users takes no more memory than its two
//! members. A map would take twice as much for small rosters, and one sorted list too long for large ones.

use super::connections::Connections;
use super::event::Shown;
use super::share::{OwnCount, RemoteShare};
use crate::id::{PresenceState, UserName};
use crate::wire::presence::ShownMember;
use crate::wire::segment::SegmentMember;
use std::sync::Arc;

/// Members of one chunk: 14 KiB, which a change moves in less than a microsecond.
const CHUNK_MEMBERS: usize = 256;

/// A user on a roster: 56 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RosterMember {
    pub(super) shown: Arc<Shown>,
    pub(super) since_unix_ms: u64,
    pub(super) connections: Connections,
}

/// A member as watchers were last sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SentMember {
    pub(super) shown: Arc<Shown>,
    since_unix_ms: u64,
    connections: u32,
    state: Option<PresenceState>,
}

/// All members of one roster.
#[derive(Debug, Default)]
pub(super) struct RosterMembers {
    /// None is empty.
    chunks: Vec<Vec<RosterMember>>,
    count: usize,
}

impl RosterMember {
    /// The connections that are shown.
    pub(super) fn count(&self) -> u32 {
        self.connections.remote().map_or_else(|| self.connections.count(), |remote| remote.shown)
    }

    /// The state that any connection set last.
    fn state(&self) -> Option<&PresenceState> {
        let own = self.connections.stated();
        let remote = self.connections.remote().and_then(|remote| remote.share.state.as_ref());
        match (own, remote) {
            (Some((own, _)), Some((remote, state))) if *remote > own => Some(state),
            (None, Some((_, state))) => Some(state),
            (own, _) => own.map(|(_, state)| state),
        }
    }

    /// The connections that are shown, and those at this instance.
    pub(super) fn counts(&self) -> (u32, u32) {
        (self.count(), self.connections.count())
    }

    /// A user that only other instances have.
    pub(super) fn of_remote(user: &UserName, share: RemoteShare) -> RosterMember {
        let shown = Arc::new(Shown { user: user.clone(), info: share.info.clone() });
        let (since_unix_ms, mut connections) = (share.since_unix_ms, Connections::None);
        connections.set_share(Some(share));
        RosterMember { shown, since_unix_ms, connections }
    }

    /// Replaces the part of other instances.
    pub(super) fn set_remote(&mut self, share: Option<RemoteShare>) {
        if let Some(share) = &share {
            // The time at which the user came stays, although the connection of that time may be gone.
            self.since_unix_ms = self.since_unix_ms.min(share.since_unix_ms);
            if self.connections.count() == 0 && self.shown.info != share.info {
                self.shown = Arc::new(Shown { user: self.shown.user.clone(), info: share.info.clone() });
            }
        }
        self.connections.set_share(share);
    }

    /// The number of the state that was set last; 0 without one.
    pub(super) fn newest_stated(&self) -> u32 {
        let remote = self.connections.remote().and_then(|remote| remote.share.state.as_ref());
        let own = self.connections.stated().map_or(0, |(stated, _)| stated);
        remote.map_or(0, |(stated, _)| *stated).max(own)
    }

    /// True if no instance has a connection of the user.
    pub(super) fn is_gone(&self) -> bool {
        self.connections == Connections::None
    }

    pub(super) fn sent(&self) -> SentMember {
        SentMember {
            shown: Arc::clone(&self.shown),
            since_unix_ms: self.since_unix_ms,
            connections: self.count(),
            state: self.state().cloned(),
        }
    }

    /// The part of this instance; `None` if it has no connection.
    pub(super) fn as_segment(&self) -> Option<SegmentMember> {
        let OwnCount { live, departing } = self.connections.own_count();
        let stated = self.connections.stated();
        (live + departing > 0).then(|| SegmentMember {
            live,
            departing,
            since_unix_ms: self.since_unix_ms,
            stated: stated.map_or(0, |(stated, _)| stated),
            state: stated.map(|(_, state)| state.clone()),
            info: self.shown.info.clone(),
        })
    }

    pub(super) fn as_shown(&self) -> ShownMember<'_> {
        ShownMember {
            user: self.shown.user.as_str(),
            connections: self.count(),
            since_unix_ms: self.since_unix_ms,
            state: self.state().map(PresenceState::as_str),
            info: self.shown.info.as_deref(),
        }
    }

    pub(super) fn user(&self) -> &UserName {
        &self.shown.user
    }
}

impl RosterMembers {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The chunk and the place in it of a user, or where the user belongs.
    fn place(&self, user: &UserName) -> (usize, Result<usize, usize>) {
        let after =
            self.chunks.partition_point(|chunk| chunk.first().is_some_and(|first| first.user() <= user));
        let at = after.saturating_sub(1);
        let place = self
            .chunks
            .get(at)
            .map_or(Err(0), |chunk| chunk.binary_search_by(|member| member.user().cmp(user)));
        (at, place)
    }

    pub(super) fn get(&self, user: &UserName) -> Option<&RosterMember> {
        let (chunk, place) = self.place(user);
        self.chunks.get(chunk)?.get(place.ok()?)
    }

    pub(super) fn get_mut(&mut self, user: &UserName) -> Option<&mut RosterMember> {
        let (chunk, place) = self.place(user);
        self.chunks.get_mut(chunk)?.get_mut(place.ok()?)
    }

    /// Adds a user, unless the user is there.
    pub(super) fn insert(&mut self, member: RosterMember) {
        let (at, Err(place)) = self.place(member.user()) else { return };
        self.count += 1;
        let Some(chunk) = self.chunks.get_mut(at) else {
            return self.chunks.push(vec![member]);
        };
        if chunk.len() == chunk.capacity() {
            // An eighth more: the usual doubling would waste a quarter of the memory of all rosters.
            chunk.reserve_exact(chunk.len() / 8 + 1);
        }
        chunk.insert(place, member);
        if chunk.len() > CHUNK_MEMBERS {
            let upper = chunk.split_off(CHUNK_MEMBERS / 2);
            chunk.shrink_to_fit();
            self.chunks.insert(at + 1, upper);
        }
    }

    pub(super) fn remove(&mut self, user: &UserName) {
        let (at, Ok(place)) = self.place(user) else { return };
        let Some(chunk) = self.chunks.get_mut(at) else { return };
        chunk.remove(place);
        self.count -= 1;
        if chunk.is_empty() {
            self.chunks.remove(at);
        } else if chunk.capacity() > 2 * chunk.len() {
            chunk.shrink_to_fit();
        }
    }

    /// The members after `user`, or all, in order.
    pub(super) fn after(&self, user: Option<&UserName>) -> impl Iterator<Item = &RosterMember> {
        let (chunk, skip) = match user {
            None => (0, 0),
            Some(user) => {
                let (chunk, place) = self.place(user);
                (chunk, place.map_or_else(|place| place, |place| place + 1))
            }
        };
        self.chunks.iter().skip(chunk).flatten().skip(skip)
    }

    /// The members with connections at this instance.
    pub(super) fn own(&self) -> impl Iterator<Item = &RosterMember> {
        self.after(None).filter(|member| member.connections.count() > 0)
    }

    /// The memory that is allocated, in bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        let chunk = |chunk: &Vec<RosterMember>| {
            let members = chunk.iter().map(|member| member.connections.heap_bytes()).sum::<usize>();
            chunk.capacity() * size_of::<RosterMember>() + members
        };
        self.chunks.capacity() * size_of::<Vec<RosterMember>>() + self.chunks.iter().map(chunk).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::super::connections::MemberLink;
    use super::super::event::ConnectionId;
    use super::*;
    use crate::id::ReactorId;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn member(user: &str) -> RosterMember {
        let user = UserName::parse(user).expect("a user");
        let connection = ConnectionId { name: 1, reactor: ReactorId(0) };
        let shown = Arc::new(Shown { user, info: None });
        RosterMember {
            shown,
            since_unix_ms: 0,
            connections: Connections::One(MemberLink::new(connection, None, 0)),
        }
    }

    proptest! {
        #[test]
        fn members_are_sorted_and_each_is_there_once(steps in prop::collection::vec((any::<bool>(), 0_u32..2_000), 0..3_000)) {
            let (mut members, mut model) = (RosterMembers::default(), BTreeSet::new());
            for (adds, number) in steps {
                let name = format!("u{number}");
                let user = UserName::parse(&name).expect("a user");
                if adds {
                    members.insert(member(&name));
                    model.insert(name);
                } else {
                    members.remove(&user);
                    model.remove(&name);
                    prop_assert!(members.get(&user).is_none());
                }
            }
            let found: Vec<&str> = members.after(None).map(|member| member.user().as_str()).collect();
            prop_assert_eq!(&found, &model.iter().map(String::as_str).collect::<Vec<_>>());
            prop_assert_eq!(members.len(), model.len());
            prop_assert!(members.chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= CHUNK_MEMBERS));
            for after in ["", "u1", "u1500x", "u999", "v"] {
                let user = UserName::parse(after).ok();
                let rest = members.after(user.as_ref()).map(|member| member.user().as_str());
                prop_assert_eq!(rest.collect::<Vec<_>>(), model.range::<str, _>((std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded)).map(String::as_str).collect::<Vec<_>>());
            }
        }
    }
}
