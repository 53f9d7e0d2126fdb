//! Orders to all instances, as one engine carries them out.

use super::*;
use crate::close::Comeback;
use crate::cluster::order::{BlockOrder, ClusterOrder, Disconnect};
use crate::cluster::restrictions::Restrictions;
use crate::id::OrderId;
use crate::job::orders::{LoggedOrder, OrderBoard, OrderGap, OrderLog, StoredOrder};

const TOKEN: &str = r#"{"id":1,"connect":{"token":"t"}}"#;

/// A client whose session is open.
fn connected(stage: &mut Stage) -> Client {
    let client = stage.chat(&[CONNECT]);
    stage.turn_until(|stage| stage.has(client, "connected"));
    client
}

fn stored(id: u64, order: Option<ClusterOrder>) -> StoredOrder {
    StoredOrder { id: OrderId(id), order, made_unix_ms: 0, store_unix_ms: 0, by: "test".into() }
}

fn logged(id: u64, order: ClusterOrder, made: Moment) -> Arc<LoggedOrder> {
    Arc::new(LoggedOrder::new(&stored(id, None), order, made, 1))
}

fn block_order() -> ClusterOrder {
    let user = UserName::anonymous();
    ClusterOrder::Block(BlockOrder { user, until_unix_ms: None, reason: "".into() })
}

fn disconnect(id: u64, made: Moment) -> Arc<LoggedOrder> {
    let user = UserName::anonymous();
    let (except, reason, comeback) = (Vec::new(), Arc::from(""), Comeback::Welcome);
    logged(
        id,
        ClusterOrder::Disconnect(Disconnect { user, connection: None, except, reason, comeback }),
        made,
    )
}

fn block(id: u64, made: Moment) -> Arc<LoggedOrder> {
    logged(id, block_order(), made)
}

/// Hands the engine a log with these orders.
fn give(stage: &mut Stage, orders: &[&Arc<LoggedOrder>]) {
    let last = orders.last().map_or(OrderId(0), |order| order.id);
    let orders = orders.iter().map(|order| Arc::clone(order)).collect();
    stage.engine.handle_orders(Arc::new(OrderLog::new(last, orders)));
}

#[test]
fn order_ends_all_sessions_it_means_in_slices_and_finishes_once() {
    const SESSIONS: usize = 600;
    let mut stage = Stage::new(AuthMode::Off);
    let clients: Vec<Client> = (0..SESSIONS).map(|_| connected(&mut stage)).collect();
    let order = disconnect(1, stage.engine.now().at);
    give(&mut stage, &[&order]);
    stage.turn();
    assert!(!order.is_done(), "not all in one turn");
    stage.turn();
    assert_eq!((order.is_done(), order.closed()), (true, SESSIONS as u64));
    assert_eq!(stage.engine.take_finished_orders().len(), 1);
    assert!(clients.iter().all(|client| stage.has(*client, r#""reason":"disconnected""#)));
    let later = connected(&mut stage);
    stage.turn();
    assert!(stage.engine.take_finished_orders().is_empty());
    assert!(!stage.has(later, "bye"), "it is carried out once");
}

#[test]
fn token_judged_before_an_order_does_not_open_a_session_after_it() {
    let mut stage = Stage::new(AuthMode::Required);
    let client = stage.chat(&[TOKEN]);
    let ticket = stage.token(&Occasion::Connect);
    let order = block(1, stage.engine.now().at);
    give(&mut stage, &[&order]);
    stage.turn();
    assert_eq!((order.is_done(), order.closed()), (true, 0), "it has no user yet");
    let outcome = Ok(identity(&stage, Counted::Yes, None));
    stage.answer(Completion::TokenChecked { ticket, outcome });
    stage.turn();
    assert!(stage.has(client, r#""code":4503"#) && !stage.has(client, "connected"));
    let released = |job: &AuthJob| matches!(job, AuthJob::ReleaseUser { .. });
    assert!(stage.admits.iter().any(released), "its user is not counted any more");
    stage.admits.clear();
    // Judged with the order known.
    let client = stage.chat(&[TOKEN]);
    let ticket = stage.token(&Occasion::Connect);
    let outcome = Ok(Identity { as_of: OrderId(1), ..identity(&stage, Counted::Yes, None) });
    stage.answer(Completion::TokenChecked { ticket, outcome });
    stage.turn();
    assert!(stage.has(client, "connected"));
}

#[test]
fn block_that_was_lifted_meanwhile_ends_no_session() {
    let mut stage = Stage::new(AuthMode::Off);
    let client = connected(&mut stage);
    let now = stage.engine.now().at;
    let lifted = logged(2, ClusterOrder::Unblock(UserName::anonymous()), now);
    give(&mut stage, &[&block(1, now), &lifted]);
    stage.turn();
    assert!(!stage.has(client, "bye"));
    assert!(stage.engine.take_finished_orders().len() == 2 && lifted.is_done());
}

#[test]
fn order_of_the_start_that_becomes_known_after_the_engine_began_is_not_carried_out_again() {
    let mut stage = Stage::new(AuthMode::Off);
    let (board, _) = OrderBoard::alone(Arc::from([]));
    stage.engine.begin_orders(board.log());
    let client = connected(&mut stage);
    board.begin(&[], &[stored(1, Some(block_order()))], OrderId(1));
    stage.engine.handle_orders(board.log());
    stage.turn();
    assert!(stage.engine.take_finished_orders().is_empty() && !stage.has(client, "bye"));
    let log = board.log();
    assert_eq!((log.done(), log.undone()), (OrderId(1), 0));
}

/// The log after a gap up to order 5, in which the anonymous user was blocked.
fn after_gap(orders: Vec<Arc<LoggedOrder>>) -> Arc<OrderLog> {
    let order = block_order();
    let restrictions = Restrictions::of([(&order, 0, 0)], OrderId(5), Moment::ZERO);
    let gap = OrderGap::new(OrderId(0), OrderId(5), restrictions, 1);
    let last = orders.last().map_or(OrderId(5), |order| order.id);
    Arc::new(OrderLog::default().after_gap(gap, Vec::new()).with(last, orders))
}

#[test]
fn sessions_are_compared_with_the_restrictions_after_a_gap_in_the_orders() {
    let mut stage = Stage::new(AuthMode::Off);
    let client = connected(&mut stage);
    let log = after_gap(Vec::new());
    stage.engine.handle_orders(Arc::clone(&log));
    assert_eq!(log.done(), OrderId(0));
    stage.turn();
    assert!(stage.has(client, r#""code":4503"#));
    assert_eq!(log.done(), OrderId(5));
    let later = connected(&mut stage);
    stage.turn();
    assert!(!stage.has(later, "bye"), "they are compared once");
}

#[test]
fn block_of_a_gap_that_was_lifted_after_it_ends_no_session() {
    let mut stage = Stage::new(AuthMode::Off);
    let client = connected(&mut stage);
    let lifted = logged(6, ClusterOrder::Unblock(UserName::anonymous()), stage.engine.now().at);
    stage.engine.handle_orders(after_gap(vec![lifted]));
    stage.turn();
    assert!(!stage.has(client, "bye") && stage.engine.take_finished_orders().len() == 1);
}
