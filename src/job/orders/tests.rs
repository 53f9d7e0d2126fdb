//! The board on a virtual clock, with one reactor that does nothing by itself.

use super::*;
use crate::close::Comeback;
use crate::cluster::order::{BlockOrder, Disconnect};
use crate::id::TokenId;
use crate::job::inbox;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

struct Stage {
    board: Arc<OrderBoard>,
    clock: Arc<AtomicU64>,
    _poll: mio::Poll,
}

impl Stage {
    /// A process that has run for 100 s.
    fn new() -> Stage {
        let poll = mio::Poll::new().expect("a poll");
        let waker = mio::Waker::new(poll.registry(), mio::Token(0)).expect("a waker");
        let clock = Arc::new(AtomicU64::new(at(100).micros()));
        let read = Arc::clone(&clock);
        let (board, _) = OrderBoard::new(OrderParts {
            instance: Arc::from("gw-1"),
            mailboxes: Arc::from([inbox(waker).0]),
            bus: None,
            counters: Arc::default(),
            clock: Arc::new(move || Now {
                at: Moment::from_micros(read.load(Ordering::Relaxed)),
                ..Now::default()
            }),
        });
        Stage { board, clock, _poll: poll }
    }

    fn blocked(&self, name: &str) -> bool {
        let (_, restriction) = self.board.judge(&user(name), STAMP).expect("the store is read");
        matches!(restriction, Some(Restriction::Blocked { .. }))
    }
}

const STAMP: TokenStamp = TokenStamp { issued_s: 1, jti: TokenId::NONE };

fn at(s: u64) -> Moment {
    Moment::from_micros(s * 1_000_000)
}

fn user(name: &str) -> UserName {
    UserName::parse(name).expect("a user name")
}

fn stored(id: u64, order: ClusterOrder, age: Duration) -> StoredOrder {
    let (store_unix_ms, age_ms) = (1_000_000, u64::try_from(age.as_millis()).expect("short"));
    let made_unix_ms = store_unix_ms - age_ms;
    StoredOrder { id: OrderId(id), order: Some(order), made_unix_ms, store_unix_ms, by: "test".into() }
}

fn block(id: u64, name: &str) -> StoredOrder {
    let order = BlockOrder { user: user(name), until_unix_ms: None, reason: "".into() };
    stored(id, ClusterOrder::Block(order), SECOND)
}

fn disconnect(id: u64, age: Duration) -> StoredOrder {
    let (user, reason) = (user("ann"), Arc::from(""));
    let (connection, except, comeback) = (None, Vec::new(), Comeback::Welcome);
    stored(id, ClusterOrder::Disconnect(Disconnect { user, connection, except, reason, comeback }), age)
}

#[test]
fn orders_of_a_store_that_is_first_read_late_are_carried_out() {
    let stage = Stage::new();
    assert!(stage.board.judge(&user("ann"), STAMP).is_none());
    let before = stage.board.log();
    stage.board.catch_up(&[block(0, "bob")], &[disconnect(6, SECOND)], OrderId(7));
    assert!(stage.blocked("bob") && !stage.blocked("ann"));
    let log = stage.board.log();
    assert_eq!((before.done(), log.done(), log.undone()), (OrderId(0), OrderId(0), 1));
    assert!(log.gap_after(OrderId(0)).is_some(), "sessions are compared with the restrictions");
}

#[test]
fn restrictions_whose_orders_were_deleted_are_read_again() {
    let stage = Stage::new();
    stage.board.begin(&[block(0, "ann")], &[disconnect(3, SECOND)], OrderId(3));
    assert_eq!(stage.board.log().done(), OrderId(3), "earlier processes did it");
    let report = stage.board.report(OrderId(3)).expect("known");
    assert_eq!(report.instances[0].closed, None, "nothing is known of what they closed");
    // Order 5 blocked bob and was deleted since, as was the one that lifted the block of ann.
    stage.board.catch_up(&[block(0, "bob")], &[disconnect(9, SECOND)], OrderId(9));
    assert!(stage.blocked("bob") && !stage.blocked("ann"));
    let log = stage.board.log();
    assert_eq!((log.last, log.done(), log.undone()), (OrderId(9), OrderId(3), 1));
    assert!(!log.reaches(OrderId(3)), "a token judged before is judged again");
    // Read twice.
    stage.board.catch_up(&[], &[], OrderId(9));
    assert!(stage.blocked("bob"));
}

#[test]
fn order_is_not_older_than_the_reading_of_the_store_that_lacked_it() {
    let stage = Stage::new();
    stage.board.begin(&[], &[], OrderId(0));
    let made = |id| stage.board.log().find(OrderId(id)).expect("taken").made;
    stage.board.take(&[disconnect(1, 5 * SECOND)]);
    assert_eq!(made(1), at(95));
    stage.board.note_read(at(100));
    // The machine was suspended for minutes, in which its monotonic clock did not run.
    stage.clock.store(at(101).micros(), Ordering::Relaxed);
    stage.board.take(&[disconnect(2, 300 * SECOND)]);
    assert_eq!(made(2), at(100), "sessions opened before that are older than the order");
}

#[test]
fn order_is_not_complete_before_the_instances_have_been_read_after_it() {
    let stage = Stage::new();
    stage.board.begin(&[], &[], OrderId(0));
    stage.board.take(&[disconnect(1, SECOND)]);
    let report = || stage.board.report(OrderId(1)).expect("known");
    stage.board.log().find(OrderId(1)).expect("known").arrive();
    assert!(report().instances.iter().all(|instance| instance.done) && !report().is_complete());
    stage.board.see([], OrderId(0));
    assert!(!report().is_complete() && report().is_awaited(), "an instance may have begun since");
    stage.board.see([(2, Arc::from("gw-2"), OrderId(0), 11 * SECOND)], OrderId(1));
    assert!(!report().is_complete() && !report().is_awaited(), "it is stopped, or has ended");
    stage.board.see([(2, Arc::from("gw-2"), OrderId(1), SECOND)], OrderId(1));
    assert!(report().is_complete());
}
