//! Several instances over one store: each has a ledger of its own, and the store decides between them.

mod instance;
mod store;
mod world;

use super::reader::Reader;
use crate::wire::stream::StreamState;
use instance::{Arrival, Line};
use proptest::prelude::*;
use std::time::Duration;
use world::World;

/// One step: its kind, the instance, the stream, and a number for the rest.
type Step = (u8, usize, u64, u16);

fn run(steps: &[Step]) {
    let mut world = World::new();
    world.begin(0, 0);
    for (kind, at, choice, number) in steps {
        let (at, choice, number) = (at % world::INSTANCES, *choice, u64::from(*number));
        let line = match number % 4 {
            0 => Line::CutBefore,
            1 => Line::CutAfter,
            2 => Line::HeldUp,
            _ => Line::Works,
        };
        match kind % 32 {
            0 => world.begin(at, number),
            1..=8 => world.append(at, choice, number, Arrival::AtTheEnd),
            9..=11 => world.append(at, choice, number, Arrival::Back),
            12 | 13 => world.append(at, choice, number, Arrival::OtherText),
            14 => world.restart(at, choice, number),
            15 if number % 4 == 1 => world.fail(at, choice),
            15 => world.end(at, choice, number),
            16 => world.cancel(at, choice),
            17 => world.replace(choice),
            18 => world.detach(at, number),
            19 if number.is_multiple_of(2) => world.process(at, choice),
            19 => world.attach(at, choice, number),
            20 => world.crash(at),
            21 => world.wait(Duration::from_millis(number % 12_000)),
            22 => world.sweep(at),
            23 | 24 => world.look(at),
            25 | 26 => world.flush(at, line),
            27 => world.reconnect(at),
            _ => {
                world.wait(Duration::from_millis(number % 60));
                world.flush(at, Line::Works);
            }
        }
        world.check();
    }
    world.finish();
}

/// Signs of life in these seconds after the begin, while another instance sweeps by a clock that is fast.
fn live_at(seconds: &[u64], jump: Duration) {
    let mut world = World::new();
    world.begin(0, 0);
    for second in 0..55 {
        if second == 3 {
            world.jump(jump);
        }
        if seconds.contains(&second) {
            world.live(0);
        }
        for at in 0..world::INSTANCES {
            world.flush(at, Line::Works);
            world.look(at);
        }
        world.sweep(1);
        assert!(!jump.is_zero() || !world.has(1), "found at {second} s with signs at {seconds:?}");
        assert!(world.newest_is_open(), "ended at {second} s with signs at {seconds:?} and {jump:?}");
        world.wait(Duration::from_secs(1));
    }
    world.finish();
}

#[test]
fn stream_whose_producer_lives_is_not_ended_by_another_instance() {
    for seconds in [&[9, 38][..], &[0, 29], &[9, 18, 27, 36, 45], &[1, 30], &[29, 52]] {
        for jump in [0, 20, 100, 100_000] {
            live_at(seconds, Duration::from_secs(jump));
        }
    }
}

/// The seconds from the death of an instance until another one, which sweeps for the first time `late` seconds after it, has ended its stream.
fn ended_after_death(state: StreamState, late: u32) -> u32 {
    let mut world = World::new();
    world.begin(0, 0);
    world.append(0, 0, 0, Arrival::AtTheEnd);
    if state == StreamState::Paused {
        world.detach(0, 0);
        world.wait(Duration::from_millis(1_100));
    } else {
        world.wait(Duration::from_millis(50));
    }
    world.flush(0, Line::Works);
    world.crash(0);
    let mut second = 0;
    while world.newest_is_open() {
        match second % 10 == late {
            true => world.sweep(1),
            false => world.end_overdue(1),
        }
        world.look(1);
        world.flush(1, Line::Works);
        assert!(second < 100, "it is still open");
        world.wait(Duration::from_secs(1));
        second += 1;
    }
    world.finish();
    second
}

#[test]
fn stream_of_an_instance_that_died_ends_a_sweep_after_its_deadline() {
    // 30 s and 10 s; with a third of the idle time, a margin of two seconds, and the time of a sweep that finds it silent.
    for late in [3, 9] {
        let (streaming, paused) =
            [StreamState::Streaming, StreamState::Paused].map(|state| ended_after_death(state, late)).into();
        assert!((30..=40 + 2 + late + 2).contains(&streaming), "streaming: {streaming} s");
        assert!((10..=10 + 2 + late + 2).contains(&paused), "paused: {paused} s");
    }
}

/// Of three instances that let go of a stream, the one that finds it had its last commit fail, and has nothing else to commit.
#[test]
fn instance_whose_last_commit_failed_ends_the_streams_that_it_finds() {
    run(&[
        (0, 0, 0, 0),
        (17, 0, 52, 0),
        (1, 0, 0, 0),
        (1, 0, 0, 0),
        (1, 2, 234, 0),
        (25, 0, 0, 10_560),
        (28, 2, 0, 0),
        (21, 0, 0, 10),
        (1, 2, 657, 18_776),
        (1, 1, 408, 222),
        (25, 0, 868, 2_254),
        (25, 2, 661, 50_223),
        (28, 1, 534, 58_923),
        (4, 2, 720, 9_005),
        (31, 2, 840, 40_062),
    ]);
}

proptest! {
    #[test]
    fn every_promise_holds_with_several_instances(
        steps in prop::collection::vec((any::<u8>(), any::<usize>(), 0u64..1_000, any::<u16>()), 0..120),
    ) {
        run(&steps);
    }
}
