//! An epoch that is replaced while gateways run: no gateway mistakes one log for the other.

use crate::postgres::rig::{KEEP_ALL, Rig, keyed, plain, request};
use crate::servers::Postgres;
use crate::support::wait::{SOON, until};
use seawall::id::Offset;
use seawall::job::{AppendError, Attempt, Span};
use seawall::store::postgres::new_epoch;

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
