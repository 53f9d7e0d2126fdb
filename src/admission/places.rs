//! Places that several parties share: how many one of them may hold, and whose request is next.
//!
//! A party that is alone may hold all places. If there are others it may hold a share, so the others find room whatever it does. Among
//! the requests that wait, those of the party that holds least are next, in order of arrival. A request that is next and does not fit
//! yet waits for room; smaller ones do not overtake it.

use std::collections::{BTreeMap, BTreeSet};

/// A bounded number of places.
///
/// Invariants: `in_use` is the sum of `held`, which has no zeros, and at most `bound`.
#[derive(Debug)]
pub struct PlaceTable<P> {
    bound: usize,
    /// The places of one party.
    share: usize,
    in_use: usize,
    held: BTreeMap<P, usize>,
    /// In order of arrival.
    waiting: Vec<PlaceRequest<P>>,
    numbers: u64,
}

#[derive(Debug)]
struct PlaceRequest<P> {
    number: u64,
    party: P,
    count: usize,
}

/// The share of each of this many parties: all if it is alone, else half.
pub const fn share(bound: usize, parties: usize) -> usize {
    match (parties, bound / 2) {
        (0 | 1, _) => bound,
        (_, 0) => 1,
        (_, half) => half,
    }
}

impl<P: Clone + Ord> PlaceTable<P> {
    /// Free places, and each party may hold all of them.
    pub fn new(bound: usize) -> PlaceTable<P> {
        let (held, waiting) = (BTreeMap::new(), Vec::new());
        PlaceTable { bound, share: bound, in_use: 0, held, waiting, numbers: 0 }
    }

    /// The places in use.
    pub fn in_use(&self) -> usize {
        self.in_use
    }

    /// The places that one party may hold.
    pub fn share(&self) -> usize {
        self.share
    }

    /// Changes the share to that of this many parties. A party that holds more keeps its places until it frees them.
    pub fn divide(&mut self, parties: usize) {
        self.share = share(self.bound, parties);
    }

    /// Queues a request for `count` places, or for a whole share if that is less. Returns its number.
    pub fn ask(&mut self, party: P, count: usize) -> u64 {
        let number = self.numbers;
        self.numbers += 1;
        self.waiting.push(PlaceRequest { number, party, count });
        number
    }

    /// Takes the places of this request, if it is next and they are free. Returns how many it got.
    pub fn take(&mut self, number: u64) -> Option<usize> {
        let at = self.next().filter(|at| self.waiting.get(*at).is_some_and(|next| next.number == number))?;
        let count = self.waiting.get(at)?.count.min(self.share);
        if self.bound.saturating_sub(self.in_use) < count {
            return None;
        }
        let request = self.waiting.remove(at);
        if count > 0 {
            self.in_use += count;
            *self.held.entry(request.party).or_default() += count;
        }
        Some(count)
    }

    /// Ends a request that waits.
    pub fn withdraw(&mut self, number: u64) {
        self.waiting.retain(|request| request.number != number);
    }

    /// Frees places that a party holds.
    pub fn free(&mut self, party: &P, count: usize) {
        let Some(held) = self.held.get_mut(party) else { return };
        let count = count.min(*held);
        *held -= count;
        self.in_use -= count;
        if *held == 0 {
            self.held.remove(party);
        }
    }

    /// The index of the request that is next: the first of its party, within its share.
    fn next(&self) -> Option<usize> {
        let mut seen = BTreeSet::new();
        let held = |party: &P| self.held.get(party).copied().unwrap_or_default();
        let first_of_party =
            self.waiting.iter().enumerate().filter(|(_, request)| seen.insert(&request.party));
        let within_share = first_of_party
            .filter(|(_, request)| held(&request.party) + request.count.min(self.share) <= self.share);
        within_share.min_by_key(|(at, request)| (held(&request.party), *at)).map(|(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn party_alone_may_hold_all_and_one_of_several_half() {
        let mut table = PlaceTable::new(10);
        let all = table.ask("a", 99);
        assert_eq!((table.take(all), table.in_use()), (Some(10), 10));
        table.divide(2);
        table.free(&"a", 4);
        let (more, other) = (table.ask("a", 1), table.ask("b", 1));
        assert_eq!(table.take(more), None, "it still holds six of its five");
        assert_eq!(table.take(other), Some(1), "and the other is not behind it");
        table.free(&"a", 2);
        assert_eq!(table.take(more), Some(1));
        let large = table.ask("b", 99);
        assert_eq!(table.take(large), None, "a share of five, of which it holds one");
        table.free(&"b", 1);
        assert_eq!((table.take(large), table.in_use()), (Some(5), 10));
        assert_eq!((share(1, 2), share(0, 1), share(7, 3)), (1, 0, 3));
    }

    #[test]
    fn party_that_holds_least_is_next_and_its_requests_keep_their_order() {
        let mut table = PlaceTable::new(8);
        table.divide(2);
        let held = table.ask("a", 4);
        assert_eq!(table.take(held), Some(4));
        let other = table.ask("b", 2);
        assert_eq!(table.take(other), Some(2));
        table.free(&"a", 3);
        let (b_first, a_first, a_second) = (table.ask("b", 1), table.ask("a", 3), table.ask("a", 1));
        assert_eq!(table.take(b_first), None, "a holds one, b two");
        assert_eq!(table.take(a_second), None, "behind its own");
        assert_eq!(table.take(a_first), Some(3));
        assert_eq!(table.take(a_second), None, "its share is used up");
        assert_eq!(table.take(b_first), Some(1));
        table.withdraw(a_second);
        table.free(&"a", 4);
        table.free(&"b", 3);
        table.free(&"b", 3);
        assert_eq!((table.in_use(), table.held.len(), table.waiting.len()), (0, 0, 0));
    }

    #[test]
    fn large_request_is_not_overtaken_by_small_ones() {
        let mut table = PlaceTable::new(4);
        let held = table.ask("a", 3);
        assert_eq!(table.take(held), Some(3));
        let (large, small) = (table.ask("b", 2), table.ask("c", 1));
        assert_eq!((table.take(large), table.take(small)), (None, None), "it waits for the large one");
        table.free(&"a", 1);
        assert_eq!((table.take(large), table.take(small)), (Some(2), None));
        table.free(&"b", 2);
        assert_eq!(table.take(small), Some(1));
    }
}
