//! The last orders, as the reactors read them: a pointer that is compared once a turn.

use crate::clock::Moment;
use crate::cluster::order::ClusterOrder;
use crate::id::OrderId;
use arc_swap::{ArcSwap, Cache};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Orders that are kept. More that are not carried out are not taken.
pub const ORDERS_KEPT: usize = 1_024;

/// A cached reader of the log: a look costs one load while nothing has changed.
pub type OrderReader = Cache<Arc<ArcSwap<OrderLog>>, Arc<OrderLog>>;

/// An order that this process carries out or has carried out.
#[derive(Debug)]
pub struct LoggedOrder {
    pub id: OrderId,
    pub order: ClusterOrder,
    /// When it was made, by the clock of this process; rather later than earlier.
    pub made: Moment,
    /// The same by the clock of the store.
    pub made_unix_ms: u64,
    /// The key or operator that gave it.
    pub by: Box<str>,
    closed: AtomicU64,
    /// Reactors that have not carried it out.
    left: AtomicUsize,
}

impl LoggedOrder {
    pub fn new(stored: &StoredOrder, order: ClusterOrder, now: Moment, reactors: usize) -> LoggedOrder {
        LoggedOrder {
            id: stored.id,
            order,
            made: now - stored.age(),
            made_unix_ms: stored.made_unix_ms,
            by: stored.by.clone(),
            closed: AtomicU64::new(0),
            left: AtomicUsize::new(reactors),
        }
    }

    /// Counts sessions that a reactor closed.
    pub fn count(&self, closed: u64) {
        self.closed.fetch_add(closed, Ordering::Relaxed);
    }

    /// Notes that one more reactor has carried it out. True exactly for the last one.
    pub fn arrive(&self) -> bool {
        self.left.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// True exactly when all reactors have carried it out.
    pub fn is_done(&self) -> bool {
        self.left.load(Ordering::Acquire) == 0
    }

    /// The sessions that it closed on this instance so far.
    pub fn closed(&self) -> u64 {
        self.closed.load(Ordering::Relaxed)
    }
}

/// An order as the store or the bus has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredOrder {
    pub id: OrderId,
    /// `None`: this version does not know its kind.
    pub order: Option<ClusterOrder>,
    pub made_unix_ms: u64,
    /// The clock of the store when this was read.
    pub store_unix_ms: u64,
    pub by: Box<str>,
}

impl StoredOrder {
    fn age(&self) -> std::time::Duration {
        std::time::Duration::from_millis(self.store_unix_ms.saturating_sub(self.made_unix_ms))
    }
}

/// The last orders, in the order of their numbers.
#[derive(Debug, Default)]
pub struct OrderLog {
    /// The last order that is known; those of unknown kinds count.
    pub last: OrderId,
    orders: Vec<Arc<LoggedOrder>>,
}

impl OrderLog {
    pub fn new(last: OrderId, orders: Vec<Arc<LoggedOrder>>) -> OrderLog {
        OrderLog { last, orders }
    }

    /// The orders after this one.
    pub fn after(&self, id: OrderId) -> &[Arc<LoggedOrder>] {
        let first = self.orders.partition_point(|order| order.id <= id);
        self.orders.get(first..).unwrap_or_default()
    }

    /// The newest orders, newest first.
    pub fn newest(&self) -> impl Iterator<Item = &Arc<LoggedOrder>> {
        self.orders.iter().rev()
    }

    pub fn find(&self, id: OrderId) -> Option<&Arc<LoggedOrder>> {
        self.after(OrderId(id.0.saturating_sub(1))).first().filter(|order| order.id == id)
    }

    /// True exactly when all orders after this one are kept.
    pub fn reaches(&self, id: OrderId) -> bool {
        self.orders.len() < ORDERS_KEPT || self.orders.first().is_some_and(|oldest| oldest.id <= id)
    }

    /// The last order up to which all are carried out.
    pub fn done(&self) -> OrderId {
        match self.orders.iter().find(|order| !order.is_done()) {
            Some(undone) => OrderId(undone.id.0.saturating_sub(1)),
            None => self.last,
        }
    }

    /// The orders that are not carried out.
    pub fn undone(&self) -> usize {
        self.orders.iter().filter(|order| !order.is_done()).count()
    }

    /// The log with more orders, without the oldest ones.
    #[must_use]
    pub fn with(&self, last: OrderId, more: Vec<Arc<LoggedOrder>>) -> OrderLog {
        let surplus = (self.orders.len() + more.len()).saturating_sub(ORDERS_KEPT);
        let done = self.orders.iter().take(surplus).take_while(|order| order.is_done()).count();
        let kept = self.orders.get(done..).unwrap_or_default();
        OrderLog { last, orders: kept.iter().cloned().chain(more).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::UserName;

    fn order(id: u64) -> Arc<LoggedOrder> {
        let user = UserName::anonymous();
        let stored = StoredOrder {
            id: OrderId(id),
            order: None,
            made_unix_ms: 1_000,
            store_unix_ms: 1_003,
            by: "test".into(),
        };
        let now = Moment::from_micros(10_000);
        let logged = LoggedOrder::new(&stored, ClusterOrder::Unblock(user), now, 2);
        assert_eq!(logged.made, Moment::from_micros(7_000));
        Arc::new(logged)
    }

    #[test]
    fn order_is_done_when_all_reactors_and_all_before_it_are() {
        let log = OrderLog::default().with(OrderId(7), vec![order(2), order(5)]);
        let ids = |id| log.after(OrderId(id)).iter().map(|order| order.id.0).collect::<Vec<_>>();
        assert_eq!((ids(0), ids(2), ids(5)), (vec![2, 5], vec![5], vec![]));
        assert_eq!(log.done(), OrderId(1));
        let [first, second] = log.after(OrderId(0)) else { panic!("two") };
        assert!(!second.arrive() && second.arrive() && second.is_done());
        assert_eq!((log.done(), log.undone()), (OrderId(1), 1));
        assert!(!first.arrive() && first.arrive());
        assert_eq!((log.done(), log.undone()), (OrderId(7), 0));
        assert!(log.find(OrderId(5)).is_some() && log.find(OrderId(4)).is_none());
    }

    #[test]
    fn oldest_orders_are_dropped_once_they_are_done() {
        let log = OrderLog::default();
        let first = order(1);
        let log = log.with(OrderId(1), vec![Arc::clone(&first)]);
        let more = (2..=ORDERS_KEPT as u64 + 1).map(order).collect();
        let log = log.with(OrderId(ORDERS_KEPT as u64 + 1), more);
        assert!(log.find(OrderId(1)).is_some() && log.reaches(OrderId(1)), "it is not done");
        first.arrive();
        first.arrive();
        let log = log.with(OrderId(5_000), vec![order(5_000)]);
        assert!(log.find(OrderId(1)).is_none() && !log.reaches(OrderId(1)) && log.reaches(OrderId(2)));
    }
}
