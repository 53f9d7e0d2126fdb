//! A queue that serves its parties in turn, so that a party with many entries delays only itself.

use std::collections::{BTreeMap, VecDeque};

/// Entries in the order in which they are served: one of each party, then the next one of each.
///
/// Invariants: `turns` names each party with entries exactly once, and no other; `len` is the number of all entries.
#[derive(Debug)]
pub struct FairQueue<K, T> {
    lanes: BTreeMap<K, VecDeque<T>>,
    turns: VecDeque<K>,
    len: usize,
}

impl<K, T> Default for FairQueue<K, T> {
    fn default() -> FairQueue<K, T> {
        FairQueue { lanes: BTreeMap::new(), turns: VecDeque::new(), len: 0 }
    }
}

impl<K: Clone + Ord, T> FairQueue<K, T> {
    /// Appends an entry of `party`.
    pub fn push(&mut self, party: K, entry: T) {
        let lane = self.lanes.entry(party.clone()).or_default();
        if lane.is_empty() {
            self.turns.push_back(party);
        }
        lane.push_back(entry);
        self.len += 1;
    }

    /// Takes the entry whose turn it is.
    pub fn pop(&mut self) -> Option<T> {
        let party = self.turns.pop_front()?;
        let lane = self.lanes.get_mut(&party)?;
        let entry = lane.pop_front()?;
        self.len -= 1;
        match lane.is_empty() {
            true => drop(self.lanes.remove(&party)),
            false => self.turns.push_back(party),
        }
        Some(entry)
    }

    /// Takes the newest entry of the party with the most entries, if `party` would still have fewer after one more.
    pub fn displace_for(&mut self, party: &K) -> Option<T> {
        let own = self.lanes.get(party).map_or(0, VecDeque::len);
        let (longest, lane) = self.lanes.iter_mut().max_by_key(|(_, lane)| lane.len())?;
        if lane.len() <= own + 1 {
            return None;
        }
        let (entry, longest) = (lane.pop_back()?, longest.clone());
        self.len -= 1;
        self.forget_if_empty(&longest);
        Some(entry)
    }

    /// Removes an entry of `party`.
    pub fn remove(&mut self, party: &K, is_it: impl Fn(&T) -> bool) {
        let Some(lane) = self.lanes.get_mut(party) else { return };
        if let Some(place) = lane.iter().position(is_it) {
            lane.remove(place);
            self.len -= 1;
            self.forget_if_empty(party);
        }
    }

    /// All entries, party by party.
    pub fn entries(&self) -> impl Iterator<Item = &T> {
        self.lanes.values().flatten()
    }

    fn forget_if_empty(&mut self, party: &K) {
        if self.lanes.get(party).is_some_and(VecDeque::is_empty) {
            self.lanes.remove(party);
            self.turns.retain(|other| other != party);
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// The number of parties with entries.
    pub fn parties(&self) -> usize {
        self.turns.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn party_with_many_entries_delays_only_itself() {
        let mut queue = FairQueue::default();
        (0..100).for_each(|n| queue.push("many", n));
        queue.push("few", 1_000);
        assert_eq!(queue.parties(), 2);
        assert_eq!((queue.pop(), queue.pop(), queue.pop()), (Some(0), Some(1_000), Some(1)));
        assert_eq!(queue.parties(), 1);
    }

    #[test]
    fn newest_entry_of_the_longest_lane_makes_room_for_a_party_with_fewer() {
        let mut queue = FairQueue::default();
        (0..3).for_each(|n| queue.push("many", n));
        queue.push("some", 10);
        assert_eq!(queue.displace_for(&"some"), Some(2));
        assert_eq!(queue.displace_for(&"some"), None, "it would have as many as the longest");
        assert_eq!(queue.displace_for(&"none"), Some(1));
        queue.remove(&"many", |entry| *entry == 0);
        assert_eq!((queue.pop(), queue.pop(), queue.len()), (Some(10), None, 0));
    }

    proptest! {
        #[test]
        fn queue_keeps_its_invariants(steps in prop::collection::vec((0_u8..4, 0_u8..4), 0..200)) {
            let mut queue: FairQueue<u8, u8> = FairQueue::default();
            let mut count = 0_usize;
            for (kind, party) in steps {
                match kind {
                    0 | 1 => { queue.push(party, party); count += 1; }
                    2 => count -= usize::from(queue.pop().is_some()),
                    _ => count -= usize::from(queue.displace_for(&party).is_some()),
                }
                prop_assert_eq!(queue.len(), count);
                prop_assert_eq!(queue.turns.len(), queue.lanes.len());
                prop_assert!(queue.lanes.values().all(|lane| !lane.is_empty()));
            }
        }
    }
}
