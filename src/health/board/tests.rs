//! The promises of a board about outages: detected in time, reported once, and ended.

mod bench;
mod calls;
mod revise;

use super::*;
use crate::health::definition::{DependencyKind, Gate};
use crate::health::dependency::Work;
use crate::health::finding::Fault;
use crate::health::snapshot::{Availability, Level};
use bench::{Bench, World, definition, refused, status};
use proptest::prelude::*;

#[test]
fn silent_fault_is_detected_in_time() {
    for seed in 0..50 {
        let mut bench = Bench::pair();
        bench.random = seed;
        bench.run(seed * 97);
        bench.worlds = vec![World::Silent, World::Well];
        assert!(bench.run_until(10_000, |bench| bench.level() == Level::Down) <= 5_000);
        let mut bench = Bench::pair();
        bench.random = seed;
        bench.run(seed * 97);
        bench.worlds = vec![World::Well, World::Silent];
        assert!(bench.run_until(20_000, |bench| bench.level() == Level::Degraded) <= 11_000);
    }
}

#[test]
fn recovery_is_detected_within_two_seconds() {
    for seed in 0..50 {
        let mut bench = Bench::pair();
        bench.random = seed;
        bench.worlds[0] = if seed % 2 == 0 { World::Silent } else { World::Refuses };
        bench.run(10_000 + seed * 131);
        assert_eq!(bench.level(), Level::Down);
        bench.worlds[0] = World::Well;
        let took = bench.run_until(5_000, |bench| bench.level() == Level::Ok);
        assert!(took <= 2_000, "{took}");
        let lasted = bench.events.iter().find_map(|event| match event.what {
            HealthEventKind::Recovered { lasted, .. } => Some(lasted),
            _ => None,
        });
        assert!(lasted.expect("an outage ended") > Duration::from_secs(5));
    }
}

#[test]
fn failing_part_degrades_its_dependency_until_no_part_fails() {
    let mut bench = Bench::pair();
    bench.run(300);
    let id = bench.board.dependencies().next().map(|first| bench.board.id(&first.definition().name));
    let id = id.flatten().expect("configured");
    let cause = Cause::new(Fault::Delivery, "1 of 3 masters do not deliver", "");
    let changes = bench.board.note_part(id, Some(cause), bench.now(), 7);
    bench.take(changes);
    bench.run(60_000);
    assert_eq!(bench.level(), Level::Degraded, "successful probes do not end it");
    assert!(bench.downs().is_empty(), "no client is refused");
    let changes = bench.board.note_part(id, None, bench.now(), 7);
    bench.take(changes);
    assert_eq!(bench.level(), Level::Ok);
}

#[test]
fn connection_refused_to_a_worker_is_down_after_one_reconnect() {
    let mut bench = Bench::pair();
    bench.run(300);
    bench.worlds[0] = World::Refuses;
    assert!(bench.work(Work::Failed(refused())));
    assert_eq!(bench.level(), Level::Ok);
    let took = bench.run_until(5_000, |bench| bench.level() == Level::Down);
    assert!(took <= 20, "{took}");
    assert!(!bench.work(Work::Answered), "a call is refused at once");
}

#[test]
fn failed_reconnect_decides_regardless_of_the_failure_count() {
    let patient =
        Definition { failures: 10, ..definition("store", DependencyKind::Postgres, Criticality::Critical) };
    let mut bench = Bench::new(vec![patient]);
    bench.run(300);
    bench.worlds[0] = World::Silent;
    bench.work(Work::Failed(Cause::new(Fault::Internal, "an error", "")));
    bench.run(1_500);
    assert_eq!(bench.level(), Level::Ok, "the first failure of a probe");
    bench.work(Work::Failed(refused()));
    assert!(bench.run_until(5_000, |bench| bench.level() == Level::Down) <= 2_000);
}

#[test]
fn single_reset_connection_refuses_no_client() {
    let mut bench = Bench::pair();
    let before = Arc::clone(bench.board.snapshot());
    for _ in 0..20 {
        bench.work(Work::Failed(Cause::new(Fault::Reset, "reset", "")));
        bench.work(Work::Answered);
        bench.work(Work::Answered);
        bench.run(997);
    }
    assert_eq!(bench.events, []);
    assert_eq!(*bench.board.snapshot(), before);
}

#[test]
fn failures_caused_by_clients_refuse_no_client() {
    let mut bench = Bench::pair();
    (0..1_000).for_each(|_| assert!(bench.work(Work::ByClient)));
    assert_eq!(bench.events, []);
}

#[test]
fn failing_calls_behind_successful_probes_are_an_outage() {
    let mut bench = Bench::pair();
    let broken = || Work::Failed(Cause::new(Fault::Internal, "could not open a file", "its log"));
    (0..20).for_each(|_| {
        bench.work(broken());
    });
    assert_eq!(bench.level(), Level::Down);
    let Some(Event { what: HealthEventKind::Down { cause, .. }, .. }) =
        bench.events.iter().find(|event| matches!(event.what, HealthEventKind::Down { .. }))
    else {
        panic!("{:?}", bench.events)
    };
    assert_eq!(cause.fault, Fault::Internal);
    assert!(bench.run_until(5_000, |bench| bench.level() == Level::Ok) <= 2_000);
    // The probes say up, the calls say down: only the breaker's own delay counts now.
    assert!(bench.work(broken()));
    assert_eq!(bench.level(), Level::Down);
    assert!(bench.run_until(30_000, |bench| bench.level() == Level::Ok) >= 2_500);
}

#[test]
fn full_disk_is_one_outage_although_probes_succeed() {
    let mut bench = Bench::pair();
    let full = || Work::Failed(Cause::new(Fault::DiskFull, "no space left on device", "its disk"));
    (0..20).for_each(|_| {
        bench.work(full());
    });
    let revision = bench.board.snapshot().revision;
    for _ in 0..200 {
        // The pause is longer than that between trial writes, so several probes succeeded since the last one.
        bench.run(900);
        bench.work(full());
        assert_eq!((bench.level(), bench.board.snapshot().revision), (Level::Down, revision));
    }
    let mut back = 0;
    while bench.level() == Level::Down {
        bench.run(300);
        bench.work(Work::Answered);
        back += 300;
        assert!(back <= 19_000, "{back} ms after there is room");
    }
    assert_eq!(bench.level(), Level::Ok);
}

#[test]
fn flapping_for_a_minute_is_reported_a_few_times() {
    let mut bench = Bench::pair();
    let revision = bench.board.snapshot().revision;
    for second in 0..60 {
        bench.worlds[0] = if second % 2 == 0 { World::Refuses } else { World::Well };
        for _ in 0..20 {
            let work = if second % 2 == 0 { Work::Failed(refused()) } else { Work::Answered };
            bench.work(work);
            bench.run(50);
        }
    }
    bench.worlds[0] = World::Well;
    assert!(bench.run_until(60_000, |bench| bench.level() == Level::Ok) <= 20_000);
    let reported = bench.board.snapshot().revision - revision;
    assert!(reported <= 6, "{reported}: {:?}", bench.events);
}

#[test]
fn critical_outage_refuses_with_one_reference_and_only_counts_in_observe_mode() {
    let mut bench = Bench::pair();
    bench.worlds = vec![World::Refuses, World::Refuses];
    bench.run(60_000);
    let downs = bench.downs();
    assert_eq!(downs.len(), 2);
    let snapshot = Arc::clone(bench.board.snapshot());
    let Availability::Refuse(template) = &snapshot.availability else { panic!("{snapshot:?}") };
    assert!(downs.contains(&template.reference()) && &**template.dependency() == "store");
    assert!(template.retry_ms(bench.now().at, 0.0) >= 7_500);
    let reported = status(&bench.board);
    assert_eq!(reported["level"], "down");
    assert_eq!(reported["lost"], serde_json::json!(["store-things", "shared", "assistant-things"]));
    assert_eq!(reported["message"], "Without store. Without assistant.");
    assert_eq!(reported["dependencies"][1]["critical"], false);
    let watched = bench.board.set_mode(AdmissionMode::Observe, bench.now()).snapshot.expect("new");
    assert!(matches!(watched.availability, Availability::Observe(_)));
    assert_eq!(watched.revision, snapshot.revision);
    assert!(bench.board.set_mode(AdmissionMode::Observe, bench.now()).snapshot.is_none());
}

#[test]
fn older_of_two_critical_outages_is_the_reason() {
    let critical = |name| definition(name, DependencyKind::Http, Criticality::Critical);
    let mut bench = Bench::new(vec![critical("auth"), critical("backend")]);
    bench.run(10);
    let reason = |bench: &Bench| match &bench.board.snapshot().availability {
        Availability::Refuse(template) => template.dependency().to_string(),
        other => panic!("{other:?}"),
    };
    bench.worlds[1] = World::Refuses;
    bench.run(5_000);
    assert_eq!(reason(&bench), "backend");
    bench.worlds[0] = World::Refuses;
    bench.run(5_000);
    assert_eq!(reason(&bench), "backend");
    bench.worlds[1] = World::Well;
    bench.run(5_000);
    assert_eq!(reason(&bench), "auth");
}

proptest! {
    #[test]
    fn gates_of_the_dependencies_that_are_down_decide_who_is_refused(
        made in prop::collection::vec((any::<bool>(), any::<bool>(), any::<bool>()), 1..5),
        observe in any::<bool>(),
    ) {
        let make = |(place, (critical, judges, _)): (usize, &(bool, bool, bool))| Definition {
            gate: if *judges { Gate::Judgement } else { Gate::Handshake },
            ..definition(
                &format!("d{place}"),
                DependencyKind::Http,
                if *critical { Criticality::Critical } else { Criticality::Optional },
            )
        };
        let mut bench = Bench::new(made.iter().enumerate().map(make).collect());
        bench.run(6_000);
        if observe {
            let now = bench.now();
            bench.board.set_mode(AdmissionMode::Observe, now);
        }
        for (world, (_, _, down)) in bench.worlds.iter_mut().zip(&made) {
            *world = if *down { World::Refuses } else { World::Well };
        }
        bench.run(20_000);
        let snapshot = bench.board.snapshot();
        let stops = made.iter().any(|(critical, judges, down)| *critical && !judges && *down);
        match &snapshot.availability {
            Availability::Admit => prop_assert!(!stops),
            Availability::Refuse(_) => prop_assert!(stops && !observe),
            Availability::Observe(_) => prop_assert!(stops && observe),
        }
        // Requests that need the dependency fail with the same outage, and `status` shows it, whatever the gate.
        for (place, (_, _, down)) in made.iter().enumerate() {
            prop_assert_eq!(snapshot.outage_of(&format!("d{place}")).is_some(), *down);
        }
        let down = made.iter().any(|(critical, _, down)| *critical && *down);
        prop_assert_eq!(snapshot.level == Level::Down, down);
        prop_assert_eq!(snapshot.mode == AdmissionMode::Observe, observe);
    }
}

#[test]
fn optional_outage_refuses_no_client_and_lists_what_is_lost() {
    let mut bench = Bench::pair();
    bench.worlds[1] = World::Refuses;
    bench.run(15_000);
    assert_eq!(bench.level(), Level::Degraded);
    assert_eq!(bench.board.snapshot().availability, Availability::Admit);
    let outage = bench.board.snapshot().outage_of("assistant").expect("it is down");
    assert_eq!(vec![outage.reference()], bench.downs());
    assert!(bench.board.snapshot().outage_of("store").is_none());
    assert_eq!(status(&bench.board)["lost"], serde_json::json!(["assistant-things", "shared"]));
}

#[test]
fn operator_order_is_applied_and_expires() {
    let mut bench = Bench::pair();
    let id = bench.board.id("store").expect("configured");
    let until = bench.now().at + Duration::from_secs(60);
    let changes = bench.board.order(id, Some(ForcedOrder { to: Forced::Open, until }), bench.now(), 1);
    bench.take(changes);
    assert_eq!(bench.level(), Level::Down);
    assert!(!bench.work(Work::Answered));
    bench.run(59_000);
    assert_eq!(bench.level(), Level::Down);
    bench.run(5_000);
    assert_eq!(bench.level(), Level::Ok);
    assert!(bench.events.iter().any(|event| event.what == HealthEventKind::Released));
    bench.worlds[0] = World::Refuses;
    let until = bench.now().at + Duration::from_secs(60);
    let changes = bench.board.order(id, Some(ForcedOrder { to: Forced::Closed, until }), bench.now(), 1);
    bench.take(changes);
    bench.run(30_000);
    assert_eq!(bench.level(), Level::Ok);
    bench.run(40_000);
    assert_eq!(bench.level(), Level::Down);
}

#[test]
fn probe_without_a_result_is_a_failure() {
    let mut bench = Bench::new(vec![definition("store", DependencyKind::Postgres, Criticality::Critical)]);
    for _ in 0..10_000 {
        while bench.board.due(bench.now().at).is_some() {}
        bench.ms += 1;
        let changes = bench.board.tick(bench.now(), 1);
        bench.take(changes);
    }
    assert_eq!(bench.level(), Level::Down);
    assert_eq!(bench.board.dependencies().next().map(|one| one.past().len()), Some(2));
}

#[test]
fn board_without_dependencies_is_always_ok() {
    let mut board = Board::new(Vec::new(), AdmissionMode::Enforce, Now::default());
    assert_eq!(**board.snapshot(), Snapshot::ok());
    assert_eq!(&*board.snapshot().status, r#"{"revision":1,"level":"ok","dependencies":[],"lost":[]}"#);
    assert!(board.next_due().is_none() && board.due(Moment::ZERO).is_none());
    assert!(board.tick(Now::default(), 1).snapshot.is_none());
}

#[derive(Clone, Copy, Debug)]
enum Step {
    World(usize, World),
    Work(u8),
    Run(u64),
    Mode(AdmissionMode),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let world = prop_oneof![Just(World::Well), Just(World::Refuses), Just(World::Silent)];
    let mode = prop_oneof![Just(AdmissionMode::Enforce), Just(AdmissionMode::Observe)];
    let step = prop_oneof![
        2 => (0_usize..2, world).prop_map(|(which, world)| Step::World(which, world)),
        3 => any::<u8>().prop_map(Step::Work),
        3 => (1_u64..4_000).prop_map(Step::Run),
        1 => mode.prop_map(Step::Mode),
    ];
    prop::collection::vec(step, 0..40)
}

fn check(bench: &Bench) {
    let snapshot = bench.board.snapshot();
    for dependency in bench.board.dependencies() {
        assert_eq!(dependency.state() == State::Down, dependency.outage().is_some());
        assert!(dependency.past().len() <= 50);
    }
    let critical_down = bench.board.dependency("store").is_some_and(|store| store.state() == State::Down);
    assert_eq!(snapshot.level == Level::Down, critical_down);
    match (&snapshot.availability, bench.board.mode()) {
        (Availability::Admit, _) => assert!(!critical_down),
        (Availability::Refuse(_), mode) => assert!(critical_down && mode == AdmissionMode::Enforce),
        (Availability::Observe(_), mode) => assert!(critical_down && mode == AdmissionMode::Observe),
    }
    let reported = status(&bench.board);
    assert_eq!(reported["revision"], snapshot.revision);
    assert_eq!(reported["level"], snapshot.level.as_str());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn snapshot_matches_the_board_and_every_outage_ends(steps in steps(), seed: u64) {
        let mut bench = Bench::pair();
        bench.random = seed;
        for step in steps {
            let revision = bench.board.snapshot().revision;
            match step {
                Step::World(which, world) => bench.worlds[which] = world,
                Step::Work(times) => (0..times % 40).for_each(|_| {
                    let work = if bench.worlds[0] == World::Well { Work::Answered } else { Work::Failed(refused()) };
                    bench.work(work);
                }),
                Step::Run(ms) => bench.run(ms),
                Step::Mode(mode) => {
                    let changes = bench.board.set_mode(mode, bench.now());
                    bench.take(changes);
                }
            }
            check(&bench);
            prop_assert!(bench.board.snapshot().revision >= revision);
        }
        bench.worlds = vec![World::Well, World::Well];
        bench.run(30_000);
        check(&bench);
        prop_assert_eq!(bench.level(), Level::Ok);
        // Each outage and its end are reported exactly once, under the same reference.
        let ends: Vec<Reference> = bench.events.iter().filter_map(|event| match event.what {
            HealthEventKind::Recovered { reference, .. } => Some(reference),
            _ => None,
        }).collect();
        let mut begins = bench.downs();
        begins.sort_by_key(|reference| ends.iter().position(|end| end == reference));
        prop_assert_eq!(begins, ends);
    }
}
