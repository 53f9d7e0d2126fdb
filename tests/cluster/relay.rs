//! The relay of several gateways on one PostgreSQL: each channel has one sender at a time, and another one goes on when it dies.

use crate::cluster::rig::Rig;
use crate::support::relay::{ASSISTANT, RelayBackend, ask, ended, view};
use crate::support::stream;
use crate::support::wait::{SOON, until};
use crate::support::{Client, Gateway};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const THREADS: [&str; 3] = ["thread.1", "thread.2", "thread.3"];
/// Questions in each thread.
const QUESTIONS: usize = 4;
/// A claim of an instance that has died ends after thirty seconds. The rest is for a busy machine.
const TAKEN_OVER: Duration = Duration::from_secs(120);

fn start(rig: &Rig, backend: &RelayBackend, name: &str) -> Gateway {
    backend.with_route(stream::with_streams(rig.setup(name)).with_slow_store(), "").start()
}

fn asker(gateway: &Gateway, threads: &[&str]) -> Client {
    let mut asker = stream::user(gateway, "ann", &["subscribe", "publish"]);
    for thread in threads {
        asker.subscribe(thread);
    }
    asker
}

#[test]
fn questions_at_all_instances_are_delivered_once_in_order_and_answered_everywhere() {
    let (rig, backend) = (Rig::start(), RelayBackend::start());
    backend.mode(json!({"mode": "text", "pieces": ["so ", "it is"]}));
    let gateways = [start(&rig, &backend, "one"), start(&rig, &backend, "two")];
    let mut askers = gateways.each_ref().map(|gateway| asker(gateway, &THREADS));
    for thread in THREADS {
        let mut questions = Vec::new();
        for number in 0..QUESTIONS {
            let (question, answer) = ask(&mut askers[number % 2], thread, &format!("question {number}"));
            questions.push(question);
            // The reader is at the other instance.
            assert_eq!(
                ended(&mut askers[(number + 1) % 2], &mut view(thread, answer), "completed"),
                "so it is"
            );
        }
        assert_eq!(backend.kept_order(thread, &questions).len(), QUESTIONS, "nothing is sent twice");
    }
    rig.every_stream_ends(SOON);
}

#[test]
fn question_of_an_instance_that_dies_is_sent_again_by_another_with_the_next_generation() {
    let (rig, backend) = (Rig::start(), RelayBackend::start());
    backend.mode(json!({"mode": "never"}));
    let first = start(&rig, &backend, "one");
    let thread = THREADS[0];
    let (question, answer) = ask(&mut asker(&first, &[thread]), thread, "hello?");
    backend.has_requests(1);
    // Each further request is answered. The first one is held until its gateway is killed.
    backend.mode(json!({"mode": "text", "pieces": ["after all"]}));
    let second = start(&rig, &backend, "two");
    let mut asker = asker(&second, &[thread]);
    drop(first.kill9());
    until(TAKEN_OVER, "another instance sends it", || backend.requests().len() > 1);
    assert_eq!(ended(&mut asker, &mut view(thread, answer), "completed"), "after all");
    let requests = backend.kept_order(thread, &[question]);
    let [first, .., last] = &requests[..] else { panic!("{requests:?}") };
    for number in ["/attempt", "/answer/gen"] {
        let number = |request: &Value| request.pointer(number).and_then(Value::as_u64).expect("a number");
        assert!(number(first) < number(last), "{requests:?}");
    }
    let (next, answer) = ask(&mut asker, thread, "and now?");
    assert_eq!(ended(&mut asker, &mut view(thread, answer), "completed"), "after all");
    until(SOON, "the next question is sent", || backend.requests().iter().any(|it| it["offset"] == next));
    backend.kept_order(thread, &[question, next]);
    rig.every_stream_ends(SOON);
}

#[test]
fn question_that_a_drain_interrupts_is_answered_by_another_instance() {
    let (rig, backend) = (Rig::start(), RelayBackend::start());
    backend.mode(json!({"mode": "never"}));
    let setup = backend.with_route(stream::with_streams(rig.setup("one")).with_slow_store(), "");
    let drains = [("accept", 0), ("spread", 20), ("close", 50), ("exit", 20_000)];
    let setup = drains.into_iter().fold(setup, |setup, (name, ms)| setup.drain(name, ms));
    let mut first = setup.start();
    let thread = THREADS[0];
    let (question, answer) = ask(&mut asker(&first, &[thread]), thread, "hello?");
    backend.has_requests(1);
    backend.mode(json!({"mode": "text", "pieces": ["after all"]}));
    let second = start(&rig, &backend, "two");
    let mut asker = asker(&second, &[thread]);
    let (code, _) = first.ends_after(Signal::TERM);
    assert_eq!(code, Some(0), "{}", first.output());
    // Its claim is given back, so nothing waits for the end of it; a claim that is not ends after thirty seconds.
    let ended_at = Instant::now();
    assert_eq!(ended(&mut asker, &mut view(thread, answer), "completed"), "after all");
    println!("answered {:?} after the end of the instance", ended_at.elapsed());
    let requests = backend.kept_order(thread, &[question]);
    let numbers = |request: &Value| {
        ["/attempt", "/answer/gen"].map(|it| request.pointer(it).and_then(Value::as_u64).expect("a number"))
    };
    let [first, .., last] = &requests[..] else { panic!("{requests:?}") };
    assert!(numbers(first) < numbers(last), "a second run has a generation of its own: {requests:?}");
    rig.every_stream_ends(SOON);
}

#[test]
fn answer_whose_question_is_not_retained_ends_at_every_instance() {
    let (rig, backend) = (Rig::start(), RelayBackend::start());
    backend.mode(json!({"mode": "never"}));
    let start = |name| {
        let setup = stream::with_streams(rig.setup(name)).with_slow_store();
        backend.with_route(setup.env("SEAWALL_STREAMS_ORPHAN_MS", "1000"), "").start()
    };
    let gateways = [start("one"), start("two")];
    let thread = THREADS[0];
    let mut askers = gateways.each_ref().map(|gateway| asker(gateway, &[thread]));
    let (question, answer) = ask(&mut askers[0], thread, "hello?");
    backend.has_requests(1);
    rig.store.sql(&format!("DELETE FROM seawall.publications WHERE \"offset\" = {question}"));
    for asker in &mut askers {
        let mut view = view(thread, answer);
        view.read_within(TAKEN_OVER, asker, "the end", |view| view.end.is_some());
        let end = view.end.expect("just read");
        assert_eq!(
            (&end["stream"], &end["data"]["cause"]),
            (&json!("failed"), &json!("not_delivered")),
            "{end}"
        );
    }
    rig.every_stream_ends(SOON);
}

#[test]
fn first_piece_that_another_instance_stores_has_waited_since_the_question() {
    let (rig, backend) = (Rig::start(), RelayBackend::start());
    backend.mode(json!({"mode": "accepted"}));
    let gateways = [start(&rig, &backend, "one"), start(&rig, &backend, "two")];
    let thread = THREADS[0];
    let mut asker = asker(&gateways[0], &[thread]);
    let before = Instant::now();
    let (_, answer) = ask(&mut asker, thread, "hello?");
    let stored = Instant::now();
    view(thread, answer).read(&mut asker, "the backend has it", |view| view.state == "processing");
    let mut bot = stream::user(&gateways[1], ASSISTANT, &["publish", "stream"]);
    let waits = Duration::from_millis(1_500);
    until(SOON, "some time passes", || stored.elapsed() >= waits);
    let about = &backend.requests()[0]["answer"];
    let piece = json!({"channel": thread, "offset": answer, "gen": about["gen"], "at": 0, "text": "late"});
    bot.ask_again(&json!({"append": piece}), "appended");
    let most = before.elapsed();
    gateways[1].shows("seawall_relay_first_piece_seconds_count", 1.0);
    let waited = gateways[1].metric("seawall_relay_first_piece_seconds_sum");
    // By the clock of the database, in whole milliseconds.
    let bounds = waits.as_secs_f64() - 0.1..most.as_secs_f64() + 0.1;
    assert!(bounds.contains(&waited), "{waited} s, and not in {bounds:?}");
    rig.every_stream_ends(SOON);
}
