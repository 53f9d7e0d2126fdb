use super::*;
use proptest::prelude::*;

fn user(name: &str) -> UserName {
    UserName::parse(name).expect("a user name")
}

fn count(name: &str, connections: u32) -> UserCount {
    UserCount { user: user(name), connections, since_unix_s: 7 }
}

fn written(users: &mut OwnUsers) -> Vec<(String, u32)> {
    let mut found = Vec::new();
    for change in users.take(usize::MAX, PartitionSet::EMPTY) {
        found.extend(change.set.iter().map(|(name, value)| (name.to_string(), value.connections)));
        found.extend(change.remove.iter().map(|name| (name.to_string(), 0)));
    }
    found.sort();
    found
}

#[test]
fn changes_of_a_user_are_written_once_with_the_last_count() {
    let mut users = OwnUsers::default();
    for (name, connections) in [("ann", 1), ("bob", 1), ("ann", 2), ("bob", 0), ("cid", 0)] {
        users.note(count(name, connections));
    }
    assert_eq!((users.users(), users.waiting()), (1, 3));
    assert_eq!(written(&mut users), [("ann".into(), 2), ("bob".into(), 0), ("cid".into(), 0)]);
    assert!(!users.is_behind());
    assert_eq!(
        users.connections(&user("ann")).map(|own| (own.connections, own.since_unix_ms)),
        Some((2, 7_000))
    );
    assert_eq!(users.connections(&user("bob")), None);
}

#[test]
fn failed_changes_are_written_again_with_the_count_of_then() {
    let mut users = OwnUsers::default();
    users.note(count("ann", 1));
    let failed = users.take(usize::MAX, PartitionSet::EMPTY);
    users.note(count("ann", 3));
    users.put_back(failed);
    assert_eq!(written(&mut users), [("ann".into(), 3)]);
}

#[test]
fn incarnation_writes_every_user_once_and_none_twice() {
    let mut users = OwnUsers::default();
    (0..1_000).for_each(|n| users.note(count(&n.to_string(), 1)));
    written(&mut users);
    users.begin_incarnation();
    let first = users.take(100, PartitionSet::EMPTY);
    assert_eq!(first.len(), 100);
    let half = users.take(300, PartitionSet::EMPTY);
    // One of them was written, one was not; both changed meanwhile.
    let (early, late) = (first[0].set[0].0.clone(), {
        let mut ahead = users.clone();
        ahead.take(1, PartitionSet::EMPTY)[0].set[0].0.clone()
    });
    users.note(count(early.as_str(), 0));
    users.note(count(late.as_str(), 5));
    assert_eq!(users.waiting(), 1, "the later bucket has its turn anyway");
    let rest = written(&mut users);
    assert!(rest.contains(&(early.to_string(), 0)) && rest.contains(&(late.to_string(), 5)));
    let before: usize = first.iter().chain(&half).map(|change| change.set.len()).sum();
    assert_eq!(before + rest.len() - 1, 1_000);
    assert!(!users.is_behind());
}

#[test]
fn users_of_a_master_out_of_reach_wait_and_the_others_are_written() {
    let mut users = OwnUsers::default();
    (0..1_000).for_each(|n| users.note(count(&n.to_string(), 1)));
    let unreached: PartitionSet = Partition::all().skip(171).collect();
    let waits = |slot: u16| unreached.contains(Partition::of_slot(slot));
    for round in ["changes", "a complete writing"] {
        let others = users.take(usize::MAX, unreached);
        assert!(others.len() > 500 && others.iter().all(|change| !waits(change.slot)), "{round}");
        assert!(users.is_behind() && !users.is_rewriting(), "{round}");
        assert!(users.partitions_waiting().without(unreached).is_empty(), "{round}");
        assert!(users.take(usize::MAX, unreached).is_empty(), "{round}");
        // A user comes meanwhile.
        users.note(count("late", 1));
        let late = users.take(usize::MAX, PartitionSet::EMPTY);
        let names: BTreeSet<&UserName> =
            others.iter().chain(&late).flat_map(|change| &change.set).map(|(name, _)| name).collect();
        assert_eq!((names.len(), users.is_behind()), (1_001, false), "{round}");
        users.begin_incarnation();
    }
}

#[test]
fn recount_finds_users_that_came_and_left_unseen() {
    let mut users = OwnUsers::default();
    for (name, connections) in [("ann", 1), ("bob", 2), ("cid", 3)] {
        users.note(count(name, connections));
    }
    written(&mut users);
    users.recount(vec![count("ann", 1), count("cid", 4), count("dan", 1)]);
    assert_eq!(written(&mut users), [("bob".into(), 0), ("cid".into(), 4), ("dan".into(), 1)]);
    assert_eq!(users.users(), 3);
}

/// Names in this many buckets, in the order of these.
fn names_by_slot(buckets: usize) -> Vec<String> {
    let names = (0..40_000).map(|n| n.to_string());
    let by_slot: BTreeMap<u16, String> = names.map(|name| (slot_of(&user(&name)), name)).collect();
    by_slot.into_values().take(buckets).collect()
}

#[test]
fn change_of_a_high_slot_is_written_although_lower_ones_change_all_the_time() {
    let mut users = OwnUsers::default();
    let names = names_by_slot(1_000);
    let (last, others) = names.split_last().expect("names");
    users.note(count(last, 1));
    let has_last = |changes: &[BucketChange]| {
        changes.iter().any(|change| change.set.iter().any(|(name, _)| name.as_str() == last))
    };
    let takes = (1..=20).find(|turn| {
        others.iter().for_each(|name| users.note(count(name, *turn)));
        has_last(&users.take(100, PartitionSet::EMPTY))
    });
    assert_eq!(takes, Some(10));
    assert!(users.waits_with_more_than(899, PartitionSet::EMPTY));
    assert!(!users.waits_with_more_than(900, PartitionSet::EMPTY));
    assert!(!users.waits_with_more_than(0, PartitionSet::ALL), "those wait for their master");
}

#[test]
fn complete_writing_ends_although_more_changes_than_are_written() {
    let mut users = OwnUsers::default();
    let names = names_by_slot(1_000);
    names.iter().for_each(|name| users.note(count(name, 1)));
    users.begin_incarnation();
    let takes = (1..=60).find(|turn| {
        users.take(100, PartitionSet::EMPTY);
        names.iter().for_each(|name| users.note(count(name, *turn)));
        !users.is_rewriting()
    });
    assert!(takes.is_some());
}

#[test]
fn too_many_changes_ask_for_the_next_incarnation_and_take_no_memory() {
    let mut users = OwnUsers::default();
    for n in 0..CHANGED_MAX + 10 {
        users.note(count(&n.to_string(), 1));
        users.note(count(&n.to_string(), 0));
    }
    assert!(users.has_overflowed() && users.changed.is_empty() && !users.is_behind());
    users.begin_incarnation();
    assert!(!users.has_overflowed() && users.is_behind());
    assert!(written(&mut users).is_empty() && !users.is_behind());
}

#[test]
fn audit_marks_exactly_what_differs() {
    let mut users = OwnUsers::default();
    users.note(count("ann", 2));
    let slot = slot_of(&user("ann"));
    let value = |connections| Some(UserConnections { connections, since_unix_ms: 7_000 });
    let right = value(2);
    assert_eq!(users.compare(slot, &[]), 0, "its change waits");
    written(&mut users);
    assert_eq!(users.compare(slot, &[("ann", right)]), 0);
    for found in [&[][..], &[("ann", None)], &[("ann", value(1))]] {
        assert_eq!(users.compare(slot, found), 1, "{found:?}");
        assert_eq!(written(&mut users), [("ann".into(), 2)]);
    }
    assert_eq!(users.compare(slot, &[("ann", right), ("eve", right)]), 1);
    assert_eq!(written(&mut users), [("eve".into(), 0)], "a field of a user that is not here is removed");
}

#[test]
fn connected_user_takes_at_most_64_bytes() {
    assert!(size_of::<OwnUser>() <= 24, "{} bytes", size_of::<OwnUser>());
    let mut users = OwnUsers::default();
    for n in 0..200_000 {
        users.note(count(&n.to_string(), 1));
        if n % 1_000 == 0 {
            users.take(usize::MAX, PartitionSet::EMPTY);
        }
    }
    users.take(usize::MAX, PartitionSet::EMPTY);
    // An allocation has a head of at most 16 bytes.
    let bytes =
        |bucket: &Vec<OwnUser>| size_of::<Vec<OwnUser>>() + 16 + bucket.capacity() * size_of::<OwnUser>();
    let all: usize = users.buckets.iter().map(bytes).sum();
    assert!(all / 200_000 <= 64, "{} bytes a user", all / 200_000);
    (0..200_000).for_each(|n| users.note(count(&n.to_string(), 0)));
    let left: usize = users.buckets.iter().map(|bucket| bucket.capacity() * size_of::<OwnUser>()).sum();
    assert!(left <= 16_384 * 3 * ROOM * size_of::<OwnUser>(), "{left} bytes are kept");
}

proptest! {
    /// Redis ends as the last counts say, whatever fails, and whenever an incarnation begins.
    #[test]
    fn redis_ends_with_the_last_counts(steps in prop::collection::vec((0..6u8, 0..4u32, 0..7u8), 0..120)) {
        let mut users = OwnUsers::default();
        let mut truth: BTreeMap<String, u32> = BTreeMap::new();
        let mut redis: BTreeMap<String, u32> = BTreeMap::new();
        let carry = |redis: &mut BTreeMap<String, u32>, changes: &[BucketChange]| {
            for change in changes {
                for name in &change.remove { redis.remove(name.as_str()); }
                for (name, value) in &change.set { redis.insert(name.to_string(), value.connections); }
            }
        };
        for (who, connections, action) in steps {
            let name = format!("u{who}");
            match action {
                0 => { let taken = users.take(2, PartitionSet::EMPTY); users.put_back(taken); }
                1 => { let taken = users.take(2, PartitionSet::EMPTY); carry(&mut redis, &taken); users.put_back(taken); }
                2 => { let taken = users.take(2, PartitionSet::EMPTY); carry(&mut redis, &taken); }
                3 => { redis.clear(); users.begin_incarnation(); }
                4 => {
                    // The master of one user is out of reach.
                    let unreached = PartitionSet::from(Partition::of_slot(slot_of(&user(&name))));
                    let taken = users.take(2, unreached);
                    prop_assert!(taken.iter().all(|change| !unreached.contains(Partition::of_slot(change.slot))));
                    carry(&mut redis, &taken);
                }
                _ => {
                    users.note(count(&name, connections));
                    if connections == 0 { truth.remove(&name); } else { truth.insert(name, connections); }
                }
            }
            prop_assert_eq!(users.users(), truth.len());
        }
        while users.is_behind() {
            let taken = users.take(3, PartitionSet::EMPTY);
            carry(&mut redis, &taken);
        }
        prop_assert_eq!(redis, truth);
    }
}
