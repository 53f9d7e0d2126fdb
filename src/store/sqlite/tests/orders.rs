//! Orders in the file.

use super::order_support::{MINUTE, block, board, place, user};
use super::support::{KEEP_ALL, Shelf};
use crate::cluster::restrictions::Restriction;
use crate::id::{OrderId, TokenStamp};
use crate::job::orders::{OrderBoard, OrderFault};
use std::time::Duration;

fn blocked(board: &OrderBoard, name: &str) -> bool {
    let (_, restriction) = board.judge(&user(name), TokenStamp::default()).expect("the store is read");
    matches!(restriction, Some(Restriction::Blocked { .. }))
}

#[test]
fn order_whose_requester_has_given_up_is_not_stored() {
    let (mut shelf, board) = (Shelf::new(KEEP_ALL), board());
    assert_eq!(place(&mut shelf, &board, block("ann"), "test", Duration::ZERO), Err(OrderFault::Overloaded));
    assert_eq!(place(&mut shelf, &board, block("bob"), "test", MINUTE), Ok(OrderId(1)));
    assert!(!blocked(&board, "ann") && blocked(&board, "bob"));
}

#[test]
fn order_whose_commit_reported_a_failure_but_happened_is_taken_at_the_next_use() {
    let (mut shelf, board) = (Shelf::new(KEEP_ALL), board());
    let args = block("ann").args();
    let insert = "INSERT INTO orders (kind, args, made, by) VALUES ('block', ?1, 5, 'test')";
    shelf.log.raw().execute(insert, [args]).expect("inserted");
    assert!(!blocked(&board, "ann"));
    assert_eq!(place(&mut shelf, &board, block("bob"), "test", MINUTE), Ok(OrderId(2)));
    assert!(blocked(&board, "ann") && blocked(&board, "bob"));
    assert!(board.report(OrderId(1)).is_some());
}
