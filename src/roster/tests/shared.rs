//! Rosters of two instances, with every write read by the other at once.

mod memory;
mod partitions;
mod writes;

use super::super::sharing::{SharedRosters, VIEWS_FOR_PAGES_MAX, Watchers};
use super::*;
use crate::id::Incarnation;
use crate::wire::partitions::PartitionSet;

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// The time at which Redis answers readings.
enum Answers {
    AtOnce,
    /// Later, with the fields of the moment at which they were asked for.
    Late,
}

/// Two instances and what they wrote.
struct Pair {
    rosters: [Rosters; 2],
    fields: BTreeMap<Vec<u8>, Vec<u8>>,
    answers: Answers,
    /// The readings that were not answered, and their instance.
    late: Vec<(usize, RosterReading, Fields)>,
    state: [InstanceStanding; 2],
    storage: Ways,
    /// Partitions that the first instance has not written.
    unwritten: PartitionSet,
    ms: u64,
}

fn incarnation(place: usize) -> Incarnation {
    Incarnation { origin: place as u64 + 1, count: 1 }
}

impl Pair {
    fn new(members_max: u32, views_bytes: u64) -> Pair {
        let new = |place| {
            let mut rosters = rosters(members_max);
            rosters.share(incarnation(place), SharingBounds { views_bytes });
            rosters
        };
        let state = [InstanceStanding::Sure; 2];
        let (rosters, fields) = ([new(0), new(1)], BTreeMap::new());
        let (answers, late) = (Answers::AtOnce, Vec::new());
        let (storage, unwritten) = (Ways::REACHED, PartitionSet::EMPTY);
        let mut pair = Pair { rosters, fields, answers, late, state, storage, unwritten, ms: 1_000 };
        pair.observe();
        pair
    }

    fn observe(&mut self) {
        for place in 0..2 {
            let other = 1 - place;
            let standing = self.state[other];
            let unwritten = if other == 0 { self.unwritten } else { PartitionSet::EMPTY };
            let (incarnation_of_other, name) = (incarnation(other), Arc::from("gw-2"));
            let other = RosterInstance { incarnation: incarnation_of_other, name, standing, unwritten };
            let (storage, messages) = (self.storage, Ways::REACHED);
            let state =
                ServiceState { incarnation: incarnation(place), storage, messages, others: vec![other] };
            self.rosters[place].observe(state, now(self.ms).at);
        }
    }

    /// Lets time pass. Returns the frames for the watchers of the second instance.
    fn pass(&mut self, ms: u64) -> Vec<RosterPush> {
        let until = self.ms + ms;
        let mut pushes = Vec::new();
        while self.ms < until {
            self.ms += 10;
            let now = now(self.ms);
            for place in 0..2 {
                for wish in self.rosters[place].take_topics() {
                    if let TopicWish::Follow(channel) = wish {
                        self.rosters[place].followed(&channel, now.at);
                    }
                }
                for reading in self.rosters[place].take_reads(now.at) {
                    let fields: Fields = self.fields.clone().into_iter().collect();
                    match self.answers {
                        Answers::AtOnce => self.rosters[place].read(&reading, Some(&fields), now.at),
                        Answers::Late => self.late.push((place, reading, fields)),
                    }
                }
                let frames = self.rosters[place].advance(now);
                if place == 1 {
                    pushes.extend(frames);
                }
                let dead = matches!(self.state[place], InstanceStanding::Ended(_));
                if let Some(write) = self.rosters[place].take_writes(now.at).filter(|_| !dead) {
                    for change in write.changes {
                        change.remove.iter().for_each(|name| drop(self.fields.remove(name)));
                        self.fields.extend(change.set);
                        let origin = incarnation(place).origin;
                        self.rosters[1 - place].hear(&change.channel, origin, change.delta, now.at);
                    }
                    self.rosters[place].written(write.begun, WriteOutcome::Written, now.at);
                }
            }
        }
        pushes
    }

    fn handle(&mut self, place: usize, event: RosterEvent) {
        self.rosters[place].handle(event, now(self.ms));
    }
}

#[test]
fn members_of_both_instances_are_one_roster_that_joins_and_leaves_once() {
    let mut pair = Pair::new(1_000, 1 << 20);
    pair.handle(1, watch(WatchDetail::Members));
    let mut watcher = Watcher::default();
    for push in pair.pass(1_000) {
        watcher.take(&push, 0);
    }
    for (place, name) in [(0, 1), (0, 2), (1, 3)] {
        pair.handle(place, present(name, "ann", Some("active")));
    }
    pair.pass(10_000).iter().for_each(|push| watcher.take(push, 0));
    assert_eq!((watcher.joins, watcher.leaves, watcher.members["ann"].connections), (1, 0, 3));
    for (place, name) in [(0, 1), (0, 2), (1, 3)] {
        pair.handle(place, absent(name, "ann", Departure::Lost));
        pair.pass(1_000).iter().for_each(|push| watcher.take(push, 0));
    }
    pair.pass(15_000).iter().for_each(|push| watcher.take(push, 0));
    assert_eq!((watcher.joins, watcher.leaves, watcher.members.len()), (1, 1, 0));
}

#[test]
fn clients_of_a_dead_instance_that_return_within_the_grace_change_nothing() {
    let mut pair = Pair::new(1_000, 1 << 20);
    pair.handle(1, watch(WatchDetail::Members));
    for name in 0..50 {
        pair.handle(0, present(name, &format!("u{name}"), Some("active")));
    }
    pair.pass(5_000);
    // It is known to be gone after five seconds; some are back before.
    for name in 0..25 {
        pair.handle(1, present(100 + name, &format!("u{name}"), Some("active")));
    }
    assert_eq!(pair.pass(5_000), []);
    pair.state[0] = InstanceStanding::Ended(now(pair.ms).at);
    pair.observe();
    assert_eq!(pair.pass(4_000), []);
    for name in 25..50 {
        pair.handle(1, present(100 + name, &format!("u{name}"), Some("active")));
    }
    assert_eq!(pair.pass(30_000), []);
    assert_eq!(pair.rosters[1].sizes().members, 50);
}

#[test]
fn client_that_is_lost_here_and_returns_elsewhere_within_the_grace_changes_nothing() {
    let mut pair = Pair::new(1_000, 1 << 20);
    pair.handle(1, watch(WatchDetail::Members));
    pair.handle(0, present(1, "ann", Some("active")));
    pair.pass(5_000);
    pair.handle(0, absent(1, "ann", Departure::Lost));
    assert_eq!(pair.pass(8_000), [], "she may come back");
    pair.handle(1, present(2, "ann", Some("active")));
    assert_eq!(pair.pass(30_000), []);
    assert_eq!(page_of(&mut pair.rosters[1])["connections"], 1);
}

#[test]
fn members_of_a_dead_instance_leave_once_after_the_grace() {
    let mut pair = Pair::new(1_000, 1 << 20);
    pair.handle(1, watch(WatchDetail::Members));
    for name in 0..50 {
        pair.handle(0, present(name, &format!("u{name}"), None));
    }
    let mut watcher = Watcher::default();
    pair.pass(5_000).iter().for_each(|push| watcher.take(push, 0));
    assert_eq!(watcher.members.len(), 50);
    pair.state[0] = InstanceStanding::Ended(now(pair.ms).at);
    pair.observe();
    assert_eq!(pair.pass(GRACE_MS - 50), []);
    pair.pass(1_000).iter().for_each(|push| watcher.take(push, 0));
    assert_eq!((watcher.leaves, watcher.members.len()), (50, 0));
}

fn page_of(rosters: &mut Rosters) -> Value {
    let page = rosters.page(&PageWish { channel: channel(), after: None, limit: 100 });
    serde_json::from_slice(&page).expect("JSON")
}

#[test]
fn segment_with_too_many_members_is_counted_and_listed_again_below_four_fifths() {
    let mut pair = Pair::new(20, 1 << 20);
    for name in 0..30 {
        pair.handle(0, present(name, &format!("u{name}"), None));
    }
    pair.handle(1, present(100, "ann", None));
    pair.handle(1, watch(WatchDetail::Members));
    pair.pass(2_000);
    assert_eq!(pair.fields.len(), 3, "the heads, and one member: {:?}", pair.fields);
    let page = page_of(&mut pair.rosters[1]);
    assert_eq!((&page["users"], &page["counted"]), (&31.into(), &true.into()));
    assert_eq!(page["complete"], true);
    for name in 10..30 {
        pair.handle(0, absent(name, &format!("u{name}"), Departure::Ended));
    }
    pair.pass(2_000);
    let page = page_of(&mut pair.rosters[1]);
    assert_eq!((&page["users"], Watcher::list(&page, "members").len()), (&11.into(), 11));
}

#[test]
fn segment_of_an_unknown_instance_wakes_nobody_while_leases_are_not_read() {
    let mut pair = Pair::new(1_000, 1 << 20);
    pair.handle(1, watch(WatchDetail::Members));
    pair.handle(0, present(1, "ann", None));
    pair.pass(1_000);
    let state = |storage| ServiceState {
        incarnation: incarnation(1),
        storage,
        messages: Ways::REACHED,
        others: Vec::new(),
    };
    let mut alone = rosters(1_000);
    alone.share(incarnation(1), SharingBounds { views_bytes: 1 << 20 });
    alone.observe(state(Ways::REACHED), now(pair.ms).at);
    alone.handle(watch(WatchDetail::Members), now(pair.ms));
    alone.followed(&channel(), now(pair.ms).at);
    let fields: Fields = pair.fields.clone().into_iter().collect();
    for reading in alone.take_reads(now(pair.ms).at) {
        alone.read(&reading, Some(&fields), now(pair.ms).at);
    }
    alone.observe(state(Ways::LOST), now(pair.ms + 100).at);
    let later = now(pair.ms + 5_000);
    alone.advance(later);
    assert_eq!(alone.due().filter(|due| *due <= later.at), None, "it waits");
}

#[test]
fn page_of_a_roster_that_nobody_watches_is_read_and_names_the_instances_that_are_missing() {
    let mut pair = Pair::new(1_000, 1 << 20);
    pair.handle(0, present(1, "ann", None));
    pair.pass(1_000);
    let until = pair.rosters[1].await_page(&channel(), now(pair.ms).at);
    assert_eq!(until, Some(now(pair.ms + 1_000).at));
    pair.pass(100);
    assert_eq!(pair.rosters[1].await_page(&channel(), now(pair.ms).at), None);
    let page = page_of(&mut pair.rosters[1]);
    assert_eq!((&page["users"], &page["complete"], page.get("missing")), (&1.into(), &true.into(), None));
    pair.state[0] = InstanceStanding::Unsure;
    pair.observe();
    let page = page_of(&mut pair.rosters[1]);
    assert_eq!((&page["users"], &page["complete"]), (&1.into(), &false.into()));
    assert_eq!(page["missing"], serde_json::json!(["gw-2"]));
    pair.pass(40_000);
    assert_eq!(pair.rosters[1].sizes(), RosterSizes::default(), "the view is closed");
}

#[test]
fn connections_at_both_instances_count_at_once_in_a_roster_that_is_opened() {
    let mut pair = Pair::new(1_000, 1 << 20);
    for (place, name) in [(0, 1), (0, 2), (1, 3)] {
        pair.handle(place, present(name, "ann", None));
    }
    // Its view is closed and opened again in between.
    for _ in 0..2 {
        pair.pass(40_000);
        assert!(pair.rosters[1].await_page(&channel(), now(pair.ms).at).is_some(), "it is read first");
        pair.pass(100);
        assert_eq!(pair.rosters[1].await_page(&channel(), now(pair.ms).at), None);
        let page = page_of(&mut pair.rosters[1]);
        assert_eq!((&page["connections"], &page["complete"]), (&3.into(), &true.into()), "{page}");
    }
    // One that comes later may have come back, so it is counted when that is sure.
    pair.handle(0, present(4, "ann", None));
    pair.pass(6_900);
    assert_eq!(page_of(&mut pair.rosters[1])["connections"], 3);
    pair.pass(300);
    assert_eq!(page_of(&mut pair.rosters[1])["connections"], 4);
}

#[test]
fn message_of_a_segment_that_was_not_found_brings_all_of_its_members_back() {
    let mut pair = Pair::new(1_000, 1 << 20);
    pair.handle(1, watch(WatchDetail::Members));
    for (name, user) in [(1, "ann"), (2, "ben")] {
        pair.handle(0, present(name, user, None));
    }
    pair.pass(2_000);
    // Redis evicts the hash, and the next reading finds nothing.
    pair.fields.clear();
    pair.pass(10_000);
    assert_eq!(page_of(&mut pair.rosters[1])["complete"], false);
    pair.handle(0, present(3, "ann", None));
    pair.handle(1, present(4, "ben", None));
    // The number of connections rises after seven seconds, and the next reading is in eight.
    pair.pass(7_500);
    let page = page_of(&mut pair.rosters[1]);
    assert_eq!((&page["users"], &page["connections"]), (&2.into(), &4.into()), "{page}");
}

#[test]
fn fields_that_an_ended_instance_left_add_no_member_to_a_roster_that_is_opened() {
    let mut pair = Pair::new(1_000, 1 << 20);
    for count in [1, 2] {
        let name = Incarnation { origin: 1, count }.to_string();
        pair.fields.insert(format!("{name}/ann").into_bytes(), b"1,0,0,0,".to_vec());
        pair.fields.insert(name.into_bytes(), format!("{count},1,1,l").into_bytes());
    }
    let standing = InstanceStanding::Ended(now(pair.ms).at);
    let incarnation_of_other = Incarnation { origin: 1, count: 2 };
    let unwritten = PartitionSet::EMPTY;
    let other =
        RosterInstance { incarnation: incarnation_of_other, name: Arc::from("gw-1"), standing, unwritten };
    let (storage, messages) = (Ways::REACHED, Ways::REACHED);
    let state = ServiceState { incarnation: incarnation(1), storage, messages, others: vec![other] };
    pair.ms += GRACE_MS;
    pair.rosters[1].observe(state, now(pair.ms).at);
    pair.rosters[1].await_page(&channel(), now(pair.ms).at);
    pair.pass(100);
    let page = page_of(&mut pair.rosters[1]);
    assert_eq!((&page["users"], &page["complete"]), (&0.into(), &true.into()), "{page}");
}

#[test]
fn fields_of_an_earlier_incarnation_add_no_member_while_another_instance_is_isolated() {
    let mut pair = Pair::new(1_000, 1 << 20);
    for (name, value) in
        [("1.1", "3,1,1,l"), ("1.1/old", "1,0,0,0,"), ("1.2", "2,1,1,l"), ("1.2/ann", "1,0,0,0,")]
    {
        pair.fields.insert(name.into(), value.into());
    }
    let instance = |origin, count, standing, unwritten| {
        let incarnation = Incarnation { origin, count };
        RosterInstance { incarnation, name: Arc::from(format!("gw-{origin}")), standing, unwritten }
    };
    let (sure, unsure, none) = (InstanceStanding::Sure, InstanceStanding::Unsure, PartitionSet::EMPTY);
    for (standing, unwritten, users) in [
        (sure, none, vec!["ann"]),
        // It is the isolated one itself, and had written everything.
        (unsure, none, vec!["ann"]),
        (InstanceStanding::Ended(now(82_000).at), none, vec!["ann"]),
        // It writes: whom it had before may be there.
        (unsure, PartitionSet::ALL, vec!["ann", "old"]),
    ] {
        let others = vec![instance(1, 2, standing, unwritten), instance(3, 1, unsure, none)];
        let (storage, messages) = (Ways::REACHED, Ways::REACHED);
        let state = ServiceState { incarnation: incarnation(1), storage, messages, others };
        pair.rosters[1].observe(state, now(pair.ms).at);
        pair.rosters[1].await_page(&channel(), now(pair.ms).at);
        pair.pass(100);
        let page = page_of(&mut pair.rosters[1]);
        let seen: Vec<_> =
            Watcher::list(&page, "members").iter().map(|member| Watcher::entry(member).0).collect();
        assert_eq!(
            (seen, &page["complete"]),
            (users.into_iter().map(str::to_owned).collect(), &false.into())
        );
        // Its view is closed.
        pair.pass(40_000);
    }
}

#[test]
fn late_answer_to_a_reading_that_was_given_up_does_not_end_the_next_one() {
    let mut pair = Pair::new(1_000, 1 << 20);
    pair.handle(1, watch(WatchDetail::Members));
    pair.pass(1_000);
    pair.answers = Answers::Late;
    pair.pass(9_500);
    assert_eq!(pair.late.len(), 1, "a reading is under way, which finds nothing");
    pair.handle(0, present(1, "ann", None));
    pair.pass(5_000);
    assert_eq!(pair.late.len(), 2, "it is given up, and the next one is under way");
    assert_eq!(page_of(&mut pair.rosters[1])["complete"], true);
    let (place, reading, fields) = pair.late.remove(0);
    pair.rosters[place].read(&reading, Some(&fields), now(pair.ms).at);
    let page = page_of(&mut pair.rosters[1]);
    assert_eq!((&page["users"], &page["complete"]), (&1.into(), &true.into()), "{page}");
    let fields: Fields = pair.fields.clone().into_iter().collect();
    let (place, reading, _) = pair.late.remove(0);
    pair.rosters[place].read(&reading, Some(&fields), now(pair.ms).at);
    pair.pass(9_000);
    assert_eq!(pair.late.len(), 0, "that one ended, and the next one is not due");
}

#[test]
fn leave_is_held_while_the_roster_is_not_complete() {
    let mut pair = Pair::new(1_000, 1 << 20);
    pair.handle(1, watch(WatchDetail::Members));
    pair.handle(1, present(1, "ann", None));
    pair.handle(0, present(2, "ben", None));
    let mut watcher = Watcher::default();
    pair.pass(2_000).iter().for_each(|push| watcher.take(push, 0));
    pair.state[0] = InstanceStanding::Unsure;
    pair.observe();
    pair.handle(1, absent(1, "ann", Departure::Deliberate));
    pair.handle(0, absent(2, "ben", Departure::Deliberate));
    pair.pass(20_000).iter().for_each(|push| watcher.take(push, 0));
    assert_eq!(watcher.leaves, 0);
    let page = page_of(&mut pair.rosters[1]);
    assert_eq!((&page["users"], &page["complete"]), (&2.into(), &false.into()));
    pair.state[0] = InstanceStanding::Sure;
    pair.observe();
    pair.pass(2_000);
    let page = page_of(&mut pair.rosters[1]);
    assert_eq!((&page["users"], &page["complete"]), (&0.into(), &true.into()));
}
