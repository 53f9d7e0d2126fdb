//! A dependency whose outages only calls can end.

use super::bench::{Bench, World, definition, refused};
use crate::clock::Moment;
use crate::health::breaker::Forced;
use crate::health::definition::{Criticality, Definition, DependencyKind, EndedBy};
use crate::health::dependency::{ForcedOrder, Trials, Work};
use crate::health::finding::{Cause, Fault};
use crate::health::snapshot::Level;

/// The time between two trial calls, all workers together.
const PERIOD_MS: u64 = 125;

/// A store whose workers make trial calls, known to be up.
fn store() -> Bench {
    let store = definition("store", DependencyKind::Postgres, Criticality::Critical);
    let mut bench = Bench::new(vec![Definition { ended_by: EndedBy::Calls, ..store }]);
    bench.run(10);
    assert_eq!((bench.level(), bench.board.trials()), (Level::Ok, Trials::None));
    bench.events.clear();
    bench
}

fn broken() -> Work {
    Work::Failed(Cause::new(Fault::Schema, "no such table", "who dropped it"))
}

/// Makes the trial calls that are wanted, each with this result, for at most this time. Returns the time that passed.
fn try_for(bench: &mut Bench, ms: u64, work: &Work, done: impl Fn(&Bench) -> bool) -> u64 {
    let mut passed = 0;
    while passed < ms && !done(bench) {
        passed += bench.run_until(PERIOD_MS, &done).max(1);
        if bench.board.trials() == Trials::Now {
            bench.work(work.clone());
        }
    }
    passed
}

#[test]
fn successful_probes_do_not_end_an_outage_that_calls_opened() {
    for seed in 0..20 {
        let mut bench = store();
        bench.random = seed;
        (0..20).for_each(|_| {
            bench.work(broken());
        });
        assert_eq!(bench.level(), Level::Down);
        // Each trial fails although the probes succeed: down for a minute, and announced once.
        try_for(&mut bench, 60_000, &broken(), |bench| bench.level() != Level::Down);
        assert_eq!((bench.level(), bench.downs().len()), (Level::Down, 1), "{:?}", bench.events);
        let back = try_for(&mut bench, 60_000, &Work::Answered, |bench| bench.level() == Level::Ok);
        assert!(back <= 18_500, "{back}");
        assert_eq!(bench.board.trials(), Trials::None);
    }
}

#[test]
fn outage_of_probes_ends_with_trial_calls_and_not_before() {
    for seed in 0..20 {
        let mut bench = store();
        bench.random = seed;
        bench.worlds[0] = World::Refuses;
        bench.work(Work::Failed(refused()));
        bench.run(10_000);
        assert_eq!((bench.level(), bench.board.trials()), (Level::Down, Trials::Later));
        bench.worlds[0] = World::Well;
        let wanted = bench.run_until(5_000, |bench| bench.board.trials() == Trials::Now);
        assert!(wanted <= 610, "{wanted}");
        bench.run(5_000);
        assert_eq!(bench.level(), Level::Down, "no worker has a connection");
        let back = try_for(&mut bench, 5_000, &Work::Answered, |bench| bench.level() == Level::Ok);
        assert!(back <= 3 * PERIOD_MS, "{back}");
    }
}

#[test]
fn released_order_ends_with_trial_calls() {
    let mut bench = store();
    let id = bench.board.id("store").expect("configured");
    let order = |bench: &mut Bench, order| {
        let changes = bench.board.order(id, order, bench.now(), 7);
        bench.take(changes);
    };
    let open = ForcedOrder { to: Forced::Open, until: Moment::from_micros(u64::MAX / 2) };
    order(&mut bench, Some(open));
    bench.run(5_000);
    assert_eq!((bench.level(), bench.board.trials()), (Level::Down, Trials::Later));
    order(&mut bench, None);
    assert_eq!((bench.level(), bench.board.trials()), (Level::Down, Trials::Now));
    try_for(&mut bench, 1_000, &Work::Answered, |bench| bench.level() == Level::Ok);
    assert_eq!(bench.level(), Level::Ok);
}
