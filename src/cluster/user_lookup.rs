//! The answer to "where is this user connected": which of the fields that Redis has count, and whether they are all there is.
//!
//! A field counts while its incarnation is the newest one of an instance that lives. An answer is complete only if each of these
//! instances has written all its users for the incarnation that this one knows, and Redis still has what it wrote last: its lease,
//! and the number of its last flush. So an emptied Redis gives no wrong answer, although its writers notice it a second later.

use super::instance::{InstanceState, KnownInstance};
use crate::id::{Incarnation, UserName};
use crate::wire::api::users::UserAnswer;
use crate::wire::lease::{Lease, LeasePhase};
use crate::wire::partitions::PartitionSet;
use crate::wire::user_fields::UserConnections;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Users in one look-up.
pub const LOOKUP_USERS_MAX: usize = 100;

/// A user's connections at all instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundUser {
    pub user: UserName,
    /// By the name of the instance.
    pub instances: Vec<UserAt>,
    /// False if other instances may have connections of the user that are not listed.
    pub is_complete: bool,
}

/// A user's connections at one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserAt {
    pub instance: Arc<str>,
    pub connections: UserConnections,
}

impl FoundUser {
    /// `None`: not known.
    pub fn is_online(&self) -> Option<bool> {
        match (self.instances.is_empty(), self.is_complete) {
            (false, _) => Some(true),
            (true, true) => Some(false),
            (true, false) => None,
        }
    }

    /// The connections at all instances that are known.
    pub fn connections(&self) -> u64 {
        self.instances.iter().map(|at| u64::from(at.connections.connections)).sum()
    }

    /// The form in which applications and operators see it.
    pub fn answer(&self) -> UserAnswer<'_> {
        UserAnswer {
            user: self.user.as_str(),
            is_online: self.is_online(),
            connections: self.connections(),
            instances: self.instances.iter().map(|at| (&*at.instance, at.connections)).collect(),
        }
    }
}

/// The state of the writers in one reading of Redis. It must be made after the fields were read.
#[derive(Clone, Debug, Default)]
pub struct WritersReading {
    pub leases: Vec<(Incarnation, Lease)>,
    /// The partitions that it is about.
    pub partitions: PartitionSet,
    /// The incarnations that have a flush number there.
    pub flushed: BTreeSet<Incarnation>,
}

/// The incarnations whose fields count.
#[derive(Clone, Debug)]
pub struct CountingWriters {
    /// Without the own one.
    names: BTreeMap<Incarnation, Arc<str>>,
    pub is_complete: bool,
}

impl CountingWriters {
    /// Judges the other instances from what this one knows and from the reading. Call it with `None` if Redis cannot be read.
    pub fn of<'a>(
        own: u64,
        known: impl Iterator<Item = &'a KnownInstance>,
        reading: Option<&WritersReading>,
    ) -> CountingWriters {
        let known: Vec<&KnownInstance> = known.collect();
        let living = || known.iter().filter(|known| known.state.lives());
        let names = living().map(|known| (known.incarnation(), Arc::clone(&known.name))).collect();
        let is_complete = reading.is_some_and(|reading| {
            let has_written = |known: &&&KnownInstance| {
                let incarnation = known.incarnation();
                let lease = reading.leases.iter().find(|(owner, _)| *owner == incarnation);
                let is_newest =
                    lease.is_some_and(|(_, lease)| lease.parts.users && lease.renewals >= known.renewals());
                let is_behind = lease.is_some_and(|(_, lease)| {
                    !lease.parts.unwritten.intersection(reading.partitions).is_empty()
                });
                let is_there = is_newest && !is_behind && reading.flushed.contains(&incarnation);
                known.state != InstanceState::Isolated && !known.has_old_lease() && is_there
            };
            // An instance that begins, or an incarnation of one: its users are not known to be all there.
            let is_new = |(owner, lease): &(Incarnation, Lease)| {
                let is_known =
                    known.iter().any(|known| known.origin == owner.origin && known.count >= owner.count);
                owner.origin != own && lease.phase != LeasePhase::Left && !is_known
            };
            living().all(|known| has_written(&known)) && !reading.leases.iter().any(is_new)
        });
        CountingWriters { names, is_complete }
    }

    /// The name of the instance whose fields these are; `None` if they do not count.
    pub fn name(&self, incarnation: Incarnation) -> Option<&Arc<str>> {
        self.names.get(&incarnation)
    }

    /// The incarnations whose fields count.
    pub fn incarnations(&self) -> BTreeSet<Incarnation> {
        self.names.keys().copied().collect()
    }

    /// The answer for one user, from this instance's connections and the fields of the others.
    pub fn find(
        &self,
        user: UserName,
        own: Option<UserAt>,
        fields: &[(Incarnation, UserConnections)],
    ) -> FoundUser {
        let others = fields.iter().filter_map(|(incarnation, connections)| {
            let instance = Arc::clone(self.name(*incarnation)?);
            Some(UserAt { instance, connections: *connections })
        });
        let mut instances: Vec<UserAt> = own.into_iter().chain(others).collect();
        instances.sort_by(|one, other| one.instance.cmp(&other.instance));
        FoundUser { user, instances, is_complete: self.is_complete }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;
    use crate::wire::lease::LeaseParts;
    use crate::wire::slot::Partition;

    const OWN: u64 = 1;
    const WRITTEN: LeaseParts = LeaseParts { users: true, rosters: false, unwritten: PartitionSet::EMPTY };

    fn known(origin: u64, state: InstanceState) -> KnownInstance {
        let name = Arc::from(format!("gw-{origin}"));
        KnownInstance { state, ..KnownInstance::new(origin, 1, name, Moment::ZERO) }
    }

    fn incarnation(origin: u64, count: u32) -> Incarnation {
        Incarnation { origin, count }
    }

    fn lease(parts: LeaseParts) -> Lease {
        Lease { renewals: 5, phase: LeasePhase::Serving, parts, name: "x".into() }
    }

    /// Redis with a lease and a flush number of gw-2 and gw-3.
    fn reading() -> WritersReading {
        let writers = [incarnation(OWN, 1), incarnation(2, 1), incarnation(3, 1)];
        WritersReading {
            leases: writers.map(|writer| (writer, lease(WRITTEN))).into(),
            partitions: PartitionSet::from(Partition::FIRST),
            flushed: writers.into(),
        }
    }

    fn writers(others: &[KnownInstance], reading: &WritersReading) -> CountingWriters {
        CountingWriters::of(OWN, others.iter(), Some(reading))
    }

    fn both() -> [KnownInstance; 2] {
        [known(2, InstanceState::Alive), known(3, InstanceState::Draining)]
    }

    fn answer(writers: &CountingWriters, own: u32, fields: &[(Incarnation, u32)]) -> (Option<bool>, u64) {
        let value = |connections| UserConnections { connections, since_unix_ms: 5 };
        let own = (own > 0).then(|| UserAt { instance: Arc::from("gw-1"), connections: value(own) });
        let fields: Vec<_> = fields.iter().map(|(owner, count)| (*owner, value(*count))).collect();
        let found = writers.find(UserName::parse("ann").expect("a name"), own, &fields);
        (found.is_online(), found.connections())
    }

    #[test]
    fn fields_count_while_their_incarnation_is_the_newest_of_a_living_instance() {
        let writers = writers(&both(), &reading());
        assert!(writers.is_complete);
        let fields =
            [(incarnation(2, 1), 2), (incarnation(3, 1), 1), (incarnation(2, 2), 9), (incarnation(7, 1), 9)];
        assert_eq!(answer(&writers, 4, &fields), (Some(true), 7));
        assert_eq!(answer(&writers, 0, &fields[2..]), (Some(false), 0));
        let others = [known(2, InstanceState::Gone), known(3, InstanceState::Alive)];
        let writers = self::writers(&others, &reading());
        assert_eq!(
            answer(&writers, 0, &fields[..1]),
            (Some(false), 0),
            "its instance is gone, although its lease is there"
        );
    }

    #[test]
    fn redis_without_what_an_instance_wrote_gives_no_complete_answer() {
        let full = reading();
        let without = |origin: u64| {
            let mut leases = full.leases.clone();
            leases.retain(|(owner, _)| owner.origin != origin);
            WritersReading { leases, ..full.clone() }
        };
        let mut unflushed = full.clone();
        unflushed.flushed.remove(&incarnation(3, 1));
        let mut syncing = full.clone();
        syncing.leases[2].1 = lease(LeaseParts::default());
        let mut unreached = full.clone();
        unreached.leases[1].1.parts.unwritten = PartitionSet::from(Partition::FIRST);
        let mut replaced = full.clone();
        replaced.leases.push((incarnation(3, 2), lease(WRITTEN)));
        let mut joined = full.clone();
        joined.leases.push((incarnation(4, 1), lease(WRITTEN)));
        for (reading, why) in [
            (WritersReading::default(), "emptied"),
            (without(2), "a lease is missing"),
            (unflushed, "emptied, and the lease was renewed since"),
            (syncing, "still written"),
            (unreached.clone(), "an instance does not reach the master"),
            (replaced, "a new incarnation"),
            (joined, "a new instance"),
        ] {
            let writers = writers(&both(), &reading);
            assert!(!writers.is_complete, "{why}");
            assert_eq!(answer(&writers, 0, &[]).0, None, "{why}");
            assert_eq!(answer(&writers, 1, &[]), (Some(true), 1), "{why}");
        }
        let other = PartitionSet::from(Partition::of_slot(9_000));
        let elsewhere = WritersReading { partitions: other, ..unreached };
        assert!(writers(&both(), &elsewhere).is_complete, "the master of other users is reached");
        let mut left = full.clone();
        left.leases
            .push((incarnation(5, 1), Lease { phase: LeasePhase::Left, ..lease(LeaseParts::default()) }));
        assert!(writers(&both(), &left).is_complete, "an instance that said goodbye has no users");
        assert!(!CountingWriters::of(OWN, [].iter(), None).is_complete, "Redis is out of reach");
    }

    #[test]
    fn isolated_instance_or_one_without_a_lease_makes_answers_incomplete() {
        let isolated = [known(2, InstanceState::Isolated), known(3, InstanceState::Alive)];
        assert!(!writers(&isolated, &reading()).is_complete);
        let old =
            [known(2, InstanceState::Alive), known(3, InstanceState::Alive), known(9, InstanceState::Alive)];
        assert!(!writers(&old, &reading()).is_complete, "an earlier version, known by its row");
        assert!(writers(&[], &WritersReading::default()).is_complete, "alone");
    }
}
