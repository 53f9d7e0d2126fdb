//! Changes of a board's dependencies during use.

use super::super::*;
use super::bench::{Bench, World, definition, refused};
use crate::health::definition::DependencyKind;
use crate::health::snapshot::{Availability, Level};

fn store() -> Definition {
    definition("store", DependencyKind::Postgres, Criticality::Critical)
}

fn assistant() -> Definition {
    definition("assistant", DependencyKind::Http, Criticality::Optional)
}

#[test]
fn kept_dependency_keeps_outage_and_id_and_a_new_one_gets_a_new_id() {
    let mut bench = Bench::pair();
    bench.worlds[1] = World::Refuses;
    bench.run_until(20_000, |bench| bench.level() == Level::Degraded);
    let (gone, kept) = (bench.board.id("store"), bench.board.id("assistant"));
    let outage = |board: &Board| {
        let assistant = board.dependency("assistant").expect("there");
        assistant.outage().map(|outage| outage.reference)
    };
    let before = outage(&bench.board).expect("down");

    let critical = Definition { criticality: Criticality::Critical, ..assistant() };
    let search = definition("search", DependencyKind::Tcp, Criticality::Optional);
    let revised = vec![(search, Place::Other), (critical, Place::Same)];
    let now = bench.now();
    let changes = bench.board.revise(revised, AdmissionMode::Enforce, now);
    assert_eq!(outage(&bench.board), Some(before));
    assert_eq!(bench.board.id("assistant"), kept);
    assert!(gone.is_some_and(|gone| !bench.board.holds(gone)));
    let newcomer = bench.board.id("search").expect("there");
    assert_ne!((Some(newcomer), Some(newcomer)), (gone, kept));
    // The new dependency is critical, so new clients are refused from this snapshot on.
    let snapshot = changes.snapshot.expect("a new status");
    assert_eq!(snapshot.level, Level::Down);
    assert!(matches!(snapshot.availability, Availability::Refuse(_)));

    // Results for the removed dependency are ignored.
    let gone = gone.expect("it was there");
    assert!(bench.board.suspect(gone, refused(), now, 1).events.is_empty());
    // The same definitions again change nothing.
    let critical = Definition { criticality: Criticality::Critical, ..assistant() };
    let search = definition("search", DependencyKind::Tcp, Criticality::Optional);
    let same = vec![(search, Place::Same), (critical, Place::Same)];
    assert!(bench.board.revise(same, AdmissionMode::Enforce, now).snapshot.is_none());
}

#[test]
fn probe_of_the_old_address_is_ignored_for_the_new_one() {
    let mut bench = Bench::new(vec![store()]);
    let due = bench.board.due(bench.now().at).expect("the first look");
    let now = bench.now();
    let moved = Definition { address: Arc::from("other:5432"), ..store() };
    bench.board.revise(vec![(moved, Place::Other)], AdmissionMode::Enforce, now);
    let found = Finding { latency: Duration::from_millis(1), result: Err(refused()) };
    for _ in 0..3 {
        bench.board.observe(&due, found.clone(), now, 1);
    }
    assert_eq!(bench.board.dependency("store").map(Dependency::state), Some(State::Unknown));
    assert!(
        bench.board.due(bench.now().at + Duration::from_millis(100)).is_some(),
        "the new address is probed soon"
    );
}

#[test]
fn changed_counts_and_times_apply_from_the_next_probe() {
    let mut bench = Bench::pair();
    let patient = Definition { failures: 5, interval: Duration::from_millis(100), ..store() };
    let now = bench.now();
    bench.board.revise(vec![(patient, Place::Same), (assistant(), Place::Same)], AdmissionMode::Enforce, now);
    bench.worlds[0] = World::Silent;
    let took = bench.run_until(60_000, |bench| bench.level() == Level::Down);
    // Five probes of one second each, one right after the other.
    assert!((5_000..7_000).contains(&took), "{took}");
}
