//! Helpers of the tests of orders and erasures.

use super::support::Shelf;
use crate::cluster::order::{BlockOrder, ClusterOrder};
use crate::id::{OrderId, UserName};
use crate::job::orders::{OrderBoard, OrderFault, OrderRequest};
use crossbeam_channel::bounded;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The time that a requester waits for its order.
pub(super) const MINUTE: Duration = Duration::from_secs(60);

pub(super) fn user(name: &str) -> UserName {
    UserName::parse(name).expect("a user name")
}

/// A board that knows of no order.
pub(super) fn board() -> Arc<OrderBoard> {
    let (board, _) = OrderBoard::alone(Arc::from([]));
    board.begin(&[], &[], OrderId(0));
    board
}

/// An order that blocks a user for good.
pub(super) fn block(name: &str) -> ClusterOrder {
    ClusterOrder::Block(BlockOrder { user: user(name), until_unix_ms: None, reason: "".into() })
}

/// Places an order of `by`, who waits for `patience`.
#[allow(clippy::disallowed_methods, reason = "requests carry a deadline of the thread that waits")]
pub(super) fn place(
    shelf: &mut Shelf,
    board: &OrderBoard,
    order: ClusterOrder,
    by: &str,
    patience: Duration,
) -> Result<OrderId, OrderFault> {
    let (reply, placed) = bounded(1);
    let deadline = Instant::now() + patience;
    shelf.log.place_order(OrderRequest { order, by: by.into(), deadline, reply }, board, 5);
    placed.try_recv().expect("an answer")
}
