//! The other instances of the service, as the owner of the rosters knows them.

use crate::clock::Moment;
use crate::id::{ChannelName, Incarnation};
use crate::wire::partitions::PartitionSet;
use crate::wire::slot::Partition;
use std::sync::Arc;

/// A topic to follow, or to leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicWish {
    Follow(ChannelName),
    Leave(ChannelName),
}

/// The bounds of what is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharingBounds {
    /// The memory of all views (`presence.views_bytes`). Over it, a view has numbers alone.
    pub views_bytes: u64,
}

/// The state of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceState {
    /// The current one of this process.
    pub incarnation: Incarnation,
    /// Segments can be read and written.
    pub storage: Ways,
    /// Messages about segments arrive.
    pub messages: Ways,
    /// Sorted by origin.
    pub others: Vec<RosterInstance>,
}

/// Says if this instance reaches something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WayState {
    Reached,
    Lost,
}

/// The partitions in which this instance reaches something: on one server all or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ways {
    pub lost: PartitionSet,
}

impl Ways {
    pub const REACHED: Ways = Ways { lost: PartitionSet::EMPTY };
    pub const LOST: Ways = Ways { lost: PartitionSet::ALL };

    pub fn at(self, partition: Partition) -> WayState {
        if self.lost.contains(partition) { WayState::Lost } else { WayState::Reached }
    }
}

/// Another instance, with its newest incarnation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterInstance {
    pub incarnation: Incarnation,
    pub name: Arc<str>,
    pub standing: InstanceStanding,
    /// Partitions in which the segments of this incarnation may lack something.
    pub unwritten: PartitionSet,
}

impl RosterInstance {
    /// True if everything that its process has in a partition is in segments of this incarnation.
    pub(super) fn has_written(&self, partition: Partition) -> bool {
        !self.unwritten.contains(partition)
    }

    /// True if its segments in a partition hold all of its members.
    fn is_known(&self, partition: Partition) -> bool {
        match self.standing {
            InstanceStanding::Sure => !self.unwritten.contains(partition),
            InstanceStanding::Unsure => false,
            InstanceStanding::Ended(_) => true,
        }
    }
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
        ServiceState { incarnation, storage: Ways::LOST, messages: Ways::LOST, others: Vec::new() }
    }

    pub(super) fn other(&self, origin: u64) -> Option<&RosterInstance> {
        let place = self.others.binary_search_by_key(&origin, |other| other.incarnation.origin).ok()?;
        self.others.get(place)
    }

    /// True if segments of a partition can be read and messages about them arrive.
    pub(super) fn reaches(&self, partition: Partition) -> bool {
        !self.storage.lost.union(self.messages.lost).contains(partition)
    }

    /// True while the leases of all instances can be read.
    pub(super) fn reads_leases(&self) -> bool {
        self.storage.at(Partition::FIRST) == WayState::Reached
    }

    /// True if every living instance can be known from its segments in a partition.
    pub(super) fn is_sure(&self, partition: Partition) -> bool {
        self.reaches(partition) && self.others.iter().all(|other| other.is_known(partition))
    }

    /// The partitions in which segments may have been written, or messages lost, that the state before did not know of.
    pub(super) fn calls_for_reads(&self, before: &ServiceState) -> PartitionSet {
        let back = |now: Ways, before: Ways| before.lost.without(now.lost);
        let of_instance = |other: &RosterInstance| match before.other(other.incarnation.origin) {
            Some(before) => {
                let is_new = before.incarnation != other.incarnation
                    || other.standing == InstanceStanding::Sure && before.standing != InstanceStanding::Sure;
                if is_new { PartitionSet::ALL } else { before.unwritten.without(other.unwritten) }
            }
            None => PartitionSet::ALL,
        };
        let ways = back(self.storage, before.storage).union(back(self.messages, before.messages));
        self.others.iter().map(of_instance).fold(ways, PartitionSet::union)
    }

    /// The names of the living instances whose members in a partition are not known.
    pub(super) fn unsure(&self, partition: Partition) -> impl Iterator<Item = &str> {
        self.others.iter().filter(move |other| !other.is_known(partition)).map(|other| &*other.name)
    }
}
