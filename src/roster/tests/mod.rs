//! Rosters against a naive truth: what a watcher was sent must always add up, and in the end be what is true.

mod schedule;
mod shared;
mod sizes;

use super::*;
use crate::clock::{Moment, Now};
use crate::id::{ChannelName, PresenceState, ReactorId, UserName};
use crate::wire::command::WatchDetail;
use crate::wire::presence::RosterKnowledge;
use serde_json::Value;
use std::collections::BTreeMap;
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

fn rules(members_max: u32) -> RosterRules {
    RosterRules { grace: Duration::from_millis(GRACE_MS), members_max }
}

fn rosters(members_max: u32) -> Rosters {
    let hasher = ahash::RandomState::with_seeds(1, 2, 3, 4);
    Rosters::new(rules(members_max), RosterKnowledge::Complete, hasher)
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
    let start = frame.windows(2).position(|bytes| bytes == b"{\"").expect("an object");
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
        for push in rosters.advance(now(at_ms)) {
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
        for (ms, knowledge) in [(20_000, RosterKnowledge::Incomplete), (40_000, RosterKnowledge::Complete)] {
            rosters.set_knowledge(knowledge, now(ms).at);
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
            rosters.set_knowledge(knowledge, now(ms + 20_000).at);
        }
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
