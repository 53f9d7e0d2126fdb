//! Rosters against a naive truth: what a watcher was sent must always add up, and in the end be what is true.

use super::*;
use crate::clock::{Moment, Now};
use crate::id::{ChannelName, PresenceState, ReactorId, UserName};
use crate::wire::command::WatchDetail;
use crate::wire::presence::RosterKnowledge;
use proptest::prelude::*;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

const GRACE_MS: u64 = 10_000;
const REACTOR: ReactorId = ReactorId(3);

fn now(ms: u64) -> Now {
    Now { at: Moment::from_micros(ms * 1_000), unix_ms: 1_000_000 + ms }
}

fn channel() -> ChannelName {
    ChannelName::parse("c").expect("a name")
}

fn rules(members_max: u32, knowledge: RosterKnowledge) -> RosterRules {
    RosterRules { grace: Duration::from_millis(GRACE_MS), members_max, knowledge }
}

fn rosters(members_max: u32) -> Rosters {
    let rules = rules(members_max, RosterKnowledge::Complete);
    Rosters::new(rules, ahash::RandomState::with_seeds(1, 2, 3, 4))
}

fn shown(user: &str) -> Arc<Shown> {
    Arc::new(Shown { user: UserName::parse(user).expect("a user"), info: None })
}

fn connection(name: u64) -> ConnectionId {
    ConnectionId { name, reactor: REACTOR }
}

fn present(name: u64, user: &str, state: Option<&str>) -> RosterEvent {
    let state = state.map(|state| PresenceState::parse(state).expect("a state"));
    RosterEvent::Present { channel: channel(), connection: connection(name), shown: shown(user), state }
}

fn absent(name: u64, user: &str, departure: Departure) -> RosterEvent {
    let user = UserName::parse(user).expect("a user");
    RosterEvent::Absent { channel: channel(), connection: connection(name), user, departure }
}

fn watch(detail: WatchDetail) -> RosterEvent {
    RosterEvent::Watch { channel: channel(), reactor: REACTOR, detail, number: WatchNumber::default() }
}

fn object(frame: &[u8]) -> Value {
    // A byte of the length may be a brace as well.
    let start = frame.windows(2).position(|pair| pair == b"{\"").expect("an object");
    let frame: Value = serde_json::from_slice(&frame[start..]).expect("JSON");
    frame["presence"].clone()
}

/// A member as a watcher sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SeenMember {
    connections: u64,
    state: Option<String>,
    since: u64,
}

/// A watcher of the members, which checks that each frame fits to what it has.
#[derive(Debug, Default)]
struct Watcher {
    members: BTreeMap<String, SeenMember>,
    revision: u64,
    /// The times of frames for all.
    frames: Vec<u64>,
    is_current: bool,
    joins: u32,
    leaves: u32,
}

impl Watcher {
    fn entry(member: &Value) -> (String, SeenMember) {
        let number = |name: &str| member[name].as_u64().expect("a number");
        let state = member["state"].as_str().map(str::to_owned);
        let seen = SeenMember { connections: number("connections"), state, since: number("since") };
        (member["user"].as_str().expect("a user").to_owned(), seen)
    }

    fn list<'a>(object: &'a Value, name: &str) -> &'a [Value] {
        object[name].as_array().map_or(&[], Vec::as_slice)
    }

    fn take(&mut self, push: &RosterPush, at_ms: u64) {
        let object = object(&push.frame);
        let revision = object["revision"].as_u64().expect("a revision");
        match push.audience {
            PushAudience::Waiting if self.is_current => {}
            PushAudience::Current if !self.is_current => return,
            PushAudience::Waiting => {
                assert!(object.get("more").is_none() && object["members"].is_array(), "{object}");
                self.members = Watcher::list(&object, "members").iter().map(Watcher::entry).collect();
                (self.revision, self.is_current) = (revision, true);
            }
            PushAudience::Current => {
                assert_eq!(revision, self.revision + 1, "the next revision");
                self.revision = revision;
                self.frames.push(at_ms);
                for member in Watcher::list(&object, "joined") {
                    let (user, member) = Watcher::entry(member);
                    assert!(self.members.insert(user.clone(), member).is_none(), "{user} joined twice");
                    self.joins += 1;
                }
                for member in Watcher::list(&object, "changed") {
                    let (user, member) = Watcher::entry(member);
                    let before = self.members.insert(user.clone(), member.clone());
                    assert!(before.is_some_and(|before| before != member), "{user} did not change");
                }
                for user in Watcher::list(&object, "left") {
                    let user = user.as_str().expect("a user");
                    assert!(self.members.remove(user).is_some(), "{user} left twice");
                    self.leaves += 1;
                }
            }
            PushAudience::Count | PushAudience::WaitingCount => panic!("no watcher of the numbers"),
        }
        let connections: u64 = self.members.values().map(|member| member.connections).sum();
        assert_eq!(object["users"], self.members.len());
        assert_eq!(object["connections"], connections);
    }
}

/// Runs everything that is due until `ms`, each thing at its time.
fn run(rosters: &mut Rosters, until_ms: u64, mut take: impl FnMut(&RosterPush, u64)) {
    let until = now(until_ms).at;
    while let Some(due) = rosters.due().filter(|due| *due <= until) {
        let at_ms = due.micros().div_ceil(1_000);
        for push in rosters.advance(now(at_ms).at) {
            take(&push, at_ms);
        }
    }
}

#[test]
fn watchers_are_sent_that_a_roster_is_no_longer_complete_and_that_it_is_again() {
    for members_max in [1_000, 1] {
        let mut rosters = rosters(members_max);
        for (name, user) in [(1, "ann"), (2, "ben")] {
            rosters.handle(present(name, user, None), now(1_000));
        }
        rosters.handle(watch(WatchDetail::Members), now(1_000));
        rosters.handle(watch(WatchDetail::Count), now(1_000));
        run(&mut rosters, 20_000, |push, _| assert_eq!(object(&push.frame)["complete"], true));
        for (ms, knowledge) in
            [(20_000, RosterKnowledge::OwnConnections), (40_000, RosterKnowledge::Complete)]
        {
            rosters.revise(rules(members_max, knowledge), now(ms).at);
            // A watcher that came shortly before waits for the members: the numbers alone are not for it.
            rosters.handle(watch(WatchDetail::Members), now(ms));
            let mut audiences = Vec::new();
            run(&mut rosters, ms + 20_000, |push, _| {
                let object = object(&push.frame);
                assert_eq!(object["complete"], knowledge == RosterKnowledge::Complete, "{object}");
                assert_eq!((&object["users"], object.get("left")), (&2.into(), None));
                let lists = push.audience == PushAudience::Waiting && members_max > 1;
                assert_eq!(object.get("members").is_some(), lists, "{object}");
                audiences.push(push.audience);
            });
            assert_eq!(audiences, [PushAudience::Current, PushAudience::Count, PushAudience::Waiting]);
            rosters.revise(rules(members_max, knowledge), now(ms + 20_000).at);
        }
    }
}

/// One step of a schedule.
#[derive(Clone, Debug)]
enum Step {
    Present(u64, Option<u8>),
    Absent(u64, u8),
    Wait(u64),
    /// An event is lost, so the reactor repeats everything that it holds. Those before it may still be in the queue.
    LoseAbsent(u64),
    /// Some of the events in the queue are handled.
    Handle(u8),
    /// The roster becomes complete, or is not any more.
    Know(RosterKnowledge),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let connection = 0_u64..18;
    let step = prop_oneof![
        4 => (connection.clone(), prop::option::of(0_u8..3)).prop_map(|(name, state)| Step::Present(name, state)),
        4 => (connection.clone(), 0_u8..3).prop_map(|(name, how)| Step::Absent(name, how)),
        3 => prop_oneof![0_u64..60, 200_u64..1_500, 9_000_u64..12_000].prop_map(Step::Wait),
        1 => connection.prop_map(Step::LoseAbsent),
        2 => (0_u8..6).prop_map(Step::Handle),
        1 => prop_oneof![Just(RosterKnowledge::Complete), Just(RosterKnowledge::OwnConnections)].prop_map(Step::Know),
    ];
    prop::collection::vec(step, 0..120)
}

/// The truth: the connections that are present, with the number of the step that set their state.
type Truth = BTreeMap<u64, (usize, Option<&'static str>)>;

const STATES: [&str; 3] = ["active", "away", "busy"];
const USERS: [&str; 6] = ["u0", "u1", "u2", "u3", "u4", "u5"];

fn user_of(name: u64) -> &'static str {
    USERS[name as usize % USERS.len()]
}

/// Connections, and the state with its number.
type ExpectedMember = (u64, Option<(usize, &'static str)>);

fn expected(truth: &Truth) -> BTreeMap<String, (u64, Option<String>)> {
    let mut expected: BTreeMap<String, ExpectedMember> = BTreeMap::new();
    for (name, (step, state)) in truth {
        let member = expected.entry(user_of(*name).to_owned()).or_default();
        member.0 += 1;
        member.1 = member.1.max(state.map(|state| (*step, state)));
    }
    let plain = |(user, (count, state)): (String, ExpectedMember)| {
        (user, (count, state.map(|(_, state)| state.to_owned())))
    };
    expected.into_iter().map(plain).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn watcher_is_sent_each_join_and_leave_once_and_ends_with_the_truth(steps in steps(), watch_at in 0_usize..20) {
        let mut rosters = rosters(1_000);
        let (mut watcher, mut truth, mut ms) = (Watcher::default(), Truth::new(), 1_000);
        let mut queue = VecDeque::new();
        for (number, step) in steps.iter().enumerate() {
            if number == watch_at {
                queue.push_back(watch(WatchDetail::Members));
            }
            match step {
                Step::Present(name, state) => {
                    let state = state.map(|state| STATES[usize::from(state)]);
                    queue.push_back(present(*name, user_of(*name), state));
                    truth.insert(*name, (number, state));
                }
                Step::Absent(name, how) => {
                    let how = [Departure::Deliberate, Departure::Lost, Departure::Ended][usize::from(*how)];
                    queue.push_back(absent(*name, user_of(*name), how));
                    truth.remove(name);
                }
                Step::Handle(events) => {
                    for event in queue.drain(..usize::from(*events).min(queue.len())) {
                        rosters.handle(event, now(ms));
                    }
                }
                Step::Know(knowledge) => rosters.revise(rules(1_000, *knowledge), now(ms).at),
                Step::Wait(wait) => {
                    for event in queue.drain(..) {
                        rosters.handle(event, now(ms));
                    }
                    ms += wait;
                    run(&mut rosters, ms, |push, at| {
                        watcher.take(push, at);
                    });
                    // No user with a present connection is ever seen to be gone once a frame could have come.
                    if watcher.is_current && *wait >= 1_000 {
                        for name in truth.keys() {
                            prop_assert!(watcher.members.contains_key(user_of(*name)), "{} is missing", user_of(*name));
                        }
                    }
                }
                Step::LoseAbsent(name) => {
                    truth.remove(name);
                    queue.push_back(RosterEvent::Recounting { reactor: REACTOR });
                    for (name, (_, state)) in &truth {
                        queue.push_back(present(*name, user_of(*name), *state));
                    }
                    // The order in which states were set is lost.
                    for (place, (_, entry)) in truth.iter_mut().enumerate() {
                        entry.0 = number * 1_000 + place;
                    }
                    queue.push_back(RosterEvent::Recounted { reactor: REACTOR });
                    // A reactor lets its watchers wait for a snapshot.
                    watcher.is_current = false;
                    if number >= watch_at {
                        queue.push_back(watch(WatchDetail::Members));
                    }
                }
            }
            for entry in truth.values_mut() {
                // Leaves room for the order of a recount.
                if entry.0 == number { entry.0 = number * 1_000; }
            }
        }
        for event in queue.drain(..).chain([watch(WatchDetail::Members)]) {
            rosters.handle(event, now(ms));
        }
        run(&mut rosters, ms + 60_000, |push, at| watcher.take(push, at));
        let seen = watcher.members.iter().map(|(user, member)| (user.clone(), (member.connections, member.state.clone())));
        prop_assert_eq!(seen.collect::<BTreeMap<_, _>>(), expected(&truth));
        prop_assert_eq!(rosters.sizes().connections, truth.len() as u64);
        let page = rosters.page(&PageWish { channel: channel(), after: None, limit: 100 });
        let page: Value = serde_json::from_slice(&page).expect("JSON");
        let page: BTreeMap<_, _> = Watcher::list(&page, "members").iter().map(Watcher::entry).collect();
        prop_assert_eq!(&page, &watcher.members);
        let near = watcher.frames.windows(2).find(|pair| pair[1] - pair[0] < 250);
        prop_assert!(near.is_none(), "two frames within 250 ms: {:?}", near);
        prop_assert!(rosters.due().is_none(), "nothing is due");
    }
}

#[test]
fn three_tabs_of_a_user_join_once_and_leave_once() {
    let mut rosters = rosters(1_000);
    let mut watcher = Watcher::default();
    rosters.handle(watch(WatchDetail::Members), now(0));
    run(&mut rosters, 1_000, |push, at| watcher.take(push, at));
    for name in 1..=3 {
        rosters.handle(present(name, "ann", None), now(1_000 + name * 300));
        run(&mut rosters, 1_000 + name * 300 + 299, |push, at| watcher.take(push, at));
    }
    assert_eq!((watcher.joins, watcher.members["ann"].connections), (1, 3));
    for name in 1..=3 {
        rosters.handle(absent(name, "ann", Departure::Deliberate), now(5_000 + name));
    }
    run(&mut rosters, 5_900, |push, at| watcher.take(push, at));
    assert_eq!(watcher.leaves, 0, "a second for each");
    run(&mut rosters, 7_000, |push, at| watcher.take(push, at));
    assert_eq!((watcher.joins, watcher.leaves, watcher.members.len()), (1, 1, 0));
}

#[test]
fn return_within_the_grace_sends_nothing() {
    let mut rosters = rosters(1_000);
    for name in 0..50 {
        rosters.handle(present(name, &format!("u{name}"), Some("active")), now(0));
    }
    rosters.handle(watch(WatchDetail::Members), now(0));
    run(&mut rosters, 5_000, |_, _| {});
    for name in 0..50 {
        rosters.handle(absent(name, &format!("u{name}"), Departure::Lost), now(5_000));
    }
    for name in 0..50 {
        let at = now(5_000 + GRACE_MS - 1 - name);
        rosters.handle(present(100 + name, &format!("u{name}"), Some("active")), at);
    }
    run(&mut rosters, 60_000, |push, _| panic!("{push:?}"));
    assert_eq!(rosters.sizes().members, 50);
}

#[test]
fn ended_token_leaves_at_once_and_a_lost_connection_after_the_grace() {
    let mut rosters = rosters(1_000);
    for (name, user) in [(1, "ann"), (2, "ben")] {
        rosters.handle(present(name, user, None), now(0));
    }
    rosters.handle(absent(1, "ann", Departure::Ended), now(100));
    assert_eq!(rosters.sizes().members, 1);
    rosters.handle(absent(2, "ben", Departure::Lost), now(100));
    run(&mut rosters, 100 + GRACE_MS - 1, |_, _| {});
    assert_eq!(rosters.sizes().members, 1);
    run(&mut rosters, 100 + GRACE_MS, |_, _| {});
    assert_eq!(rosters.sizes(), RosterSizes::default());
}

#[test]
fn earlier_departure_does_not_shorten_a_later_one_of_the_same_connection() {
    let mut rosters = rosters(1_000);
    rosters.handle(present(1, "ann", None), now(0));
    rosters.handle(absent(1, "ann", Departure::Deliberate), now(100));
    rosters.handle(present(1, "ann", None), now(600));
    rosters.handle(absent(1, "ann", Departure::Lost), now(900));
    run(&mut rosters, 900 + GRACE_MS - 1, |_, _| {});
    assert_eq!(rosters.sizes().members, 1);
}

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
        rosters.advance(now(0).at);
    }
    assert!(rosters.bytes() < 1 << 20, "{} bytes", rosters.bytes());
    run(&mut rosters, 60_000, |_, _| {});
    assert_eq!(rosters.sizes(), RosterSizes::default());
}
