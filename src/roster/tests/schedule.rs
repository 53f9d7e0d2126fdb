//! Random schedules of one instance.

use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;

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
        1 => prop_oneof![Just(RosterKnowledge::Complete), Just(RosterKnowledge::Incomplete)].prop_map(Step::Know),
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
                Step::Know(knowledge) => rosters.set_knowledge(*knowledge, now(ms).at),
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
