//! The connected clients by their name and version (`client` of `connect`).
//!
//! The texts are the clients' own, so only a few are kept. A place is free again when its last client has left.

use crate::engine::Engine;
use crate::metrics::clients::{VERSIONS_MAX, VersionCount, VersionCounts};
use crate::session::ClientText;

/// The place of a client's version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::engine) enum VersionPlace {
    /// `connect` had none.
    #[default]
    Absent,
    Kept(u8),
    Other,
}

/// The numbers of clients.
#[derive(Debug, Default)]
pub(in crate::engine) struct ClientVersions {
    kept: Vec<VersionCount>,
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
    /// Counts a client that is connected.
    pub(in crate::engine) fn enter(&mut self, client: &str) -> VersionPlace {
        if client.is_empty() {
            return VersionPlace::Absent;
        }
        self.state = PublishState::Changed;
        let known = self.kept.iter().position(|one| one.clients > 0 && one.version.as_str() == client);
        let place = known.or_else(|| self.kept.iter().position(|one| one.clients == 0)).or_else(|| {
            (self.kept.len() < VERSIONS_MAX).then(|| {
                self.kept.push(VersionCount::default());
                self.kept.len() - 1
            })
        });
        match place.and_then(|place| self.kept.get_mut(place).map(|one| (place, one))) {
            Some((place, one)) => {
                if one.clients == 0 {
                    one.version = ClientText::of(client);
                }
                one.clients += 1;
                VersionPlace::Kept(place as u8)
            }
            None => {
                self.others += 1;
                VersionPlace::Other
            }
        }
    }

    /// Counts a client that left.
    pub(in crate::engine) fn leave(&mut self, place: VersionPlace) {
        let count = match place {
            VersionPlace::Absent => None,
            VersionPlace::Kept(place) => self.kept.get_mut(usize::from(place)).map(|one| &mut one.clients),
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
        let kept = || self.kept.iter().filter(|one| one.clients > 0).copied().collect();
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

    #[test]
    fn clients_are_counted_by_version_and_leave_where_they_entered() {
        let mut versions = ClientVersions::default();
        let places: Vec<VersionPlace> =
            ["web 1", "web 2", "web 1", ""].iter().map(|client| versions.enter(client)).collect();
        assert_eq!(places[0], places[2]);
        assert_eq!(places[3], VersionPlace::Absent);
        versions.leave(places[0]);
        let clients: Vec<u64> = versions.kept.iter().map(|one| one.clients).collect();
        assert_eq!(clients, [1, 1]);
        assert_eq!(versions.take_changed().map(|counts| counts.kept.len()), Some(2));
        assert_eq!(versions.take_changed(), None, "nothing has changed");
    }

    #[test]
    fn versions_over_the_bound_are_others_until_a_place_is_free() {
        let mut versions = ClientVersions::default();
        let first = versions.enter("v0");
        for number in 1..VERSIONS_MAX {
            versions.enter(&format!("v{number}"));
        }
        let other = versions.enter("late");
        assert_eq!((other, versions.others, versions.kept.len()), (VersionPlace::Other, 1, VERSIONS_MAX));
        versions.leave(first);
        assert_eq!(versions.enter("newer"), first, "a free place takes another version");
        versions.leave(other);
        assert_eq!((versions.others, versions.kept[0].version.as_str()), (0, "newer"));
    }
}
