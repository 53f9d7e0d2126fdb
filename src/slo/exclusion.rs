//! Exclusions: times whose events are kept out of the budgets and the alerts of objectives, because of planned work.
//!
//! The counts stay as they are, and an exclusion is a row of its own with a reason, an author and a time. So each figure can be made
//! with it and without it, and an exclusion that is removed has changed nothing.

use super::budget_exclusion::{BudgetExclusion, ExclusionFault};
use super::calendar::QUARTER_MS;
use super::part::SloPart;
use super::run_counts::AllCounts;
use super::scoreboard::PartCounts;

/// Exclusions at once, the ones of the last 100 days included.
pub const EXCLUSIONS_MAX: usize = 100;

/// The exclusions, in the order of their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExclusionList(Vec<BudgetExclusion>);

impl ExclusionList {
    /// Goes on with stored exclusions.
    pub fn restore(mut stored: Vec<BudgetExclusion>) -> ExclusionList {
        stored.truncate(EXCLUSIONS_MAX);
        ExclusionList(stored)
    }

    pub fn list(&self) -> &[BudgetExclusion] {
        &self.0
    }

    /// Checks one against the bounds.
    ///
    /// # Errors
    ///
    /// The bound that it breaks; [`ExclusionFault::TooMany`] if there are [`EXCLUSIONS_MAX`].
    pub fn check(&self, exclusion: &BudgetExclusion) -> Result<(), ExclusionFault> {
        if self.0.len() >= EXCLUSIONS_MAX {
            return Err(ExclusionFault::TooMany);
        }
        exclusion.check()
    }

    /// Adds one that was checked and stored.
    pub fn add(&mut self, exclusion: BudgetExclusion) {
        self.0.push(exclusion);
    }

    /// Removes one.
    pub fn remove(&mut self, number: u64) -> Option<BudgetExclusion> {
        let at = self.0.iter().position(|exclusion| exclusion.number == number)?;
        Some(self.0.remove(at))
    }

    /// The exclusions that overlap with this time, in Unix milliseconds.
    pub fn between(&self, from_ms: u64, until_ms: u64) -> Vec<BudgetExclusion> {
        let overlaps = |it: &&BudgetExclusion| it.from_ms < until_ms && it.until_ms > from_ms;
        self.0.iter().filter(overlaps).cloned().collect()
    }

    /// True exactly if the events of a part in this quarter of an hour do not count.
    pub fn cover(&self, part: SloPart, quarter: u64) -> bool {
        let quarter_ms = quarter.saturating_mul(QUARTER_MS);
        self.0.iter().any(|exclusion| exclusion.covers(part.objective(), quarter_ms))
    }

    /// The counts of this quarter without the ones that do not count.
    pub fn judged(&self, quarter: u64, counts: &AllCounts) -> AllCounts {
        let mut judged = *counts;
        if !self.0.is_empty() {
            for (part, counts) in SloPart::ALL.into_iter().zip(&mut judged) {
                if self.cover(part, quarter) {
                    *counts = PartCounts::default();
                }
            }
        }
        judged
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slo::part::PartTotals;

    const NOW_MS: u64 = 2_000_000 * QUARTER_MS;

    fn exclusion(from_ms: u64, quarters: u64) -> BudgetExclusion {
        BudgetExclusion {
            number: 1,
            objective: None,
            from_ms,
            until_ms: from_ms + quarters * QUARTER_MS,
            why: "database move".into(),
            by: "192.0.2.7".into(),
            at_ms: NOW_MS,
        }
    }

    #[test]
    fn exclusion_is_bounded_in_length_and_in_time() {
        let list = ExclusionList::default();
        let check = |exclusion: BudgetExclusion| list.check(&exclusion).err();
        let at = |days: i64| NOW_MS.saturating_add_signed(days * 86_400_000);
        for good in [exclusion(NOW_MS, 1), exclusion(at(30), 96), exclusion(at(-35), 96)] {
            assert_eq!(check(good.clone()), None, "{good:?}");
        }
        for (wrong, fault) in [
            (exclusion(NOW_MS + 1, 1), ExclusionFault::NoQuarters),
            (exclusion(NOW_MS, 0), ExclusionFault::Backwards),
            (exclusion(NOW_MS, 97), ExclusionFault::TooLong),
            (exclusion(at(30) + QUARTER_MS, 1), ExclusionFault::TooFarAhead),
            (exclusion(at(-35) - QUARTER_MS, 1), ExclusionFault::TooFarBack),
            (BudgetExclusion { why: String::new(), ..exclusion(NOW_MS, 1) }, ExclusionFault::NoReason),
            (BudgetExclusion { why: "a\nb".into(), ..exclusion(NOW_MS, 1) }, ExclusionFault::NoReason),
            (BudgetExclusion { until_ms: u64::MAX, ..exclusion(NOW_MS, 1) }, ExclusionFault::NoQuarters),
        ] {
            assert_eq!(check(wrong.clone()), Some(fault), "{wrong:?}");
        }
        let full = ExclusionList::restore(vec![exclusion(NOW_MS, 1); EXCLUSIONS_MAX + 1]);
        assert_eq!(full.list().len(), EXCLUSIONS_MAX);
        assert_eq!(full.check(&exclusion(NOW_MS, 1)), Err(ExclusionFault::TooMany));
    }

    #[test]
    fn events_of_its_objective_and_quarters_do_not_count_until_it_is_removed() {
        let counts =
            AllCounts::default().map(|_| PartCounts::of_slot(PartTotals { good: 5, bad: 5, excluded: 0 }));
        let mut list = ExclusionList::default();
        assert_eq!(list.judged(2_000_000, &counts), counts);
        list.add(BudgetExclusion { objective: Some("delivery".into()), ..exclusion(NOW_MS, 2) });
        for (quarter, is_covered) in
            [(1_999_999, false), (2_000_000, true), (2_000_001, true), (2_000_002, false)]
        {
            let judged = list.judged(quarter, &counts);
            for (part, counts) in SloPart::ALL.into_iter().zip(judged) {
                let is_gone = is_covered && part.objective() == "delivery";
                assert_eq!(counts == PartCounts::default(), is_gone, "{quarter} {}", part.as_str());
            }
        }
        assert_eq!(list.between(NOW_MS + QUARTER_MS, NOW_MS + 9 * QUARTER_MS).len(), 1);
        assert_eq!(list.between(NOW_MS + 2 * QUARTER_MS, u64::MAX), []);
        assert!(list.remove(1).is_some() && list.remove(1).is_none());
        assert_eq!(list.judged(2_000_000, &counts), counts);
        list.add(exclusion(NOW_MS, 2));
        assert_eq!(list.judged(2_000_000, &counts), AllCounts::default(), "of all objectives");
    }
}
