//! The choice of connections to end when a total of bytes is over its bound: the party that holds the most pays first.

use super::slots::SlotId;
use crate::auth::party::Party;
use std::collections::{BTreeMap, BinaryHeap};

/// A connection that holds bytes of a common total.
#[derive(Clone, Debug)]
pub(super) struct Holder {
    /// `None` for all whose party does not matter, which are one party then.
    pub(super) party: Option<Party>,
    /// Of one party's connections, those with the lowest rank go first.
    pub(super) rank: u64,
    pub(super) id: SlotId,
    pub(super) bytes: u64,
}

/// The connections to end, in order, so that `surplus` bytes become free: each time the first of the party that then holds
/// the most.
pub(super) fn victims(holders: Vec<Holder>, surplus: u64) -> Vec<SlotId> {
    let mut parties: BTreeMap<Option<Party>, Vec<Holder>> = BTreeMap::new();
    for holder in holders {
        parties.entry(holder.party.clone()).or_default().push(holder);
    }
    let mut parties: Vec<Vec<Holder>> = parties.into_values().collect();
    let mut most: BinaryHeap<(u64, usize)> = BinaryHeap::new();
    for (index, connections) in parties.iter_mut().enumerate() {
        connections.sort_unstable_by_key(|holder| std::cmp::Reverse(holder.rank));
        most.push((connections.iter().map(|holder| holder.bytes).sum(), index));
    }
    let (mut freed, mut victims) = (0, Vec::new());
    while freed < surplus
        && let Some((bytes, index)) = most.pop()
        && let Some(holder) = parties.get_mut(index).and_then(Vec::pop)
    {
        freed += holder.bytes;
        victims.push(holder.id);
        most.push((bytes - holder.bytes, index));
    }
    victims
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(address: u8, rank: u64, index: u32, bytes: u64) -> Holder {
        let party = Some(Party::of([192, 0, 2, address].into()));
        Holder { party, rank, id: SlotId { index, generation: 0 }, bytes }
    }

    fn ended(holders: &[Holder], surplus: u64) -> Vec<u32> {
        victims(holders.to_vec(), surplus).into_iter().map(|id| id.index).collect()
    }

    #[test]
    fn party_with_the_most_pays_first_and_its_lowest_rank_goes_first() {
        let many = [holder(1, 5, 0, 30), holder(1, 2, 1, 30), holder(1, 9, 2, 30), holder(2, 1, 3, 50)];
        assert_eq!(ended(&many, 1), [1]);
        assert_eq!(ended(&many, 60), [1, 0], "it holds 60 after the first, which is still the most");
        assert_eq!(ended(&many, 61), [1, 0, 3], "then the other holds more");
        assert_eq!(ended(&many, 1_000), [1, 0, 3, 2], "all, if that is not enough");
        assert!(ended(&many, 0).is_empty());
    }
}
