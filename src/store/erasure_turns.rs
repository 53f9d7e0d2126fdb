//! The turns of keys and operators with unfinished erasures: each has a search of its own, which gets one slice in its turn.
//!
//! A search whose slice fails is skipped until the others had their turn. Its next slice is smaller, because a slice that is too
//! long for a deadline would fail again.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Display;

/// Time that passes before an erasure is searched for, in milliseconds. A publication that the gateway took before the user was
/// blocked is committed or given up within 4.5 s, and by a PostgreSQL in doubt 4.2 s later.
pub(super) const SETTLE_MS: u64 = 10_000;
/// Publications of users that one slice erases.
const CHANGED: u32 = 64;
/// Deletes of a round, which begins every second: each goes to all subscribers of its channel.
const DELETES_PER_ROUND: u32 = 256;
/// Failures in a row after which a slice is not made smaller any more, because it has the smallest size.
const SHRUNK_AFTER: u32 = CHANGED.ilog2();
/// Failures in a row from which on they are worth a warning.
const WARN_AFTER: u32 = 3;

/// See the module. Searches are named by the key or operator that asked.
#[derive(Debug, Default)]
pub(super) struct ErasureTurns {
    /// The one that had the last turn.
    last: String,
    /// Failures in a row, of searches that exist.
    failures: BTreeMap<String, u32>,
    /// Deletes made in this round.
    deletes: u32,
}

impl ErasureTurns {
    /// Begins a round with these searches, sorted by name, and returns them in the order of their turns.
    pub(super) fn begin_round(&mut self, searches: Vec<String>) -> VecDeque<String> {
        self.deletes = 0;
        self.failures.retain(|search, _| searches.binary_search(search).is_ok());
        let next = searches.partition_point(|search| *search <= self.last);
        let mut turns = VecDeque::from(searches);
        turns.rotate_left(next);
        turns
    }

    /// The number of publications that a slice of this search may erase; `None` in the rest of the round.
    pub(super) fn take(&mut self, search: &str) -> Option<u32> {
        let left = DELETES_PER_ROUND.saturating_sub(self.deletes);
        if left == 0 {
            return None;
        }
        search.clone_into(&mut self.last);
        let failures = self.failures.get(search).copied().unwrap_or(0);
        Some((CHANGED >> failures.min(SHRUNK_AFTER)).min(left))
    }

    /// Notes a slice that was committed.
    pub(super) fn succeeded(&mut self, search: &str, deletes: u64) {
        self.failures.remove(search);
        self.deletes = self.deletes.saturating_add(u32::try_from(deletes).unwrap_or(u32::MAX));
    }

    /// Notes a slice that failed, and warns if it did not fail for the first time.
    pub(super) fn failed(&mut self, search: &str, cause: &dyn Display) {
        let failures = self.failures.entry(search.to_owned()).or_default();
        *failures = failures.saturating_add(1);
        if *failures >= WARN_AFTER {
            tracing::warn!(by = search, %cause, "erasure makes no progress");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn searches(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn searches_have_their_turns_one_after_the_other_over_rounds() {
        let mut turns = ErasureTurns::default();
        assert_eq!(turns.begin_round(searches(&["a", "b", "c"])), ["a", "b", "c"]);
        turns.take("b");
        assert_eq!(turns.begin_round(searches(&["a", "b", "c"])), ["c", "a", "b"]);
        turns.take("c");
        assert_eq!(turns.begin_round(searches(&["a", "b"])), ["a", "b"], "the last one has ended");
    }

    #[test]
    fn search_that_fails_gets_smaller_slices_until_one_succeeds() {
        let mut turns = ErasureTurns::default();
        turns.begin_round(searches(&["a", "b"]));
        for expected in [64, 32, 16, 8, 4, 2, 1, 1] {
            assert_eq!(turns.take("a"), Some(expected));
            turns.failed("a", &"it takes too long");
            assert_eq!(turns.take("b"), Some(64));
        }
        turns.succeeded("a", 1);
        assert_eq!(turns.take("a"), Some(64));
        turns.failed("a", &"it takes too long");
        turns.begin_round(searches(&["b"]));
        assert!(turns.failures.is_empty(), "it exists no more");
    }

    #[test]
    fn deletes_of_a_round_are_bounded() {
        let mut turns = ErasureTurns::default();
        turns.begin_round(searches(&["a"]));
        turns.succeeded("a", 250);
        assert_eq!(turns.take("a"), Some(6));
        turns.succeeded("a", 6);
        assert_eq!(turns.take("a"), None);
        turns.begin_round(searches(&["a"]));
        assert_eq!(turns.take("a"), Some(64));
    }
}
