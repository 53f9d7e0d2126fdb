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

#[test]
fn late_answer_to_a_write_that_was_given_up_does_not_confirm_the_next_one() {
    let mut pair = Pair::new(1_000, 1 << 20);
    pair.handle(0, present(1, "ann", None));
    let first = write_of(&mut pair);
    let second = write_of(&mut pair);
    assert!(second.begun.since(first.begun) >= Duration::from_secs(10), "the first one is given up");
    pair.rosters[0].written(first.begun, WriteOutcome::Written, now(pair.ms).at);
    assert_eq!(pair.rosters[0].complete(), None);
    pair.rosters[0].written(second.begun, WriteOutcome::Failed, now(pair.ms).at);
    let third = write_of(&mut pair);
    pair.rosters[0].written(third.begun, WriteOutcome::Written, now(pair.ms).at);
    assert_eq!(pair.rosters[0].complete(), Some(incarnation(0)));
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

#[test]
fn rosters_are_written_once_although_others_change_meanwhile() {
    let mut pair = Pair::new(1_000, 1 << 20);
    pair.handle(0, present(1, "ann", None));
    let first = write_of(&mut pair);
    assert_eq!(pair.rosters[0].complete(), None);
    pair.handle(0, present(2, "bob", None));
    pair.rosters[0].written(first.begun, WriteOutcome::Written, now(pair.ms).at);
    assert_eq!(pair.rosters[0].complete(), Some(incarnation(0)));
    assert_eq!(pair.rosters[0].complete(), Some(incarnation(0)), "until the registry has taken it");
    pair.rosters[0].said_complete(incarnation(0));
    assert_eq!(pair.rosters[0].complete(), None);
}
