//! Writes of own segments, and their outcomes.

use super::*;

/// The next write of the first instance.
fn write_of(pair: &mut Pair) -> RosterWrite {
    let until = pair.ms + 15_000;
    loop {
        pair.ms += 10;
        assert!(pair.ms < until, "nothing is written");
        let now = now(pair.ms);
        pair.rosters[0].advance(now);
        if let Some(write) = pair.rosters[0].take_writes(now.at) {
            return write;
        }
    }
}

fn complete(pair: &mut Pair) -> Option<Incarnation> {
    let now = now(pair.ms).at;
    pair.rosters[0].complete(now)
}

#[test]
fn late_answer_to_a_write_that_was_given_up_does_not_confirm_the_next_one() {
    let mut pair = Pair::new(1_000, 1 << 20);
    pair.handle(0, present(1, "ann", None));
    let first = write_of(&mut pair);
    let second = write_of(&mut pair);
    assert!(second.begun.since(first.begun) >= Duration::from_secs(10), "the first one is given up");
    pair.rosters[0].written(first.begun, WriteOutcome::Written, now(pair.ms).at);
    assert_eq!(complete(&mut pair), None);
    pair.rosters[0].written(second.begun, WriteOutcome::Failed, now(pair.ms).at);
    let third = write_of(&mut pair);
    pair.rosters[0].written(third.begun, WriteOutcome::Written, now(pair.ms).at);
    assert_eq!(complete(&mut pair), Some(incarnation(0)));
}

#[test]
fn segment_that_an_audit_found_wrong_during_a_write_is_written_whole() {
    let mut pair = Pair::new(1_000, 1 << 20);
    pair.handle(0, present(1, "ann", None));
    let first = write_of(&mut pair);
    pair.rosters[0].written(first.begun, WriteOutcome::Written, now(pair.ms).at);
    pair.handle(0, present(2, "ben", None));
    let second = write_of(&mut pair);
    assert_eq!(second.changes[0].delta.entries.len(), 1, "it has ben alone");
    assert!(pair.rosters[0].audited(&channel(), None, now(pair.ms).at));
    pair.rosters[0].written(second.begun, WriteOutcome::Written, now(pair.ms).at);
    assert_eq!(write_of(&mut pair).changes[0].delta.entries.len(), 2);
}

#[test]
fn full_write_is_followed_by_the_next_one_at_once() {
    let mut pair = Pair::new(1_000, 1 << 20);
    for name in 0..1_100 {
        let channel = ChannelName::parse(&format!("c{name}")).expect("a name");
        let (connection, shown) = (connection(name), shown("ann"));
        pair.handle(0, RosterEvent::Present { channel, connection, shown, state: None });
    }
    let mut writes = Vec::new();
    while writes.iter().sum::<usize>() < 1_100 {
        let write = write_of(&mut pair);
        writes.push(write.changes.len());
        pair.rosters[0].written(write.begun, WriteOutcome::Written, now(pair.ms).at);
    }
    assert_eq!(writes, [512, 512, 76]);
    assert!(pair.ms <= 1_000 + 100, "{} ms", pair.ms);
}

fn change(pair: &mut Pair, channels: impl Iterator<Item = u64>, user: &str) {
    for name in channels {
        let channel = ChannelName::parse(&format!("c{name:04}")).expect("a name");
        let (connection, shown) = (connection(name), shown(user));
        pair.handle(0, RosterEvent::Present { channel, connection, shown, state: None });
    }
}

#[test]
fn roster_with_the_last_name_is_written_although_the_others_change_all_the_time() {
    let mut pair = Pair::new(1_000, 1 << 20);
    change(&mut pair, 9_999..10_000, "zoe");
    let writes = (1..=5).find(|turn| {
        change(&mut pair, 0..1_100, &format!("u{turn}"));
        let write = write_of(&mut pair);
        pair.rosters[0].written(write.begun, WriteOutcome::Written, now(pair.ms).at);
        write.changes.iter().any(|change| change.channel.as_str() == "c9999")
    });
    assert_eq!(writes, Some(3), "512 of 1,101 each");
}

#[test]
fn lease_does_not_say_that_all_is_written_while_more_waits_than_a_write_holds() {
    let mut pair = Pair::new(1_000, 1 << 20);
    assert_eq!(complete(&mut pair), Some(incarnation(0)));
    pair.rosters[0].said_complete(incarnation(0));
    let behind = |pair: &Pair| pair.rosters[0].behind(now(pair.ms).at);
    // Redis takes half a second for each write.
    let turn = |pair: &mut Pair, rosters: u64| {
        change(pair, 0..rosters, &format!("u{}", pair.ms));
        let write = write_of(pair);
        pair.ms += 500;
        let said = behind(pair);
        pair.rosters[0].written(write.begun, WriteOutcome::Written, now(pair.ms).at);
        said
    };
    assert_eq!(turn(&mut pair, 1_100), None, "a while is no harm");
    assert_eq!(turn(&mut pair, 1_100), Some(incarnation(0)));
    assert_eq!(behind(&pair), Some(incarnation(0)), "until the registry has taken it");
    pair.rosters[0].said_behind();
    assert_eq!((behind(&pair), complete(&mut pair)), (None, None));
    let turns = (1..=5).find(|_| {
        turn(&mut pair, 0);
        complete(&mut pair).is_some()
    });
    assert_eq!(turns, Some(2), "all that waited is written once");
}

#[test]
fn lease_says_that_all_is_written_only_after_a_backlog_has_ended() {
    let mut pair = Pair::new(1_000, 1 << 20);
    complete(&mut pair);
    pair.rosters[0].said_complete(incarnation(0));
    let mut said = Vec::new();
    let mut turn = |pair: &mut Pair, rosters: u64| {
        change(pair, 0..rosters, &format!("u{}", pair.ms));
        let write = write_of(pair);
        pair.ms += 500;
        if pair.rosters[0].behind(now(pair.ms).at).is_some() {
            pair.rosters[0].said_behind();
            said.push("behind");
        }
        pair.rosters[0].written(write.begun, WriteOutcome::Written, now(pair.ms).at);
        if let Some(incarnation) = complete(pair) {
            pair.rosters[0].said_complete(incarnation);
            said.push("complete");
        }
    };
    // Each roster is written in every third turn, so all of them were after a few.
    (0..12).for_each(|_| turn(&mut pair, 1_100));
    (0..3).for_each(|_| turn(&mut pair, 1));
    assert_eq!(said, ["behind", "complete"]);
}

#[test]
fn rosters_whose_fields_do_not_fit_into_a_write_are_a_backlog_too() {
    let mut pair = Pair::new(1_000, 1 << 20);
    complete(&mut pair);
    pair.rosters[0].said_complete(incarnation(0));
    // Far fewer rosters than a write may have, with 300 members each.
    for member in 0..20 * 300 {
        let channel = ChannelName::parse(&format!("c{:04}", member % 20)).expect("a name");
        let (connection, shown) = (connection(member), shown(&format!("u{member}")));
        pair.handle(0, RosterEvent::Present { channel, connection, shown, state: None });
    }
    let write = write_of(&mut pair);
    assert!(write.changes.len() < 20, "{} rosters", write.changes.len());
    pair.ms += 1_500;
    assert_eq!(pair.rosters[0].behind(now(pair.ms).at), Some(incarnation(0)));
}

#[test]
fn rosters_are_written_once_although_others_change_meanwhile() {
    let mut pair = Pair::new(1_000, 1 << 20);
    pair.handle(0, present(1, "ann", None));
    let first = write_of(&mut pair);
    assert_eq!(complete(&mut pair), None);
    pair.handle(0, present(2, "bob", None));
    pair.rosters[0].written(first.begun, WriteOutcome::Written, now(pair.ms).at);
    assert_eq!(complete(&mut pair), Some(incarnation(0)));
    assert_eq!(complete(&mut pair), Some(incarnation(0)), "until the registry has taken it");
    pair.rosters[0].said_complete(incarnation(0));
    assert_eq!(complete(&mut pair), None);
}
