//! Restrictions and orders that a store holds when a process starts, or has missed some.

use crate::cluster::order::ClusterOrder;
use crate::id::OrderId;
use crate::job::orders::{OrderBoard, StoredOrder};

/// The tables at the start, or after orders may have been missed.
#[derive(Debug, Default)]
pub(super) struct LoadedOrders {
    /// Blocks and revocations, as the orders that made them.
    pub(super) restrictions: Vec<StoredOrder>,
    /// Orders that earlier processes carried out.
    pub(super) orders: Vec<StoredOrder>,
    pub(super) last: OrderId,
}

impl LoadedOrders {
    /// Gives them to a board before the reactors begin.
    pub(super) fn give(&self, board: &OrderBoard) {
        board.begin(&self.restrictions, &self.orders, self.last);
    }

    /// Gives them to a board that may have missed orders.
    pub(super) fn give_late(&self, board: &OrderBoard) {
        board.catch_up(&self.restrictions, &self.orders, self.last);
    }
}

/// A row of the tables of restrictions. Its number is of no interest.
pub(super) fn restriction(order: Option<ClusterOrder>, made_unix_ms: u64, store_unix_ms: u64) -> StoredOrder {
    StoredOrder { id: OrderId(0), order, made_unix_ms, store_unix_ms, by: Box::default() }
}
