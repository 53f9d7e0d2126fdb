//! Reports of errors on their way to their thread and back.

use super::*;
use crate::client_error::ReportOutcome;

const REPORT: &str = r#"{"id":4,"report":{"errors":[{"name":"E"}]}}"#;

#[test]
fn report_is_answered_by_its_thread_or_comes_again_later() {
    let mut stage = Stage::new(AuthMode::Off);
    let client = stage.chat(&[CONNECT, REPORT]);
    stage.turn_until(|stage| stage.reports.as_ref().is_some_and(|reports| reports.len() == 1));
    let job = stage.reports.as_mut().and_then(VecDeque::pop_front).expect("a report");
    assert_eq!((&*job.errors[0].name, job.reporter.has_name), ("E", false));
    let outcome = ReportOutcome { accepted: 1, ..ReportOutcome::default() };
    stage.answer(Completion::ReportTaken { ticket: job.ticket, outcome });
    stage.turn_until(|stage| {
        stage.has(client, r#"{"id":4,"reported":{"accepted":1,"dropped":0,"next_ms":0}}"#)
    });
    stage.reports = None;
    let refused = stage.chat(&[CONNECT, REPORT]);
    let later = r#"{"id":4,"reported":{"accepted":0,"dropped":0,"next_ms":10000}}"#;
    stage.turn_until(|stage| stage.has(refused, later));
    stage.reports = Some(VecDeque::new());
    let late = stage.chat(&[CONNECT, REPORT]);
    stage.turn_until(|stage| stage.has(late, later));
}
