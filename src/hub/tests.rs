//! The hub's guarantees to subscribers under lost publications and store failures.

mod world;

use super::*;
use crate::wire::publication::{Change, Stored, UNKNOWN_TIME};
use crate::wire::push::{self, RecoveryOutcome};
use crate::wire::stream::StreamMark;
use proptest::prelude::*;
use world::{Act, FromKind, Store, World, act, name};

proptest! {
    /// Under any loss, duplication, delay or slow socket: nothing is skipped without `lag`, nothing is sent twice,
    /// and in the end every subscriber has everything.
    #[test]
    fn every_subscriber_sees_one_unbroken_log(
        steps in prop::collection::vec(act(), 1..120),
        page_max in prop::sample::select(vec![1, 5, 300]),
    ) {
        let mut world = World::new(page_max);
        for step in steps {
            world.apply(step);
        }
        world.settle();
        let ids: Vec<_> = world.shadows.iter().flatten().map(|shadow| shadow.id).collect();
        for id in ids {
            world.hub.close(id);
        }
        prop_assert_eq!(world.hub.sizes(), (0, 0, 0), "an empty hub holds nothing");
    }
}

#[test]
fn channel_over_the_bound_is_refused() {
    let mut hub = Hub::new(1, 0, ahash::RandomState::with_seeds(1, 2, 3, 4));
    assert!(hub.open(&name(0), Slot(0), StartAt::Now).is_ok());
    assert!(hub.open(&name(0), Slot(1), StartAt::Now).is_ok());
    assert_eq!(hub.open(&name(1), Slot(0), StartAt::Now).err(), Some(OpenRefused::TooManyChannels));
}

#[test]
fn moved_head_is_reported_once() {
    let mut world = World::new(300);
    world.apply(Act::Subscribe { channel: 0, from: FromKind::Now });
    world.apply(Act::AnswerNeeds(Store::Answers));
    let id = world.shadows[0].as_ref().expect("there").id;
    assert_eq!(world.hub.moved(id), None);
    world.apply(Act::Publish { channel: 0, count: 3 });
    world.apply(Act::Turn { lost: vec![], doubled: vec![] });
    assert_eq!(world.hub.moved(id), Some((name(0), Offset(3))));
    assert_eq!(world.hub.moved(id), None);
}

#[test]
fn signal_reaches_only_subscribers_that_are_live() {
    let mut world = World::new(300);
    world.apply(Act::Subscribe { channel: 0, from: FromKind::Now });
    world.hub.signal(&name(0), b"lost");
    assert!(world.hub.take_run().is_none(), "no subscriber is live yet");
    world.apply(Act::AnswerNeeds(Store::Answers));
    world.hub.signal(&name(0), b"heard");
    let run = world.hub.take_run().expect("a run");
    assert_eq!((&*run.bytes, run.publications, run.live.len()), (&b"heard"[..], 0, 1));
}

/// A publication that the store committed at this time.
fn committed(offset: u64, time_ms: u64, change: Change) -> Published {
    let stored = Stored {
        offset: Offset(offset),
        key: None,
        user: "u",
        time_ms,
        change,
        stream: StreamMark::None,
        deleted_by: None,
        data: "1",
    };
    let mut frame = Vec::new();
    push::publication(&mut frame, &name(0), &stored);
    Published {
        channel: name(0),
        offset: stored.offset,
        change,
        stream: StreamMark::None,
        time_ms,
        frame: frame.into(),
    }
}

#[test]
fn offset_given_to_another_publication_is_reported_and_a_duplicate_is_not() {
    let mut world = World::new(300);
    world.apply(Act::Subscribe { channel: 0, from: FromKind::Now });
    world.apply(Act::AnswerNeeds(Store::Answers));
    for offset in 1..=5 {
        world.hub.publish(&committed(offset, 1_000 + offset, Change::None));
    }
    for duplicate in [committed(4, 1_004, Change::None), committed(5, UNKNOWN_TIME, Change::None)] {
        world.hub.publish(&duplicate);
        assert_eq!(world.hub.take_contradiction(), None);
    }
    // After a failover to a server that had the first three.
    world.hub.publish(&committed(4, 2_000, Change::None));
    let found = world.hub.take_contradiction().expect("reported");
    assert_eq!(*found, Contradiction { channel: name(0), known: Offset(5), found: Offset(4) });
    assert_eq!(world.hub.take_contradiction(), None, "reported once");
    // A delete leaves only itself in memory.
    world.hub.publish(&committed(6, 2_001, Change::Deletes(Offset(2))));
    world.hub.publish(&committed(5, 3_000, Change::None));
    assert_eq!(world.hub.take_contradiction(), None, "nothing is known of it");
    world.hub.publish(&committed(6, 3_001, Change::None));
    assert!(world.hub.take_contradiction().is_some());
}

#[test]
fn opening_subscription_reports_no_moved_head() {
    let mut world = World::new(300);
    world.apply(Act::Publish { channel: 0, count: 3 });
    world.apply(Act::Subscribe { channel: 0, from: FromKind::Now });
    world.apply(Act::AnswerNeeds(Store::Answers));
    world.apply(Act::Subscribe { channel: 0, from: FromKind::Behind(3) });
    let waiting = world.shadows[1].as_ref().expect("it waits").id;
    assert_eq!(world.hub.moved(waiting), None);
    world.apply(Act::Publish { channel: 0, count: 1 });
    world.apply(Act::Turn { lost: vec![], doubled: vec![] });
    world.apply(Act::AnswerNeeds(Store::Answers));
    assert_eq!(world.hub.moved(waiting), None, "the reply already carried this head");
}

#[test]
fn failed_position_read_closes_every_waiting_subscription() {
    let mut world = World::new(300);
    for _ in 0..3 {
        world.apply(Act::Subscribe { channel: 0, from: FromKind::Now });
    }
    world.apply(Act::AnswerNeeds(Store::Fails));
    assert!(world.shadows.iter().all(Option::is_none));
    assert!(world.needs.is_empty());
    assert_eq!(world.hub.sizes(), (0, 0, 0));
}

#[test]
fn position_read_for_a_closed_subscription_decides_no_other() {
    let mut world = World::new(300);
    world.apply(Act::Subscribe { channel: 0, from: FromKind::Now });
    let Some(Need::Position(asked)) = world.needs.pop() else { panic!("the position is asked for") };
    let before = world.logs[0].position();
    world.apply(Act::Publish { channel: 0, count: 5 });
    world.apply(Act::Subscribe { channel: 0, from: FromKind::Behind(1) });
    world.apply(Act::Unsubscribe { shadow: 0 });
    world.apply(Act::Subscribe { channel: 0, from: FromKind::Behind(1) });
    assert!(world.needs.is_empty(), "one position read at a time");
    assert_eq!(world.hub.position_read(asked, Some(LogPage::bare(before))), []);
    assert_eq!(world.hub.take_needs(), [Need::Position(asked)]);
    let decided = world.hub.position_read(asked, Some(LogPage::bare(world.logs[0].position())));
    let outcomes: Vec<_> = decided.into_iter().map(|(_, decision)| decision.map(|d| d.outcome)).collect();
    assert_eq!(outcomes, [Some(RecoveryOutcome::Recovered), Some(RecoveryOutcome::Recovered)]);
}
