//! A model of presence across instances: several of them on a virtual clock, with a Redis that is lost, emptied or replaced by an
//! older replica, with messages and answers that are lost, with more to write than is written, and with processes that are killed or
//! stopped.
//!
//! Each instance has the rosters, the lease and the judgement of the gateway. After the last fault every watcher must have the truth within
//! 25 s, and so must a page of an instance without watchers: all users, with the number of their connections. No watcher sees a user join or leave twice, or is sent that a roster is complete while it is not; and without a fault that ends
//! connections none sees a user leave that is there.

mod fault;
mod instance;
mod redis;
mod watcher;
mod world;

use fault::Fault;
use world::World;

/// Schedules with any faults. Unoptimised, they would take minutes.
const SEEDS: u64 = if cfg!(debug_assertions) { 100 } else { 1_000 };

fn run(seed: u64, faults: &[Fault]) -> World {
    let mut world = World::new(seed);
    world.run(faults);
    world
}

/// The seed in `SEED`, or all.
fn seeds() -> Vec<u64> {
    match std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => (0..SEEDS).collect(),
    }
}

#[test]
fn rosters_of_all_instances_are_true_after_any_faults() {
    for seed in seeds() {
        let faults = Fault::random(seed);
        // With the seed, a failure can be repeated.
        let outcome = std::panic::catch_unwind(|| drop(run(seed, &faults)));
        assert!(outcome.is_ok(), "SEED={seed} fails with {faults:?}");
    }
}

#[test]
fn calm_schedules_have_no_false_leave_and_their_rosters_stay_complete() {
    for seed in seeds().into_iter().take(50) {
        let world = run(seed, &[]);
        assert_eq!(world.false_leaves(), [""; 0], "SEED={seed}");
        assert_eq!(world.incomplete_after_start(), 0, "SEED={seed}");
    }
}

#[test]
fn user_that_left_long_ago_is_not_shown_again_while_an_instance_is_isolated() {
    for seed in seeds().into_iter().take(50) {
        assert_eq!(run(seed, &[Fault::CutOff]).ghosts(), 0, "SEED={seed}");
    }
}

#[test]
fn users_are_seen_by_others_while_more_rosters_change_than_are_written() {
    for seed in seeds().into_iter().take(5) {
        let outcome = std::panic::catch_unwind(|| drop(run(seed, &[Fault::Storm])));
        assert!(outcome.is_ok(), "SEED={seed}");
    }
}

#[test]
fn faults_of_redis_make_no_user_leave() {
    for seed in seeds().into_iter().take(50) {
        for fault in [Fault::RedisDown, Fault::RedisEmptied, Fault::RedisOlder] {
            let outcome = std::panic::catch_unwind(|| run(seed, &[fault]).false_leaves().to_vec());
            assert_eq!(outcome.ok(), Some(Vec::new()), "SEED={seed} {fault:?}");
        }
    }
}
