//! Large rosters: frames, pages and memory.

use super::*;

#[test]
fn storm_of_joins_is_a_few_frames_and_a_large_roster_is_counted() {
    let mut rosters = rosters(1_000);
    rosters.handle(watch(WatchDetail::Members), now(0));
    rosters.handle(watch(WatchDetail::Count), now(0));
    run(&mut rosters, 500, |_, _| {});
    let mut frames: Vec<(u64, PushAudience, Value)> = Vec::new();
    for name in 0..15_000_u64 {
        let ms = 1_000 + name * 2_000 / 15_000;
        run(&mut rosters, ms, |push, at| frames.push((at, push.audience, object(&push.frame))));
        rosters.handle(present(name, &format!("u{name}"), None), now(ms));
    }
    run(&mut rosters, 20_000, |push, at| frames.push((at, push.audience, object(&push.frame))));
    let members: Vec<_> =
        frames.iter().filter(|(_, audience, _)| *audience == PushAudience::Current).collect();
    let within = |from: u64| members.iter().filter(|(at, _, _)| (from..from + 1_000).contains(at)).count();
    assert!((1_000..5_000).all(|from| within(from) <= 4), "{frames:?}");
    let (_, _, last) = members.last().expect("frames");
    assert_eq!((&last["users"], &last["counted"]), (&Value::from(15_000), &Value::from(true)));
    assert!(members.len() <= 8, "{} frames", members.len());
    // Below four fifths it is listed again.
    for name in 700..15_000 {
        rosters.handle(absent(name, &format!("u{name}"), Departure::Ended), now(20_000));
    }
    frames.clear();
    run(&mut rosters, 40_000, |push, at| frames.push((at, push.audience, object(&push.frame))));
    let listed = frames.iter().rfind(|(_, audience, _)| *audience == PushAudience::Current).expect("a list");
    assert_eq!(listed.2["members"].as_array().map(Vec::len), Some(100));
    assert_eq!((&listed.2["more"], &listed.2["users"]), (&Value::from(true), &Value::from(700)));
}

#[test]
fn small_bound_lists_a_roster_again() {
    let mut rosters = rosters(2);
    for name in 0..3 {
        rosters.handle(present(name, &format!("u{name}"), None), now(0));
    }
    rosters.handle(watch(WatchDetail::Members), now(0));
    let mut last = Value::Null;
    run(&mut rosters, 10_000, |push, _| last = object(&push.frame));
    assert_eq!(last["counted"], true);
    for name in 1..3 {
        rosters.handle(absent(name, &format!("u{name}"), Departure::Ended), now(10_000));
    }
    run(&mut rosters, 20_000, |push, _| last = object(&push.frame));
    assert_eq!(last["members"].as_array().map(Vec::len), Some(1), "{last}");
}

#[test]
fn many_changes_in_one_tick_are_numbers_and_a_time_to_ask() {
    let mut rosters = rosters(1_000);
    rosters.handle(watch(WatchDetail::Members), now(0));
    run(&mut rosters, 500, |_, _| {});
    for name in 0..201 {
        rosters.handle(present(name, &format!("u{name}"), None), now(1_000));
    }
    let mut frames = Vec::new();
    run(&mut rosters, 5_000, |push, _| frames.push((push.audience, object(&push.frame))));
    let [(PushAudience::Current, frame)] = frames.as_slice() else { panic!("{frames:?}") };
    assert_eq!((&frame["users"], &frame["refresh_ms"]), (&Value::from(201), &Value::from(1_500)));
    assert!(frame.get("joined").is_none() && frame.get("members").is_none());
}

#[test]
fn pages_hold_every_member_once_and_fit_into_a_frame() {
    let mut rosters = rosters(5_000);
    let info = Some(Arc::from(format!("\"{}\"", "x".repeat(500))));
    for name in 0..1_500_u64 {
        let user = UserName::parse(&format!("u{name}")).expect("a user");
        let shown = Arc::new(Shown { user, info: info.clone().filter(|_| name % 7 == 0) });
        let state = None;
        let event = RosterEvent::Present { channel: channel(), connection: connection(name), shown, state };
        rosters.handle(event, now(0));
    }
    let (mut users, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = rosters.page(&PageWish { channel: channel(), after: after.clone(), limit: 100 });
        assert!(page.len() <= crate::limits::ROSTER_FRAME_BYTES, "{} bytes", page.len());
        let page: Value = serde_json::from_slice(&page).expect("JSON");
        users.extend(Watcher::list(&page, "members").iter().map(|member| Watcher::entry(member).0));
        pages += 1;
        if page.get("more").is_none() {
            break;
        }
        after = users.last().map(|user| UserName::parse(user).expect("a user"));
    }
    assert_eq!((users.len(), users.is_sorted()), (1_500, true));
    users.dedup();
    assert_eq!(users.len(), 1_500, "after {pages} pages");
}

#[test]
fn membership_takes_at_most_eighty_bytes() {
    let mut rosters = rosters(1_000);
    let (channels, members) = (500, 30);
    for number in 0..channels {
        let channel = ChannelName::parse(&format!("room.{number}")).expect("a name");
        for member in 0..members {
            let user = format!("user-{number}-{member}");
            let event = RosterEvent::Present {
                channel: channel.clone(),
                connection: connection(number * members + member),
                shown: shown(&user),
                state: None,
            };
            rosters.handle(event, now(0));
        }
    }
    let memberships = (channels * members) as usize;
    assert_eq!(rosters.sizes().connections, memberships as u64);
    let each = rosters.bytes() / memberships;
    assert!(each <= 80, "{each} bytes a membership");
    for number in 0..channels * members {
        let (channel, member) = (number / members, number % members);
        let user = UserName::parse(&format!("user-{channel}-{member}")).expect("a user");
        let channel = ChannelName::parse(&format!("room.{channel}")).expect("a name");
        let departure = Departure::Deliberate;
        let event = RosterEvent::Absent { channel, connection: connection(number), user, departure };
        rosters.handle(event, now(1_000));
    }
    run(&mut rosters, 10_000, |_, _| {});
    assert_eq!(rosters.sizes(), RosterSizes::default());
    assert!(rosters.bytes() < 1 << 20, "{} bytes of nothing", rosters.bytes());
}

#[test]
fn alarms_of_a_connection_that_comes_and_goes_are_dropped() {
    let mut rosters = rosters(1_000);
    for _ in 0..20_000 {
        rosters.handle(present(1, "ann", None), now(0));
        rosters.handle(absent(1, "ann", Departure::Lost), now(0));
        rosters.advance(now(0));
    }
    assert!(rosters.bytes() < 1 << 20, "{} bytes", rosters.bytes());
    run(&mut rosters, 60_000, |_, _| {});
    assert_eq!(rosters.sizes(), RosterSizes::default());
}
