//! The audit of what is written to Redis: each key is looked at once in 300 s, spread evenly.
//!
//! It keeps keys from expiring, finds what Redis evicted or another program changed, and finds fields of incarnations that ended.

use crate::clock::Moment;
use crate::id::Incarnation;
use crate::limits::INSTANCES_MAX;
use crate::wire::slot::Partition;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

/// The time in which each key is looked at once.
pub const AUDIT_PERIOD: Duration = Duration::from_secs(300);
/// Fields of an incarnation that has had no lease for this time are removed.
const KEPT: Duration = Duration::from_secs(60);
/// Incarnations without a lease that are remembered. Over it the one that was noticed first is forgotten, and its fields stay longer.
const STRANGERS_MAX: usize = 4 * INSTANCES_MAX;

/// The keys that are looked at in turn.
#[derive(Clone, Debug, Default)]
pub struct AuditRing {
    keys: BTreeMap<Arc<str>, Partition>,
    /// The key that was looked at last.
    last: Option<Arc<str>>,
    /// The part of a key that was due and not yet looked at, and the moment up to which it is counted.
    due: f64,
    counted: Moment,
}

impl AuditRing {
    pub fn insert(&mut self, key: Arc<str>, partition: Partition) {
        self.keys.insert(key, partition);
    }

    pub fn remove(&mut self, key: &str) {
        self.keys.remove(key);
    }

    /// Forgets all keys.
    pub fn clear(&mut self) {
        self.keys.clear();
        self.due = 0.0;
    }

    /// The keys that are due, at most `most`.
    pub fn next(&mut self, most: usize, now: Moment) -> Vec<(Arc<str>, Partition)> {
        let passed = now.since(self.counted).as_secs_f64() / AUDIT_PERIOD.as_secs_f64();
        self.counted = now;
        // After a rest there is no more to do than all keys once.
        self.due = (self.due + passed * self.keys.len() as f64).min(self.keys.len() as f64);
        let count = (self.due as usize).min(most);
        self.due -= count as f64;
        if count == 0 {
            return Vec::new();
        }
        let after = match self.last.take() {
            Some(last) => Bound::Excluded(last),
            None => Bound::Unbounded,
        };
        let behind = self.keys.range((after, Bound::Unbounded));
        let chosen: Vec<_> =
            behind.chain(&self.keys).take(count).map(|(key, at)| (Arc::clone(key), *at)).collect();
        self.last = chosen.last().map(|(key, _)| Arc::clone(key));
        chosen
    }
}

/// Incarnations that left fields behind.
#[derive(Clone, Debug, Default)]
pub struct Leftovers {
    /// Since when each was seen without a lease.
    strangers: BTreeMap<Incarnation, Moment>,
}

impl Leftovers {
    /// True if the fields of an incarnation that has no lease are to be removed now. Leases have been readable without a gap since
    /// `readable`.
    pub fn expired(&mut self, incarnation: Incarnation, readable: Moment, now: Moment) -> bool {
        if self.strangers.len() >= STRANGERS_MAX && !self.strangers.contains_key(&incarnation) {
            let oldest = self.strangers.iter().min_by_key(|(_, since)| **since).map(|(oldest, _)| *oldest);
            oldest.map(|oldest| self.strangers.remove(&oldest));
        }
        let since = self.strangers.entry(incarnation).or_insert(now);
        now.since((*since).max(readable)) > KEPT
    }

    /// Forgets the incarnations that have a lease after all, and those whose fields are gone for certain.
    pub fn retain(&mut self, is_listed: impl Fn(Incarnation) -> bool, now: Moment) {
        self.strangers
            .retain(|incarnation, since| !is_listed(*incarnation) && now.since(*since) <= 3 * AUDIT_PERIOD);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn at(s: u64) -> Moment {
        Moment::from_micros(s * 1_000_000)
    }

    fn ring(keys: usize) -> AuditRing {
        let mut ring = AuditRing::default();
        (0..keys).for_each(|key| ring.insert(Arc::from(format!("k{key}")), Partition::FIRST));
        ring.next(usize::MAX, at(1_000));
        ring
    }

    #[test]
    fn each_key_is_looked_at_once_in_a_period_and_evenly() {
        for keys in [1, 7, 299, 300, 1_000] {
            let mut ring = ring(keys);
            let mut seen: BTreeSet<Arc<str>> = BTreeSet::new();
            for second in 1_001..=1_301 {
                let chosen = ring.next(usize::MAX, at(second));
                assert!(chosen.len() <= keys / 300 + 1, "{} of {keys}", chosen.len());
                seen.extend(chosen.into_iter().map(|(key, _)| key));
            }
            assert_eq!(seen.len(), keys);
        }
    }

    #[test]
    fn ring_survives_removals_and_a_long_rest() {
        let mut ring = ring(10);
        let first = ring.next(3, at(9_000));
        assert_eq!(first.len(), 3);
        first.iter().for_each(|(key, _)| ring.remove(key));
        let rest: BTreeSet<_> = ring.next(usize::MAX, at(9_000)).into_iter().map(|(key, _)| key).collect();
        assert_eq!(rest.len(), 7, "each once, after a rest too");
        ring.clear();
        assert!(ring.next(usize::MAX, at(20_000)).is_empty());
    }

    #[test]
    fn fields_go_when_their_incarnation_had_no_lease_for_a_minute_that_could_be_seen() {
        let mut leftovers = Leftovers::default();
        let stranger = Incarnation { origin: 1, count: 1 };
        assert!(!leftovers.expired(stranger, at(0), at(100)), "it may be new");
        assert!(!leftovers.expired(stranger, at(0), at(160)));
        assert!(!leftovers.expired(stranger, at(150), at(200)), "leases could not be read meanwhile");
        assert!(leftovers.expired(stranger, at(0), at(161)));
        leftovers.retain(|_| true, at(161));
        assert!(!leftovers.expired(stranger, at(0), at(162)), "it came back meanwhile");
        for origin in 0..10_000 {
            leftovers.expired(Incarnation { origin, count: 1 }, at(0), at(200));
        }
        assert!(leftovers.strangers.len() <= STRANGERS_MAX);
    }
}
