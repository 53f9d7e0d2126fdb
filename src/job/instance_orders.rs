//! The orders that other instances have carried out.

use super::order_report::{InstanceListing, InstanceProgress};
use crate::id::OrderId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Counts of closed sessions that are kept.
const CLOSED_MAX: usize = 8_192;
/// An instance whose row was older when it was read has probably ended: its answer is not waited for.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// The other instances.
#[derive(Debug, Default)]
pub(super) struct InstanceOrders {
    /// The newest order when the last reading of the instances began: later ones may concern further instances. `None`: the
    /// instances have not been read.
    as_of: Option<OrderId>,
    /// By process.
    instances: BTreeMap<u64, OtherInstance>,
    /// Sessions closed, by order and process.
    closed: BTreeMap<(OrderId, u64), u64>,
}

#[derive(Debug)]
struct OtherInstance {
    name: Arc<str>,
    done: OrderId,
    /// The age of its row when it was read.
    silence: Duration,
}

impl OtherInstance {
    fn is_silent(&self) -> bool {
        self.silence > SILENCE_MAX
    }
}

impl InstanceOrders {
    /// Takes the rows of the store: all instances that exist after the order `as_of`.
    pub(super) fn see(
        &mut self,
        rows: impl IntoIterator<Item = (u64, Arc<str>, OrderId, Duration)>,
        as_of: OrderId,
    ) {
        let mut seen = BTreeMap::new();
        for (origin, name, done, silence) in rows {
            let known = self.instances.get(&origin).map_or(OrderId(0), |known| known.done);
            seen.insert(origin, OtherInstance { name, done: done.max(known), silence });
        }
        self.instances = seen;
        self.as_of = Some(as_of);
    }

    /// Notes that an instance has carried out all orders up to this one.
    pub(super) fn done(&mut self, origin: u64, id: OrderId, closed: Option<u64>) {
        if let Some(instance) = self.instances.get_mut(&origin) {
            instance.done = instance.done.max(id);
        }
        if let Some(closed) = closed {
            self.closed.insert((id, origin), closed);
        }
        while self.closed.len() > CLOSED_MAX {
            self.closed.pop_first();
        }
    }

    /// The knowledge of the instances that an order concerns.
    pub(super) fn listing(&self, id: OrderId) -> InstanceListing {
        if self.as_of.is_some_and(|as_of| as_of >= id) {
            InstanceListing::Current
        } else {
            InstanceListing::Outdated
        }
    }

    /// The progress of an order at the instances, by name. One that is silent and whose name another one has by now was replaced.
    pub(super) fn reports(&self, id: OrderId) -> Vec<InstanceProgress> {
        let heard = self.instances.values().filter(|other| !other.is_silent());
        let names: BTreeSet<&str> = heard.map(|other| &*other.name).collect();
        let listed =
            self.instances.iter().filter(|(_, other)| !other.is_silent() || !names.contains(&*other.name));
        let mut reports: Vec<InstanceProgress> = listed
            .map(|(origin, other)| {
                let closed = self.closed.get(&(id, *origin)).copied();
                let name = Arc::clone(&other.name);
                let done = other.done >= id || closed.is_some();
                InstanceProgress { name, done, closed, is_awaited: !done && !other.is_silent() }
            })
            .collect();
        reports.sort_by(|one, other| one.name.cmp(&other.name));
        reports
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(origin: u64, name: &str, done: u64, age_s: u64) -> (u64, Arc<str>, OrderId, Duration) {
        (origin, Arc::from(name), OrderId(done), Duration::from_secs(age_s))
    }

    fn reports(others: &InstanceOrders, id: u64) -> Vec<(String, bool, Option<u64>)> {
        let reports = others.reports(OrderId(id)).into_iter();
        reports.map(|report| (report.name.to_string(), report.done, report.closed)).collect()
    }

    #[test]
    fn instance_is_done_as_soon_as_its_row_or_its_message_says_so() {
        let mut others = InstanceOrders::default();
        others.see([row(2, "gw-2", 4, 0), row(3, "gw-3", 5, 1)], OrderId(5));
        assert_eq!(reports(&others, 5), [("gw-2".to_owned(), false, None), ("gw-3".to_owned(), true, None)]);
        others.done(2, OrderId(5), Some(7));
        assert_eq!(reports(&others, 5)[0], ("gw-2".to_owned(), true, Some(7)));
        // A row from before that.
        others.see([row(2, "gw-2", 4, 2)], OrderId(5));
        assert_eq!(reports(&others, 5), [("gw-2".to_owned(), true, Some(7))]);
        // Its message may come before its row.
        others.done(9, OrderId(6), Some(1));
        others.see([row(9, "gw-9", 0, 0)], OrderId(6));
        assert!(others.reports(OrderId(6))[0].done);
    }

    #[test]
    fn silent_instance_is_named_until_it_is_replaced_and_not_waited_for() {
        let mut others = InstanceOrders::default();
        others.see([row(2, "gw-2", 4, 11), row(3, "gw-3", 4, 10)], OrderId(5));
        let awaited = |others: &InstanceOrders| -> Vec<(bool, bool)> {
            others.reports(OrderId(5)).iter().map(|report| (report.done, report.is_awaited)).collect()
        };
        assert_eq!(awaited(&others), [(false, false), (false, true)]);
        others.see([row(2, "gw-2", 4, 13), row(4, "gw-2", 5, 0)], OrderId(5));
        assert_eq!(awaited(&others), [(true, false)], "another process has its name");
    }

    #[test]
    fn instances_that_an_order_concerns_are_known_from_a_reading_after_it() {
        let mut others = InstanceOrders::default();
        assert_eq!(others.listing(OrderId(0)), InstanceListing::Outdated);
        others.see([], OrderId(5));
        assert_eq!(
            (others.listing(OrderId(5)), others.listing(OrderId(6))),
            (InstanceListing::Current, InstanceListing::Outdated)
        );
    }
}
