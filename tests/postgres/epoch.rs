//! An epoch that is replaced while gateways run: no gateway mistakes one log for the other.

use crate::postgres::rig::{KEEP_ALL, Rig, keyed, name, plain, request};
use crate::servers::Postgres;
use crate::support::wait::{SOON, until};
use seawall::hub::Contradiction;
use seawall::id::Offset;
use seawall::job::{AppendError, Attempt, Span};
use seawall::store::postgres::new_epoch;
use std::sync::atomic::Ordering;

#[test]
fn busy_store_refuses_appends_after_its_epoch_was_replaced_and_a_new_store_has_the_new_epoch() {
    let server = Postgres::start();
    let mut rig = Rig::postgres(&server, KEEP_ALL, 1_000).ready();
    let before = rig.append(plain("c", "1")).expect("stored").epoch;
    let (old, new) = new_epoch(&server.url(), None).expect("an epoch");
    assert!(old == before && new != before);
    let met = rig.append(keyed("c", "k"));
    let refused = matches!(met, Err(AppendError::Unconfirmed { .. } | AppendError::Unavailable { .. }));
    assert!(refused, "{met:?}");
    assert!(rig.has_lost_its_epoch());
    assert!(matches!(rig.append(keyed("c", "k")), Err(AppendError::Unavailable { .. })));
    assert!(rig.page(request("c", Span::After(Offset(0)))).is_err());
    assert!(rig.heads(&["c"]).is_err());
    while let Ok(live) = rig.inbox.live.try_recv() {
        assert!(!format!("{live:?}").contains("\"k\""), "broadcast with the old epoch");
    }
    rig.close();
    let mut rig = Rig::postgres(&server, KEEP_ALL, 1_000).ready();
    let again = rig.append(keyed("c", "k")).expect("stored");
    assert_eq!(
        (again.epoch, again.offset),
        (new, Offset(2)),
        "stored once, whether or not the first attempt was stored"
    );
    assert!(matches!(again.attempt, Attempt::First | Attempt::Repeat));
    rig.close();
}

#[test]
fn idle_store_detects_a_replaced_epoch() {
    let server = Postgres::start();
    let rig = Rig::postgres(&server, KEEP_ALL, 1_000).ready();
    new_epoch(&server.url(), None).expect("an epoch");
    until(SOON, "the replaced epoch is detected", || rig.has_lost_its_epoch());
    rig.close();
}

/// The server as after a failover to one that had only the first three of five publications of `c`.
fn lose_two(server: &Postgres) {
    server.sql(
        "DELETE FROM seawall.publications WHERE \"offset\" > 3 AND channel = (SELECT id FROM seawall.channels WHERE name = 'c');
         UPDATE seawall.channels SET head = 3 WHERE name = 'c'",
    );
}

#[test]
fn head_that_stays_below_a_known_one_proves_a_loss_to_an_instance_that_acknowledged_nothing() {
    let server = Postgres::start();
    let mut author = Rig::postgres(&server, KEEP_ALL, 1_000).ready();
    (1..=5).for_each(|offset| assert_eq!(author.offset(plain("c", "1")), offset));
    author.close();
    let mut rig = Rig::postgres(&server, KEEP_ALL, 1_000).ready();
    let known = || vec![(name("absent"), Offset(0)), (name("c"), Offset(5))];
    assert_eq!(rig.heads_since(known()).expect("read")[1].0, 5);
    assert!(rig.append(plain("d", "1")).is_ok(), "nothing is lost yet");
    lose_two(&server);
    assert!(rig.heads_since(vec![(name("c"), Offset(3))]).is_ok() && rig.append(plain("d", "1")).is_ok());
    assert_eq!(rig.heads_since(known()).expect("read")[1].0, 3);
    assert!(rig.append(plain("d", "1")).is_ok(), "a server that lags would answer the same once");
    until(SOON, "another connection answers the same later", || {
        rig.heads_since(known()).is_ok() && rig.counters.contradictions.load(Ordering::Relaxed) == 1
    });
    assert!(matches!(rig.append(plain("d", "1")), Err(AppendError::Unavailable { .. })));
    rig.close();
}

#[test]
fn publication_under_an_offset_that_subscribers_have_proves_a_loss() {
    let server = Postgres::start();
    let mut rig = Rig::postgres(&server, KEEP_ALL, 1_000).ready();
    assert!(rig.append(plain("d", "1")).is_ok());
    rig.contradict(Contradiction { channel: name("c"), known: Offset(5), found: Offset(4) });
    let refused = || matches!(rig.append(plain("d", "1")), Err(AppendError::Unavailable { .. }));
    until(SOON, "writes are refused", refused);
    rig.close();
}
