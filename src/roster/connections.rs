//! The connections of one member.

use super::event::ConnectionId;
use super::share::{MemberRemote, OwnCount, RemoteShare};
use crate::id::{PresenceState, ReactorId};

/// One connection of a member: 32 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MemberLink {
    name: u64,
    state: Option<PresenceState>,
    /// Grows with each state that is set: the last one is shown.
    stated: u32,
    reactor: ReactorId,
    /// The number of its departure; 0 while it is present.
    departure: u16,
}

/// All connections of a member; nearly always one, and at this instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Connections {
    #[default]
    None,
    One(MemberLink),
    Several(Box<Links>),
    /// Other instances have some.
    Elsewhere(Box<Elsewhere>),
}

/// Connections at other instances, and those at this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Elsewhere {
    /// Never [`Connections::Elsewhere`].
    own: Connections,
    pub(super) remote: MemberRemote,
}

/// Several connections, sorted by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Links {
    links: Vec<MemberLink>,
    /// The number of departing ones.
    departing: u32,
    /// The state that was set last, with its number.
    newest: Option<(u32, PresenceState)>,
}

/// The result of adding a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// It was there, or took the place of one that departs.
    Replaced,
    New,
}

impl MemberLink {
    pub(super) fn new(connection: ConnectionId, state: Option<PresenceState>, stated: u32) -> MemberLink {
        let ConnectionId { name, reactor } = connection;
        MemberLink { name, state, stated, reactor, departure: 0 }
    }

    pub(super) fn connection(&self) -> ConnectionId {
        ConnectionId { name: self.name, reactor: self.reactor }
    }

    fn departs(&self) -> bool {
        self.departure != 0
    }
}

impl Connections {
    /// Those at other instances.
    pub(super) fn remote(&self) -> Option<&MemberRemote> {
        match self {
            Connections::Elsewhere(elsewhere) => Some(&elsewhere.remote),
            Connections::None | Connections::One(_) | Connections::Several(_) => None,
        }
    }

    pub(super) fn remote_mut(&mut self) -> Option<&mut MemberRemote> {
        match self {
            Connections::Elsewhere(elsewhere) => Some(&mut elsewhere.remote),
            Connections::None | Connections::One(_) | Connections::Several(_) => None,
        }
    }

    /// Replaces the share of other instances; `None`: they have no connection.
    pub(super) fn set_share(&mut self, share: Option<RemoteShare>) {
        *self = match (std::mem::take(self), share) {
            (Connections::Elsewhere(elsewhere), None) => elsewhere.own,
            (Connections::Elsewhere(mut elsewhere), Some(share)) => {
                elsewhere.remote.share = share;
                Connections::Elsewhere(elsewhere)
            }
            (own, None) => own,
            (own, Some(share)) => {
                let remote = MemberRemote::new(share, own.count());
                Connections::Elsewhere(Box::new(Elsewhere { own, remote }))
            }
        };
    }

    /// The number of connections at this instance.
    pub(super) fn count(&self) -> u32 {
        match self {
            Connections::Elsewhere(elsewhere) => elsewhere.own.count(),
            Connections::None => 0,
            Connections::One(_) => 1,
            Connections::Several(several) => u32::try_from(several.links.len()).unwrap_or(u32::MAX),
        }
    }

    /// The connections, by whether they depart.
    pub(super) fn own_count(&self) -> OwnCount {
        let departing = match self {
            Connections::Elsewhere(elsewhere) => return elsewhere.own.own_count(),
            Connections::None => 0,
            Connections::One(link) => u32::from(link.departs()),
            Connections::Several(several) => several.departing,
        };
        OwnCount { live: self.count().saturating_sub(departing), departing }
    }

    /// The state that any of those at this instance set last, with its number.
    pub(super) fn stated(&self) -> Option<(u32, &PresenceState)> {
        match self {
            Connections::Elsewhere(elsewhere) => elsewhere.own.stated(),
            Connections::None => None,
            Connections::One(link) => Some((link.stated, link.state.as_ref()?)),
            Connections::Several(several) => several.newest.as_ref().map(|(stated, state)| (*stated, state)),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &MemberLink> {
        let own = match self {
            Connections::Elsewhere(elsewhere) => &elsewhere.own,
            own => own,
        };
        let (one, several) = match own {
            Connections::Elsewhere(_) | Connections::None => (None, [].as_slice()),
            Connections::One(link) => (Some(link), [].as_slice()),
            Connections::Several(several) => (None, several.links.as_slice()),
        };
        one.into_iter().chain(several)
    }

    /// The memory outside of the member itself, in bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        let state = |link: &MemberLink| link.state.as_ref().map_or(0, |state| state.as_str().len());
        let several = match self {
            Connections::Elsewhere(elsewhere) => {
                return size_of::<Elsewhere>() + elsewhere.own.heap_bytes();
            }
            Connections::None | Connections::One(_) => 0,
            Connections::Several(several) => {
                size_of::<Links>() + several.links.capacity() * size_of::<MemberLink>()
            }
        };
        several + self.iter().map(state).sum::<usize>()
    }

    /// Adds a connection, or updates it. One that departs gives it its place: preferably one in the same state.
    pub(super) fn add(&mut self, new: MemberLink) -> Added {
        match self {
            Connections::Elsewhere(elsewhere) => elsewhere.own.add(new),
            Connections::None => {
                *self = Connections::One(new);
                Added::New
            }
            Connections::One(link) if link.name == new.name || link.departs() => {
                *link = new;
                Added::Replaced
            }
            Connections::One(link) => {
                let mut several = Links { links: vec![link.clone()], departing: 0, newest: None };
                several.insert(new);
                several.find_newest();
                *self = Connections::Several(Box::new(several));
                Added::New
            }
            Connections::Several(several) => several.add(new),
        }
    }

    /// Marks a connection as departing; false if it is not present.
    pub(super) fn depart(&mut self, name: u64, departure: u16) -> bool {
        match self {
            Connections::Elsewhere(elsewhere) => return elsewhere.own.depart(name, departure),
            Connections::One(link) if link.name == name && !link.departs() => link.departure = departure,
            Connections::None | Connections::One(_) => return false,
            Connections::Several(several) => {
                let Some(link) = several.find(name).and_then(|at| several.links.get_mut(at)) else {
                    return false;
                };
                if link.departs() {
                    return false;
                }
                link.departure = departure;
                several.departing += 1;
            }
        }
        true
    }

    /// True exactly if the connection is there, and departs with this number; with `None`, in whatever way.
    pub(super) fn has(&self, name: u64, departure: Option<u16>) -> bool {
        let link = match self {
            Connections::Elsewhere(elsewhere) => return elsewhere.own.has(name, departure),
            Connections::None => None,
            Connections::One(link) => Some(link).filter(|link| link.name == name),
            Connections::Several(several) => several.find(name).and_then(|at| several.links.get(at)),
        };
        link.is_some_and(|link| departure.is_none_or(|departure| link.departure == departure))
    }

    /// Removes a connection that is there. True exactly if none is left.
    pub(super) fn remove(&mut self, name: u64) -> bool {
        match self {
            Connections::Elsewhere(elsewhere) => {
                elsewhere.own.remove(name);
                false
            }
            Connections::None | Connections::One(_) => {
                *self = Connections::None;
                true
            }
            Connections::Several(several) => {
                if let Some(at) = several.find(name) {
                    several.remove(at);
                }
                if let [link] = several.links.as_slice() {
                    *self = Connections::One(link.clone());
                }
                false
            }
        }
    }
}

impl Links {
    fn find(&self, name: u64) -> Option<usize> {
        self.links.binary_search_by_key(&name, |link| link.name).ok()
    }

    fn insert(&mut self, new: MemberLink) {
        let at = self.links.partition_point(|link| link.name < new.name);
        self.links.insert(at, new);
    }

    fn remove(&mut self, at: usize) {
        let link = self.links.remove(at);
        self.departing -= u32::from(link.departs());
        if link.state.is_some() && self.newest.as_ref().is_some_and(|(stated, _)| *stated == link.stated) {
            self.find_newest();
        }
    }

    fn find_newest(&mut self) {
        let stated = self.links.iter().filter_map(|link| Some((link.stated, link.state.as_ref()?)));
        let newest = stated.max_by_key(|(stated, _)| *stated);
        self.newest = newest.map(|(stated, state)| (stated, state.clone()));
    }

    fn add(&mut self, new: MemberLink) -> Added {
        let gives_place = self.find(new.name).or_else(|| self.departing_like(&new));
        if let Some(at) = gives_place {
            self.remove(at);
        }
        if let Some(state) = &new.state {
            self.newest = Some((new.stated, state.clone()));
        }
        self.insert(new);
        if gives_place.is_some() { Added::Replaced } else { Added::New }
    }

    /// One that departs, preferably in the state of `new`.
    fn departing_like(&self, new: &MemberLink) -> Option<usize> {
        if self.departing == 0 {
            return None;
        }
        let alike = |link: &MemberLink| link.departs() && link.state == new.state;
        self.links.iter().position(alike).or_else(|| self.links.iter().position(MemberLink::departs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: u64, state: Option<&str>, stated: u32) -> MemberLink {
        let state = state.map(|state| PresenceState::parse(state).expect("a state"));
        MemberLink::new(ConnectionId { name, reactor: ReactorId(0) }, state, stated)
    }

    fn state(connections: &Connections) -> Option<&str> {
        connections.stated().map(|(_, state)| state.as_str())
    }

    #[test]
    fn state_that_was_set_last_is_shown_until_its_connection_is_gone() {
        let mut all = Connections::One(link(5, Some("active"), 1));
        assert_eq!(all.add(link(3, None, 2)), Added::New);
        assert_eq!(state(&all), Some("active"), "a connection without a state changes none");
        assert_eq!(all.add(link(9, Some("away"), 3)), Added::New);
        assert_eq!((all.count(), state(&all)), (3, Some("away")));
        assert!(!all.remove(9));
        assert_eq!((all.count(), state(&all)), (2, Some("active")));
        assert!(!all.remove(5));
        assert_eq!((all.count(), state(&all)), (1, None));
        assert!(matches!(all, Connections::One(_)) && all.has(3, None));
        assert!(all.remove(3) && all == Connections::None, "none is left");
    }

    #[test]
    fn new_connection_takes_the_place_of_one_that_departs_in_the_same_state() {
        let mut all = Connections::One(link(1, Some("a"), 1));
        all.add(link(2, Some("b"), 2));
        assert!(all.depart(1, 7) && all.depart(2, 8) && !all.depart(2, 9) && !all.depart(3, 9));
        assert_eq!(all.add(link(4, Some("b"), 3)), Added::Replaced);
        assert!(all.has(1, Some(7)) && !all.has(2, None) && all.has(4, Some(0)));
        assert_eq!(all.add(link(5, None, 4)), Added::Replaced);
        assert_eq!((all.count(), state(&all)), (2, Some("b")));
        assert_eq!(all.add(link(6, None, 5)), Added::New);
        assert!(size_of::<MemberLink>() <= 32 && size_of::<Connections>() <= 40);
    }
}
