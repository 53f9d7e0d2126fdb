//! A `slo.db` that another process holds.

use super::*;
use rusqlite::Connection;

/// An exclusion that only one instance has.
pub(super) fn own() -> BudgetExclusion {
    BudgetExclusion {
        number: 0,
        objective: None,
        from_ms: START_MS,
        until_ms: START_MS + HOUR_MS,
        why: "kept by one".into(),
        by: "192.0.2.7".into(),
        at_ms: START_MS,
    }
}

#[test]
fn exclusion_in_a_locked_file_is_shared_when_the_file_can_be_read() {
    let mut month = Month::new();
    let path = month.instances[1].folder.path().join(database::FILE_NAME);
    let mut file = Connection::open(path).expect("opened");
    month.instances[1].keeper = None;
    exclusion_rows::insert(&mut file, own()).expect("written");
    file.execute_batch("BEGIN IMMEDIATE").expect("locked");
    month.instances[1].start(&mut month.store);
    month.pass(10_000);
    month.turn();
    let list = |month: &mut Month, place| month.ask(place, SloQuestion::Exclusions).expect("a list");
    assert!(!list(&mut month, 1).contains("kept by one"), "it cannot be read");
    file.execute_batch("COMMIT").expect("unlocked");
    for _ in 0..9 {
        month.pass(10_000);
        month.turn();
    }
    for place in 0..2 {
        assert!(list(&mut month, place).contains("kept by one"), "{place}");
    }
    assert_eq!(exclusion_rows::read(&file).expect("readable").1, [], "it is a copy now");
}
