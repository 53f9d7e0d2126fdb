//! Tokens: sign-in, refresh, repeated checks, and rights that are lost.

use super::*;
use crate::roster::Departure;

#[test]
fn token_sets_the_user_and_expires_unless_refreshed() {
    let mut bench = Bench::new(AuthMode::Required, &Limits::default());
    bench.say(r#"{"id":1,"connect":{"token":"good"}}"#);
    assert!(matches!(&bench.effects[..], [Effect::CheckToken { occasion: Occasion::Connect, .. }]));
    let id = CommandId(1);
    let frames = bench.call(|session, cx| session.token_checked(id, Some(Ok(identity("ann"))), cx));
    assert_eq!(frames[0]["connected"]["user"], "ann");
    assert_eq!(frames[0]["connected"]["expires_in_ms"], 60_000);
    // It expires, unless it is refreshed.
    bench.now.unix_ms += 20_000;
    bench.say(r#"{"id":2,"refresh":{"token":"fresh"}}"#);
    let fresh = Identity { expires_unix_ms: Some(START.unix_ms + 120_000), ..identity("ann") };
    let frames = bench.call(|session, cx| session.token_checked(CommandId(2), Some(Ok(fresh)), cx));
    assert_eq!(frames[0]["refreshed"]["expires"], START.unix_ms + 120_000);
    assert_eq!(frames[0]["refreshed"]["expires_in_ms"], 100_000, "relative to the server's clock");
    bench.now.unix_ms += 40_000;
    bench.call(|session, cx| session.expire(cx));
    assert_eq!(bench.closed_with(), None);
    bench.now.unix_ms += 60_000;
    bench.call(|session, cx| session.expire(cx));
    assert_eq!(bench.closed_with(), Some(4501));
    assert!(bench.effects.contains(&Effect::ReleaseUser(UserName::parse("ann").expect("valid"))));
}

#[test]
fn bad_token_closes_at_connect_and_is_an_error_at_refresh() {
    let denied = || Some(Err(Denied::Token(TokenFault::Malformed)));
    let mut bench = Bench::new(AuthMode::Required, &Limits::default());
    bench.say(r#"{"id":1,"connect":{"token":"bad"}}"#);
    bench.call(|session, cx| session.token_checked(CommandId(1), denied(), cx));
    assert_eq!(bench.closed_with(), Some(4501));

    let mut bench = Bench::new(AuthMode::Required, &Limits::default());
    bench.say(r#"{"id":1,"connect":{"token":"good"}}"#);
    bench.call(|session, cx| session.token_checked(CommandId(1), Some(Ok(identity("ann"))), cx));
    bench.say(r#"{"id":2,"refresh":{"token":"bad"}}"#);
    let frames = bench.call(|session, cx| session.token_checked(CommandId(2), denied(), cx));
    assert_eq!(error_code(&frames), Some("unauthorized"));
    assert!(bench.session.is_open());
}

#[test]
fn missing_token_closes_when_auth_is_required() {
    let mut bench = Bench::new(AuthMode::Required, &Limits::default());
    bench.say(r#"{"id":1,"connect":{}}"#);
    assert_eq!(bench.closed_with(), Some(4501));
}

#[test]
fn user_granted_after_the_connection_ended_is_released_exactly_once() {
    let mut bench = Bench::new(AuthMode::Required, &Limits::default());
    bench.say(r#"{"id":1,"connect":{"token":"good"}}"#);
    // The connection ends while its token is being checked; the grant comes too late.
    bench.call(|session, cx| session.end(Departure::Lost, cx));
    assert!(bench.effects.is_empty());
    bench.call(|session, cx| session.token_checked(CommandId(1), Some(Ok(identity("ann"))), cx));
    assert_eq!(bench.effects, [Effect::ReleaseUser(UserName::parse("ann").expect("valid"))]);
    bench.call(|session, cx| session.end(Departure::Lost, cx));
    assert!(bench.effects.is_empty());
}

#[test]
fn refresh_answered_after_the_end_releases_no_user() {
    let mut bench = Bench::new(AuthMode::Required, &Limits::default());
    bench.say(r#"{"id":1,"connect":{"token":"good"}}"#);
    bench.call(|session, cx| session.token_checked(CommandId(1), Some(Ok(identity("ann"))), cx));
    bench.say(r#"{"id":2,"refresh":{"token":"fresh"}}"#);
    bench.call(|session, cx| session.end(Departure::Lost, cx));
    assert_eq!(bench.effects, [Effect::ReleaseUser(UserName::parse("ann").expect("valid"))]);
    let fresh = Identity { counted: Counted::No, ..identity("ann") };
    bench.call(|session, cx| session.token_checked(CommandId(2), Some(Ok(fresh)), cx));
    assert!(bench.effects.is_empty());
}

#[test]
fn refresh_that_grants_less_reports_each_subscription_that_it_ends() {
    let mut bench = signed_in_with(&["subscribe"]);
    for (id, channel) in [(2, "room.a"), (3, "lobby")] {
        bench.say(&format!(r#"{{"id":{id},"subscribe":{{"channel":"{channel}"}}}}"#));
    }
    bench.answer_positions(4);
    bench.say(r#"{"id":4,"subscribe":{"channel":"room.b"}}"#);
    bench.say(r#"{"id":9,"refresh":{"token":"less"}}"#);
    let claim = r#"[{"pattern":"lobby","rights":["subscribe"]}]"#;
    let less =
        Identity { permissions: Arc::new(Permissions::from_claim(claim).expect("valid")), ..identity("ann") };
    let frames = bench.call(|session, cx| session.token_checked(CommandId(9), Some(Ok(less)), cx));
    assert_eq!(frames.len(), 3, "{frames:?}");
    assert!(frames[0].get("refreshed").is_some(), "the reply comes first");
    let ended = serde_json::json!({"unsubscribed": {"channel": "room.a", "because": "forbidden"}});
    assert_eq!(frames[1], ended);
    assert_eq!((frames[2]["id"].as_u64(), error_code(&frames[2..])), (Some(4), Some("forbidden")));
    assert_eq!(bench.session.subscriptions().len(), 1);
    assert_eq!(
        error_code(&bench.say(r#"{"id":5,"unsubscribe":{"channel":"room.a"}}"#)),
        Some("not_subscribed")
    );
}

/// Rules by which only the key with this mark is trusted.
fn trusting(edition: u32, key: &str) -> TrustRules {
    let keys = vec![TrustMark::of(key)];
    TrustRules { edition: TrustEdition(edition), keys, key_set: None, service: None, issuer: None }
}

fn signed_by(edition: u32, key: &str) -> Identity {
    let origin = Some(TokenOrigin { source: TokenSource::Key(TrustMark::of(key)), issuer: None });
    Identity { origin, edition: TrustEdition(edition), ..identity("ann") }
}

#[test]
fn session_whose_key_is_removed_is_closed_with_4501() {
    let mut bench = Bench::new(AuthMode::Required, &Limits::default());
    bench.policy = bench.policy.with_trust(Some(trusting(0, "old")), None);
    bench.say(r#"{"id":1,"connect":{"token":"t"}}"#);
    let identity = signed_by(0, "old");
    bench.call(|session, cx| session.token_checked(CommandId(1), Some(Ok(identity)), cx));
    bench.call(|session, cx| session.rejudge(cx));
    assert_eq!(bench.closed_with(), None);
    bench.policy = bench.policy.with_trust(Some(trusting(1, "new")), None);
    bench.call(|session, cx| session.rejudge(cx));
    assert_eq!(bench.closed_with(), Some(4501));
    assert!(bench.effects.iter().any(|effect| matches!(effect, Effect::ReleaseUser(_))));
}

#[test]
fn token_judged_by_the_old_keys_opens_no_session_after_the_reload() {
    let answered = |identity: Identity| {
        let mut bench = Bench::new(AuthMode::Required, &Limits::default());
        bench.policy = bench.policy.with_trust(Some(trusting(1, "new")), None);
        bench.say(r#"{"id":1,"connect":{"token":"t"}}"#);
        bench.call(|session, cx| session.token_checked(CommandId(1), Some(Ok(identity)), cx));
        let is_released = bench.effects.iter().any(|effect| matches!(effect, Effect::ReleaseUser(_)));
        (bench.closed_with(), is_released)
    };
    assert_eq!(answered(signed_by(0, "old")), (Some(4501), true));
    assert_eq!(answered(signed_by(0, "new")), (None, false));
    assert_eq!(answered(signed_by(2, "newer")), (None, false), "this reactor has yet to learn of it");
}

/// A session with an introspected token that is checked again every 100 s.
fn introspected() -> Bench {
    let mut bench = Bench::new(AuthMode::Required, &Limits::default());
    bench.policy = bench.policy.with_trust(None, Some(Duration::from_secs(100)));
    bench.say(r#"{"id":1,"connect":{"token":"t"}}"#);
    let identity = Identity { token: Some(Arc::from("t")), expires_unix_ms: None, ..identity("ann") };
    bench.call(|session, cx| session.token_checked(CommandId(1), Some(Ok(identity)), cx));
    bench
}

/// Lets the time pass until the token is checked again.
fn until_rechecked(bench: &mut Bench) {
    bench.now.at = bench.session.recheck_at().expect("scheduled");
    bench.call(|session, cx| session.expire(cx));
    let is_recheck = |effect: &Effect| matches!(effect, Effect::Recheck { token, .. } if **token == *"t");
    assert!(matches!(&bench.effects[..], [effect] if is_recheck(effect)), "{:?}", bench.effects);
    assert_eq!(bench.session.recheck_at(), None, "one check at a time");
}

#[test]
fn introspected_token_is_checked_again_until_it_is_no_longer_active() {
    let mut bench = introspected();
    assert!(bench.session.recheck_at().is_some_and(|at| at < START.at + Duration::from_secs(100)));
    for unanswered in [None, Some(Err(Denied::Unchecked { retry_ms: 1, reference: None }))] {
        until_rechecked(&mut bench);
        bench.call(|session, cx| session.rechecked(unanswered, cx));
        assert_eq!(bench.closed_with(), None, "an outage ends no session");
        assert_eq!(bench.session.recheck_at(), Some(bench.now.at + Duration::from_secs(100)));
    }
    until_rechecked(&mut bench);
    let inactive = Some(Err(Denied::Token(TokenFault::Inactive)));
    bench.call(|session, cx| session.rechecked(inactive, cx));
    assert_eq!(bench.closed_with(), Some(4501));
}

#[test]
fn repeated_check_changes_the_rights_and_reports_lost_subscriptions() {
    let mut bench = introspected();
    bench.say(r#"{"id":2,"subscribe":{"channel":"a"}}"#);
    bench.answer_positions(4);
    until_rechecked(&mut bench);
    let permissions = Arc::new(Permissions::nothing());
    let less = Identity { permissions, expires_unix_ms: None, ..identity("ann") };
    let frames = bench.call(|session, cx| session.rechecked(Some(Ok(less)), cx));
    let refreshed = serde_json::json!({"refreshed": {}});
    assert_eq!(
        frames,
        [refreshed.clone(), serde_json::json!({"unsubscribed": {"channel": "a", "because": "forbidden"}})]
    );
    assert_eq!(error_code(&bench.say(r#"{"id":3,"publish":{"channel":"a","data":1}}"#)), Some("forbidden"));
    // The service gives the right back, and the client learns that as well.
    until_rechecked(&mut bench);
    let all = Identity { token: Some(Arc::from("t")), expires_unix_ms: None, ..identity("ann") };
    let frames = bench.call(|session, cx| session.rechecked(Some(Ok(all)), cx));
    assert_eq!(frames, [refreshed]);
    bench.say(r#"{"id":4,"subscribe":{"channel":"a"}}"#);
    assert_eq!(bench.session.subscriptions().len(), 1);
}

#[test]
fn repeated_check_that_changes_nothing_is_silent_and_a_new_expiry_is_announced() {
    let mut bench = introspected();
    until_rechecked(&mut bench);
    let same = Identity { token: Some(Arc::from("t")), expires_unix_ms: None, ..identity("ann") };
    assert!(bench.call(|session, cx| session.rechecked(Some(Ok(same)), cx)).is_empty());
    until_rechecked(&mut bench);
    let expires = bench.now.unix_ms + 5_000;
    let ends = Identity { token: Some(Arc::from("t")), expires_unix_ms: Some(expires), ..identity("ann") };
    let frames = bench.call(|session, cx| session.rechecked(Some(Ok(ends)), cx));
    assert_eq!(frames, [serde_json::json!({"refreshed": {"expires": expires, "expires_in_ms": 5_000}})]);
}

#[test]
fn answer_about_a_token_that_was_replaced_changes_nothing() {
    let mut bench = introspected();
    until_rechecked(&mut bench);
    bench.say(r#"{"id":2,"refresh":{"token":"u"}}"#);
    let fresh = Identity { token: Some(Arc::from("u")), ..identity("ann") };
    bench.call(|session, cx| session.token_checked(CommandId(2), Some(Ok(fresh)), cx));
    let inactive = Some(Err(Denied::Token(TokenFault::Inactive)));
    bench.call(|session, cx| session.rechecked(inactive, cx));
    assert_eq!(bench.closed_with(), None);
}
