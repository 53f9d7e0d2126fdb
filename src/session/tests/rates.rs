//! Rates, strikes and the meters of a user.

use super::*;

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
fn claim_of_a_token_lifts_the_rate_and_bytes_of_its_user_up_to_the_bound() {
    let limits = Limits {
        publishes_per_s: 2,
        publishes_burst: 2,
        publish_bytes_per_s: 2_000,
        publish_bytes_burst: 4_000,
        pending: 1_000,
        ..Limits::default()
    };
    let stored = |claimed: u32, most: u32| {
        let limits = Limits { publishes_per_s_claimed: most, ..limits.clone() };
        let mut bench = Bench::new(AuthMode::Required, &limits);
        bench.say(r#"{"id":1,"connect":{"token":"t"}}"#);
        let identity =
            Identity { account: Some(Arc::default()), publishes_per_s: claimed, ..identity("bot") };
        let frames = bench.call(|session, cx| session.token_checked(CommandId(1), Some(Ok(identity)), cx));
        let reported = &frames[0]["connected"]["limits"];
        let reported = (reported["publishes_per_s"].as_u64(), reported["publishes_burst"].as_u64());
        let publish = r#"{"id":2,"publish":{"channel":"c","data":1}}"#;
        (reported, (0..100).filter(|_| bench.say(publish).is_empty()).count())
    };
    assert_eq!(stored(100, 0), ((Some(2), Some(2)), 2), "no claim counts");
    assert_eq!(stored(100, 10), ((Some(10), Some(20)), 20), "up to the bound");
    assert_eq!(stored(5, 10), ((Some(5), Some(10)), 10));
    assert_eq!(stored(1, 10), ((Some(2), Some(2)), 2), "a claim only lifts");
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
fn data_of_an_end_counts_as_published_bytes_and_an_end_without_data_does_not() {
    let limits = Limits { publish_bytes_per_s: 10_000, publish_bytes_burst: 10_000, ..Limits::default() };
    let mut bench = signed_in(&limits, &Arc::default());
    let end = |members: &str| {
        format!(r#"{{"id":2,"end":{{"channel":"c","offset":5,"state":"completed"{members}}}}}"#)
    };
    let data = format!(r#","data":"{}""#, "x".repeat(20_000 - 2 - PUBLISH_OVERHEAD_BYTES));
    assert!(bench.say(&end(&data)).is_empty());
    let frames = bench.say(&end(&data));
    assert_eq!((error_code(&frames), &frames[0]["error"]["retry_ms"]), (Some("rate_limited"), &1_000.into()));
    assert!(bench.say(&end("")).is_empty());
    bench.now.at = bench.now.at + Duration::from_secs(1);
    assert!(bench.say(&end(&data)).is_empty(), "a producer that waits is admitted");
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
fn rosters_and_their_commands_have_a_share_of_the_user() {
    let limits = Limits::default();
    let (ann, bob) = (Arc::default(), Arc::default());
    let of = |account| {
        let mut bench = signed_in(&limits, account);
        bench.policy.presence =
            PresencePolicy { channels: 1, commands_per_s: 2, ..PresencePolicy::default() };
        bench
    };
    let mut of_ann: Vec<Bench> = (0..9).map(|_| of(&ann)).collect();
    let watch = r#"{"id":2,"subscribe":{"channel":"c","watch":"count"}}"#;
    assert!(of_ann[..8].iter_mut().all(|bench| bench.say(watch).is_empty()), "each waits for its position");
    let frames = of_ann[8].say(watch);
    let message = frames[0]["error"]["message"].as_str().expect("a message");
    assert!(error_code(&frames) == Some("too_large") && message.contains("8 rosters"), "{message}");
    assert!(of(&bob).say(watch).is_empty(), "another user");
    // Six seconds' worth are twelve commands, and nine were sent.
    let absent = r#"{"id":3,"absent":{"channel":"none"}}"#;
    for code in ["not_subscribed", "not_subscribed", "not_subscribed", "rate_limited"] {
        assert_eq!(error_code(&of_ann[8].say(absent)), Some(code));
    }
    let page = r#"{"id":4,"presence":{"channel":"c"}}"#;
    assert_eq!(error_code(&of_ann[0].say(page)), Some("rate_limited"), "on any connection");
    assert!(of(&bob).say(page).is_empty());
    // A place is free with its connection.
    of_ann[0].call(|session, cx| session.end(Departure::Lost, cx));
    of_ann[8].now.at = of_ann[8].now.at + Duration::from_secs(1);
    assert!(of_ann[8].say(watch).is_empty());
}

#[test]
fn clients_without_a_name_share_the_use_of_rosters_by_their_address() {
    // Each connection may send twelve commands at once, and an address twice as many.
    let used = |address: Option<IpAddr>| {
        let mut bench = Bench::new(AuthMode::Off, &Limits::default());
        bench.policy.presence = PresencePolicy { commands_per_s: 2, ..PresencePolicy::default() };
        bench.address = address;
        let absent = r#"{"id":3,"absent":{"channel":"none"}}"#;
        [0; 4].map(|_| {
            bench.session = Session::new(None);
            bench.say(r#"{"id":1,"connect":{}}"#);
            let taken = (0..20).filter(|_| error_code(&bench.say(absent)) == Some("not_subscribed")).count();
            let last = bench.say(absent);
            (taken, last[0]["error"]["message"].as_str().is_some_and(|text| text.contains("your address")))
        })
    };
    let (own, shared) = ((12, false), (0, true));
    assert_eq!(used(Some(IpAddr::from([10, 0, 0, 1]))), [own, own, shared, shared]);
    assert_eq!(used(None), [own; 4], "behind a proxy that reports no address");
}
