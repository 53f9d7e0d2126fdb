//! The counts of one run in one minute, as instances share them.
//!
//! A row has the totals of its minute so far, and two versions of it merge to the larger of each number. So a row that is written again, late or
//! in another order counts once. Attempts are kept by slots of ten seconds as well, because a look is ten seconds of the whole deployment.

use super::counts_row;
use super::part::{PartTotals, SloPart};
use super::run_counts::{AllCounts, add_all};
use super::scoreboard::PartCounts;
use serde_json::{Map, Value};

/// The slots of a minute.
pub const SLOTS_PER_MINUTE: usize = 6;
/// The cells of the slots in the text: good and bad attempts of each.
const SLOTS_KEY: &str = "attempt_slots";

/// Attempts of ten seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttemptSlot {
    pub good: u64,
    pub bad: u64,
}

/// The counts of one run in one minute, or of all runs in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MinuteRow {
    pub counts: AllCounts,
    pub attempts: [AttemptSlot; SLOTS_PER_MINUTE],
}

impl MinuteRow {
    /// Adds the counts of a slot; `slot` is its place in the minute.
    pub fn add_slot(&mut self, slot: usize, counts: &AllCounts) {
        add_all(&mut self.counts, counts);
        let totals = attempts(counts);
        if let Some(cell) = self.attempts.get_mut(slot) {
            (cell.good, cell.bad) = (cell.good + totals.good, cell.bad + totals.bad);
        }
    }

    /// Adds the row of another run.
    pub fn add(&mut self, other: &MinuteRow) {
        add_all(&mut self.counts, &other.counts);
        for (cell, added) in self.attempts.iter_mut().zip(other.attempts) {
            (cell.good, cell.bad) = (cell.good + added.good, cell.bad + added.bad);
        }
    }

    /// Merges another version of the same row.
    pub fn merge(&mut self, other: &MinuteRow) {
        for (own, other) in self.counts.iter_mut().zip(&other.counts) {
            let PartCounts { totals: PartTotals { good, bad, excluded }, looks, bad_looks_ppm } = *other;
            let totals = &mut own.totals;
            totals.good = totals.good.max(good);
            totals.bad = totals.bad.max(bad);
            totals.excluded = totals.excluded.max(excluded);
            own.looks = own.looks.max(looks);
            own.bad_looks_ppm = own.bad_looks_ppm.max(bad_looks_ppm);
        }
        for (cell, other) in self.attempts.iter_mut().zip(other.attempts) {
            (cell.good, cell.bad) = (cell.good.max(other.good), cell.bad.max(other.bad));
        }
    }

    /// The counts of the deployment, if this is the sum of the rows of all runs: a look is a slot in which any of them had an attempt.
    pub fn deployment(&self) -> AllCounts {
        let mut counts = self.counts;
        if let Some(sums) = counts.get_mut(SloPart::Attempt.index()) {
            (sums.looks, sums.bad_looks_ppm) = (0, 0);
            for AttemptSlot { good, bad } in self.attempts {
                let look = PartCounts::of_slot(PartTotals { good, bad, excluded: 0 });
                sums.looks += look.looks;
                sums.bad_looks_ppm += look.bad_looks_ppm;
            }
        }
        counts
    }

    /// The text in which it is stored: that of [`counts_row`], with the slots.
    pub fn text(&self) -> String {
        let counts = counts_row::text_of(&self.counts);
        if self.attempts == [AttemptSlot::default(); SLOTS_PER_MINUTE] {
            return counts;
        }
        let cells: Vec<u64> = self.attempts.iter().flat_map(|slot| [slot.good, slot.bad]).collect();
        let mut parts: Map<String, Value> = serde_json::from_str(&counts).unwrap_or_default();
        parts.insert(SLOTS_KEY.into(), cells.into());
        Value::Object(parts).to_string()
    }

    /// The row of this text; an empty one if it is not one of these.
    pub fn read(text: &str) -> MinuteRow {
        let mut parts: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
        let cells: Vec<u64> = match parts.remove(SLOTS_KEY) {
            Some(Value::Array(cells)) => cells.iter().map(|cell| cell.as_u64().unwrap_or(0)).collect(),
            Some(_) | None => Vec::new(),
        };
        let mut row = MinuteRow {
            counts: counts_row::read(&Value::Object(parts).to_string()),
            attempts: Default::default(),
        };
        for (slot, cells) in row.attempts.iter_mut().zip(cells.chunks_exact(2)) {
            if let [good, bad] = cells {
                *slot = AttemptSlot { good: *good, bad: *bad };
            }
        }
        row
    }
}

fn attempts(counts: &AllCounts) -> PartTotals {
    counts.get(SloPart::Attempt.index()).map(|counts| counts.totals).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A row of any counts up to a million.
    fn row() -> impl Strategy<Value = MinuteRow> {
        let numbers = prop::collection::vec(0_u64..1_000_000, SloPart::ALL.len() * 5 + 12);
        numbers.prop_map(|numbers| {
            let mut numbers = numbers.into_iter();
            let mut next = || numbers.next().unwrap_or(0);
            let mut row = MinuteRow::default();
            for counts in &mut row.counts {
                let totals = PartTotals { good: next(), bad: next(), excluded: next() };
                *counts = PartCounts { totals, looks: next(), bad_looks_ppm: next() };
            }
            for slot in &mut row.attempts {
                *slot = AttemptSlot { good: next(), bad: next() };
            }
            row
        })
    }

    fn merged(mut one: MinuteRow, other: MinuteRow) -> MinuteRow {
        one.merge(&other);
        one
    }

    proptest! {
        #[test]
        fn merge_is_idempotent_commutative_and_associative(a in row(), b in row(), c in row()) {
            prop_assert_eq!(merged(a, a), a);
            prop_assert_eq!(merged(a, b), merged(b, a));
            prop_assert_eq!(merged(merged(a, b), c), merged(a, merged(b, c)));
            prop_assert_eq!(merged(merged(a, b), b), merged(a, b));
        }

        #[test]
        fn text_has_the_whole_row(row in row()) {
            prop_assert_eq!(MinuteRow::read(&row.text()), row);
        }

        #[test]
        fn text_that_is_cut_off_has_no_counts(row in row(), cut in 0_usize..400) {
            let text = row.text();
            prop_assert_eq!(MinuteRow::read(&text[..cut.min(text.len() - 1)]), MinuteRow::default());
        }
    }

    #[test]
    fn look_of_two_instances_is_one_with_the_share_of_both() {
        let attempts = |good, bad| {
            let mut slot = AllCounts::default();
            slot[SloPart::Attempt.index()] = PartCounts::of_slot(PartTotals { good, bad, excluded: 0 });
            slot
        };
        let (mut one, mut other) = (MinuteRow::default(), MinuteRow::default());
        one.add_slot(2, &attempts(3, 0));
        other.add_slot(2, &attempts(0, 1));
        other.add_slot(4, &attempts(5, 0));
        one.add(&other);
        let counts = one.deployment()[SloPart::Attempt.index()];
        assert_eq!((counts.looks, counts.bad_looks_ppm), (2, 250_000));
        assert_eq!((counts.totals.good, counts.totals.bad), (8, 1));
    }
}
