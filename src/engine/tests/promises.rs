//! Events that objectives count.

use super::stage::{UPGRADE, page};
use super::*;
use crate::close::CloseReason;
use crate::drain::{DrainCause, Ending};
use crate::health::board::Board;
use crate::health::breaker::Forced;
use crate::health::definition::{Criticality, Definition, DependencyKind, EndedBy, Gate};
use crate::health::dependency::ForcedOrder;
use crate::health::snapshot::AdmissionMode;
use crate::job::{AddressDenied, AppendError, Appended, Attempt, Denied};
use crate::metrics::latency::LatencyCounts;
use crate::random::Random;
use crate::slo::{BadCause, Exclusion, SloOutcome, SloPart};
use crate::wire::publication::{Change, Published};
use crate::wire::stream::StreamMark;

const GOOD: SloOutcome = SloOutcome::Good;
const TOKEN: &str = r#"{"id":1,"connect":{"token":"t"}}"#;
const PUBLISH: &str = r#"{"id":2,"publish":{"channel":"c","key":"k","data":1}}"#;

fn of(stage: &Stage, part: SloPart, outcome: SloOutcome) -> u64 {
    stage.engine.tally.slo.of(part, outcome)
}

/// Runs turns until one attempt has this outcome, and none another.
fn attempt_counts_as(stage: &mut Stage, outcome: SloOutcome) {
    stage.turn_until(|stage| stage.engine.tally.slo.decided_attempts() > 0);
    assert_eq!(of(stage, SloPart::Attempt, outcome), 1, "{outcome:?}");
    assert_eq!((stage.engine.tally.slo.attempts(), stage.engine.open_attempts()), (1, 0));
}

/// Has the virtual clock advance by this within one turn.
fn wait(stage: &mut Stage, time: Duration) {
    let pause = std::mem::replace(&mut stage.pause, time);
    stage.turn();
    stage.pause = pause;
}

/// Holds the store down.
fn hold_store(stage: &Stage) -> Board {
    let store = Definition {
        name: Arc::from("store"),
        kind: DependencyKind::Postgres,
        address: Arc::from("db:5432"),
        criticality: Criticality::Critical,
        gate: Gate::Handshake,
        ended_by: EndedBy::Probes,
        lost: Vec::new(),
        sentence: Arc::from("Messages cannot be sent."),
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(1),
        failures: 2,
        successes: 2,
    };
    let mut board = Board::new(vec![store], AdmissionMode::Enforce, stage.engine.now());
    order_store(stage, &mut board, Forced::Open);
    board
}

fn order_store(stage: &Stage, board: &mut Board, to: Forced) {
    let now = stage.engine.now();
    let order = ForcedOrder { to, until: now.at + Duration::from_secs(600) };
    let id = board.id("store").expect("configured");
    let changes = board.order(id, Some(order), now, 7);
    stage.setup.outlook.publish(changes.snapshot.expect("it changed"));
}

fn appended(stage: &mut Stage, outcome: Result<Attempt, AppendError>) {
    stage.turn_until(|stage| !stage.appends.is_empty());
    let ticket = stage.appends.pop_front().expect("not empty").ticket;
    let outcome = outcome.map(|attempt| Appended {
        epoch: Epoch(7),
        offset: Offset(1),
        time_ms: 1,
        attempt,
        stream: None,
        answer: None,
    });
    stage.answer(Completion::Appended { ticket, outcome });
}

#[test]
fn attempt_is_good_if_the_gateway_is_quick_however_slow_its_client_is() {
    let mut stage = Stage::new(AuthMode::Off);
    let client = stage.chat(&[]);
    stage.turn_until(|stage| stage.has(client, "101 Switching Protocols"));
    wait(&mut stage, Duration::from_secs(5));
    assert_eq!(stage.engine.open_attempts(), 1);
    stage.say(client, CONNECT);
    attempt_counts_as(&mut stage, GOOD);
}

#[test]
fn attempt_whose_token_is_judged_late_or_never_is_bad() {
    let asks = |stage: &mut Stage| {
        stage.chat(&[TOKEN]);
        stage.token(&Occasion::Connect)
    };
    let mut stage = Stage::new(AuthMode::Required);
    let ticket = asks(&mut stage);
    wait(&mut stage, Duration::from_millis(2_100));
    let outcome = Ok(identity(&stage, Counted::No, None));
    stage.answer(Completion::TokenChecked { ticket, outcome });
    attempt_counts_as(&mut stage, SloOutcome::Bad(BadCause::Late));

    let mut stage = Stage::new(AuthMode::Required);
    asks(&mut stage);
    wait(&mut stage, Duration::from_secs(5));
    attempt_counts_as(&mut stage, SloOutcome::Bad(BadCause::Unjudged));

    let mut stage = Stage::new(AuthMode::Required);
    let ticket = asks(&mut stage);
    stage.answer(Completion::TokenChecked { ticket, outcome: Err(Denied::Blocked { retry_ms: None }) });
    attempt_counts_as(&mut stage, SloOutcome::Excluded(Exclusion::Client));

    let mut stage = Stage::new(AuthMode::Required);
    let ticket = asks(&mut stage);
    stage.answer(Completion::TokenChecked { ticket, outcome: Err(Denied::TooManyOfUser) });
    attempt_counts_as(&mut stage, SloOutcome::Excluded(Exclusion::ClientLimit));
}

#[test]
fn attempt_during_an_outage_is_bad_and_so_is_the_wait_that_it_is_given() {
    let mut stage = Stage::new(AuthMode::Off);
    let _board = hold_store(&stage);
    stage.turn();
    stage.chat(&[CONNECT]);
    let unavailable = SloOutcome::Bad(BadCause::Unavailable);
    attempt_counts_as(&mut stage, unavailable);
    let waits = of(&stage, SloPart::Session, unavailable);
    assert!((1..=15_000).contains(&waits), "{waits} ms");
}

#[test]
fn attempt_that_its_client_or_a_bound_of_its_address_ends_is_excluded() {
    let mut stage = Stage::new(AuthMode::Off);
    let client = stage.chat(&[]);
    stage.turn_until(|stage| stage.has(client, "101 Switching Protocols"));
    stage.leave(client);
    attempt_counts_as(&mut stage, SloOutcome::Excluded(Exclusion::Left));

    let mut stage = Stage::new(AuthMode::Off);
    stage.chat(&[]);
    wait(&mut stage, Duration::from_secs(1));
    wait(&mut stage, Duration::from_secs(11));
    attempt_counts_as(&mut stage, SloOutcome::Excluded(Exclusion::Client));

    let limits = Limits { connections_per_address: 5, ..Limits::default() };
    for (outcome, counts_as) in [
        (Some(AddressDenied::TooMany), SloOutcome::Excluded(Exclusion::ClientLimit)),
        (None, SloOutcome::Bad(BadCause::Unjudged)),
    ] {
        let mut stage = Stage::with(limits.clone(), AuthMode::Off);
        stage.chat(&[]);
        let AuthJob::AdmitAddress { ticket, address } = stage.admitted() else { panic!("an address") };
        match outcome {
            Some(denied) => {
                stage.answer(Completion::AddressChecked { ticket, address, outcome: Err(denied) })
            }
            None => wait(&mut stage, Duration::from_secs(5)),
        }
        attempt_counts_as(&mut stage, counts_as);
    }

    // Neither an attempt: a plain request, and an upgrade with a bad key.
    let mut stage = Stage::new(AuthMode::Off);
    let client = stage.client();
    stage.send(client, UPGRADE.replace("Upgrade: websocket\r\nConnection: Upgrade\r\n", "").as_bytes());
    let other = stage.client();
    stage.send(other, UPGRADE.replace("dGhlIHNhbXBsZSBub25jZQ==", "x").as_bytes());
    stage.turn_until(|stage| stage.has(client, "HTTP/1.1 4") && stage.has(other, "HTTP/1.1 4"));
    assert_eq!(stage.engine.tally.slo.attempts(), 0);
}

#[test]
fn attempt_that_a_drain_ends_is_excluded_unless_the_process_failed() {
    for (cause, counts_as) in [
        (DrainCause::Terminate, SloOutcome::Excluded(Exclusion::Drain)),
        (DrainCause::Fault, SloOutcome::Bad(BadCause::Fault)),
    ] {
        let mut stage = Stage::new(AuthMode::Off);
        let client = stage.chat(&[]);
        stage.turn_until(|stage| stage.has(client, "101 Switching Protocols"));
        let now = stage.engine.now();
        let later = now.at + Duration::from_secs(60);
        let drain = &stage.setup.vitals.drain;
        drain.begin(cause, now);
        drain.close(Ending { answer_by: now.at, end_by: later, gone_by: later });
        stage.turn_until(|stage| stage.has(client, r#""code":1012"#));
        assert_eq!(of(&stage, SloPart::Attempt, counts_as), 1, "{cause:?}");
    }
}

/// Clients of all kinds, in any order: the engine compares the attempts with their outcomes after each turn.
#[test]
fn each_attempt_has_one_outcome_through_any_mix_of_clients() {
    let mut random = Random::seeded(7);
    let limits = Limits { connections_per_address: 1_000, admissions_per_s: 20, ..Limits::default() };
    let mut stage = Stage::with(limits, AuthMode::Required);
    stage.pause = Duration::from_millis(20);
    let mut board = hold_store(&stage);
    order_store(&stage, &mut board, Forced::Closed);
    let mut clients = Vec::new();
    for turn in 0..600_u32 {
        let client = stage.client();
        stage.begin_chat(client, if random.u64().is_multiple_of(4) { &[] } else { &[TOKEN] });
        clients.push(client);
        if random.u64().is_multiple_of(3) {
            let gone = clients[random.u64() as usize % clients.len()];
            stage.leave(gone);
        }
        while let Some(job) = stage.admits.pop_front() {
            let denied = random.u64();
            let answer = match job {
                AuthJob::AdmitAddress { ticket, address } => {
                    let outcome = if denied.is_multiple_of(9) { Err(AddressDenied::TooMany) } else { Ok(()) };
                    Completion::AddressChecked { ticket, address, outcome }
                }
                AuthJob::CheckToken { ticket, .. } if !denied.is_multiple_of(7) => {
                    let outcome = match denied.is_multiple_of(5) {
                        true => Err(Denied::Blocked { retry_ms: None }),
                        false => Ok(identity(&stage, Counted::No, None)),
                    };
                    Completion::TokenChecked { ticket, outcome }
                }
                // Never answered.
                _ => continue,
            };
            stage.answers.push_back(answer);
        }
        match turn {
            200 => order_store(&stage, &mut board, Forced::Open),
            300 => order_store(&stage, &mut board, Forced::Closed),
            _ => {}
        }
        stage.turn();
    }
    let slo = &stage.engine.tally.slo;
    assert_eq!(slo.attempts(), slo.decided_attempts() + stage.engine.open_attempts());
    assert_eq!(slo.attempts(), 600);
    assert!(of(&stage, SloPart::Attempt, SloOutcome::Bad(BadCause::Unavailable)) > 0);
    assert!(of(&stage, SloPart::Attempt, GOOD) > 0);
}

#[test]
fn message_counts_once_and_is_good_if_a_retry_stores_it() {
    let bad = SloOutcome::Bad(BadCause::NotStored);
    let mut stage = Stage::new(AuthMode::Off);
    let client = stage.chat(&[CONNECT, PUBLISH]);
    appended(&mut stage, Err(AppendError::Unavailable { retry_ms: 1 }));
    stage.say(client, PUBLISH);
    appended(&mut stage, Err(AppendError::Unconfirmed { retry_ms: 1 }));
    stage.say(client, PUBLISH);
    appended(&mut stage, Ok(Attempt::Repeat));
    assert_eq!((of(&stage, SloPart::Publish, GOOD), of(&stage, SloPart::Publish, bad)), (1, 0));

    stage.say(client, PUBLISH);
    appended(&mut stage, Err(AppendError::Unavailable { retry_ms: 1 }));
    wait(&mut stage, Duration::from_secs(32));
    assert_eq!((of(&stage, SloPart::Publish, GOOD), of(&stage, SloPart::Publish, bad)), (1, 1));
    stage.say(client, r#"{"id":3,"publish":{"channel":"c","data":1}}"#);
    appended(&mut stage, Ok(Attempt::First));
    assert_eq!((of(&stage, SloPart::Publish, GOOD), of(&stage, SloPart::Publish, bad)), (2, 1));
}

#[test]
fn message_to_a_store_that_is_down_is_counted_although_no_job_is_made() {
    let mut stage = Stage::new(AuthMode::Off);
    let client = stage.chat(&[CONNECT]);
    stage.turn_until(|stage| stage.has(client, r#""connected""#));
    let _board = hold_store(&stage);
    stage.turn();
    stage.say(client, r#"{"id":2,"publish":{"channel":"c","data":1}}"#);
    stage.turn_until(|stage| stage.has(client, r#""code":"unavailable""#));
    assert_eq!(of(&stage, SloPart::Publish, SloOutcome::Bad(BadCause::NotStored)), 1);
}

#[test]
fn reply_after_two_seconds_is_late_and_a_refusal_is_no_reply() {
    let late = SloOutcome::Bad(BadCause::Late);
    let mut stage = Stage::new(AuthMode::Off);
    let client = stage.chat(&[CONNECT, PUBLISH]);
    appended(&mut stage, Ok(Attempt::First));
    assert_eq!(of(&stage, SloPart::Command, GOOD), 1);
    stage.say(client, PUBLISH);
    stage.turn_until(|stage| !stage.appends.is_empty());
    wait(&mut stage, Duration::from_millis(2_100));
    appended(&mut stage, Ok(Attempt::First));
    stage.say(client, PUBLISH);
    appended(&mut stage, Err(AppendError::KeyConflict));
    assert_eq!((of(&stage, SloPart::Command, GOOD), of(&stage, SloPart::Command, late)), (1, 1));
    stage.say(client, r#"{"id":3,"history":{"channel":"c"}}"#);
    stage.asked();
    wait(&mut stage, Duration::from_secs(5));
    assert_eq!((of(&stage, SloPart::Command, GOOD), of(&stage, SloPart::Command, late)), (1, 2));
}

#[test]
fn session_ends_with_a_reason_unless_its_client_ended_it() {
    let mut stage = Stage::new(AuthMode::Off);
    let [misused, closes, lost, given_up, broken] = std::array::from_fn(|_| stage.chat(&[CONNECT]));
    stage.turn_until(|stage| stage.engine.tally.connected.read() == 5);
    assert_eq!(stage.engine.tally.slo.sessions.read(), 5);
    let gone = SloOutcome::Excluded(Exclusion::PeerGone);
    let counts = |stage: &Stage| {
        let unexplained = of(stage, SloPart::Endings, SloOutcome::Bad(BadCause::Unexplained));
        (of(stage, SloPart::Endings, GOOD), unexplained, of(stage, SloPart::Endings, gone))
    };
    stage.send(misused, &[0x82, 0x80, 0, 0, 0, 0]);
    stage.turn_until(|stage| stage.has(misused, r#"{"bye":{"code":4500"#));
    assert_eq!(counts(&stage), (1, 0, 0));
    stage.send(closes, &[0x88, 0x82, 0, 0, 0, 0, 3, 0xE8]);
    stage.turn_until(|stage| stage.engine.tally.slo.sessions.read() == 3);
    assert_eq!(counts(&stage), (1, 0, 0));
    stage.leave(lost);
    stage.turn_until(|stage| stage.engine.tally.slo.sessions.read() == 2);
    assert_eq!(counts(&stage), (1, 0, 1));
    stage.engine.close(given_up, CloseReason::Restart { retry_ms: 1 });
    stage.engine.kill(given_up);
    stage.engine.reap();
    assert_eq!(counts(&stage), (1, 1, 1));
    stage.engine.close(broken, CloseReason::Restart { retry_ms: 1 });
    stage.engine.handle_broken(broken);
    stage.turn();
    assert_eq!((counts(&stage), stage.engine.tally.slo.sessions.read()), ((1, 1, 2), 0));
}

#[test]
fn open_sessions_are_counted_in_milliseconds() {
    let mut stage = Stage::new(AuthMode::Off);
    let clients = [stage.chat(&[CONNECT]), stage.chat(&[CONNECT])];
    stage.turn_until(|stage| stage.engine.tally.connected.read() == 2);
    wait(&mut stage, Duration::from_secs(3));
    stage.engine.look_around();
    let up = of(&stage, SloPart::Session, GOOD);
    assert!((6_000..6_100).contains(&up), "{up} ms");
    clients.iter().for_each(|client| stage.leave(*client));
    stage.turn_until(|stage| stage.engine.tally.slo.sessions.read() == 0);
    let up = of(&stage, SloPart::Session, GOOD);
    wait(&mut stage, Duration::from_secs(3));
    stage.engine.look_around();
    assert_eq!(of(&stage, SloPart::Session, GOOD), up);
}

#[test]
fn health_report_is_late_if_its_turn_takes_more_than_a_second() {
    let late = SloOutcome::Bad(BadCause::Late);
    let mut stage = Stage::new(AuthMode::Off);
    for (busy, counts) in [(Duration::ZERO, (1, 0)), (Duration::from_millis(1_001), (1, 1))] {
        let client = stage.client();
        stage.arrival_cost = busy;
        stage.send(client, b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stage.turn_until(|stage| stage.has(client, "HTTP/1.1 200"));
        assert_eq!((of(&stage, SloPart::Request, GOOD), of(&stage, SloPart::Request, late)), counts);
    }
}

#[test]
fn delivery_counts_once_for_each_live_subscriber_by_the_time_since_its_commit() {
    let mut stage = Stage::new(AuthMode::Off);
    let subscribe = r#"{"id":2,"subscribe":{"channel":"c"}}"#;
    let first = stage.chat(&[CONNECT, subscribe]);
    let ticket = stage.asked().ticket;
    stage.answer(Completion::Page { ticket, outcome: Ok(page(0)) });
    let second = stage.chat(&[CONNECT, subscribe]);
    stage.turn_until(|stage| [first, second].iter().all(|id| stage.has(*id, r#""subscribed""#)));
    assert_eq!(of(&stage, SloPart::Command, GOOD), 2);

    let late = SloOutcome::Bad(BadCause::Late);
    let [slow_reader, clock] = [Exclusion::SlowReader, Exclusion::Clock].map(SloOutcome::Excluded);
    let outcomes = [GOOD, late, slow_reader, clock];
    let counts = |stage: &Stage, part| outcomes.map(|outcome| of(stage, part, outcome));
    let mut offset = 0;
    let mut deliver = |stage: &mut Stage, age_ms: i64, bytes: usize| {
        offset += 1;
        stage.broadcasts.push_back(Broadcast::Published(Arc::from([Published {
            channel: ChannelName::parse("c").expect("valid"),
            offset: Offset(offset),
            change: Change::None,
            time_ms: stage.engine.now().unix_ms.saturating_add_signed(-age_ms),
            stream: StreamMark::None,
            frame: Arc::from(vec![b'x'; bytes]),
        }])));
        stage.turn();
        (counts(stage, SloPart::DeliveryFanout), counts(stage, SloPart::LatencyFanout))
    };
    assert_eq!(deliver(&mut stage, 1_900, 9), ([2, 0, 0, 0], [2, 0, 0, 0]));
    assert_eq!(deliver(&mut stage, 2_100, 9), ([4, 0, 0, 0], [2, 2, 0, 0]));
    assert_eq!(deliver(&mut stage, 31_000, 9), ([4, 2, 0, 0], [2, 4, 0, 0]));
    assert_eq!(deliver(&mut stage, -600, 9), ([4, 2, 0, 2], [2, 4, 0, 2]));
    assert_eq!(deliver(&mut stage, 0, 1 << 20), ([4, 2, 2, 2], [2, 4, 2, 2]));
    let histogram =
        LatencyCounts::of(stage.setup.vitals.reactors.iter().map(|one| &one.deliveries)).histogram();
    assert_eq!(histogram.iter().map(|(_, count)| count).sum::<u64>(), 6);
}

#[test]
fn subscribe_that_the_store_does_not_answer_is_late_and_one_that_it_refuses_is_no_reply() {
    let late = SloOutcome::Bad(BadCause::Late);
    let subscribe = r#"{"id":2,"subscribe":{"channel":"c"}}"#;
    let mut stage = Stage::new(AuthMode::Off);
    let client = stage.chat(&[CONNECT, subscribe]);
    stage.asked();
    wait(&mut stage, Duration::from_secs(5));
    stage.turn_until(|stage| stage.has(client, r#""code":"unavailable""#));
    assert_eq!((of(&stage, SloPart::Command, GOOD), of(&stage, SloPart::Command, late)), (0, 1));

    let mut stage = Stage::new(AuthMode::Off);
    let client = stage.chat(&[CONNECT, subscribe]);
    let ticket = stage.asked().ticket;
    stage.answer(Completion::Page { ticket, outcome: Err(ReadError { retry_ms: 1 }) });
    stage.turn_until(|stage| stage.has(client, r#""code":"unavailable""#));
    assert_eq!((of(&stage, SloPart::Command, GOOD), of(&stage, SloPart::Command, late)), (0, 0));
}
