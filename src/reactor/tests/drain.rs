//! The end of a process, for who still waits.

use super::stage::UPGRADE;
use super::*;
use crate::health::drain::{Cause, Ending, Phase};

#[test]
fn what_waits_for_its_turn_to_be_read_is_answered_before_the_close_as_well() {
    let mut stage = Stage::new(AuthMode::Off);
    let mut client = stage.chat(&[r#"{"id":1,"connect":{}}"#]);
    let last = 2 * RECOVERIES_AT_ONCE + 1;
    for id in 2..=last {
        client.say(&format!(r#"{{"id":{id},"subscribe":{{"channel":"c{id}"}}}}"#));
    }
    stage.turn_until(|stage| stage.reactor.counters.commands.read() == last as u64);
    assert!(stage.reactor.recoveries.waiting() > 0);
    // The store answers nothing, and the time for answers is over.
    let now = stage.reactor.setup.clock.read();
    let later = now.at + Duration::from_secs(60);
    let drain = &stage.reactor.setup.vitals.drain;
    drain.begin(Cause::Operator, now);
    drain.close(Ending { answer_by: now.at, end_by: later, gone_by: later });
    stage.turn_until(|_| client.has(r#""code":1012"#));
    for id in 2..=last {
        assert!(client.has(&format!(r#"{{"id":{id},"error""#)), "{id} of {last}");
    }
}

#[test]
fn who_asked_over_http_and_was_not_answered_yet_is_told_to_come_back() {
    let mut stage = Stage::new(AuthMode::Off);
    let mut clients: Vec<Client> = (0..3).map(|_| stage.client()).collect();
    let [kept, begun, silent] = &mut clients[..] else { panic!("three") };
    kept.socket.write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("room");
    begun.socket.write_all(&UPGRADE.as_bytes()[..40]).expect("room");
    stage.turn_until(|stage| stage.reactor.slots.len() == 3 && kept.has("HTTP/1.1 200"));
    kept.received.clear();
    let now = stage.reactor.setup.clock.read();
    let later = now.at + Duration::from_secs(60);
    let drain = &stage.reactor.setup.vitals.drain;
    drain.begin(Cause::Operator, now);
    drain.close(Ending { answer_by: now.at, end_by: later, gone_by: later });
    stage.turn_until(|_| {
        [&mut *begun, &mut *silent]
            .into_iter()
            .all(|client| client.has("HTTP/1.1 503") && client.has("Retry-After"))
    });
    assert!(!kept.has("HTTP"), "it asked nothing");
    drop(clients);
    stage.turn_until(|stage| stage.reactor.slots.is_empty());
    let [_, of_the_server] = &stage.reactor.counters.requests_refused;
    assert_eq!(of_the_server.read(), 2);
}

#[test]
fn only_who_was_told_to_move_is_counted_as_moved() {
    let mut stage = Stage::new(AuthMode::Off);
    let mut client = stage.chat(&[r#"{"id":1,"connect":{}}"#]);
    stage.turn_until(|_| client.has("connected"));
    let probe = stage.client();
    stage.turn_until(|stage| stage.reactor.slots.len() == 2);
    let now = stage.reactor.setup.clock.read();
    let vitals = Arc::clone(&stage.reactor.setup.vitals);
    vitals.drain.begin(Cause::Operator, now);
    vitals.drain.enter(Phase::Moving);
    stage.turn_until(|_| client.has(r#""slot_ms""#));
    let moved = || vitals.drain.progress(now.at, 0).moved;
    drop(probe);
    stage.turn_until(|stage| stage.reactor.slots.len() == 1);
    assert_eq!(moved(), 0, "it looked, and was nobody's chat");
    drop(client);
    stage.turn_until(|stage| stage.reactor.slots.is_empty());
    assert_eq!(moved(), 1);
}
