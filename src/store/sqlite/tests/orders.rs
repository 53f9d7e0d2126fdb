//! Orders in the file.

use super::support::{KEEP_ALL, Shelf};
use crate::cluster::order::{BlockOrder, ClusterOrder};
use crate::cluster::restrictions::Restriction;
use crate::id::{OrderId, TokenStamp, UserName};
use crate::job::orders::{OrderBoard, OrderFault, OrderRequest};
use crossbeam_channel::bounded;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn user(name: &str) -> UserName {
    UserName::parse(name).expect("a user name")
}

fn board() -> Arc<OrderBoard> {
    let (board, _) = OrderBoard::alone(Arc::from([]));
    board.begin(&[], &[], OrderId(0));
    board
}

#[allow(clippy::disallowed_methods, reason = "requests carry a deadline of the thread that waits")]
fn place(
    shelf: &mut Shelf,
    board: &OrderBoard,
    name: &str,
    patience: Duration,
) -> Result<OrderId, OrderFault> {
    let (reply, placed) = bounded(1);
    let order = BlockOrder { user: user(name), until_unix_ms: None, reason: "".into() };
    let (order, deadline) = (ClusterOrder::Block(order), Instant::now() + patience);
    shelf.log.place_order(OrderRequest { order, by: "test".into(), deadline, reply }, board, 5);
    placed.try_recv().expect("an answer")
}

fn blocked(board: &OrderBoard, name: &str) -> bool {
    let (_, restriction) = board.judge(&user(name), TokenStamp::default()).expect("the store is read");
    restriction == Some(Restriction::Blocked)
}

#[test]
fn order_whose_requester_has_given_up_is_not_stored() {
    let (mut shelf, board) = (Shelf::new(KEEP_ALL), board());
    assert_eq!(place(&mut shelf, &board, "ann", Duration::ZERO), Err(OrderFault::Overloaded));
    assert_eq!(place(&mut shelf, &board, "bob", Duration::from_secs(60)), Ok(OrderId(1)));
    assert!(!blocked(&board, "ann") && blocked(&board, "bob"));
}

#[test]
fn order_whose_commit_reported_a_failure_but_happened_is_taken_at_the_next_use() {
    let (mut shelf, board) = (Shelf::new(KEEP_ALL), board());
    let order = BlockOrder { user: user("ann"), until_unix_ms: None, reason: "".into() };
    let args = ClusterOrder::Block(order).args();
    let insert = "INSERT INTO orders (kind, args, made, by) VALUES ('block', ?1, 5, 'test')";
    shelf.log.raw().execute(insert, [args]).expect("inserted");
    assert!(!blocked(&board, "ann"));
    assert_eq!(place(&mut shelf, &board, "bob", Duration::from_secs(60)), Ok(OrderId(2)));
    assert!(blocked(&board, "ann") && blocked(&board, "bob"));
    assert!(board.report(OrderId(1)).is_some());
}
