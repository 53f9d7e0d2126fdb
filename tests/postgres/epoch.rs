//! An epoch that is replaced while gateways run: nobody takes one log for the other.

use crate::postgres::rig::{KEEP_ALL, Rig, keyed, plain, request};
use crate::servers::Postgres;
use crate::support::wait::{SOON, until};
use seawall::id::Offset;
use seawall::job::{AppendError, Attempt, Span};
use seawall::store::postgres::new_epoch;

#[test]
fn a_store_with_work_refuses_from_the_first_answer_and_its_successor_has_the_new_epoch() {
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
        assert!(!format!("{live:?}").contains("\"k\""), "announced in the old logs");
    }
    rig.close();
    let mut rig = Rig::postgres(&server, KEEP_ALL, 1_000).ready();
    let again = rig.append(keyed("c", "k")).expect("stored");
    assert_eq!(
        (again.epoch, again.offset),
        (new, Offset(2)),
        "once, whether the first attempt came through or not"
    );
    assert!(matches!(again.attempt, Attempt::First | Attempt::Repeat));
    rig.close();
}

#[test]
fn a_store_with_nothing_to_do_sees_it_too() {
    let server = Postgres::start();
    let rig = Rig::postgres(&server, KEEP_ALL, 1_000).ready();
    new_epoch(&server.url(), None).expect("an epoch");
    until(SOON, "it is seen", || rig.has_lost_its_epoch());
    rig.close();
}
