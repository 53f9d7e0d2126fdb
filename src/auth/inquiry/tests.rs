use super::*;
use crate::auth::permission::Permissions;
use crate::auth::token::VerifierConfig;
use crate::id::UserName;

const UP: Reach = Reach::Up { room: 8 };

fn at(ms: u64) -> Now {
    Now { at: Moment::from_micros(ms * 1_000), unix_ms: ms }
}

fn inquiry(waiting_max: usize) -> Inquiry<u8> {
    let config = VerifierConfig { keys: Vec::new(), audience: None, issuer: None, leeway: Duration::ZERO };
    let second = Duration::from_secs(1);
    let bounds = CacheBounds { entries: 8, bytes: 8_192, fresh: second, refused: second };
    Inquiry::new(InquirySettings {
        verifier: Arc::new(Verifier::with_auth_service(config).expect("no key is a bad one")),
        waiting_max,
        introspection: Some((bounds, [7; 16])),
        key_set_pause: None,
    })
}

/// Presents a token that no key at hand can judge.
fn present(
    inquiry: &mut Inquiry<u8>,
    asker: u8,
    ms: u64,
    reach: Reach,
) -> Option<(u8, Result<Person, Rejection>)> {
    let open = Judged::Open { fault: TokenFault::Malformed, form: TokenForm::Opaque };
    let waiter = Waiter::new(asker, at(ms).at);
    inquiry.judge(open, "opaque".into(), waiter, at(ms), reach).map(named)
}

fn named((waiter, outcome): Judgement<u8>) -> (u8, Result<Person, Rejection>) {
    (waiter.asker, outcome)
}

fn granted() -> Option<Result<Claims, TokenFault>> {
    let user = UserName::parse("ann").expect("a user name");
    Some(Ok(Claims { user, permissions: Permissions::everything(), expires_unix_ms: None }))
}

#[test]
fn connections_with_one_token_share_one_call_and_its_answer_is_remembered() {
    let mut inquiry = inquiry(8);
    assert_eq!(present(&mut inquiry, 1, 0, UP), None);
    assert_eq!(present(&mut inquiry, 2, 1, UP), None);
    let calls = inquiry.take_calls();
    assert_eq!(calls.len(), 1);
    let askers: Vec<u8> =
        inquiry.answered(calls[0].hash, granted(), at(2)).into_iter().map(|it| named(it).0).collect();
    assert_eq!(askers, [1, 2]);
    assert!(!inquiry.is_waited_for());
    assert!(matches!(present(&mut inquiry, 3, 3, UP), Some((3, Ok(_)))));
    let tally = inquiry.take_tally();
    assert_eq!((tally.cache_misses, tally.joined, tally.cache_hits), (2, 1, 1));
}

#[test]
fn failed_call_is_made_again_after_a_pause_until_the_waiters_time_is_over() {
    let mut inquiry = inquiry(8);
    present(&mut inquiry, 1, 0, UP);
    let hash = inquiry.take_calls()[0].hash;
    assert!(inquiry.answered(hash, None, at(10)).is_empty());
    assert!(inquiry.tick(at(200), UP).is_empty() && inquiry.take_calls().is_empty(), "within the pause");
    assert!(inquiry.tick(at(260), UP).is_empty());
    assert_eq!(inquiry.take_calls().len(), 1);
    let over: Vec<_> = inquiry.tick(at(4_000), UP).into_iter().map(named).collect();
    assert_eq!(over, [(1, Err(Rejection::Unchecked))]);
}

#[test]
fn outage_answers_every_waiter_and_a_known_person_stays() {
    let mut inquiry = inquiry(8);
    present(&mut inquiry, 1, 0, UP);
    let hash = inquiry.take_calls()[0].hash;
    let over: Vec<_> = inquiry.tick(at(100), Reach::Down).into_iter().map(named).collect();
    assert_eq!(over, [(1, Err(Rejection::Unchecked))]);
    assert!(inquiry.answered(hash, granted(), at(200)).is_empty(), "no connection waits for the late answer");
    let stale = present(&mut inquiry, 2, 5_000, Reach::Down);
    assert!(matches!(stale, Some((2, Ok(_)))), "an old answer is better than none");
    assert_eq!(inquiry.take_tally().cache_stale, 1);
}

#[test]
fn full_queue_and_full_waiting_room_refuse_a_token() {
    let mut inquiry = inquiry(1);
    let full = Reach::Up { room: 0 };
    assert_eq!(present(&mut inquiry, 1, 0, full), Some((1, Err(Rejection::TooManyWaiting))));
    assert_eq!(present(&mut inquiry, 2, 0, UP), None);
    assert_eq!(present(&mut inquiry, 3, 0, UP), Some((3, Err(Rejection::TooManyWaiting))));
    assert_eq!(inquiry.take_tally().too_many_waiting, 2);
}

#[test]
fn waiter_keeps_its_deadline_when_the_settings_change() {
    let mut before = inquiry(8);
    present(&mut before, 1, 0, UP);
    let mut after = inquiry(8);
    let moved = after.succeed(before, EarlierAnswers::Forget);
    let open = || Judged::Open { fault: TokenFault::Malformed, form: TokenForm::Opaque };
    for (token, waiter) in moved {
        assert!(after.judge(open(), token, waiter, at(3_000), UP).is_none());
    }
    assert_eq!(after.tick(at(4_000), UP).len(), 1);
}
