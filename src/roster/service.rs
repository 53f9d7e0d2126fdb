//! The other instances of the service, as the owner of the rosters knows them.

use crate::clock::Moment;
use crate::id::Incarnation;
use std::sync::Arc;

/// The state of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceState {
    /// The current one of this process.
    pub incarnation: Incarnation,
    /// Segments can be read and written.
    pub storage: WayState,
    /// Messages about segments arrive.
    pub messages: WayState,
    /// Sorted by origin.
    pub others: Vec<RosterInstance>,
}

/// Says if this instance reaches something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WayState {
    Reached,
    Lost,
}

/// Another instance, with its newest incarnation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterInstance {
    pub incarnation: Incarnation,
    pub name: Arc<str>,
    pub standing: InstanceStanding,
}

/// The state of an instance, as far as its segments are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceStanding {
    /// It lives, and its segments hold all of its members.
    Sure,
    /// It lives, but may have more members, or others, than its segments show.
    Unsure,
    /// It ended at this moment: its members depart.
    Ended(Moment),
}

impl ServiceState {
    /// The state before anything is known.
    pub fn unknown(incarnation: Incarnation) -> ServiceState {
        ServiceState { incarnation, storage: WayState::Lost, messages: WayState::Lost, others: Vec::new() }
    }

    pub(super) fn other(&self, origin: u64) -> Option<&RosterInstance> {
        let place = self.others.binary_search_by_key(&origin, |other| other.incarnation.origin).ok()?;
        self.others.get(place)
    }

    /// True if segments can be read and messages about them arrive.
    pub(super) fn reaches_all(&self) -> bool {
        self.storage == WayState::Reached && self.messages == WayState::Reached
    }

    /// True if every living instance can be known from its segments.
    pub(super) fn is_sure(&self) -> bool {
        self.reaches_all() && self.others.iter().all(|other| other.standing != InstanceStanding::Unsure)
    }

    /// True if segments may have been written, or messages lost, that the state before did not know of.
    pub(super) fn calls_for_reads(&self, before: &ServiceState) -> bool {
        let is_back = |now, before| now == WayState::Reached && before == WayState::Lost;
        let is_new = |other: &&RosterInstance| match before.other(other.incarnation.origin) {
            None => true,
            Some(before) => {
                before.incarnation != other.incarnation
                    || other.standing == InstanceStanding::Sure && before.standing != InstanceStanding::Sure
            }
        };
        is_back(self.storage, before.storage)
            || is_back(self.messages, before.messages)
            || self.others.iter().any(|other| is_new(&other))
    }

    /// The names of the living instances whose members are not known.
    pub(super) fn unsure(&self) -> impl Iterator<Item = &str> {
        let unsure = self.others.iter().filter(|other| other.standing == InstanceStanding::Unsure);
        unsure.map(|other| &*other.name)
    }
}
