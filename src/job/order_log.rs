//! The last orders, as the reactors read them: a pointer that is compared once a turn.

use super::order_gap::OrderGap;
use crate::clock::Moment;
use crate::cluster::order::{ClusterOrder, OrderTimes};
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
    /// Reactors that carry it out; 0: earlier processes did.
    reactors: usize,
    /// Those of them that have not.
    left: AtomicUsize,
}

impl LoggedOrder {
    pub fn new(stored: &StoredOrder, order: ClusterOrder, made: Moment, reactors: usize) -> LoggedOrder {
        LoggedOrder {
            id: stored.id,
            order,
            made,
            made_unix_ms: stored.made_unix_ms,
            by: stored.by.clone(),
            closed: AtomicU64::new(0),
            reactors,
            left: AtomicUsize::new(reactors),
        }
    }

    /// Its times, where it is `now` by the clock of this process.
    pub fn times(&self, now: Moment) -> OrderTimes {
        OrderTimes { made: self.made, made_unix_ms: self.made_unix_ms, now }
    }

    /// Counts sessions that a reactor closed.
    pub fn count(&self, closed: u64) {
        self.closed.fetch_add(closed, Ordering::Relaxed);
    }

    /// Notes that one more reactor has carried it out. True exactly for the last one; more than all change nothing.
    pub fn arrive(&self) -> bool {
        let one_less = |left: usize| left.checked_sub(1);
        self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less) == Ok(1)
    }

    /// True exactly when all reactors have carried it out.
    pub fn is_done(&self) -> bool {
        self.left.load(Ordering::Acquire) == 0
    }

    /// The sessions that it closed on this instance in all; `None`: it is not done, or earlier processes did it.
    pub fn closed_in_all(&self) -> Option<u64> {
        (self.reactors > 0 && self.is_done()).then(|| self.closed())
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
    /// The time since it was made, by the clock of the store.
    pub fn age(&self) -> std::time::Duration {
        std::time::Duration::from_millis(self.store_unix_ms.saturating_sub(self.made_unix_ms))
    }
}

/// The last orders, in the order of their numbers.
#[derive(Debug, Default)]
pub struct OrderLog {
    /// The last order that is known; those of unknown kinds count.
    pub last: OrderId,
    orders: Vec<Arc<LoggedOrder>>,
    /// Until all reactors have compared their sessions.
    gap: Option<Arc<OrderGap>>,
    /// Orders up to this one may be missing.
    whole_after: OrderId,
}

impl OrderLog {
    pub fn new(last: OrderId, orders: Vec<Arc<LoggedOrder>>) -> OrderLog {
        OrderLog { last, orders, gap: None, whole_after: OrderId(0) }
    }

    /// The gap that a reactor which has carried out all up to `done` has to make up for.
    pub fn gap_after(&self, done: OrderId) -> Option<&Arc<OrderGap>> {
        self.gap.as_ref().filter(|gap| gap.last > done)
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
        let is_kept =
            self.orders.len() < ORDERS_KEPT || self.orders.first().is_some_and(|oldest| oldest.id <= id);
        is_kept && self.whole_after <= id
    }

    /// The last order up to which all are carried out.
    pub fn done(&self) -> OrderId {
        let undone = self.orders.iter().find(|order| !order.is_done());
        let undone = undone.map(|order| OrderId(order.id.0.saturating_sub(1)));
        let gap = self.gap.as_ref().filter(|gap| !gap.is_done()).map(|gap| gap.before);
        undone.into_iter().chain(gap).fold(self.last, OrderId::min)
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
        let gap = self.gap.clone().filter(|gap| !gap.is_done());
        let orders = kept.iter().cloned().chain(more).collect();
        OrderLog { last, orders, gap, whole_after: self.whole_after }
    }

    /// The log after a gap, with the orders of it that exist.
    #[must_use]
    pub fn after_gap(&self, gap: OrderGap, more: Vec<Arc<LoggedOrder>>) -> OrderLog {
        let (last, whole_after) = (gap.last, gap.last);
        OrderLog { gap: Some(Arc::new(gap)), whole_after, ..self.with(last, more) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::restrictions::Restrictions;
    use crate::id::UserName;

    fn order(id: u64) -> Arc<LoggedOrder> {
        let user = UserName::anonymous();
        let stored = StoredOrder {
            id: OrderId(id),
            order: None,
            made_unix_ms: 1_000,
            store_unix_ms: 1_000,
            by: "test".into(),
        };
        Arc::new(LoggedOrder::new(&stored, ClusterOrder::Unblock(user), Moment::ZERO, 2))
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
    fn orders_before_the_end_of_a_gap_are_not_done_until_all_sessions_are_compared() {
        let log = OrderLog::default().with(OrderId(3), vec![]);
        let gap = OrderGap::new(OrderId(3), OrderId(9), Restrictions::default(), 2);
        let log = log.after_gap(gap, vec![]);
        assert_eq!((log.last, log.done()), (OrderId(9), OrderId(3)));
        assert!(!log.reaches(OrderId(8)) && log.reaches(OrderId(9)));
        let gap = Arc::clone(log.gap_after(OrderId(3)).expect("a gap"));
        gap.arrive();
        let log = log.with(OrderId(10), vec![order(10)]);
        assert!(log.gap_after(OrderId(8)).is_some() && log.gap_after(OrderId(9)).is_none());
        assert_eq!(log.done(), OrderId(3));
        gap.arrive();
        assert_eq!(log.done(), OrderId(9));
        let log = log.with(OrderId(11), vec![]);
        assert!(log.gap_after(OrderId(3)).is_none() && !log.reaches(OrderId(8)), "it is forgotten");
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
