//! The part of a member that other instances contribute, and the number of connections that is shown.
//!
//! Connections that ended are *departing* for a while, and a new connection of the same user takes the place of one. Across instances it is
//! not known which one it replaces, and it may be seen before the loss of the other is. So the shown number stays as long as it
//! can be true: it is at most all connections, departing ones included, and rises to the live ones only when they have been more for
//! [`SETTLE`]. By then an instance that died is known to be gone, and a client that came back elsewhere changed nothing.
//!
//! A roster that has not been complete yet has shown no number that could be kept ([`Rise`]).

use crate::clock::Moment;
use crate::id::PresenceState;
use crate::wire::segment::SegmentMember;
use std::sync::Arc;
use std::time::Duration;

/// An instance is judged gone within 5.1 s, or 6.9 s while Redis is down.
pub(super) const SETTLE: Duration = Duration::from_secs(7);

/// A user's connections at all other instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RemoteShare {
    pub(super) live: u32,
    pub(super) departing: u32,
    pub(super) since_unix_ms: u64,
    /// The state that was set last, with its number.
    pub(super) state: Option<(u32, PresenceState)>,
    pub(super) info: Option<Arc<str>>,
}

/// The remote part of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MemberRemote {
    pub(super) share: RemoteShare,
    /// The connections that are shown, those of this instance among them.
    pub(super) shown: u32,
    /// Until then, more live connections are not shown.
    settles: Option<Moment>,
}

/// When the shown number rises to more live connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Rise {
    /// The roster has not been complete since its view was opened: the connections of other instances are found, not new.
    #[default]
    AtOnce,
    /// After [`SETTLE`].
    OnceSure,
}

/// Connections of a member at this instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OwnCount {
    pub(super) live: u32,
    pub(super) departing: u32,
}

impl RemoteShare {
    /// The share of a member of one segment.
    pub(super) fn of(member: &SegmentMember) -> RemoteShare {
        let state = member.state.clone().map(|state| (member.stated, state));
        let (live, departing, info) = (member.live, member.departing, member.info.clone());
        RemoteShare { live, departing, since_unix_ms: member.since_unix_ms, state, info }
    }

    /// The same once all of its connections depart.
    pub(super) fn departed(self) -> RemoteShare {
        RemoteShare { live: 0, departing: self.live.saturating_add(self.departing), ..self }
    }

    /// Adds the share of another segment.
    pub(super) fn add(&mut self, other: RemoteShare) {
        // The data of a live connection is newer than that of one which ended.
        let is_newer = (other.live > 0, other.stated()) > (self.live > 0, self.stated());
        if is_newer || self.info.is_none() {
            self.info = other.info.clone().or(self.info.take());
        }
        if other.stated() > self.stated() {
            self.state.clone_from(&other.state);
        }
        self.live = self.live.saturating_add(other.live);
        self.departing = self.departing.saturating_add(other.departing);
        self.since_unix_ms = self.since_unix_ms.min(other.since_unix_ms);
    }

    fn stated(&self) -> u32 {
        self.state.as_ref().map_or(0, |(stated, _)| *stated)
    }
}

impl MemberRemote {
    /// Of a user that has `shown` connections at this instance, departing ones among them; 0: the user is new.
    pub(super) fn new(share: RemoteShare, shown: u32) -> MemberRemote {
        let shown = match (shown, share.live) {
            (0, 0) => share.departing,
            (0, live) => live,
            (own, _) => own,
        };
        MemberRemote { share, shown, settles: None }
    }

    /// Decides how many connections are shown. Returns the moment at which to decide again, if that is new.
    pub(super) fn settle(&mut self, own: OwnCount, rise: Rise, now: Moment) -> Option<Moment> {
        let live = own.live.saturating_add(self.share.live);
        let all = live.saturating_add(own.departing).saturating_add(self.share.departing);
        let mut asks = None;
        if live <= self.shown {
            self.settles = None;
        } else if rise == Rise::AtOnce {
            (self.shown, self.settles) = (live, None);
        } else if let Some(settles) = self.settles {
            if settles <= now {
                (self.shown, self.settles) = (live, None);
            }
        } else {
            self.settles = Some(now + SETTLE);
            asks = self.settles;
        }
        self.shown = self.shown.min(all).max(1);
        asks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(live: u32, departing: u32) -> RemoteShare {
        RemoteShare { live, departing, since_unix_ms: 1, state: None, info: None }
    }

    fn at(s: u64) -> Moment {
        Moment::from_micros(s * 1_000_000)
    }

    fn settle(member: &mut MemberRemote, own: (u32, u32), now: Moment) -> (Option<Moment>, u32) {
        let (live, departing) = own;
        (member.settle(OwnCount { live, departing }, Rise::OnceSure, now), member.shown)
    }

    #[test]
    fn return_before_the_loss_is_known_changes_no_number() {
        let mut member = MemberRemote::new(share(1, 0), 0);
        assert_eq!(settle(&mut member, (0, 0), at(0)), (None, 1));
        // Back here, while the other instance is not known to be gone.
        assert_eq!(settle(&mut member, (1, 0), at(3)), (Some(at(10)), 1));
        member.share = share(0, 1);
        assert_eq!(settle(&mut member, (1, 0), at(5)), (None, 1));
        assert_eq!(settle(&mut member, (1, 0), at(10)), (None, 1));
    }

    #[test]
    fn second_device_is_shown_once_it_is_sure_and_a_departing_one_until_it_is_gone() {
        let mut member = MemberRemote::new(share(1, 0), 1);
        assert_eq!(settle(&mut member, (1, 0), at(0)), (Some(at(7)), 1));
        assert_eq!(settle(&mut member, (1, 0), at(6)), (None, 1), "asked for already");
        assert_eq!(settle(&mut member, (1, 0), at(7)), (None, 2));
        assert_eq!(settle(&mut member, (0, 1), at(8)), (None, 2), "it may come back");
        assert_eq!(settle(&mut member, (0, 0), at(9)), (None, 1));
    }

    #[test]
    fn connections_that_are_found_before_the_roster_is_complete_are_shown_at_once() {
        let mut member = MemberRemote::new(share(2, 0), 1);
        let own = OwnCount { live: 1, departing: 0 };
        assert_eq!((member.settle(own, Rise::AtOnce, at(0)), member.shown), (None, 3));
        member.share = share(3, 0);
        assert_eq!(settle(&mut member, (1, 0), at(1)), (Some(at(8)), 3), "and later ones when they are sure");
    }

    #[test]
    fn newest_state_is_shown_and_the_data_of_a_live_connection() {
        let state = |word: &str, stated| Some((stated, PresenceState::parse(word).expect("a state")));
        let mut sum = RemoteShare { state: state("away", 9), info: Some("1".into()), ..share(0, 1) };
        sum.add(RemoteShare { state: state("active", 5), info: Some("2".into()), ..share(2, 0) });
        assert_eq!((sum.live, sum.departing, &sum.state), (2, 1, &state("away", 9)));
        assert_eq!(sum.info.as_deref(), Some("2"));
    }
}
