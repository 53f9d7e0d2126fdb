//! The end of a process while peers still wait.

use super::stage::UPGRADE;
use super::*;
use crate::drain::{DrainCause, DrainPhase, Ending};
use crate::wire::request::HttpFault;

/// Enters the closing phase: the time for answers is over, and the time for closing is not.
fn close(stage: &Stage) {
    let now = stage.engine.now();
    let later = now.at + Duration::from_secs(60);
    let drain = &stage.setup.vitals.drain;
    drain.begin(DrainCause::Operator, now);
    drain.close(Ending { answer_by: now.at, end_by: later, gone_by: later });
}

#[test]
fn waiting_recovery_reads_are_answered_before_the_close() {
    let mut stage = Stage::new(AuthMode::Off);
    let client = stage.chat(&[CONNECT]);
    let last = 2 * RECOVERIES_AT_ONCE + 1;
    for id in 2..=last {
        stage.say(client, &format!(r#"{{"id":{id},"subscribe":{{"channel":"c{id}"}}}}"#));
    }
    stage.turn_until(|stage| stage.engine.tally.commands.read() == last as u64);
    stage.turn();
    assert!(stage.engine.reads.recoveries.waiting() > 0);
    close(&stage);
    stage.turn_until(|stage| stage.has(client, r#""code":1012"#));
    for id in 2..=last {
        assert!(stage.has(client, &format!(r#"{{"id":{id},"error""#)), "{id} of {last}");
    }
}

#[test]
fn open_http_request_is_answered_before_the_close() {
    let mut stage = Stage::new(AuthMode::Off);
    let (kept, begun, silent) = (stage.client(), stage.client(), stage.client());
    stage.send(kept, b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stage.send(begun, &UPGRADE.as_bytes()[..40]);
    stage.turn_until(|stage| stage.has(kept, "HTTP/1.1 200"));
    stage.forget_received(kept);
    close(&stage);
    stage.turn_until(|stage| {
        [begun, silent]
            .iter()
            .all(|client| stage.has(*client, "HTTP/1.1 503") && stage.has(*client, "Retry-After"))
    });
    assert!(!stage.has(kept, "HTTP"), "it had no open request");
    [kept, begun, silent].iter().for_each(|client| stage.leave(*client));
    stage.turn_until(|stage| stage.engine.is_empty());
    let refused = &stage.engine.tally.requests_refused;
    let of_the_server: u64 = HttpFault::REASONS
        .iter()
        .zip(refused)
        .filter(|((status, _), _)| *status >= 500)
        .map(|(_, count)| count.read())
        .sum();
    assert_eq!(of_the_server, 2);
}

#[test]
fn only_a_client_that_was_asked_to_move_counts_as_moved() {
    let mut stage = Stage::new(AuthMode::Off);
    let client = stage.chat(&[CONNECT]);
    stage.turn_until(|stage| stage.has(client, "connected"));
    let probe = stage.client();
    let now = stage.engine.now();
    let vitals = Arc::clone(&stage.setup.vitals);
    vitals.drain.begin(DrainCause::Operator, now);
    vitals.drain.enter(DrainPhase::Moving);
    stage.turn_until(|stage| stage.has(client, r#""slot_ms""#));
    let moved = || vitals.drain.progress(now.at, 0).moved;
    stage.leave(probe);
    stage.turn_until(|stage| stage.engine.len() == 1);
    assert_eq!(moved(), 0, "a probe is no chat");
    stage.leave(client);
    stage.turn_until(|stage| stage.engine.is_empty());
    assert_eq!(moved(), 1);
}
