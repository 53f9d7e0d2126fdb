//! A storm on one channel: the store reads that it causes, and the pages that must not be kept.

use super::*;
use crate::hub::{CatchUpStep, Decision, Paging, Slot, SubscriptionId};
use crate::id::{ChannelName, Epoch};
use crate::limits::SHARED_FRAME_BYTES_MIN;
use crate::wire::publication::{Change, Published};
use crate::wire::push::{LogPosition, RecoveryOutcome};
use crate::wire::server_frame::{self, Opcode};
use crate::wire::stream::StreamMark;
use std::sync::Arc;

const EPOCH: Epoch = Epoch(7);

fn name() -> ChannelName {
    ChannelName::parse("c").expect("valid")
}

fn frame(offset: u64) -> Vec<u8> {
    let mut frame = Vec::new();
    server_frame::write(&mut frame, Opcode::Text, format!("<{offset}>").as_bytes());
    frame
}

fn offsets(frames: &[u8]) -> Vec<u64> {
    let number = |frame: &[u8]| {
        let text = std::str::from_utf8(&frame[2..]).expect("text");
        text.strip_prefix('<')?.strip_suffix('>')?.parse().ok()
    };
    server_frame::split(frames).filter_map(number).collect()
}

fn published(offset: u64, change: Change) -> Published {
    Published {
        channel: name(),
        offset: Offset(offset),
        change,
        stream: StreamMark::None,
        time_ms: 1,
        frame: Arc::from(frame(offset)),
    }
}

fn after(offset: u64) -> StartAt {
    StartAt::After { epoch: Some(EPOCH), offset: Offset(offset) }
}

struct Rig {
    hub: Hub,
    head: u64,
    /// The largest number of publications in a page.
    page_max: u64,
    reads: u32,
    subscriptions: Vec<(SubscriptionId, u64)>,
}

/// A page that was read: its position, its first and last publication.
type Asked = (Need, u64, u64, u64);

impl Rig {
    fn new(head: u64) -> Rig {
        let hasher = ahash::RandomState::with_seeds(1, 2, 3, 4);
        Rig { hub: Hub::new(10, 1 << 20, hasher), head, page_max: 300, reads: 0, subscriptions: Vec::new() }
    }

    fn open(&mut self, offset: u64) -> Option<Decision> {
        let slot = Slot(self.subscriptions.len() as u32);
        let (id, decision) = self.hub.open(&name(), slot, after(offset)).expect("room");
        self.subscriptions.push((id, offset));
        decision
    }

    /// Reads the store for what the hub needs, and holds the answers.
    fn read(&mut self) -> Vec<Asked> {
        let mut asked = Vec::new();
        for need in self.hub.take_needs() {
            self.reads += 1;
            let wanted = match &need {
                Need::Position(id) => self.hub.wanted(*id),
                Need::Older(id) => self.hub.older(*id).expect("it is followed"),
                Need::Streams(id) => panic!("{id:?} has no streams"),
                Need::Fill(_, after) => PageWanted { range: HistoryRange::After(*after), limit: 300 },
            };
            let limit = u64::from(wanted.limit).min(self.page_max);
            let (first, last) = match wanted.range {
                HistoryRange::After(after) => (after.0 + 1, self.head.min(after.0 + limit)),
                HistoryRange::Before(before) => {
                    let last = self.head.min(before.0 - 1);
                    ((last + 1).saturating_sub(limit).max(1), last)
                }
            };
            asked.push((need, self.head, first, last));
        }
        asked
    }

    fn answer(&mut self, asked: Vec<Asked>) {
        for (need, head, first, last) in asked {
            let position = LogPosition { epoch: EPOCH, head: Offset(head), floor: Offset(1) };
            let frames: Vec<u8> = (first..=last).flat_map(frame).collect();
            let page = if first <= last {
                let count = (last - first + 1) as u32;
                LogPage {
                    position,
                    first: Offset(first),
                    last: Offset(last),
                    count,
                    frames: &frames,
                    has_streams: false,
                }
            } else {
                LogPage::bare(position)
            };
            match need {
                Need::Position(id) => {
                    for (_, decision) in self.hub.position_read(id, Some(page)) {
                        assert_eq!(decision.expect("it was read").outcome, RecoveryOutcome::Recovered);
                    }
                }
                Need::Older(id) => self.hub.older_read(id, Some(page)),
                Need::Fill(id, _) => self.hub.filled(id, Some(page)),
                Need::Streams(_) => {}
            }
        }
    }

    /// Steps all subscribers until none is behind. Each must get what it lacks, once and in order, without a page of
    /// its own.
    fn all_catch_up(&mut self) {
        for (id, cursor) in std::mem::take(&mut self.subscriptions) {
            let mut got = Vec::new();
            loop {
                match self.hub.step(id, Paging::Allowed, &mut got) {
                    CatchUpStep::Done => break,
                    CatchUpStep::Wrote => {}
                    CatchUpStep::Shares(frame) => got.extend_from_slice(&frame),
                    CatchUpStep::Waits => {
                        let asked = self.read();
                        assert!(!asked.is_empty(), "it waits although no read is under way");
                        self.answer(asked);
                        self.hub.take_caught_up();
                    }
                    CatchUpStep::Page { .. } => panic!("it asked for a page of its own after {cursor}"),
                }
            }
            assert!(offsets(&got).into_iter().eq(cursor + 1..=self.head), "{cursor}: {:?}", offsets(&got));
        }
    }
}

#[test]
fn storm_from_nearly_the_same_cursor_is_one_read() {
    let mut rig = Rig::new(1_000);
    for number in 0..150 {
        rig.open(1_000 - number % 5);
        if number == 3 {
            let asked = rig.read();
            rig.answer(asked);
        }
    }
    rig.all_catch_up();
    assert_eq!(rig.reads, 1);
}

#[test]
fn storm_from_scattered_cursors_is_a_handful_of_reads() {
    for (page_max, reads) in [(300, 2), (100, 4)] {
        let mut rig = Rig::new(1_000);
        rig.page_max = page_max;
        for number in 0..1_000 {
            rig.open(1_000 - number * 7 % 301);
            if number % 10 == 9 {
                let asked = rig.read();
                rig.answer(asked);
            }
        }
        rig.all_catch_up();
        assert!(rig.reads <= reads, "{} reads with pages of {page_max}", rig.reads);
    }
}

#[test]
fn publications_during_a_storm_add_few_reads() {
    let mut rig = Rig::new(1_000);
    rig.open(990);
    let asked = rig.read();
    rig.answer(asked);
    for number in 0..200 {
        rig.open(1_000 - number / 2);
        rig.head += 1;
        rig.hub.publish(&published(rig.head, Change::None));
        while rig.hub.take_run().is_some() {}
        if number % 50 == 10 {
            let asked = rig.read();
            rig.answer(asked);
        }
    }
    rig.all_catch_up();
    assert!(rig.reads <= 4, "{} reads", rig.reads);
}

#[test]
fn long_frame_is_shared_by_all_subscribers_that_lack_it() {
    let mut rig = Rig::new(10);
    rig.open(10);
    rig.open(10);
    let asked = rig.read();
    rig.answer(asked);
    let long: Arc<[u8]> = Arc::from(vec![b'x'; SHARED_FRAME_BYTES_MIN]);
    let frames = [Arc::from(frame(11)), Arc::clone(&long), Arc::from(frame(13))];
    for (index, frame) in frames.iter().enumerate() {
        let offset = Offset(11 + index as u64);
        rig.hub.publish(&Published {
            channel: name(),
            offset,
            change: Change::None,
            stream: StreamMark::None,
            time_ms: 1,
            frame: Arc::clone(frame),
        });
    }
    while rig.hub.take_run().is_some() {}
    for (id, _) in rig.subscriptions {
        let mut got = Vec::new();
        let CatchUpStep::Shares(shared) = rig.hub.step(id, Paging::Allowed, &mut got) else {
            panic!("it is long")
        };
        assert!(Arc::ptr_eq(&shared, &long), "a copy");
        assert_eq!(got, *frames[0], "the frame before it");
        got.clear();
        assert_eq!(rig.hub.step(id, Paging::Allowed, &mut got), CatchUpStep::Wrote);
        assert_eq!(got, *frames[2]);
    }
}

#[test]
fn page_read_before_a_delete_is_not_kept() {
    let mut rig = Rig::new(100);
    rig.page_max = 0;
    rig.open(100);
    let asked = rig.read();
    rig.answer(asked);
    rig.page_max = 300;
    // It needs older publications, and one of them is erased while they are read.
    rig.open(50);
    let asked = rig.read();
    rig.head += 1;
    rig.hub.publish(&published(101, Change::Deletes(Offset(60))));
    while rig.hub.take_run().is_some() {}
    rig.answer(asked);
    let (id, _) = rig.subscriptions[1];
    let mut got = Vec::new();
    assert_eq!(
        rig.hub.step(id, Paging::Allowed, &mut got),
        CatchUpStep::Waits,
        "memory must not serve an erased publication"
    );
    assert!(got.is_empty());
    rig.all_catch_up();
}

#[test]
fn position_read_brings_only_the_publications_that_waiting_subscribers_need() {
    let mut rig = Rig::new(100);
    rig.hub.open(&name(), Slot(0), StartAt::Now).expect("room");
    let [Need::Position(id)] = rig.hub.take_needs()[..] else { panic!("a position is needed") };
    assert_eq!(rig.hub.wanted(id).limit, 0);
    rig.hub.open(&name(), Slot(1), StartAt::Last(20)).expect("room");
    let newest = PageWanted { range: HistoryRange::Before(Offset(u64::MAX)), limit: 20 };
    assert_eq!(rig.hub.wanted(id), newest);
    rig.hub.open(&name(), Slot(2), after(70)).expect("room");
    assert_eq!(rig.hub.wanted(id), PageWanted { range: HistoryRange::After(Offset(54)), limit: 316 });
}

#[test]
fn nothing_that_was_in_memory_or_being_read_is_kept_after_everything_is_forgotten() {
    let mut rig = Rig::new(1_000);
    rig.open(990);
    let asked = rig.read();
    rig.answer(asked);
    rig.all_catch_up();
    // From memory: no read is needed.
    assert!(rig.open(995).is_some());
    rig.all_catch_up();
    assert_eq!(rig.reads, 1);
    rig.hub.forget();
    assert_eq!(rig.hub.sizes().2, 0);
    assert!(rig.open(995).is_none(), "the store decides");
    let stale = rig.read();
    rig.hub.forget();
    rig.answer(stale);
    assert_eq!(rig.hub.sizes().2, 0, "a page of before is not kept");
    rig.all_catch_up();
    assert!(rig.hub.sizes().2 > 0, "one of after is");
}
