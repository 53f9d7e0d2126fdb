use super::outcome::{AppendError, Appended, Attempt, Counted, Denied, Identity, Occasion};
use super::*;
use crate::auth::account::Account;
use crate::auth::permission::Permissions;
use crate::auth::token::TokenFault;
use crate::auth::trust::{TokenOrigin, TokenSource, TrustEdition, TrustMark, TrustRules};
use crate::clock::{Moment, Now};
use crate::hub::{LogPage, Need, Slot};
use crate::id::{ChannelName, CommandId, Epoch, InstanceName, UserName};
use crate::limits::{
    BAD_REFRESHES_MAX, Limits, MALFORMED_MAX, PUBLISH_OVERHEAD_BYTES, RATE_LIMITED_MAX, REPLY_TIMEOUT,
};
use crate::wire::push::LogPosition;
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

/// A session with its surroundings, without a reactor.
struct Bench {
    session: Session,
    policy: Policy,
    hub: Hub,
    now: Now,
    effects: Vec<Effect>,
}

const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const START: Now = Now { at: Moment::from_micros(3_600_000_000), unix_ms: 1_000_000 };

impl Bench {
    fn new(auth: AuthMode, limits: &Limits) -> Bench {
        Bench {
            session: Session::new(None, ADDRESS),
            policy: Policy::new(limits, auth, InstanceName(Arc::from("gw"))),
            hub: Hub::new(10, 1 << 20, ahash::RandomState::with_seeds(1, 2, 3, 4)),
            now: START,
            effects: Vec::new(),
        }
    }

    fn connected(limits: &Limits) -> Bench {
        let mut bench = Bench::new(AuthMode::Off, limits);
        let frames = bench.say(r#"{"id":1,"connect":{}}"#);
        assert!(frames[0].get("connected").is_some());
        bench
    }

    /// Calls the session and returns the frames for the peer as JSON. Its effects stay in `effects`.
    fn call(&mut self, act: impl FnOnce(&mut Session, &mut Context<'_>)) -> Vec<Value> {
        let mut out = Vec::new();
        self.effects.clear();
        let mut refused = Vec::new();
        let mut cx = Context {
            now: self.now,
            asked: self.now.at,
            policy: &self.policy,
            hub: &mut self.hub,
            slot: Slot(0),
            connection: 7,
            status: r#"{"revision":1,"level":"ok","dependencies":[],"lost":[]}"#,
            waiting_bytes: 0,
            out: &mut out,
            effects: &mut self.effects,
            refused: &mut refused,
        };
        act(&mut self.session, &mut cx);
        frames(&out)
    }

    fn say(&mut self, text: &str) -> Vec<Value> {
        self.call(|session, cx| session.text(text, cx))
    }

    fn answer_positions(&mut self, head: u64) -> Vec<Value> {
        let position = LogPosition { epoch: Epoch(1), head: Offset(head), floor: Offset(1) };
        let mut seen = Vec::new();
        for need in self.hub.take_needs() {
            let Need::Position(id) = need else { continue };
            for (subscription, decision) in self.hub.position_read(id, Some(LogPage::bare(position))) {
                seen.extend(self.call(|session, cx| session.opened(subscription, decision, cx)));
            }
        }
        seen
    }

    fn closed_with(&self) -> Option<u16> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Close(reason) => Some(reason.code()),
            _ => None,
        })
    }
}

/// The text frames in the bytes written to a peer.
fn frames(mut bytes: &[u8]) -> Vec<Value> {
    let mut frames = Vec::new();
    while let [0x81, length, rest @ ..] = bytes {
        let (length, rest) = match length {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            short => (usize::from(*short), rest),
        };
        frames.push(serde_json::from_slice(&rest[..length]).expect("JSON"));
        bytes = &rest[length..];
    }
    frames
}

fn error_code(frames: &[Value]) -> Option<&str> {
    frames.first()?["error"]["code"].as_str()
}

fn identity(user: &str) -> Identity {
    Identity {
        user: UserName::parse(user).expect("valid"),
        permissions: Arc::new(Permissions::everything()),
        expires_unix_ms: Some(START.unix_ms + 60_000),
        counted: Counted::Yes,
        account: None,
        origin: None,
        token: None,
        edition: TrustEdition::default(),
    }
}

#[test]
fn any_command_before_connect_closes_the_session() {
    let others = [
        r#"{"id":1,"subscribe":{"channel":"c"}}"#,
        r#"{"id":1,"unsubscribe":{"channel":"c"}}"#,
        r#"{"id":1,"publish":{"channel":"c","data":1}}"#,
        r#"{"id":1,"history":{"channel":"c"}}"#,
        r#"{"id":1,"refresh":{"token":"t"}}"#,
        r#"{"signal":{"channel":"c","data":1}}"#,
        "not JSON",
    ];
    for text in others {
        let mut bench = Bench::new(AuthMode::Off, &Limits::default());
        bench.say(text);
        assert_eq!(bench.closed_with(), Some(4501), "{text}");
        assert!(bench.say(r#"{"id":2,"connect":{}}"#).is_empty(), "a closed session sends nothing");
    }
}

#[test]
fn second_connect_is_refused_and_the_session_continues() {
    let mut bench = Bench::connected(&Limits::default());
    let frames = bench.say(r#"{"id":2,"connect":{}}"#);
    assert_eq!(error_code(&frames), Some("malformed"));
    assert!(bench.session.is_open() && bench.effects.is_empty());
}

#[test]
fn connected_waits_for_the_positions_and_commands_wait_for_connected() {
    let mut bench = Bench::new(AuthMode::Off, &Limits::default());
    let recover = r#"{"id":1,"connect":{"recover":[
        {"channel":"a","epoch":"1","offset":5},{"channel":"b","epoch":"zz","offset":5}]}}"#;
    assert!(bench.say(recover).is_empty());
    assert!(bench.say(r#"{"id":2,"publish":{"channel":"a","data":1}}"#).is_empty(), "it is held");
    let frames = bench.answer_positions(7);
    let recovered = &frames[0]["connected"]["recovered"];
    assert_eq!((recovered[0]["recovered"].as_bool(), recovered[0]["head"].as_u64()), (Some(true), Some(7)));
    assert_eq!(recovered[1]["because"], "epoch_changed");
    let replays = bench.effects.iter().filter(|effect| matches!(effect, Effect::Replay(_))).count();
    assert_eq!(replays, 2);
    assert!(
        matches!(bench.effects.last(), Some(Effect::Append(_))),
        "held commands are processed after connected"
    );
}

#[test]
fn reply_deadline_counts_from_the_arrival_of_a_held_command() {
    let mut bench = Bench::new(AuthMode::Required, &Limits::default());
    bench.say(r#"{"id":1,"connect":{"token":"t","recover":[{"channel":"a","epoch":"1","offset":5}]}}"#);
    bench.now.at = START.at + Duration::from_secs(1);
    bench.say(r#"{"id":2,"publish":{"channel":"a","data":1}}"#);
    bench.say(r#"{"id":3,"subscribe":{"channel":"b"}}"#);
    // The token takes its time, and then the store does not answer at all.
    bench.now.at = START.at + Duration::from_secs(4);
    bench.call(|session, cx| session.token_checked(CommandId(1), Some(Ok(identity("ann"))), cx));
    assert_eq!(bench.session.answer_by(), Some(START.at + REPLY_TIMEOUT));
    bench.now.at = START.at + REPLY_TIMEOUT;
    let frames = bench.call(|session, cx| session.expire(cx));
    assert_eq!(frames[0]["connected"]["recovered"][0]["because"], "unavailable");
    let came = START.at + Duration::from_secs(1);
    assert!(matches!(&bench.effects[..], [Effect::Append(append)] if append.asked == came));
    assert_eq!(bench.session.answer_by(), Some(came + REPLY_TIMEOUT));
    bench.now.at = came + REPLY_TIMEOUT;
    let frames = bench.call(|session, cx| session.expire(cx));
    assert_eq!((frames[0]["id"].as_u64(), error_code(&frames)), (Some(3), Some("unavailable")));
    assert_eq!(bench.hub.sizes(), (0, 0, 0), "an unopened subscription is not kept");
}

#[test]
fn commands_held_before_connected_are_bounded() {
    let mut bench = Bench::new(AuthMode::Required, &Limits::default());
    bench.say(r#"{"id":1,"connect":{"token":"t"}}"#);
    let refused = (0..100).filter(|_| !bench.say(r#"{"id":2,"history":{"channel":"a"}}"#).is_empty()).count();
    assert_eq!(refused, 100 - 64);
}

#[test]
fn token_sets_the_user_and_expires_unless_refreshed() {
    let mut bench = Bench::new(AuthMode::Required, &Limits::default());
    bench.say(r#"{"id":1,"connect":{"token":"good"}}"#);
    assert!(matches!(&bench.effects[..], [Effect::CheckToken { occasion: Occasion::Connect(ADDRESS), .. }]));
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
    bench.call(|session, cx| session.end(cx));
    assert!(bench.effects.is_empty());
    bench.call(|session, cx| session.token_checked(CommandId(1), Some(Ok(identity("ann"))), cx));
    assert_eq!(bench.effects, [Effect::ReleaseUser(UserName::parse("ann").expect("valid"))]);
    bench.call(|session, cx| session.end(cx));
    assert!(bench.effects.is_empty());
}

#[test]
fn refresh_answered_after_the_end_releases_no_user() {
    let mut bench = Bench::new(AuthMode::Required, &Limits::default());
    bench.say(r#"{"id":1,"connect":{"token":"good"}}"#);
    bench.call(|session, cx| session.token_checked(CommandId(1), Some(Ok(identity("ann"))), cx));
    bench.say(r#"{"id":2,"refresh":{"token":"fresh"}}"#);
    bench.call(|session, cx| session.end(cx));
    assert_eq!(bench.effects, [Effect::ReleaseUser(UserName::parse("ann").expect("valid"))]);
    let fresh = Identity { counted: Counted::No, ..identity("ann") };
    bench.call(|session, cx| session.token_checked(CommandId(2), Some(Ok(fresh)), cx));
    assert!(bench.effects.is_empty());
}

#[test]
fn publication_is_answered_by_the_outcome_of_its_append() {
    let mut bench = Bench::connected(&Limits::default());
    let channel = ChannelName::parse("c").expect("valid");
    let ok = Appended { epoch: Epoch(1), offset: Offset(9), time_ms: 5, attempt: Attempt::Repeat };
    let table = [
        (AppendOutcome::Answered(Ok(ok)), None),
        (AppendOutcome::Answered(Err(AppendError::KeyConflict)), Some("key_conflict")),
        (AppendOutcome::Answered(Err(AppendError::NotFound)), Some("not_found")),
        (AppendOutcome::Answered(Err(AppendError::NotAuthor)), Some("forbidden")),
        (AppendOutcome::Answered(Err(AppendError::TooManyChannels)), Some("overloaded")),
        (AppendOutcome::Answered(Err(AppendError::Unavailable { retry_ms: 1 })), Some("unavailable")),
        (AppendOutcome::Answered(Err(AppendError::Unconfirmed { retry_ms: 1 })), Some("unconfirmed")),
        (AppendOutcome::QueueFull, Some("overloaded")),
        (AppendOutcome::Late, Some("unconfirmed")),
    ];
    for (outcome, code) in table {
        bench.now.at = bench.now.at + Duration::from_secs(1);
        bench.say(r#"{"id":2,"publish":{"channel":"c","data":1}}"#);
        assert!(matches!(&bench.effects[..], [Effect::Append(_)]));
        let frames =
            bench.call(|session, cx| session.appended(CommandId(2), &channel, None, outcome.clone(), cx));
        assert_eq!(error_code(&frames), code, "{outcome:?}");
        if code.is_none() {
            assert_eq!(frames[0]["published"]["duplicate"], true);
        }
    }
}

#[test]
fn exceeded_rate_is_refused_with_the_wait_and_closes_when_ignored() {
    let limits = Limits { publishes_per_s: 10, publishes_burst: 2, ..Limits::default() };
    let mut bench = Bench::connected(&limits);
    let publish = r#"{"id":2,"publish":{"channel":"c","data":1}}"#;
    assert!(bench.say(publish).is_empty() && bench.say(publish).is_empty());
    let frames = bench.say(publish);
    assert_eq!(error_code(&frames), Some("rate_limited"));
    assert_eq!(frames[0]["error"]["retry_ms"], 100);
    bench.now.at = bench.now.at + Duration::from_millis(100);
    assert!(bench.say(publish).is_empty(), "a client that waits is admitted");
    let refused = (0..).find(|_| {
        bench.say(publish);
        bench.closed_with().is_some()
    });
    assert_eq!((bench.closed_with(), refused), (Some(4429), Some(RATE_LIMITED_MAX - 1)));
}

/// A session of a user with an account, as the auth worker grants it.
fn signed_in(limits: &Limits, account: &Arc<Account>) -> Bench {
    let mut bench = Bench::new(AuthMode::Required, limits);
    bench.say(r#"{"id":1,"connect":{"token":"t"}}"#);
    let identity = Identity { account: Some(Arc::clone(account)), ..identity("ann") };
    let frames = bench.call(|session, cx| session.token_checked(CommandId(1), Some(Ok(identity)), cx));
    assert!(frames[0].get("connected").is_some(), "{frames:?}");
    bench
}

#[test]
fn publish_rate_belongs_to_the_user_and_not_to_the_connection() {
    let limits = Limits { publishes_per_s: 10, publishes_burst: 2, ..Limits::default() };
    let (ann, bob) = (Arc::default(), Arc::default());
    let (mut one, mut two) = (signed_in(&limits, &ann), signed_in(&limits, &ann));
    let publish = r#"{"id":2,"publish":{"channel":"c","data":1}}"#;
    assert!(one.say(publish).is_empty() && two.say(publish).is_empty());
    assert_eq!(error_code(&one.say(publish)), Some("rate_limited"));
    assert_eq!(error_code(&two.say(publish)), Some("rate_limited"));
    assert!(signed_in(&limits, &bob).say(publish).is_empty(), "another user");
}

#[test]
fn published_bytes_of_a_user_are_bounded_on_all_connections_together() {
    let limits = Limits {
        publishes_per_s: 0,
        publish_bytes_per_s: 10_000,
        publish_bytes_burst: 100_000,
        pending: 1_000,
        ..Limits::default()
    };
    let ann = Arc::default();
    let mut benches = [signed_in(&limits, &ann), signed_in(&limits, &ann)];
    let data = "x".repeat(20_000 - 2 - PUBLISH_OVERHEAD_BYTES);
    let publish = format!(r#"{{"id":2,"publish":{{"channel":"c","data":"{data}"}}}}"#);
    let stored = (0..10).filter(|n| benches[n % 2].say(&publish).is_empty()).count();
    assert_eq!(stored, 6, "the burst is exceeded by less than one publication");
    let frames = benches[0].say(&publish);
    assert_eq!((error_code(&frames), &frames[0]["error"]["retry_ms"]), (Some("rate_limited"), &2_000.into()));
    assert!(frames[0]["error"]["message"].as_str().is_some_and(|text| text.contains("publish_bytes_per_s")));
    benches[1].now.at = benches[1].now.at + Duration::from_secs(2);
    assert!(benches[1].say(&publish).is_empty(), "a client that waits is admitted");
}

#[test]
fn publish_refused_for_its_bytes_does_not_count_against_the_rate() {
    let limits = Limits {
        publishes_per_s: 1,
        publishes_burst: 2,
        publish_bytes_per_s: 10_000,
        publish_bytes_burst: 1_024,
        ..Limits::default()
    };
    let mut bench = signed_in(&limits, &Arc::default());
    let large = format!(r#"{{"id":2,"publish":{{"channel":"c","data":"{}"}}}}"#, "x".repeat(5_000));
    assert!(bench.say(&large).is_empty());
    let retry_ms = bench.say(&large)[0]["error"]["retry_ms"].as_u64().expect("over the burst");
    bench.now.at = bench.now.at + Duration::from_millis(retry_ms);
    assert!(bench.say(&large).is_empty(), "a client that waits retry_ms is admitted");
}

#[test]
fn signals_have_a_rate_of_the_user_and_a_size() {
    let limits = Limits {
        signals_per_s: 10,
        signals_burst: 2,
        signal_bytes: 100,
        commands_per_s: 1,
        ..Limits::default()
    };
    let ann = Arc::default();
    let (mut one, mut two) = (signed_in(&limits, &ann), signed_in(&limits, &ann));
    for bench in [&mut one, &mut two] {
        bench.say(r#"{"id":2,"subscribe":{"channel":"c"}}"#);
    }
    let signal = |data: &str| format!(r#"{{"id":3,"signal":{{"channel":"c","data":"{data}"}}}}"#);
    assert_eq!(error_code(&one.say(&signal(&"x".repeat(99)))), Some("too_large"), "with its quotes");
    assert!(one.say(&signal(&"x".repeat(98))).is_empty());
    assert_eq!(error_code(&two.say(&signal("x"))), Some("rate_limited"), "on all connections together");
    assert!(signed_in(&limits, &Arc::default()).say(&signal("x"))[0]["error"]["code"] == "not_subscribed");
    one.now.at = one.now.at + Duration::from_millis(100);
    assert!(one.say(&signal("x")).is_empty());
}

#[test]
fn bytes_of_the_log_that_a_user_reads_are_bounded_on_all_connections_together() {
    let limits = Limits { read_bytes_per_s: 100_000, read_bytes_burst: 1_000_000, ..Limits::default() };
    let ann = Arc::default();
    let (one, mut two) = (signed_in(&limits, &ann), signed_in(&limits, &ann));
    let history = r#"{"id":2,"history":{"channel":"c"}}"#;
    let subscribe = r#"{"id":3,"subscribe":{"channel":"c"}}"#;
    let read = |bench: &Bench, bytes| bench.session.replayed(bytes, &bench.policy, bench.now.at);
    read(&one, 1_000_000);
    assert!(two.say(history).is_empty(), "the burst may be used up");
    read(&one, 50_000);
    for command in [history, subscribe] {
        let frames = two.say(command);
        assert_eq!(error_code(&frames), Some("rate_limited"));
        assert_eq!(frames[0]["error"]["retry_ms"], 500, "{frames:?}");
    }
    assert!(signed_in(&limits, &Arc::default()).say(history).is_empty(), "another user");
    two.now.at = two.now.at + Duration::from_millis(500);
    assert!(two.say(history).is_empty(), "a client that waits is admitted");
    (0..100).for_each(|_| read(&one, 250_000));
    let retry_ms = two.say(history)[0]["error"]["retry_ms"].as_u64();
    assert!(
        retry_ms.is_some_and(|wait| wait <= 2_500),
        "a debt is no longer than one read takes: {retry_ms:?}"
    );
}

#[test]
fn eleventh_malformed_command_in_a_minute_closes() {
    let mut bench = Bench::connected(&Limits::default());
    for round in 0..3 {
        for _ in 0..MALFORMED_MAX {
            assert_eq!(error_code(&bench.say("{")), Some("malformed"));
            assert_eq!(bench.closed_with(), None, "round {round}");
        }
        bench.now.at = bench.now.at + Duration::from_secs(61);
    }
    (0..MALFORMED_MAX).for_each(|_| drop(bench.say("{")));
    bench.say("{");
    assert_eq!(bench.closed_with(), Some(4500));
}

#[test]
fn subscriptions_and_waiting_commands_are_bounded() {
    let limits = Limits { subscriptions: 2, pending: 2, publishes_per_s: 0, ..Limits::default() };
    let mut bench = Bench::connected(&limits);
    for channel in ["a", "b"] {
        bench.say(&format!(r#"{{"id":2,"subscribe":{{"channel":"{channel}"}}}}"#));
    }
    assert_eq!(error_code(&bench.say(r#"{"id":3,"subscribe":{"channel":"c"}}"#)), Some("too_large"));
    let publish = r#"{"id":2,"publish":{"channel":"c","data":1}}"#;
    assert!(bench.say(publish).is_empty() && bench.say(publish).is_empty());
    assert_eq!(error_code(&bench.say(publish)), Some("overloaded"));
}

#[test]
fn subscribe_replaced_by_a_newer_one_is_answered() {
    let mut bench = Bench::connected(&Limits::default());
    assert!(bench.say(r#"{"id":2,"subscribe":{"channel":"a"}}"#).is_empty());
    let frames = bench.say(r#"{"id":3,"subscribe":{"channel":"a"}}"#);
    assert_eq!((frames[0]["id"].as_u64(), error_code(&frames)), (Some(2), Some("not_subscribed")));
    let frames = bench.answer_positions(4);
    assert_eq!(frames[0]["subscribed"]["head"], 4);
    assert_eq!(frames[0]["id"], 3);
    assert!(bench.say(r#"{"id":4,"unsubscribe":{"channel":"a"}}"#)[0].get("unsubscribed").is_some());
    let frames = bench.say(r#"{"id":5,"unsubscribe":{"channel":"a"}}"#);
    assert_eq!(error_code(&frames), Some("not_subscribed"));
    assert_eq!(bench.hub.sizes(), (0, 0, 0));
}

#[test]
fn unreadable_log_refuses_the_subscription() {
    let mut bench = Bench::connected(&Limits::default());
    bench.say(r#"{"id":2,"subscribe":{"channel":"a"}}"#);
    let Some(Need::Position(id)) = bench.hub.take_needs().pop() else { panic!("a position is needed") };
    let mut frames = Vec::new();
    for (subscription, decision) in bench.hub.position_read(id, None) {
        frames = bench.call(|session, cx| session.opened(subscription, decision, cx));
    }
    assert_eq!(error_code(&frames), Some("unavailable"));
    assert_eq!(bench.hub.sizes(), (0, 0, 0));
}

#[test]
fn each_command_is_checked_against_the_rights() {
    let claim = r#"[{"pattern":"read.*","rights":["subscribe"]},{"pattern":"write.*","rights":["publish"]}]"#;
    let mut bench = Bench::new(AuthMode::Required, &Limits::default());
    bench.say(r#"{"id":1,"connect":{"token":"t","recover":[{"channel":"write.a","epoch":"1","offset":0}]}}"#);
    let permissions = Arc::new(Permissions::from_claim(claim).expect("valid"));
    let reader = Identity { permissions, ..identity("ann") };
    let frames = bench.call(|session, cx| session.token_checked(CommandId(1), Some(Ok(reader)), cx));
    assert_eq!(frames[0]["connected"]["recovered"][0]["because"], "forbidden");
    let table = [
        (r#"{"id":2,"subscribe":{"channel":"write.a"}}"#, Some("forbidden")),
        (r#"{"id":2,"history":{"channel":"write.a"}}"#, Some("forbidden")),
        (r#"{"id":2,"publish":{"channel":"read.a","data":1}}"#, Some("forbidden")),
        (r#"{"id":2,"history":{"channel":"read.a"}}"#, None),
        (r#"{"id":2,"publish":{"channel":"write.a","data":1}}"#, None),
        (r#"{"signal":{"channel":"write.a","data":1}}"#, Some("not_subscribed")),
    ];
    for (text, code) in table {
        assert_eq!(error_code(&bench.say(text)), code, "{text}");
    }
}

/// A session of `ann`, who may do on every channel what `rights` say.
fn signed_in_with(rights: &[&str]) -> Bench {
    let mut bench = Bench::new(AuthMode::Required, &Limits::default());
    bench.say(r#"{"id":1,"connect":{"token":"t"}}"#);
    let identity = Identity { permissions: on_all_channels(rights), ..identity("ann") };
    bench.call(|session, cx| session.token_checked(CommandId(1), Some(Ok(identity)), cx));
    bench
}

fn on_all_channels(rights: &[&str]) -> Arc<Permissions> {
    let claim = serde_json::json!([{"pattern": "*", "rights": rights}]).to_string();
    Arc::new(Permissions::from_claim(&claim).expect("valid"))
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
    let less = Identity { permissions: Arc::new(Permissions::nothing()), ..identity("ann") };
    let frames = bench.call(|session, cx| session.rechecked(Some(Ok(less)), cx));
    assert_eq!(frames, [serde_json::json!({"unsubscribed": {"channel": "a", "because": "forbidden"}})]);
    assert_eq!(error_code(&bench.say(r#"{"id":3,"publish":{"channel":"a","data":1}}"#)), Some("forbidden"));
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

#[test]
fn refreshes_of_a_user_are_bounded_on_all_connections_together() {
    let ann = Arc::default();
    let mut benches = [signed_in(&Limits::default(), &ann), signed_in(&Limits::default(), &ann)];
    let refresh = r#"{"id":2,"refresh":{"token":"t"}}"#;
    let asked = (0..10).filter(|n| benches[n % 2].say(refresh).is_empty()).count();
    assert_eq!(asked, 3);
    let frames = benches[0].say(refresh);
    assert_eq!(
        (error_code(&frames), &frames[0]["error"]["retry_ms"]),
        (Some("rate_limited"), &10_000.into())
    );
    benches[1].now.at = benches[1].now.at + Duration::from_secs(10);
    assert!(benches[1].say(refresh).is_empty(), "a client that waits is admitted");
    assert!(signed_in(&Limits::default(), &Arc::default()).say(refresh).is_empty(), "another user");
}

#[test]
fn sixth_bad_refresh_in_a_minute_closes() {
    let limits = Limits { refreshes_per_minute: 0, ..Limits::default() };
    let mut bench = signed_in(&limits, &Arc::default());
    let mut refresh = |denied| {
        bench.say(r#"{"id":2,"refresh":{"token":"t"}}"#);
        let frames = bench.call(|session, cx| session.token_checked(CommandId(2), Some(Err(denied)), cx));
        (error_code(&frames).map(str::to_owned), bench.closed_with())
    };
    for _ in 0..10 {
        assert_eq!(refresh(Denied::TooManyWaiting).1, None, "not the client's fault");
    }
    for _ in 0..BAD_REFRESHES_MAX {
        assert_eq!(refresh(Denied::Token(TokenFault::BadSignature)), (Some("unauthorized".into()), None));
    }
    assert_eq!(refresh(Denied::OtherUser).1, Some(4501));
}

#[test]
fn edit_by_a_user_without_subscribe_does_not_reveal_the_publication() {
    let channel = ChannelName::parse("c").expect("valid");
    let answers = |rights: &[&str]| {
        let mut bench = signed_in_with(rights);
        [AppendError::NotFound, AppendError::NotAuthor].map(|error| {
            bench.say(r#"{"id":2,"publish":{"channel":"c","edits":1,"data":1}}"#);
            let outcome = AppendOutcome::Answered(Err(error));
            bench.call(|session, cx| session.appended(CommandId(2), &channel, None, outcome, cx))
        })
    };
    let [missing, other] = answers(&["publish"]);
    assert_eq!(missing, other);
    assert_eq!(error_code(&missing), Some("not_found"));
    let [missing, other] = answers(&["publish", "subscribe"]);
    assert_eq!((error_code(&missing), error_code(&other)), (Some("not_found"), Some("forbidden")));
}

#[test]
fn history_pages_that_would_overfill_the_outbox_are_refused() {
    let mut bench = Bench::connected(&Limits::default());
    let history = r#"{"id":2,"history":{"channel":"a"}}"#;
    let asked = (0..10).filter(|_| bench.say(history).is_empty()).count();
    assert_eq!(asked, 4, "four pages of 256 KiB are one outbox");
    let channel = ChannelName::parse("a").expect("valid");
    bench.call(|session, cx| session.history_read(CommandId(2), &channel, &HistoryOutcome::Late, cx));
    assert!(bench.say(history).is_empty());
}
