//! Reports of errors.

use super::*;
use crate::client_error::{ReportOutcome, Reporter};

const REPORT: &str = r#"{"id":4,"report":{"errors":[{"name":"E","message":"m"},{}],"dropped":3}}"#;

/// The contents of the reply: accepted, dropped, and the wait.
fn reply(frames: &[Value]) -> Option<(u64, u64, u64)> {
    let reported = frames.first()?.get("reported")?;
    let number = |name: &str| reported[name].as_u64();
    Some((number("accepted")?, number("dropped")?, number("next_ms")?))
}

/// Sends a report and answers it.
fn report(bench: &mut Bench, outcome: Option<ReportOutcome>) -> Option<(u64, u64, u64)> {
    let frames = bench.say(REPORT);
    if !matches!(bench.effects[..], [Effect::Report(_)]) {
        return reply(&frames);
    }
    assert!(frames.is_empty(), "{frames:?}");
    reply(&bench.call(|session, cx| session.report_taken(CommandId(4), outcome, cx)))
}

#[test]
fn report_goes_to_the_thread_with_its_user_and_client() {
    let ann = Arc::default();
    let mut bench = signed_in(&Limits::default(), &ann);
    assert!(bench.say(REPORT).is_empty());
    let [Effect::Report(effect)] = &bench.effects[..] else { panic!("{:?}", bench.effects) };
    assert_eq!((effect.errors.len(), effect.dropped, effect.reporter.has_name), (2, 3, true));
    let anonymous = Bench::connected(&Limits::default()).say(REPORT);
    assert!(anonymous.is_empty());
    assert_ne!(Reporter::anonymous(7, None), Reporter::anonymous(8, None));
}

#[test]
fn report_over_the_rate_is_answered_with_the_wait_and_is_no_error() {
    let ann = Arc::default();
    let (mut one, mut two) = (signed_in(&Limits::default(), &ann), signed_in(&Limits::default(), &ann));
    let taken = Some(ReportOutcome { accepted: 1, dropped: 1, wait: None });
    for next_ms in [0, 0, 0, 10_000] {
        assert_eq!(report(&mut one, taken), Some((1, 1, next_ms)));
    }
    assert_eq!(report(&mut two, taken), Some((0, 0, 10_000)), "the rate is the user's");
    two.now.at = two.now.at + Duration::from_secs(10);
    assert_eq!(report(&mut two, taken), Some((1, 1, 10_000)));
    let mut anonymous = Bench::connected(&Limits::default());
    assert!((0..4).all(|_| report(&mut anonymous, taken).is_some()));
    assert_eq!(report(&mut anonymous, taken), Some((0, 0, 100_000)), "a tenth");
}

#[test]
fn report_without_room_comes_again_later_and_without_the_setting_it_is_dropped() {
    let mut bench = Bench::connected(&Limits::default());
    assert_eq!(report(&mut bench, None), Some((0, 0, 10_000)));
    let wait = ReportOutcome { wait: Some(Duration::from_millis(12_500)), ..ReportOutcome::default() };
    assert_eq!(report(&mut bench, Some(wait)), Some((0, 0, 12_500)));
    bench.policy.reports = false;
    assert_eq!(report(&mut bench, None), Some((0, 2, 3_600_000)));
}
