//! The pure floors and the engine under simulated failures, on a virtual clock, from a seed.
//!
//! Two instances with two reactors each share one store. The store refuses, leaves outcomes unknown and answers late;
//! lanes lose, delay and duplicate; sockets stall; processes crash, or drain and are replaced; logs are restored from a
//! backup. Honest clients follow the client's duties, rogue ones do not. A shadow of each connection checks every frame
//! against the promises of `docs/protocol.md`, and in the end every honest client must have everything.
//!
//! A world of its own has streams: producers that repeat, restart, fall silent and die, the real ledger in a store that fails, and
//! readers of any pace on real engines.
//!
//! Another one has questions: two processes with the real ledger, schedule and decisions of the relay over one store that fences them, and
//! a backend that answers at once, later, twice or never.
//!
//! A further world has only the dependencies: they fail by the seed under the real board, with probes, work and
//! handshakes, and what the board reports is compared with their true state.
//!
//! `SEED=7 cargo test --test simulation` replays one run and prints its last events; `SEEDS=5000` runs more seeds.

mod simulation {
    pub mod answer_backend;
    pub mod answer_checks;
    pub mod answer_instance;
    pub mod answer_reading;
    pub mod answer_relay;
    pub mod answer_rows;
    pub mod answer_sender;
    pub mod answer_store;
    pub mod answer_text;
    pub mod answer_world;
    pub mod auth;
    pub mod client;
    pub mod drain;
    pub mod frame;
    pub mod ground;
    pub mod instance;
    pub mod order;
    pub mod promises;
    pub mod rogue;
    pub mod schedule;
    pub mod shadow;
    pub mod share;
    pub mod shell;
    pub mod socket;
    pub mod store;
    pub mod stream_cut;
    pub mod stream_reading;
    pub mod stream_rig;
    pub mod stream_socket;
    pub mod stream_store;
    pub mod stream_world;
    pub mod trace;
    pub mod work;
    pub mod world;
}

use simulation::answer_world::AnswerWorld;
use simulation::ground::Ground;
use simulation::stream_cut::{Cursor, CutStream};
use simulation::stream_world::StreamWorld;
use simulation::trace::Trace;
use simulation::world::World;
use std::num::NonZero;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::thread;

/// The number of seeds by default.
const SEEDS: u64 = 256;
/// The same for the dependencies under the board, where each run lasts some minutes of virtual time.
const GROUND_SEEDS: u64 = 96;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a whole number, got {text:?}")))
}

/// The same for producers and readers of streams.
const STREAM_SEEDS: u64 = 12;
/// The same for questions and their answers.
const ANSWER_SEEDS: u64 = 64;

/// One run of one of the worlds.
type Run = fn(u64, Rc<Trace>);

fn run(of: Run, seed: u64, trace: &Rc<Trace>) -> std::thread::Result<()> {
    catch_unwind(AssertUnwindSafe(|| of(seed, Rc::clone(trace))))
}

fn conversation(seed: u64, trace: Rc<Trace>) {
    World::new(seed, trace).run();
}

fn dependencies(seed: u64, trace: Rc<Trace>) {
    Ground::new(seed, trace).run();
}

fn streams(seed: u64, trace: Rc<Trace>) {
    StreamWorld::new(seed, trace).run();
}

fn answers(seed: u64, trace: Rc<Trace>) {
    AnswerWorld::new(seed, trace).run();
}

/// Runs every `stride`th seed until one fails, and returns it. A run has one thread, and runs share no state.
fn first_failure(of: Run, seeds: Range<u64>, stride: usize) -> Option<u64> {
    seeds.step_by(stride).find(|seed| run(of, *seed, &Rc::new(Trace::silent())).is_err())
}

/// Runs the seed again and prints the last events before the failure.
fn show(of: Run, seed: u64) -> ! {
    let trace = Rc::new(Trace::kept());
    let outcome = run(of, seed, &trace);
    eprintln!("seed {seed}, event {}: the last events were", trace.count());
    trace.print();
    eprintln!("replay it with: SEED={seed} cargo test --test simulation");
    match outcome {
        Ok(()) => panic!("seed {seed} failed once but not again, so something does not depend on the seed"),
        Err(cause) => std::panic::resume_unwind(cause),
    }
}

fn run_all(of: Run, usual: u64) {
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(usual),
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(8);
    let failed = thread::scope(|scope| {
        let start = |index: usize| {
            let seeds = seeds.start + index as u64..seeds.end;
            scope.spawn(move || first_failure(of, seeds, threads))
        };
        let running: Vec<_> = (0..threads).map(start).collect();
        running.into_iter().filter_map(|thread| thread.join().ok().flatten()).min()
    });
    if let Some(seed) = failed {
        show(of, seed);
    }
}

#[test]
fn every_promise_holds_under_simulated_failures() {
    run_all(conversation, SEEDS);
}

#[test]
fn failed_dependency_is_announced_in_time_once_and_its_recovery_too() {
    run_all(dependencies, GROUND_SEEDS);
}

#[test]
fn streams_keep_their_promises_under_simulated_failures() {
    run_all(streams, STREAM_SEEDS);
}

#[test]
fn questions_and_answers_keep_their_promises_under_simulated_failures() {
    run_all(answers, ANSWER_SEEDS);
}

#[test]
fn reader_cut_at_any_position_of_a_stream_gets_all_of_its_text() {
    for cursor in [Cursor::Named, Cursor::WithStreams, Cursor::None] {
        let mut stream = CutStream::new(1, cursor);
        stream.run();
        assert!(stream.served > 1_500, "{} readers", stream.served);
    }
}

#[test]
fn same_seed_gives_the_same_run() {
    let events = |of, seed| {
        let trace = Rc::new(Trace::silent());
        run(of, seed, &trace).map(|()| trace.count()).map_err(|_| "the run failed")
    };
    assert_eq!(events(conversation, 3), events(conversation, 3));
    assert_eq!(events(dependencies, 3), events(dependencies, 3));
    assert_eq!(events(streams, 3), events(streams, 3));
    assert_eq!(events(answers, 3), events(answers, 3));
}
