//! Orders about exclusions that the store has not answered. It may have carried them out all the same, which a later list of it shows.

use crate::clock::Moment;
use crate::slo::budget_exclusion::BudgetExclusion;
use crate::slo::exclusion::ExclusionList;
use std::collections::VecDeque;
use std::time::Duration;

/// Orders in doubt at once. One more takes the place of the oldest.
const DOUBTS_MAX: usize = 16;
/// The store carries an order out within this time, or never: longer than its own deadlines.
const IN_DOUBT: Duration = Duration::from_secs(60);

/// An order that may have been carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DoubtfulOrder {
    /// Before the store has the exclusion, its number says nothing.
    Exclude(BudgetExclusion),
    /// The exclusion, and the address that the order came from.
    End(BudgetExclusion, String),
}

/// The orders in doubt, in their order, and the time until which the store may carry each out.
#[derive(Debug, Default)]
pub(super) struct DoubtfulOrders(VecDeque<(DoubtfulOrder, Moment)>);

impl DoubtfulOrders {
    /// Adds one. It takes the place of an earlier one that ends the same exclusion, because one of them does.
    pub(super) fn add(&mut self, order: DoubtfulOrder, now: Moment) {
        if let DoubtfulOrder::End(ended, _) = &order {
            let is_same = |other: &DoubtfulOrder| matches!(other, DoubtfulOrder::End(it, _) if it.number == ended.number);
            self.0.retain(|(other, _)| !is_same(other));
        }
        if self.0.len() >= DOUBTS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((order, now + IN_DOUBT));
    }

    /// Takes the orders that a list of the store shows as carried out, with their numbers, and forgets the ones that will not be.
    pub(super) fn settle(&mut self, list: &ExclusionList, now: Moment) -> Vec<DoubtfulOrder> {
        let mut done = Vec::new();
        self.0.retain(|(order, until)| {
            let shown = match order {
                DoubtfulOrder::Exclude(wanted) => {
                    let is_it = |known: &&BudgetExclusion| {
                        **known == BudgetExclusion { number: known.number, ..wanted.clone() }
                    };
                    list.list().iter().find(is_it).map(|known| DoubtfulOrder::Exclude(known.clone()))
                }
                DoubtfulOrder::End(ended, _) => {
                    let is_gone = !list.list().iter().any(|known| known.number == ended.number);
                    is_gone.then(|| order.clone())
                }
            };
            let is_open = shown.is_none() && now < *until;
            done.extend(shown);
            is_open
        });
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exclusion(number: u64, why: &str) -> BudgetExclusion {
        BudgetExclusion {
            number,
            objective: None,
            from_ms: 0,
            until_ms: 900_000,
            why: why.into(),
            by: "192.0.2.7".into(),
            at_ms: 5,
        }
    }

    #[test]
    fn order_is_settled_by_the_first_list_that_shows_it_and_forgotten_after_a_minute() {
        let at = |seconds: u64| Moment::from_micros(seconds * 1_000_000);
        let list = |all: &[BudgetExclusion]| ExclusionList::restore(all.to_vec());
        let end = DoubtfulOrder::End(exclusion(1, "old"), "192.0.2.8".into());
        let mut doubts = DoubtfulOrders::default();
        doubts.add(DoubtfulOrder::Exclude(exclusion(0, "move")), at(0));
        doubts.add(end.clone(), at(0));
        let old = [exclusion(1, "old")];
        assert_eq!(doubts.settle(&list(&old), at(10)), [], "neither is done");
        // The same one by another operator was there before.
        let earlier = BudgetExclusion { at_ms: 4, ..exclusion(2, "move") };
        assert_eq!(doubts.settle(&list(&[exclusion(1, "old"), earlier]), at(20)), []);
        let both = [exclusion(2, "move")];
        let done = [DoubtfulOrder::Exclude(exclusion(2, "move")), end.clone()];
        assert_eq!(doubts.settle(&list(&both), at(30)), done);
        assert_eq!(doubts.settle(&list(&both), at(30)), [], "once");

        doubts.add(end.clone(), at(40));
        assert_eq!(doubts.settle(&list(&old), at(99)), []);
        assert_eq!(doubts.settle(&list(&old), at(100)), []);
        assert_eq!(doubts.settle(&list(&[]), at(101)), [], "another operator has ended it");
        doubts.add(end.clone(), at(200));
        assert_eq!(doubts.settle(&list(&[]), at(900)), [end], "the store was away for long");
        (0..40).for_each(|number| doubts.add(DoubtfulOrder::Exclude(exclusion(number, "many")), at(0)));
        assert_eq!(doubts.0.len(), DOUBTS_MAX);
    }
}
