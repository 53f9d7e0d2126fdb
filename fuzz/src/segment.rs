//! Values of instances in Redis: the segment of a roster, that is a field's name, its value, and a message; a lease; a load.
//!
//! Checked properties: whatever is accepted is written as the same bytes again, a lease and a load as what reads the same. A roster takes any
//! sequence of readings and messages.

use seawall::clock::{Moment, Now};
use seawall::id::{ChannelName, Incarnation, ReactorId};
use seawall::roster::{
    InstanceStanding, RosterEvent, RosterInstance, RosterRules, Rosters, ServiceState, SharingBounds,
    WatchNumber, Ways,
};
use seawall::wire::command::WatchDetail;
use seawall::wire::lease::Lease;
use seawall::wire::partitions::PartitionSet;
use seawall::wire::presence::RosterKnowledge;
use seawall::wire::segment::{SegmentDelta, SegmentField, SegmentHead, SegmentMember};
use seawall::wire::stats::InstanceStats;
use std::time::Duration;

/// Checks the properties above.
pub fn check(bytes: &[u8]) {
    if let Some(head) = SegmentHead::parse(bytes) {
        assert_eq!(head.encode(), bytes);
    }
    if let Some(member) = SegmentMember::parse(bytes) {
        assert_eq!(member.encode(), bytes);
    }
    match SegmentField::parse(bytes) {
        Some(SegmentField::Head(incarnation)) => assert_eq!(SegmentField::head(incarnation), bytes),
        Some(SegmentField::Member(incarnation, user)) => {
            assert_eq!(SegmentField::member(incarnation, &user), bytes);
        }
        None => {}
    }
    if let Some(delta) = SegmentDelta::parse(bytes) {
        assert_eq!(delta.encode(), bytes);
    }
    if let Some(lease) = Lease::parse(bytes) {
        let written = Lease::encode(lease.renewals, lease.phase, lease.parts, &lease.name);
        assert_eq!(Lease::parse(written.as_bytes()), Some(lease));
    }
    if let Some(stats) = InstanceStats::parse(bytes) {
        let written = stats.encode();
        assert!(InstanceStats::parse(written.as_bytes()).is_some(), "{written}");
    }
    follow(bytes);
}

/// Gives a roster the lines as fields of a hash, each with the next one as its value, and as messages.
fn follow(bytes: &[u8]) {
    let channel = ChannelName::parse("c1").expect("a valid name");
    let rules = RosterRules { grace: Duration::from_secs(1), members_max: 4 };
    let hasher = ahash::RandomState::with_seeds(1, 2, 3, 4);
    let mut rosters = Rosters::new(rules, RosterKnowledge::Complete, hasher);
    let own = Incarnation { origin: 1, count: 1 };
    rosters.share(own, SharingBounds { views_bytes: 4_096 });
    let other = RosterInstance {
        incarnation: Incarnation { origin: 2, count: 1 },
        name: "b".into(),
        standing: InstanceStanding::Sure,
        unwritten: PartitionSet::EMPTY,
    };
    let (storage, messages) = (Ways::REACHED, Ways::REACHED);
    rosters.observe(ServiceState { incarnation: own, storage, messages, others: vec![other] }, Moment::ZERO);
    let (reactor, detail, number) = (ReactorId(0), WatchDetail::Members, WatchNumber::default());
    let watch = RosterEvent::Watch { channel: channel.clone(), reactor, detail, number };
    rosters.handle(watch, Now::default());
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    for (at, line) in lines.iter().enumerate().take(32) {
        let now = Now { at: Moment::from_micros(at as u64 * 700_000), unix_ms: at as u64 * 700 };
        let fields: Vec<_> = lines.chunks_exact(2).map(|pair| (pair[0].to_vec(), pair[1].to_vec())).collect();
        for read in rosters.take_reads(now.at) {
            rosters.read(&read, Some(&fields), now.at);
        }
        if let Some(delta) = SegmentDelta::parse(line) {
            rosters.hear(&channel, 2, delta, now.at);
        }
        rosters.followed(&channel, now.at);
        for push in rosters.advance(now) {
            assert!(push.frame.starts_with(&[0x81]), "no text frame");
        }
    }
}
