//! The users of this instance in the registry: what Redis must have, and what is still to be written.
//!
//! Users are kept by the slot of their names, as Redis has them. Changes wait by user, so that the last one counts, however often
//! it changed. After a doubt all buckets are written again in order, and changes of a bucket that has its turn later wait for that.
//! So do buckets whose master is out of reach.

use crate::id::UserName;
use crate::wire::partitions::PartitionSet;
use crate::wire::slot::{Partition, SLOTS};
use crate::wire::user_fields::{UserConnections, slot_of};
use std::collections::{BTreeMap, BTreeSet};

/// Users whose changes wait. Over it everything is written again under the next incarnation.
pub const CHANGED_MAX: usize = 65_536;
/// The room that a bucket without room gets.
const ROOM: usize = 4;

/// A user's connections at this instance now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserCount {
    pub user: UserName,
    /// 0: the user is gone.
    pub connections: u32,
    /// The first of them, Unix seconds.
    pub since_unix_s: u32,
}

/// One user, in 24 bytes.
#[derive(Clone, Debug)]
struct OwnUser {
    name: UserName,
    connections: u32,
    since_unix_s: u32,
}

/// The difference between one bucket and Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketChange {
    pub slot: u16,
    pub set: Vec<(UserName, UserConnections)>,
    pub remove: Vec<UserName>,
}

/// The users of this instance.
#[derive(Clone, Debug, Default)]
pub struct OwnUsers {
    /// By slot; empty until the first user comes.
    buckets: Vec<Vec<OwnUser>>,
    users: usize,
    changed: BTreeMap<u16, BTreeSet<UserName>>,
    /// Changes are taken from this slot on, so that none waits for ever.
    next: u16,
    /// The number of users in `changed`.
    waiting: usize,
    rewriting: Rewriting,
    /// Buckets that were to be written completely while their master was out of reach.
    later: BTreeSet<u16>,
    has_overflowed: bool,
}

/// The writing of all buckets for an incarnation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Rewriting {
    /// Buckets from this slot on have not been written.
    From(u16),
    #[default]
    Done,
}

impl OwnUsers {
    /// The number of users with connections.
    pub fn users(&self) -> usize {
        self.users
    }

    /// The number of changes that wait, without those of a complete writing.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// True while something is to be written.
    pub fn is_behind(&self) -> bool {
        self.waiting > 0 || self.is_rewriting() || !self.later.is_empty()
    }

    /// True if changes of more than this many buckets wait, without those of partitions that are `unreached`.
    pub fn waits_with_more_than(&self, buckets: usize, unreached: PartitionSet) -> bool {
        let is_reached = |slot: &&u16| !unreached.contains(Partition::of_slot(**slot));
        self.changed.keys().filter(is_reached).nth(buckets).is_some()
    }

    /// The partitions of what is to be written, without those of buckets that have their turn in a complete writing.
    pub fn partitions_waiting(&self) -> PartitionSet {
        self.changed.keys().chain(&self.later).map(|slot| Partition::of_slot(*slot)).collect()
    }

    /// True until all users were written for this incarnation.
    pub fn is_rewriting(&self) -> bool {
        self.rewriting != Rewriting::Done
    }

    /// True if more changes waited than are kept: the next incarnation has to begin.
    pub fn has_overflowed(&self) -> bool {
        self.has_overflowed
    }

    /// The connections of a user.
    pub fn connections(&self, user: &UserName) -> Option<UserConnections> {
        self.find(slot_of(user), user).map(OwnUser::value)
    }

    /// Notes a user's connections.
    pub fn note(&mut self, count: UserCount) {
        let UserCount { user, connections, since_unix_s } = count;
        let slot = slot_of(&user);
        self.mark(slot, user.clone());
        if self.buckets.is_empty() {
            self.buckets.resize_with(SLOTS.into(), Vec::new);
        }
        let Some(bucket) = self.buckets.get_mut(usize::from(slot)) else { return };
        let place = bucket.iter().position(|own| own.name == user);
        match (place, connections) {
            (Some(place), 0) => {
                bucket.swap_remove(place);
                self.users -= 1;
                if bucket.capacity() > bucket.len() + 2 * ROOM {
                    bucket.shrink_to_fit();
                }
            }
            (Some(place), _) => {
                if let Some(own) = bucket.get_mut(place) {
                    (own.connections, own.since_unix_s) = (connections, since_unix_s);
                }
            }
            (None, 0) => {}
            (None, _) => {
                if bucket.len() == bucket.capacity() {
                    // The room that a vector takes by itself could be as large as all users.
                    bucket.reserve_exact(if bucket.len() < ROOM { 1 } else { ROOM });
                }
                bucket.push(OwnUser { name: user, connections, since_unix_s });
                self.users += 1;
            }
        }
    }

    /// Replaces all users: a user that is missing is gone.
    pub fn recount(&mut self, counts: Vec<UserCount>) {
        let known: BTreeSet<&UserName> = counts.iter().map(|count| &count.user).collect();
        let own = self.buckets.iter().flatten().map(|own| &own.name);
        let gone: Vec<UserName> = own.filter(|name| !known.contains(name)).cloned().collect();
        for user in gone {
            self.note(UserCount { user, connections: 0, since_unix_s: 0 });
        }
        for count in counts {
            let same = self.connections(&count.user).is_some_and(|own| own.connections == count.connections);
            if !same {
                self.note(count);
            }
        }
    }

    /// Begins an incarnation, which has written nothing.
    pub fn begin_incarnation(&mut self) {
        self.changed.clear();
        self.later.clear();
        (self.waiting, self.has_overflowed, self.rewriting) = (0, false, Rewriting::From(0));
    }

    /// Takes what is to be written next: at most `buckets` buckets, none of a partition that is `unreached`.
    pub fn take(&mut self, buckets: usize, unreached: PartitionSet) -> Vec<BucketChange> {
        let is_reached = |slot: &u16| !unreached.contains(Partition::of_slot(*slot));
        // Half of the room is for a complete writing, if there is one.
        let room = if self.is_rewriting() { buckets / 2 } else { buckets };
        let behind = self.changed.range(self.next..).chain(self.changed.range(..self.next));
        let changed: Vec<u16> = behind.map(|(slot, _)| *slot).filter(is_reached).take(room).collect();
        self.next = changed.last().map_or(self.next, |last| last.saturating_add(1));
        let mut changes: Vec<_> = changed.into_iter().map(|slot| self.take_changed(slot)).collect();
        let room = buckets.saturating_sub(changes.len());
        let later: Vec<u16> = self.later.iter().copied().filter(is_reached).take(room).collect();
        for slot in later {
            self.later.remove(&slot);
            changes.extend(self.whole(slot));
        }
        while changes.len() < buckets
            && let Rewriting::From(slot) = self.rewriting
        {
            let next = slot + 1;
            let is_last = next >= SLOTS || self.users == 0;
            self.rewriting = if is_last { Rewriting::Done } else { Rewriting::From(next) };
            match is_reached(&slot) {
                true => changes.extend(self.whole(slot)),
                false if self.bucket(slot).is_empty() => {}
                false => {
                    self.later.insert(slot);
                }
            }
        }
        changes
    }

    fn take_changed(&mut self, slot: u16) -> BucketChange {
        let names = self.changed.remove(&slot).unwrap_or_default();
        self.waiting -= names.len();
        let mut change = BucketChange { slot, set: Vec::new(), remove: Vec::new() };
        for name in names {
            match self.find(slot, &name).map(OwnUser::value) {
                Some(value) => change.set.push((name, value)),
                None => change.remove.push(name),
            }
        }
        change
    }

    /// All users of a bucket; `None` if there are none.
    fn whole(&self, slot: u16) -> Option<BucketChange> {
        let set: Vec<_> = self.bucket(slot).iter().map(|own| (own.name.clone(), own.value())).collect();
        (!set.is_empty()).then_some(BucketChange { slot, set, remove: Vec::new() })
    }

    /// Takes back changes that may not have been written.
    pub fn put_back(&mut self, changes: Vec<BucketChange>) {
        for BucketChange { slot, set, remove } in changes {
            set.into_iter().map(|(name, _)| name).chain(remove).for_each(|name| self.mark(slot, name));
        }
    }

    /// The slots from `after` on that have users, in order.
    pub fn occupied(&self, from: u16) -> impl Iterator<Item = u16> {
        (from..SLOTS).filter(|slot| !self.bucket(*slot).is_empty())
    }

    /// The names of the users of a slot.
    pub fn names(&self, slot: u16) -> impl Iterator<Item = &str> {
        self.bucket(slot).iter().map(|own| own.name.as_str())
    }

    /// Compares a bucket with what Redis has of it, and marks what differs. Returns the number of differences. Changes that wait are
    /// none.
    pub fn compare(&mut self, slot: u16, found: &[(&str, Option<UserConnections>)]) -> usize {
        let waits = |name: &str| {
            self.changed.get(&slot).is_some_and(|names| names.iter().any(|waiting| waiting.as_str() == name))
        };
        let in_redis =
            |name: &str| found.iter().find(|(found, _)| *found == name).and_then(|(_, value)| *value);
        let lacking = self.bucket(slot).iter().filter(|own| in_redis(own.name.as_str()) != Some(own.value()));
        let mut differing: Vec<UserName> = lacking.map(|own| own.name.clone()).collect();
        let is_own = |name: &str| self.bucket(slot).iter().any(|own| own.name.as_str() == name);
        let foreign = found.iter().filter(|(name, _)| !is_own(name));
        differing.extend(foreign.filter_map(|(name, _)| UserName::parse(name).ok()));
        differing.retain(|name| !waits(name.as_str()));
        let count = differing.len();
        differing.into_iter().for_each(|name| self.mark(slot, name));
        count
    }

    /// Marks a user as changed, unless the bucket is written later anyway.
    fn mark(&mut self, slot: u16, user: UserName) {
        let is_later =
            matches!(self.rewriting, Rewriting::From(from) if from <= slot) || self.later.contains(&slot);
        if is_later || self.has_overflowed {
            return;
        }
        if self.waiting >= CHANGED_MAX {
            self.changed.clear();
            (self.waiting, self.has_overflowed) = (0, true);
            return;
        }
        self.waiting += usize::from(self.changed.entry(slot).or_default().insert(user));
    }

    fn bucket(&self, slot: u16) -> &[OwnUser] {
        self.buckets.get(usize::from(slot)).map(Vec::as_slice).unwrap_or_default()
    }

    fn find(&self, slot: u16, user: &UserName) -> Option<&OwnUser> {
        self.bucket(slot).iter().find(|own| own.name == *user)
    }
}

impl OwnUser {
    fn value(&self) -> UserConnections {
        let since_unix_ms = u64::from(self.since_unix_s) * 1_000;
        UserConnections { connections: self.connections, since_unix_ms }
    }
}

#[cfg(test)]
mod tests;
