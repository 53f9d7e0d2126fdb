use super::*;
use crate::auth::party::Party;
use crate::auth::permission::Permissions;
use crate::auth::token::VerifierConfig;
use crate::auth::trust::{TokenOrigin, TokenSource, TrustMark};
use crate::id::UserName;
use std::net::Ipv4Addr;

/// The callers of these tests: one of them is kept for tokens that were good before.
const CALLERS: usize = 3;

fn at(ms: u64) -> Now {
    Now { at: Moment::from_micros(ms * 1_000), unix_ms: ms }
}

fn inquiry(waiting_max: usize) -> Inquiry<u8> {
    let config = VerifierConfig { keys: Vec::new(), ..VerifierConfig::default() };
    let second = Duration::from_secs(1);
    let bounds = CacheBounds { entries: 8, bytes: 8_192, fresh: second, stale: 20 * second, refused: second };
    Inquiry::new(InquirySettings {
        verifier: Arc::new(Verifier::with_auth_service(config).expect("no key is a bad one")),
        waiting_max,
        introspection: Some(IntrospectionSettings {
            bounds,
            pattern: TokenPattern::parse("[a-z0-9]{1,20}"),
            callers: CALLERS,
        }),
        key_set_pause: None,
        salt: [7; 16],
    })
}

/// Presents a token that no key at hand can judge.
fn present(
    inquiry: &mut Inquiry<u8>,
    asker: u8,
    ms: u64,
    reach: Reach,
) -> Option<(u8, Result<Person, Rejection>)> {
    present_from(inquiry, 1, asker, "opaque", ms, reach)
}

/// Presents a token from the address with this last byte.
fn present_from(
    inquiry: &mut Inquiry<u8>,
    address: u8,
    asker: u8,
    token: &str,
    ms: u64,
    reach: Reach,
) -> Option<(u8, Result<Person, Rejection>)> {
    let open = Judged::Open { fault: TokenFault::Malformed, form: TokenForm::Opaque };
    let party = Party::of(Ipv4Addr::new(192, 0, 2, address).into());
    let waiter = Waiter::new(asker, party, at(ms).at);
    inquiry.judge(open, token.into(), waiter, at(ms), reach).map(named)
}

/// The tokens to ask about now.
fn calls(inquiry: &mut Inquiry<u8>) -> Vec<Question> {
    inquiry.take_calls(Reach::Up)
}

/// Has the service accept the token `opaque` at the start.
fn accept(inquiry: &mut Inquiry<u8>) {
    present(inquiry, 0, 0, Reach::Up);
    let hash = calls(inquiry)[0].hash;
    assert_eq!(inquiry.answered(hash, granted(), at(0), Reach::Up).len(), 1);
}

fn named((waiter, outcome): Judgement<u8>) -> (u8, Result<Person, Rejection>) {
    (waiter.asker, outcome)
}

fn granted() -> Option<Result<Claims, TokenFault>> {
    let user = UserName::parse("ann").expect("a user name");
    let origin = TokenOrigin { source: TokenSource::Service(TrustMark::of("service")), issuer: None };
    Some(Ok(Claims {
        stamp: crate::id::TokenStamp::default(),
        user,
        permissions: Permissions::everything(),
        expires_unix_ms: None,
        publishes_per_s: 0,
        info: None,
        forwarded: None,
        origin,
    }))
}

#[test]
fn connections_with_one_token_share_one_call_and_its_answer_is_remembered() {
    let mut inquiry = inquiry(8);
    assert_eq!(present(&mut inquiry, 1, 0, Reach::Up), None);
    assert_eq!(present(&mut inquiry, 2, 1, Reach::Up), None);
    let calls = calls(&mut inquiry);
    assert_eq!(calls.len(), 1);
    let askers: Vec<u8> = inquiry
        .answered(calls[0].hash, granted(), at(2), Reach::Up)
        .into_iter()
        .map(|it| named(it).0)
        .collect();
    assert_eq!(askers, [1, 2]);
    assert!(!inquiry.is_waited_for());
    assert!(matches!(present(&mut inquiry, 3, 3, Reach::Up), Some((3, Ok(_)))));
    let tally = inquiry.take_tally();
    assert_eq!((tally.cache_misses, tally.joined, tally.cache_hits), (2, 1, 1));
}

#[test]
fn failed_call_is_made_again_after_a_pause_until_the_waiters_time_is_over() {
    let mut inquiry = inquiry(8);
    present(&mut inquiry, 1, 0, Reach::Up);
    let hash = calls(&mut inquiry)[0].hash;
    assert!(inquiry.answered(hash, None, at(10), Reach::Up).is_empty());
    assert!(inquiry.tick(at(200), Reach::Up).is_empty());
    assert!(calls(&mut inquiry).is_empty(), "within the pause");
    assert!(inquiry.tick(at(260), Reach::Up).is_empty());
    assert_eq!(calls(&mut inquiry).len(), 1);
    let over: Vec<_> = inquiry.tick(at(4_000), Reach::Up).into_iter().map(named).collect();
    assert_eq!(over, [(1, Err(Rejection::Unchecked))]);
}

#[test]
fn outage_answers_every_waiter_and_a_known_person_stays() {
    let mut inquiry = inquiry(8);
    present(&mut inquiry, 1, 0, Reach::Up);
    let hash = calls(&mut inquiry)[0].hash;
    let over: Vec<_> = inquiry.tick(at(100), Reach::Down).into_iter().map(named).collect();
    assert_eq!(over, [(1, Err(Rejection::Unchecked))]);
    assert!(
        inquiry.answered(hash, granted(), at(200), Reach::Down).is_empty(),
        "no connection waits for the late answer"
    );
    let stale = present(&mut inquiry, 2, 5_000, Reach::Down);
    assert!(matches!(stale, Some((2, Ok(_)))), "an old answer is better than none");
    assert_eq!(inquiry.take_tally().cache_stale, 1);
}

#[test]
fn full_waiting_room_refuses_a_token_that_was_good_before() {
    let mut inquiry = inquiry(4);
    accept(&mut inquiry);
    for asker in 1..=4 {
        assert_eq!(present(&mut inquiry, asker, 2_000, Reach::Up), None, "its answer is stale");
    }
    let refused = present(&mut inquiry, 5, 2_000, Reach::Up);
    assert_eq!(refused, Some((5, Err(Rejection::TooManyWaiting))), "a full room is no outage");
    assert_eq!((inquiry.take_tally().cache_stale, inquiry.waiting()), (0, 4));
}

#[test]
fn old_answer_is_used_only_while_an_outage_is_known_and_for_a_bounded_time() {
    let mut inquiry = inquiry(8);
    accept(&mut inquiry);
    present(&mut inquiry, 1, 2_000, Reach::Up);
    let hash = calls(&mut inquiry)[0].hash;
    assert!(inquiry.answered(hash, None, at(2_010), Reach::Up).is_empty(), "one failed call is no outage");
    let over: Vec<_> = inquiry.tick(at(6_000), Reach::Up).into_iter().map(named).collect();
    assert_eq!(over, [(1, Err(Rejection::Unchecked))], "the end of the time is no outage");
    present(&mut inquiry, 2, 7_000, Reach::Observed);
    let hash = inquiry.take_calls(Reach::Observed)[0].hash;
    let used: Vec<_> =
        inquiry.answered(hash, None, at(7_010), Reach::Observed).into_iter().map(named).collect();
    assert!(matches!(used[..], [(2, Ok(_))]), "{used:?}");
    assert!(matches!(present(&mut inquiry, 3, 20_999, Reach::Down), Some((3, Ok(_)))));
    let late = present(&mut inquiry, 4, 21_000, Reach::Down);
    assert_eq!(late, Some((4, Err(Rejection::Unchecked))), "fresh for 1 s, stale for 20 s");
}

#[test]
fn made_up_tokens_of_one_address_keep_no_other_client_out() {
    let mut inquiry = inquiry(16);
    accept(&mut inquiry);
    for n in 0..30 {
        present_from(&mut inquiry, 66, n, &format!("madeup{n}"), 2_000 + u64::from(n), Reach::Up);
    }
    assert_eq!(inquiry.waiting(), 8, "half of the room");
    let under_way = calls(&mut inquiry);
    assert_eq!(under_way.len(), CALLERS - 1, "one caller is kept");
    assert_eq!(present(&mut inquiry, 100, 2_101, Reach::Up), None, "good before");
    assert_eq!(&*calls(&mut inquiry)[0].token, "opaque");
    assert_eq!(present_from(&mut inquiry, 7, 101, "new", 2_102, Reach::Up), None, "another address");
    let displaced: Vec<_> = inquiry.take_displaced().into_iter().map(named).collect();
    assert_eq!(displaced, [(7, Err(Rejection::TooManyWaiting))], "the newest of the address with most");
    inquiry.answered(under_way[0].hash, Some(Err(TokenFault::Inactive)), at(2_103), Reach::Up);
    inquiry.answered(under_way[1].hash, Some(Err(TokenFault::Inactive)), at(2_103), Reach::Up);
    let next: Vec<_> = calls(&mut inquiry).iter().map(|call| call.token.to_string()).collect();
    assert_eq!(next.len(), 2);
    assert!(next.contains(&"new".to_owned()), "the addresses take turns: {next:?}");
    assert_eq!(inquiry.waiting(), 8 - 2 + 1);
}

#[test]
fn token_of_another_form_is_refused_without_a_call() {
    let mut inquiry = inquiry(8);
    let refused = present_from(&mut inquiry, 1, 1, "UPPER", 0, Reach::Up);
    assert_eq!(refused, Some((1, Err(Rejection::Token(TokenFault::OtherForm)))));
    assert!(calls(&mut inquiry).is_empty() && !inquiry.is_waited_for());
}

#[test]
fn waiter_keeps_its_deadline_when_the_settings_change() {
    let mut before = inquiry(8);
    present(&mut before, 1, 0, Reach::Up);
    let mut after = inquiry(8);
    let moved = after.succeed(before, EarlierAnswers::Forget);
    let open = || Judged::Open { fault: TokenFault::Malformed, form: TokenForm::Opaque };
    for (token, waiter) in moved {
        assert!(after.judge(open(), token, waiter, at(3_000), Reach::Up).is_none());
    }
    assert_eq!(after.tick(at(4_000), Reach::Up).len(), 1);
}

#[test]
fn refused_signature_is_remembered_until_the_keys_change() {
    let mut inquiry = inquiry(8);
    let forged = "eyJhbGciOiJIUzI1NiJ9.e30.AAAA";
    let refused = || Judged::Settled(Err(TokenFault::BadSignature));
    inquiry.refused.insert(TokenHash::of(forged, &[7; 16]), refused(), 0);
    assert_eq!(inquiry.check(forged, at(0)), refused());
    assert_ne!(inquiry.check("eyJhbGciOiJIUzI1NiJ9.e30.BBBB", at(0)), refused());
    inquiry.keys_fetched(Some(Arc::default()), at(0).at, at(1));
    assert!(inquiry.refused.is_empty());
    for n in 0..2 * REFUSED_MAX {
        inquiry.refused.insert(TokenHash::of(&n.to_string(), &[7; 16]), refused(), 0);
    }
    assert_eq!(inquiry.refused.len(), REFUSED_MAX);
}

/// An inquiry that fetches keys with a pause of 5 s, 1 s after its first fetch.
fn with_keys() -> Inquiry<u8> {
    let mut inquiry = Inquiry { asking: None, ..inquiry(8) };
    inquiry.keys.pause = Some(Duration::from_secs(5));
    assert!(inquiry.keys_fetched(Some(Arc::default()), at(0).at, at(0)).is_empty());
    inquiry
}

/// Presents a token whose key is unknown.
fn present_unknown(inquiry: &mut Inquiry<u8>, asker: u8, ms: u64) -> Option<(u8, Result<Person, Rejection>)> {
    let open = Judged::Open { fault: TokenFault::UnknownKey, form: TokenForm::Jwt };
    let waiter = Waiter::new(asker, Party::of(Ipv4Addr::LOCALHOST.into()), at(ms).at);
    inquiry.judge(open, format!("a.b.{asker}").into(), waiter, at(ms), Reach::Up).map(named)
}

#[test]
fn token_with_an_unknown_key_waits_for_a_fetch_that_begins_after_it_came() {
    let mut inquiry = with_keys();
    assert_eq!(present_unknown(&mut inquiry, 1, 2_000), None, "the next fetch is 3 s away");
    assert!(!inquiry.take_fetch(), "the pause is not over");
    assert!(inquiry.tick(at(4_900), Reach::Up).is_empty() && !inquiry.take_fetch());
    assert!(inquiry.tick(at(5_000), Reach::Up).is_empty() && inquiry.take_fetch());
    assert_eq!(present_unknown(&mut inquiry, 2, 5_100), None, "a fetch is under way");
    let judged = inquiry.keys_fetched(Some(Arc::default()), at(5_050).at, at(5_200));
    let judged: Vec<_> = judged.into_iter().map(named).collect();
    assert_eq!(judged, [(1, Err(Rejection::Token(TokenFault::Malformed)))]);
    assert_eq!(inquiry.waiting(), 1, "the second came after that fetch began");
    assert_eq!(
        inquiry.check("a.b.1", at(5_300)),
        Judged::Settled(Err(TokenFault::Malformed)),
        "no second wait"
    );
    let over: Vec<_> = inquiry.tick(at(9_100), Reach::Up).into_iter().map(named).collect();
    assert_eq!(over, [(2, Err(Rejection::Unchecked))]);
}

#[test]
fn token_that_cannot_wait_for_the_next_fetch_may_return_after_it() {
    let mut inquiry = with_keys();
    let wait = Duration::from_millis(4_500);
    assert_eq!(present_unknown(&mut inquiry, 1, 500), Some((1, Err(Rejection::KeysTooNew(wait)))));
    assert_eq!((inquiry.waiting(), inquiry.take_fetch()), (0, false));
}
