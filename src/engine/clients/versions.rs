//! The connected clients by their name and version (`client` of `connect`).
//!
//! The texts are the clients' own, so only a few are kept, and one user, or one address without users, fills only a few of their places. A
//! place is free again when its last client has left.

use crate::auth::party::Party;
use crate::engine::Engine;
use crate::metrics::clients::{VERSIONS_MAX, VersionCount, VersionCounts};
use crate::session::ClientText;

/// The places of versions that only one party has.
const VERSIONS_PER_PARTY: usize = VERSIONS_MAX / 8;

/// The place of a client's version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::engine) enum VersionPlace {
    /// `connect` had none.
    #[default]
    Absent,
    Kept(u8),
    Other,
}

/// A version, its clients, and the party of its first client.
#[derive(Debug, Default)]
struct KeptVersion {
    count: VersionCount,
    /// `None` if it shares with no other. It stays with the first one: two parties with the same invented names use the share of one.
    holder: Option<Party>,
}

/// The numbers of clients.
#[derive(Debug, Default)]
pub(in crate::engine) struct ClientVersions {
    kept: Vec<KeptVersion>,
    others: u64,
    state: PublishState,
}

/// The numbers and their last publication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum PublishState {
    #[default]
    Published,
    Changed,
}

impl ClientVersions {
    /// Counts a client that is connected. `party`: that of the client; `None` for a client behind a proxy that reports no address, which
    /// shares nothing.
    pub(in crate::engine) fn enter(
        &mut self,
        client: &str,
        party: impl FnOnce() -> Option<Party>,
    ) -> VersionPlace {
        if client.is_empty() {
            return VersionPlace::Absent;
        }
        self.state = PublishState::Changed;
        let is_it = |one: &KeptVersion| one.count.clients > 0 && one.count.version.as_str() == client;
        if let Some((place, one)) = self.kept.iter_mut().enumerate().find(|(_, one)| is_it(one)) {
            one.count.clients += 1;
            return VersionPlace::Kept(place as u8);
        }
        match self.place(party()) {
            Some((place, one)) => {
                one.count = VersionCount { version: ClientText::of(client), clients: 1 };
                VersionPlace::Kept(place as u8)
            }
            None => {
                self.others += 1;
                VersionPlace::Other
            }
        }
    }

    /// A free place that this party may fill.
    fn place(&mut self, party: Option<Party>) -> Option<(usize, &mut KeptVersion)> {
        let is_held = |one: &&KeptVersion| one.count.clients > 0 && one.holder == party;
        if party.is_some() && self.kept.iter().filter(is_held).count() >= VERSIONS_PER_PARTY {
            return None;
        }
        let free = self.kept.iter().position(|one| one.count.clients == 0);
        let place = free.unwrap_or(self.kept.len());
        if place == self.kept.len() && place < VERSIONS_MAX {
            self.kept.push(KeptVersion::default());
        }
        let one = self.kept.get_mut(place)?;
        one.holder = party;
        Some((place, one))
    }

    /// Counts a client that left.
    pub(in crate::engine) fn leave(&mut self, place: VersionPlace) {
        let count = match place {
            VersionPlace::Absent => None,
            VersionPlace::Kept(place) => {
                self.kept.get_mut(usize::from(place)).map(|one| &mut one.count.clients)
            }
            VersionPlace::Other => Some(&mut self.others),
        };
        if let Some(count) = count {
            *count = count.saturating_sub(1);
            self.state = PublishState::Changed;
        }
    }

    /// The numbers, if they have changed since the last call.
    fn take_changed(&mut self) -> Option<VersionCounts> {
        let is_due = std::mem::take(&mut self.state) == PublishState::Changed;
        let kept = || self.kept.iter().map(|one| one.count).filter(|count| count.clients > 0).collect();
        is_due.then(|| VersionCounts { kept: kept(), others: self.others })
    }
}

impl Engine {
    /// The numbers of clients by version, if they have changed since the last call.
    pub fn take_versions(&mut self) -> Option<VersionCounts> {
        self.rounds.clients.versions.take_changed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::UserName;

    fn user(name: &str) -> Option<Party> {
        Some(Party::User(UserName::parse(name).expect("a user name")))
    }

    fn address(last: u8) -> Option<Party> {
        Some(Party::of([192, 0, 2, last].into()))
    }

    #[test]
    fn clients_are_counted_by_version_and_leave_where_they_entered() {
        let mut versions = ClientVersions::default();
        let places: Vec<VersionPlace> = ["web 1", "web 2", "web 1", ""]
            .iter()
            .map(|client| versions.enter(client, || user("ada")))
            .collect();
        assert_eq!(places[0], places[2]);
        assert_eq!(places[3], VersionPlace::Absent);
        versions.leave(places[0]);
        let clients: Vec<u64> = versions.kept.iter().map(|one| one.count.clients).collect();
        assert_eq!(clients, [1, 1]);
        assert_eq!(versions.take_changed().map(|counts| counts.kept.len()), Some(2));
        assert_eq!(versions.take_changed(), None, "nothing has changed");
    }

    #[test]
    fn versions_over_the_bound_are_others_until_a_place_is_free() {
        let mut versions = ClientVersions::default();
        let first = versions.enter("v0", || None);
        for number in 1..VERSIONS_MAX {
            versions.enter(&format!("v{number}"), || None);
        }
        let other = versions.enter("late", || None);
        assert_eq!((other, versions.others, versions.kept.len()), (VersionPlace::Other, 1, VERSIONS_MAX));
        versions.leave(first);
        assert_eq!(versions.enter("newer", || None), first, "a free place takes another version");
        versions.leave(other);
        assert_eq!((versions.others, versions.kept[0].count.version.as_str()), (0, "newer"));
    }

    #[test]
    fn names_that_only_one_user_or_address_has_fill_their_share_and_no_more() {
        for party in [user("mallory"), address(7)] {
            let mut versions = ClientVersions::default();
            let mut enter = |name: &str, party: &Option<Party>| versions.enter(name, || party.clone());
            let places: Vec<VersionPlace> =
                (0..VERSIONS_MAX).map(|number| enter(&format!("own {number}"), &party)).collect();
            let kept = places.iter().filter(|place| **place != VersionPlace::Other).count();
            assert_eq!(kept, VERSIONS_PER_PARTY, "{party:?}");
            assert_ne!(enter("web 1", &user("ada")), VersionPlace::Other);
            assert_eq!(enter("own 99", &party), VersionPlace::Other);
            // A name that another party has as well makes no room for more.
            enter("own 0", &address(8));
            assert_eq!(enter("own 98", &party), VersionPlace::Other);
            versions.leave(places[1]);
            assert_eq!(versions.enter("own 98", || party.clone()), places[1], "its place is free again");
        }
    }
}
