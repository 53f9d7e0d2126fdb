//! The orders that other instances have carried out.

use super::order_report::InstanceProgress;
use crate::clock::Moment;
use crate::id::OrderId;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Counts of closed sessions that are kept.
const CLOSED_MAX: usize = 8_192;
/// An instance whose row in the store is older has ended, and no answer of it is awaited.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// The other instances.
#[derive(Debug, Default)]
pub(super) struct InstanceOrders {
    /// By process.
    instances: BTreeMap<u64, OtherInstance>,
    /// Sessions closed, by order and process.
    closed: BTreeMap<(OrderId, u64), u64>,
}

#[derive(Debug)]
struct OtherInstance {
    name: Arc<str>,
    done: OrderId,
    /// The time of its row in the store.
    renewed: Moment,
}

impl InstanceOrders {
    /// Takes the rows of the store.
    pub(super) fn see(
        &mut self,
        rows: impl IntoIterator<Item = (u64, Arc<str>, OrderId, Duration)>,
        now: Moment,
    ) {
        let mut seen = BTreeMap::new();
        for (origin, name, done, age) in rows {
            let known = self.instances.get(&origin).map_or(OrderId(0), |known| known.done);
            seen.insert(origin, OtherInstance { name, done: done.max(known), renewed: now - age });
        }
        self.instances = seen;
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

    /// The progress of an order at the instances that live at `now`, by name.
    pub(super) fn reports(&self, id: OrderId, now: Moment) -> Vec<InstanceProgress> {
        let living = self.instances.iter().filter(|(_, other)| now.since(other.renewed) <= SILENCE_MAX);
        let mut reports: Vec<InstanceProgress> = living
            .map(|(origin, other)| {
                let closed = self.closed.get(&(id, *origin)).copied();
                InstanceProgress {
                    name: Arc::clone(&other.name),
                    done: other.done >= id || closed.is_some(),
                    closed,
                }
            })
            .collect();
        reports.sort_by(|one, other| one.name.cmp(&other.name));
        reports
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Moment {
        Moment::from_micros(s * 1_000_000)
    }

    #[test]
    fn instance_is_awaited_while_its_row_is_renewed_and_its_word_counts_at_once() {
        let mut others = InstanceOrders::default();
        let row = |origin, name: &str, done, age_s| {
            (origin, Arc::from(name), OrderId(done), Duration::from_secs(age_s))
        };
        others.see([row(2, "gw-2", 4, 0), row(3, "gw-3", 5, 1), row(1, "gw-1", 9, 11)], at(100));
        let reports = |others: &InstanceOrders, s| -> Vec<(String, bool, Option<u64>)> {
            let reports = others.reports(OrderId(5), at(s)).into_iter();
            reports.map(|report| (report.name.to_string(), report.done, report.closed)).collect()
        };
        let expected = [("gw-2".to_owned(), false, None), ("gw-3".to_owned(), true, None)];
        assert_eq!(reports(&others, 100), expected, "gw-1 has ended");
        others.done(2, OrderId(5), Some(7));
        assert_eq!(reports(&others, 100)[0], ("gw-2".to_owned(), true, Some(7)));
        // A row from before that.
        others.see([row(2, "gw-2", 4, 2)], at(101));
        assert_eq!(reports(&others, 101), [("gw-2".to_owned(), true, Some(7))]);
        assert!(reports(&others, 120).is_empty());
        // Its word may come before its row.
        others.done(9, OrderId(6), Some(1));
        others.see([row(9, "gw-9", 0, 0)], at(120));
        assert!(others.reports(OrderId(6), at(120))[0].done);
    }
}
