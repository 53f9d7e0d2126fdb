//! A store, a lossy live lane and slow sockets around a hub. A shadow of each subscriber checks the hub's guarantees.

use super::super::*;
use crate::id::Epoch;
use crate::wire::command::HistoryRange;
use crate::wire::publication::Change;
use crate::wire::push::{LogPosition, RecoveryOutcome};
use crate::wire::server_frame::{self, Opcode};
use crate::wire::stream::StreamMark;
use proptest::prelude::*;
use std::sync::Arc;

const EPOCH: Epoch = Epoch(36);
/// Small, so that lag is common.
const OUTBOX_BYTES: usize = 400;

pub(super) fn name(channel: usize) -> ChannelName {
    ChannelName::parse(&format!("c{channel}")).expect("valid")
}

/// A frame that names its publication. Frames that the hub writes itself are JSON and begin differently.
fn frame(channel: usize, offset: u64) -> Vec<u8> {
    let mut frame = Vec::new();
    server_frame::write(&mut frame, Opcode::Text, format!("<{channel}:{offset:05}>").as_bytes());
    frame
}

#[derive(Debug, Default)]
pub(super) struct Log {
    head: u64,
    floor: u64,
}

impl Log {
    pub(super) fn position(&self) -> LogPosition {
        LogPosition { epoch: EPOCH, head: Offset(self.head), floor: Offset(self.floor.max(1)) }
    }

    /// A page as the store would read it.
    fn page(&self, channel: usize, after: u64, limit: u64) -> (u64, u64, u32, Vec<u8>) {
        let first = (after + 1).max(self.floor);
        self.stretch(channel, first, self.head.min((first + limit).saturating_sub(1)))
    }

    /// The same for the publications that the hub wants for a tail. `most` replaces the byte bound of a page.
    fn wanted(&self, channel: usize, wanted: PageWanted, most: u64) -> (u64, u64, u32, Vec<u8>) {
        let limit = u64::from(wanted.limit).min(most);
        match wanted.range {
            HistoryRange::After(after) => self.page(channel, after.0.min(self.head), limit),
            HistoryRange::Before(before) => {
                let last = before.0.saturating_sub(1).min(self.head);
                self.stretch(channel, (last + 1).saturating_sub(limit).max(self.floor).max(1), last)
            }
        }
    }

    fn stretch(&self, channel: usize, first: u64, last: u64) -> (u64, u64, u32, Vec<u8>) {
        if first > last {
            return (0, 0, 0, Vec::new());
        }
        let frames = (first..=last).flat_map(|offset| frame(channel, offset)).collect();
        (first, last, (last - first + 1) as u32, frames)
    }
}

/// A subscriber's view: what it was sent, and what it should have been sent.
#[derive(Debug)]
pub(super) struct Shadow {
    channel: usize,
    pub(super) id: SubscriptionId,
    /// The last publication it has; `None` until its start is decided.
    last: Option<u64>,
    synced: bool,
    /// Bytes that wait for its socket.
    outbox: Vec<u8>,
    page_asked: Option<(u64, u64)>,
}

impl Shadow {
    /// Reads the bytes that its socket took.
    fn read(&mut self) {
        let bytes = std::mem::take(&mut self.outbox);
        for frame in server_frame::split(&bytes) {
            let payload = std::str::from_utf8(&frame[2..]).expect("text, and short");
            if let Some(text) = payload.strip_prefix('<').and_then(|text| text.strip_suffix('>')) {
                let (channel, offset) = text.split_once(':').expect("a frame");
                assert_eq!(channel, self.channel.to_string());
                let offset: u64 = offset.parse().expect("a number");
                let last = self.last.expect("nothing comes before the reply");
                assert_eq!(offset, last + 1, "a gap or a duplicate");
                self.last = Some(offset);
            } else {
                self.push(&serde_json::from_str(payload).expect("JSON"));
            }
        }
    }

    fn push(&mut self, push: &serde_json::Value) {
        if let Some(lag) = push.get("lag") {
            assert_eq!(lag["from"].as_u64(), self.last.map(|last| last + 1), "lag names the first it lacks");
            self.last = lag["head"].as_u64();
        } else {
            let offset = push["synced"]["offset"].as_u64();
            assert!(offset.is_some() && offset == self.last, "synced at {offset:?}, has {:?}", self.last);
            assert!(!std::mem::replace(&mut self.synced, true), "synced once");
        }
    }
}

fn log_page((first, last, count, frames): &(u64, u64, u32, Vec<u8>), position: LogPosition) -> LogPage<'_> {
    let (first, last) = (Offset(*first), Offset(*last));
    LogPage { position, first, last, count: *count, frames, has_streams: false }
}

pub(super) struct World {
    pub(super) hub: Hub,
    /// The largest number of publications in a shared page.
    page_max: u64,
    pub(super) logs: Vec<Log>,
    lane: Vec<Published>,
    pub(super) shadows: Vec<Option<Shadow>>,
    pub(super) needs: Vec<Need>,
}

#[derive(Clone, Debug)]
pub(super) enum Act {
    Subscribe {
        channel: usize,
        from: FromKind,
    },
    Unsubscribe {
        shadow: usize,
    },
    Publish {
        channel: usize,
        count: u64,
    },
    /// The lane is delivered, without the publications whose number is in `lost` and with some doubled.
    Turn {
        lost: Vec<usize>,
        doubled: Vec<usize>,
    },
    AnswerNeeds(Store),
    AnswerPage(usize, Store),
    Drain {
        shadow: usize,
    },
    Heads,
    Retention {
        channel: usize,
        keep: u64,
    },
}

/// The behaviour of the store for one read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Store {
    Answers,
    Fails,
}

fn store() -> impl Strategy<Value = Store> {
    prop_oneof![4 => Just(Store::Answers), 1 => Just(Store::Fails)]
}

#[derive(Clone, Copy, Debug)]
pub(super) enum FromKind {
    Now,
    Last(u32),
    Behind(u64),
    Ahead,
}

pub(super) fn act() -> impl Strategy<Value = Act> {
    let channel = 0usize..2;
    let few = || prop::collection::vec(0usize..20, 0..3);
    let from = prop_oneof![
        Just(FromKind::Now),
        (1u32..30).prop_map(FromKind::Last),
        (0u64..40).prop_map(FromKind::Behind),
        Just(FromKind::Ahead),
    ];
    prop_oneof![
        3 => (channel.clone(), from).prop_map(|(channel, from)| Act::Subscribe { channel, from }),
        1 => (0usize..12).prop_map(|shadow| Act::Unsubscribe { shadow }),
        6 => (channel.clone(), 1u64..25).prop_map(|(channel, count)| Act::Publish { channel, count }),
        6 => (few(), few()).prop_map(|(lost, doubled)| Act::Turn { lost, doubled }),
        5 => store().prop_map(Act::AnswerNeeds),
        4 => ((0usize..12), store()).prop_map(|(shadow, store)| Act::AnswerPage(shadow, store)),
        6 => (0usize..12).prop_map(|shadow| Act::Drain { shadow }),
        1 => Just(Act::Heads),
        1 => (channel, 0u64..20).prop_map(|(channel, keep)| Act::Retention { channel, keep }),
    ]
}

impl World {
    pub(super) fn new(page_max: u64) -> World {
        let hasher = ahash::RandomState::with_seeds(1, 2, 3, 4);
        World {
            hub: Hub::new(100, 600, hasher),
            page_max,
            logs: vec![Log::default(), Log::default()],
            lane: Vec::new(),
            shadows: Vec::new(),
            needs: Vec::new(),
        }
    }

    pub(super) fn apply(&mut self, step: Act) {
        match step {
            Act::Subscribe { channel, from } => self.subscribe(channel, from),
            Act::Unsubscribe { shadow } => {
                if let Some(shadow) = self.shadows.get_mut(shadow).and_then(Option::take) {
                    self.hub.close(shadow.id);
                }
            }
            Act::Publish { channel, count } => {
                for _ in 0..count {
                    let log = &mut self.logs[channel];
                    log.head += 1;
                    self.lane.push(Published {
                        channel: name(channel),
                        offset: Offset(log.head),
                        change: Change::None,
                        time_ms: 1,
                        stream: StreamMark::None,
                        frame: Arc::from(frame(channel, log.head)),
                    });
                }
            }
            Act::Turn { lost, doubled } => {
                for (number, published) in std::mem::take(&mut self.lane).iter().enumerate() {
                    let times = usize::from(!lost.contains(&number)) + usize::from(doubled.contains(&number));
                    (0..times).for_each(|_| self.hub.publish(published));
                }
                self.deliver();
            }
            Act::AnswerNeeds(store) => self.answer_needs(store),
            Act::AnswerPage(shadow, store) => self.answer_page(shadow, store),
            Act::Drain { shadow } => self.drain(shadow),
            Act::Heads => {
                for (channel, log) in self.logs.iter().enumerate() {
                    self.hub.heads_read(&name(channel), log.position());
                }
            }
            Act::Retention { channel, keep } => {
                let log = &mut self.logs[channel];
                log.floor = log.floor.max((log.head + 1).saturating_sub(keep));
            }
        }
        self.needs.extend(self.hub.take_needs());
        self.deliver();
    }

    fn subscribe(&mut self, channel: usize, from: FromKind) {
        let head = self.logs[channel].head;
        let epoch = Some(EPOCH);
        let from = match from {
            FromKind::Now => StartAt::Now,
            FromKind::Last(count) => StartAt::Last(count),
            FromKind::Behind(by) => StartAt::After { epoch, offset: Offset(head.saturating_sub(by)) },
            FromKind::Ahead => StartAt::After { epoch, offset: Offset(head + 5) },
        };
        let slot = Slot(self.shadows.len() as u32);
        let (id, decision) = self.hub.open(&name(channel), slot, from).expect("room");
        let shadow = Shadow { channel, id, last: None, synced: false, outbox: Vec::new(), page_asked: None };
        self.shadows.push(Some(shadow));
        if let Some(decision) = decision {
            self.begin(slot, from, decision);
        }
    }

    /// Records the reply, which promises where the replay begins.
    fn begin(&mut self, slot: Slot, from: StartAt, decision: Decision) {
        let Some(shadow) = self.shadows[slot.0 as usize].as_mut() else { return };
        if let (StartAt::After { offset, .. }, RecoveryOutcome::Recovered) = (from, decision.outcome) {
            assert_eq!(decision.cursor, offset, "a recovery begins at the client's cursor");
        }
        assert!(decision.position.head.0 <= self.logs[shadow.channel].head);
        shadow.last = Some(decision.cursor.0);
        let id = shadow.id;
        self.step(id);
    }

    fn step(&mut self, id: SubscriptionId) {
        let Some(slot) = self.hub.slot(id) else { return };
        let Some(shadow) = self.shadows[slot.0 as usize].as_mut() else { return };
        if shadow.last.is_none() {
            return;
        }
        while shadow.outbox.len() < OUTBOX_BYTES / 2 {
            match self.hub.step(id, Paging::Allowed, &mut shadow.outbox) {
                CatchUpStep::Done | CatchUpStep::Waits => return,
                CatchUpStep::Wrote => {}
                CatchUpStep::Shares(frame) => shadow.outbox.extend_from_slice(&frame),
                CatchUpStep::Page { after, limit, .. } => {
                    assert!(shadow.page_asked.is_none());
                    shadow.page_asked = Some((after.0, u64::from(limit)));
                    return;
                }
            }
        }
    }

    fn deliver(&mut self) {
        let mut fallen = Vec::new();
        while let Some(run) = self.hub.take_run() {
            for live in run.live {
                let shadow = self.shadows[live.slot.0 as usize].as_mut().expect("live ones exist");
                if shadow.outbox.len() + run.bytes.len() > OUTBOX_BYTES {
                    fallen.push(*live);
                } else {
                    shadow.outbox.extend_from_slice(&run.bytes);
                }
            }
            for live in fallen.drain(..) {
                self.hub.fall_behind(live);
            }
        }
        for id in self.hub.take_caught_up() {
            self.step(id);
        }
    }

    fn answer_needs(&mut self, store: Store) {
        for need in std::mem::take(&mut self.needs) {
            match need {
                Need::Position(id) => {
                    let Some(channel) = self.hub.channel_name(id).cloned() else { continue };
                    let channel = usize::from(channel.as_str() == "c1");
                    let page = self.logs[channel].wanted(channel, self.hub.wanted(id), self.page_max);
                    let page = log_page(&page, self.logs[channel].position());
                    for (id, decision) in
                        self.hub.position_read(id, (store == Store::Answers).then_some(page))
                    {
                        let slot = self.hub.slot(id).expect("it waits");
                        match decision {
                            Some(decision) => self.begin(slot, StartAt::Now, decision),
                            None => {
                                self.hub.close(id);
                                self.shadows[slot.0 as usize] = None;
                            }
                        }
                    }
                }
                Need::Older(id) => {
                    let Some(channel) = self.hub.channel_name(id).cloned() else { continue };
                    let channel = usize::from(channel.as_str() == "c1");
                    if store == Store::Fails {
                        self.hub.older_read(id, None);
                        self.hub.ask_older(id);
                        continue;
                    }
                    let wanted = self.hub.older(id).expect("it is followed");
                    let page = self.logs[channel].wanted(channel, wanted, self.page_max);
                    self.hub.older_read(id, Some(log_page(&page, self.logs[channel].position())));
                }
                Need::Streams(id) => panic!("{id:?} has no streams"),
                Need::Fill(id, after) => {
                    let Some(channel) = self.hub.channel_name(id).cloned() else { continue };
                    let channel = usize::from(channel.as_str() == "c1");
                    if store == Store::Fails {
                        self.hub.filled(id, None);
                        self.hub.refill(id);
                        continue;
                    }
                    let page = self.logs[channel].page(channel, after.0, 10);
                    let page = log_page(&page, self.logs[channel].position());
                    self.hub.filled(id, Some(page));
                }
            }
        }
        self.needs.extend(self.hub.take_needs());
    }

    fn answer_page(&mut self, index: usize, store: Store) {
        let Some(Some(shadow)) = self.shadows.get_mut(index) else { return };
        let Some((after, limit)) = shadow.page_asked.take() else { return };
        let log = &self.logs[shadow.channel];
        let (first, last, _, frames) = log.page(shadow.channel, after, limit.min(10));
        let page = ReplayPage { floor: log.position().floor, first: Offset(first), last: Offset(last) };
        let id = shadow.id;
        if self.hub.page_read(id, (store == Store::Answers).then_some(page)) {
            shadow.outbox.extend_from_slice(&frames);
        }
        self.step(id);
    }

    fn drain(&mut self, index: usize) {
        let Some(Some(shadow)) = self.shadows.get_mut(index) else { return };
        shadow.read();
        let id = shadow.id;
        if !self.hub.is_live(id) {
            self.step(id);
        }
    }

    /// Ends the faults. Every subscriber must then have everything up to the head, and be synced.
    pub(super) fn settle(&mut self) {
        for _ in 0..200 {
            self.apply(Act::Turn { lost: vec![], doubled: vec![] });
            self.apply(Act::Heads);
            self.apply(Act::AnswerNeeds(Store::Answers));
            for index in 0..self.shadows.len() {
                self.apply(Act::AnswerPage(index, Store::Answers));
                self.apply(Act::Drain { shadow: index });
            }
        }
        for shadow in self.shadows.iter().flatten() {
            assert_eq!(shadow.last, Some(self.logs[shadow.channel].head), "{shadow:?}");
            assert!(shadow.synced, "every subscription ends its replay with synced");
            assert!(self.hub.is_live(shadow.id));
        }
    }
}
