//! Commands, their order and their replies.

use super::*;

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
fn publication_is_answered_by_the_outcome_of_its_append() {
    let mut bench = Bench::connected(&Limits::default());
    let channel = ChannelName::parse("c").expect("valid");
    let ok = Appended {
        epoch: Epoch(1),
        offset: Offset(9),
        time_ms: 5,
        attempt: Attempt::Repeat,
        stream: None,
        answer: Some(Offset(10)),
    };
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
            assert_eq!(frames[0]["published"]["answer"], 10, "also of a repeat");
        }
    }
}

#[test]
fn forwarded_claims_go_with_publications_and_change_with_the_token() {
    let mut bench = Bench::new(AuthMode::Required, &Limits::default());
    bench.say(r#"{"id":1,"connect":{"token":"t"}}"#);
    let with = |claims: Option<&str>| Identity { forwarded: claims.map(Arc::from), ..identity("ann") };
    let granted = Some(Ok(with(Some(r#"{"tenant": "t9"}"#))));
    bench.call(|session, cx| session.token_checked(CommandId(1), granted, cx));
    let claims_of = |bench: &mut Bench| {
        bench.say(r#"{"id":2,"publish":{"channel":"c","data":1}}"#);
        let [Effect::Append(append)] = &bench.effects[..] else { panic!("{:?}", bench.effects) };
        append.claims.clone()
    };
    assert_eq!(claims_of(&mut bench).as_deref(), Some(r#"{"tenant": "t9"}"#));
    bench.say(r#"{"id":3,"refresh":{"token":"u"}}"#);
    bench.call(|session, cx| session.token_checked(CommandId(3), Some(Ok(with(None))), cx));
    assert_eq!(claims_of(&mut bench), None);
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
fn subscribed_names_the_rights_on_the_channel_unless_auth_is_off() {
    let rights_of = |mut bench: Bench, channel: &str| {
        bench.say(&format!(r#"{{"id":2,"subscribe":{{"channel":"{channel}"}}}}"#));
        bench.answer_positions(4)[0]["subscribed"].take()
    };
    let reader = rights_of(signed_in_with(&["subscribe"]), "a");
    assert_eq!((&reader["head"], &reader["rights"]), (&4.into(), &serde_json::json!(["subscribe"])));
    let own = rights_of(signed_in_with(&[]), "$user:ann");
    assert_eq!(own["rights"], serde_json::json!(["subscribe"]), "nothing has to grant this");
    assert!(rights_of(Bench::connected(&Limits::default()), "a").get("rights").is_none());
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
