//! Orders to all instances, as one engine carries them out.

use super::*;
use crate::close::Comeback;
use crate::cluster::order::{BlockOrder, ClusterOrder, Disconnect};
use crate::id::OrderId;
use crate::job::orders::{LoggedOrder, OrderLog, StoredOrder};

const TOKEN: &str = r#"{"id":1,"connect":{"token":"t"}}"#;

/// A client whose session is open.
fn connected(stage: &mut Stage) -> Client {
    let client = stage.chat(&[CONNECT]);
    stage.turn_until(|stage| stage.has(client, "connected"));
    client
}

fn logged(id: u64, order: ClusterOrder, made: Moment) -> Arc<LoggedOrder> {
    let (made_unix_ms, store_unix_ms) = (0, 0);
    let stored = StoredOrder { id: OrderId(id), order: None, made_unix_ms, store_unix_ms, by: "test".into() };
    Arc::new(LoggedOrder::new(&stored, order, made, 1))
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
    let block = BlockOrder { user: UserName::anonymous(), until_unix_ms: None, reason: "".into() };
    logged(id, ClusterOrder::Block(block), made)
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
