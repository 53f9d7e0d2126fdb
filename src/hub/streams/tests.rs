//! Streams of one channel between a store, a lossy live lane, a bus that loses, delays, reorders and repeats, and slow sockets. A shadow of
//! each subscriber follows the client rules.

use super::super::*;
use super::state::ShowStep;
use crate::id::Epoch;
use crate::wire::command::HistoryRange;
use crate::wire::publication::Change;
use crate::wire::push::LogPosition;
use crate::wire::server_frame::{self, Opcode};
use crate::wire::stream::{
    Generation, KnownStream, News, Position, StreamEnd, StreamId, StreamMark, StreamNews, StreamState,
    WholeStream,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Small, so that subscribers fall behind.
const OUTBOX_BYTES: usize = 120;

fn name() -> ChannelName {
    ChannelName::parse("c").expect("valid")
}

fn frame(text: &str) -> Arc<[u8]> {
    let mut frame = Vec::new();
    server_frame::write(&mut frame, Opcode::Text, text.as_bytes());
    frame.into()
}

fn word(state: StreamState) -> u8 {
    state.code()
}

/// How far a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    generation: u32,
    next: u32,
    state: u8,
}

/// The store: publications and open streams.
#[derive(Debug, Default)]
struct Shelf {
    /// For each publication the offset of the begin that it ends, or 0.
    log: Vec<u64>,
    open: BTreeMap<u64, Extent>,
}

impl Shelf {
    fn position(&self) -> LogPosition {
        LogPosition { epoch: Epoch(3), head: Offset(self.log.len() as u64), floor: Offset(1) }
    }

    fn publication(&self, offset: u64) -> Arc<[u8]> {
        frame(&format!("p {offset} {}", self.log[offset as usize - 1]))
    }

    fn wholes(&self) -> Vec<WholeStream> {
        let whole = |(offset, extent): (&u64, &Extent)| {
            let Extent { generation, next, state } = *extent;
            WholeStream {
                id: StreamId { channel: name(), offset: Offset(*offset) },
                generation: Generation(generation),
                next: Position(next),
                state: StreamState::of_code(state.into()).expect("valid"),
                frame: frame(&format!("w {offset} {generation} {next} {state}")),
            }
        };
        self.open.iter().map(whole).collect()
    }
}

#[derive(Clone, Debug)]
enum Sent {
    Published(Published),
    News(StreamNews),
}

/// The findings of a read, on their way to the hub.
#[derive(Debug)]
enum Found {
    Log { need: Need, position: LogPosition, first: u64, frames: Vec<u8>, count: u32, has_streams: bool },
    Streams(ChannelId, Option<Vec<WholeStream>>),
}

/// Says if a read of streams failed, so that subscribers became live without them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holes {
    Never,
    Possible,
}

/// The instance that commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writer {
    /// The hub's own: the lane says when it loses something.
    Here,
    /// Another one: its changes come over the bus.
    Elsewhere,
}

/// A client.
#[derive(Debug)]
struct Reader {
    id: SubscriptionId,
    last: Option<u64>,
    synced: bool,
    streams: BTreeMap<u64, Extent>,
    ended: Vec<u64>,
    outbox: Vec<u8>,
    page: Option<(u64, u32)>,
}

impl Reader {
    /// Applies the client rules. A hole is an error unless a read of streams failed.
    fn read(&mut self, holes: Holes) {
        let bytes = std::mem::take(&mut self.outbox);
        for one in server_frame::split(&bytes) {
            let text = std::str::from_utf8(&one[2..]).expect("text");
            if text.starts_with('{') {
                let push: serde_json::Value = serde_json::from_str(text).expect("JSON");
                if let Some(lag) = push.get("lag") {
                    self.last = lag["head"].as_u64();
                } else {
                    assert!(!std::mem::replace(&mut self.synced, true), "synced once");
                }
                continue;
            }
            let mut words = text.split(' ');
            let kind = words.next().expect("a kind");
            let numbers: Vec<u64> = words.map(|word| word.parse().expect("a number")).collect();
            match (kind, &numbers[..]) {
                ("p", [offset, ends]) => self.publication(*offset, *ends),
                ("w", [offset, generation, next, state]) => {
                    let whole =
                        Extent { generation: *generation as u32, next: *next as u32, state: *state as u8 };
                    self.begun(*offset);
                    self.streams.insert(*offset, whole);
                }
                ("s", [offset, generation, state]) => {
                    self.begun(*offset);
                    match self.streams.get_mut(offset) {
                        Some(known) if u64::from(known.generation) == *generation => {
                            known.state = *state as u8
                        }
                        // A read was newer than what the lane brings.
                        Some(known) if u64::from(known.generation) > *generation => {}
                        known => assert_eq!(holes, Holes::Possible, "a state of {offset} for {known:?}"),
                    }
                }
                ("t", [offset, generation, at, next]) => {
                    self.begun(*offset);
                    match self.streams.get_mut(offset) {
                        Some(known)
                            if u64::from(known.generation) == *generation && u64::from(known.next) == *at =>
                        {
                            known.next = *next as u32;
                        }
                        Some(known)
                            if (u64::from(known.generation), u64::from(known.next))
                                >= (*generation, *next) => {}
                        known => assert_eq!(holes, Holes::Possible, "text of {offset} at {at} for {known:?}"),
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn begun(&self, offset: u64) {
        assert!(!self.ended.contains(&offset), "a frame of {offset} after its end");
        assert!(self.last >= Some(offset), "a frame of {offset} before its begin, at {:?}", self.last);
    }

    fn publication(&mut self, offset: u64, ends: u64) {
        assert_eq!(self.last, Some(offset - 1), "a gap or a duplicate");
        self.last = Some(offset);
        match ends {
            0 => {}
            // A begin: an empty stream.
            u64::MAX => {
                let begun = Extent { generation: 1, next: 0, state: word(StreamState::Streaming) };
                self.streams.entry(offset).or_insert(begun);
            }
            ends => {
                self.streams.remove(&ends);
                self.ended.push(ends);
            }
        }
    }
}

struct Scene {
    hub: Hub,
    shelf: Shelf,
    lane: VecDeque<Sent>,
    writer: Writer,
    /// Changes that other instances sent and that are still under way, oldest first.
    bus: VecDeque<Sent>,
    readers: Vec<Option<Reader>>,
    needs: VecDeque<Need>,
    found: VecDeque<Found>,
    holes: Holes,
}

#[derive(Clone, Debug)]
enum Deed {
    Subscribe(u64),
    Unsubscribe(usize),
    Publish,
    Begin,
    Write(usize, u32),
    State(usize, u8),
    Restart(usize),
    End(usize),
    /// The lane delivers some.
    Deliver(usize),
    /// The lane loses some.
    Lose(usize),
    /// The store reads for the oldest need.
    Read,
    /// The oldest answer arrives.
    Answer,
    Fail,
    Drain(usize),
    Page(usize),
    Heads,
    /// This instance commits from now on.
    CommitAt(Writer),
    /// The bus delivers this one of what is under way.
    Hear(usize),
    /// It delivers it, and will once more.
    HearEarly(usize),
    /// It loses it, and nothing says so.
    LoseUnseen(usize),
}

fn deed() -> impl Strategy<Value = Deed> {
    let stream = 0usize..3;
    prop_oneof![
        3 => (0u64..4).prop_map(Deed::Subscribe),
        1 => (0usize..6).prop_map(Deed::Unsubscribe),
        1 => Just(Deed::Publish),
        3 => Just(Deed::Begin),
        10 => (stream.clone(), 1u32..4).prop_map(|(stream, bytes)| Deed::Write(stream, bytes)),
        2 => (stream.clone(), 1u8..=3).prop_map(|(stream, state)| Deed::State(stream, state)),
        1 => stream.clone().prop_map(Deed::Restart),
        2 => stream.prop_map(Deed::End),
        8 => (1usize..5).prop_map(Deed::Deliver),
        1 => (1usize..3).prop_map(Deed::Lose),
        6 => Just(Deed::Read),
        6 => Just(Deed::Answer),
        1 => Just(Deed::Fail),
        6 => (0usize..6).prop_map(Deed::Drain),
        2 => (0usize..6).prop_map(Deed::Page),
        1 => Just(Deed::Heads),
    ]
}

fn deed_between_instances() -> impl Strategy<Value = Deed> {
    let place = 0usize..4;
    prop_oneof![
        60 => deed(),
        6 => Just(Deed::CommitAt(Writer::Elsewhere)),
        4 => Just(Deed::CommitAt(Writer::Here)),
        12 => Just(Deed::Hear(0)),
        8 => place.clone().prop_map(Deed::Hear),
        4 => place.clone().prop_map(Deed::HearEarly),
        4 => place.prop_map(Deed::LoseUnseen),
    ]
}

impl Scene {
    fn new() -> Scene {
        Scene {
            hub: Hub::new(10, 500, ahash::RandomState::with_seeds(1, 2, 3, 4)),
            shelf: Shelf::default(),
            lane: VecDeque::new(),
            writer: Writer::Here,
            bus: VecDeque::new(),
            readers: Vec::new(),
            needs: VecDeque::new(),
            found: VecDeque::new(),
            holes: Holes::Never,
        }
    }

    fn publish(&mut self, ends: u64) {
        self.shelf.log.push(ends);
        let offset = self.shelf.log.len() as u64;
        let (change, stream) = match ends {
            0 => (Change::None, StreamMark::None),
            u64::MAX => (Change::None, StreamMark::Begun),
            ends => (Change::Edits(Offset(ends)), StreamMark::Ended(StreamEnd::Completed)),
        };
        let frame = self.shelf.publication(offset);
        self.send(Sent::Published(Published {
            channel: name(),
            offset: Offset(offset),
            change,
            stream,
            time_ms: 1,
            frame,
        }));
    }

    /// Changes the stream with this number among the open ones.
    fn change(&mut self, number: usize, act: impl FnOnce(u64, &mut Extent) -> News) {
        let count = self.shelf.open.len().max(1);
        let Some((offset, extent)) = self.shelf.open.iter_mut().nth(number % count) else { return };
        let news = act(*offset, extent);
        let (id, generation) = (StreamId { channel: name(), offset: Offset(*offset) }, extent.generation);
        self.send(Sent::News(StreamNews { id, generation: Generation(generation), news }));
    }

    fn send(&mut self, sent: Sent) {
        match self.writer {
            Writer::Here => self.lane.push_back(sent),
            Writer::Elsewhere => self.bus.push_back(sent),
        }
    }

    fn hear(&mut self, sent: Option<Sent>) {
        match sent {
            Some(Sent::Published(published)) => self.hub.publish(&published),
            Some(Sent::News(news)) => self.hub.streamed(&news),
            None => {}
        }
    }

    fn apply(&mut self, deed: Deed) {
        match deed {
            Deed::Subscribe(behind) => self.subscribe(behind),
            Deed::Unsubscribe(reader) => {
                if let Some(reader) = self.readers.get_mut(reader).and_then(Option::take) {
                    self.hub.close(reader.id);
                }
            }
            Deed::Publish => self.publish(0),
            Deed::Begin => self.begin_stream(),
            Deed::Write(number, bytes) => self.change(number, |offset, extent| {
                let at = extent.next;
                extent.next += bytes;
                let text = format!("t {offset} {} {at} {}", extent.generation, extent.next);
                News::Pieces { at: Position(at), next: Position(extent.next), frames: frame(&text) }
            }),
            Deed::State(number, state) => self.change(number, |offset, extent| {
                extent.state = state;
                let state = StreamState::of_code(state.into()).expect("valid");
                let text = format!("s {offset} {} {}", extent.generation, word(state));
                News::State(state, frame(&text))
            }),
            Deed::Restart(number) => self.change(number, |offset, extent| {
                (extent.generation, extent.next) = (extent.generation + 1, 0);
                News::Restarted(frame(&format!("w {offset} {} 0 {}", extent.generation, extent.state)))
            }),
            Deed::End(number) => self.end_stream(number),
            Deed::Deliver(count) => {
                for _ in 0..count {
                    let sent = self.lane.pop_front();
                    self.hear(sent);
                }
            }
            Deed::Lose(count) => {
                let count = count.min(self.lane.len());
                if self.lane.drain(..count).any(|sent| matches!(sent, Sent::News(_))) {
                    self.hub.streams_missed();
                }
            }
            Deed::Read => self.read(),
            Deed::Answer => self.answer(),
            Deed::Fail => {
                if let Some(Need::Streams(id)) = self.needs.front() {
                    self.found.push_back(Found::Streams(*id, None));
                    self.needs.pop_front();
                }
            }
            Deed::Drain(reader) => self.drain(reader),
            Deed::Page(reader) => self.page(reader),
            Deed::Heads => self.hub.heads_read(&name(), self.shelf.position()),
            Deed::CommitAt(writer) => self.writer = writer,
            Deed::Hear(place) => {
                let sent = self.bus.remove(place);
                self.hear(sent);
            }
            Deed::HearEarly(place) => {
                let sent = self.bus.get(place).cloned();
                self.hear(sent);
            }
            Deed::LoseUnseen(place) => drop(self.bus.remove(place)),
        }
        self.turn();
        self.hub.check_streams();
    }

    fn begin_stream(&mut self) {
        if self.shelf.open.len() < 3 {
            self.publish(u64::MAX);
            let begun = Extent { generation: 1, next: 0, state: word(StreamState::Streaming) };
            self.shelf.open.insert(self.shelf.log.len() as u64, begun);
        }
    }

    fn end_stream(&mut self, number: usize) {
        let count = self.shelf.open.len().max(1);
        if let Some(offset) = self.shelf.open.keys().nth(number % count).copied() {
            self.shelf.open.remove(&offset);
            self.publish(offset);
        }
    }

    fn subscribe(&mut self, behind: u64) {
        let offset = Offset((self.shelf.log.len() as u64).saturating_sub(behind));
        let from = StartAt::After { epoch: Some(Epoch(3)), offset };
        let slot = Slot(self.readers.len() as u32);
        let (id, decision) = self.hub.open(&name(), slot, from).expect("room");
        let (streams, ended, outbox) = (BTreeMap::new(), Vec::new(), Vec::new());
        self.readers.push(Some(Reader { id, last: None, synced: false, streams, ended, outbox, page: None }));
        if let Some(decision) = decision {
            self.begin(id, decision);
        }
    }

    fn begin(&mut self, id: SubscriptionId, decision: Decision) {
        if let Some(reader) = self.reader(id) {
            reader.last = Some(decision.cursor.0);
            // It had these before it left, and knows what ended.
            let before = decision.cursor.0;
            let begins: Vec<u64> =
                (1..=before).filter(|at| self.shelf.log[*at as usize - 1] == u64::MAX).collect();
            let ended: Vec<u64> = self.shelf.log[..before as usize].to_vec();
            if let Some(reader) = self.reader(id) {
                for offset in begins.into_iter().filter(|offset| !ended.contains(offset)) {
                    let begun = Extent { generation: 1, next: 0, state: word(StreamState::Streaming) };
                    reader.streams.insert(offset, begun);
                }
            }
        }
        self.step(id);
    }

    fn reader(&mut self, id: SubscriptionId) -> Option<&mut Reader> {
        self.readers.iter_mut().flatten().find(|reader| reader.id == id)
    }

    fn step(&mut self, id: SubscriptionId) {
        let Some(reader) = self.readers.iter_mut().flatten().find(|reader| reader.id == id) else { return };
        if reader.last.is_none() {
            return;
        }
        while reader.outbox.len() < OUTBOX_BYTES / 2 {
            match self.hub.step(id, Paging::Allowed, &mut reader.outbox) {
                CatchUpStep::Done | CatchUpStep::Waits => return,
                CatchUpStep::Wrote => {}
                CatchUpStep::Shares(frame) => reader.outbox.extend_from_slice(&frame),
                CatchUpStep::Page { after, limit, .. } => {
                    reader.page = Some((after.0, limit));
                    return;
                }
            }
        }
    }

    fn turn(&mut self) {
        let mut fallen = Vec::new();
        while let Some(run) = self.hub.take_run() {
            for live in run.live {
                let reader = self.readers[live.slot.0 as usize].as_mut().expect("live ones exist");
                if reader.outbox.len() + run.bytes.len() > OUTBOX_BYTES {
                    fallen.push(*live);
                } else {
                    reader.outbox.extend_from_slice(&run.bytes);
                }
            }
            for live in fallen.drain(..) {
                self.hub.fall_behind(live);
            }
        }
        for id in self.hub.take_caught_up() {
            self.step(id);
        }
        self.needs.extend(self.hub.take_needs());
    }

    fn pages(&self, from: u64, limit: u64) -> (u64, Vec<u8>, u32) {
        let last = self.shelf.log.len() as u64;
        let until = last.min(from.saturating_add(limit).saturating_sub(1));
        if from > until || from == 0 {
            return (0, Vec::new(), 0);
        }
        let frames = (from..=until).flat_map(|offset| self.shelf.publication(offset).to_vec()).collect();
        (from, frames, (until - from + 1) as u32)
    }

    fn read(&mut self) {
        let Some(need) = self.needs.pop_front() else { return };
        let wanted = match &need {
            Need::Streams(id) => {
                let found = Found::Streams(*id, Some(self.shelf.wholes()));
                return self.found.push_back(found);
            }
            Need::Position(id) => Some(self.hub.wanted(*id)),
            Need::Older(id) => self.hub.older(*id),
            Need::Fill(_, after) => Some(PageWanted { range: HistoryRange::After(*after), limit: 3 }),
        };
        let Some(PageWanted { range, limit }) = wanted else { return };
        let limit = u64::from(limit);
        let from = match range {
            HistoryRange::After(after) => after.0 + 1,
            HistoryRange::Before(before) => {
                before.0.min(self.shelf.log.len() as u64 + 1).saturating_sub(limit).max(1)
            }
        };
        let (first, mut frames, mut count) = self.pages(from, limit);
        if let HistoryRange::Before(before) = range {
            (_, frames, count) = self.pages(first, before.0.saturating_sub(first));
        }
        let (position, has_streams) = (self.shelf.position(), !self.shelf.open.is_empty());
        self.found.push_back(Found::Log { need, position, first, frames, count, has_streams });
    }

    fn answer(&mut self) {
        match self.found.pop_front() {
            None => {}
            Some(Found::Streams(id, read)) => {
                let has_failed = read.is_none();
                if has_failed {
                    self.holes = Holes::Possible;
                }
                self.hub.streams_read(id, read);
                self.turn();
                if has_failed {
                    self.hub.ask_streams(id);
                }
            }
            Some(Found::Log { need, position, first, frames, count, has_streams }) => {
                let last = if count == 0 { 0 } else { first + u64::from(count) - 1 };
                let page = LogPage {
                    position,
                    first: Offset(first),
                    last: Offset(last),
                    count,
                    frames: &frames,
                    has_streams,
                };
                match need {
                    Need::Position(id) => {
                        for (id, decision) in self.hub.position_read(id, Some(page)) {
                            self.begin(id, decision.expect("it did not fail"));
                        }
                    }
                    Need::Older(id) => self.hub.older_read(id, Some(page)),
                    Need::Fill(id, _) => self.hub.filled(id, Some(page)),
                    Need::Streams(_) => {}
                }
            }
        }
    }

    fn drain(&mut self, reader: usize) {
        let holes = self.holes;
        let Some(Some(reader)) = self.readers.get_mut(reader) else { return };
        reader.read(holes);
        let id = reader.id;
        if !self.hub.is_live(id) {
            self.step(id);
        }
    }

    fn page(&mut self, reader: usize) {
        let Some(Some(found)) = self.readers.get_mut(reader) else { return };
        let Some((after, limit)) = found.page.take() else { return };
        let id = found.id;
        let (first, frames, count) = self.pages(after + 1, u64::from(limit));
        let last = if count == 0 { 0 } else { first + u64::from(count) - 1 };
        let page = ReplayPage { floor: Offset(1), first: Offset(first), last: Offset(last) };
        if self.hub.page_read(id, Some(page)) {
            self.readers[reader].as_mut().expect("there").outbox.extend_from_slice(&frames);
        }
        self.step(id);
    }

    /// Ends the faults: every reader then has the log and each open stream.
    fn settle(&mut self) {
        // Even the last changes are lost, and nothing follows them.
        self.bus.clear();
        for _ in 0..60 {
            self.apply(Deed::Deliver(100));
            self.apply(Deed::Heads);
            for _ in 0..8 {
                self.apply(Deed::Read);
                self.apply(Deed::Answer);
            }
            for reader in 0..self.readers.len() {
                self.apply(Deed::Page(reader));
                self.apply(Deed::Drain(reader));
            }
        }
        // Readers that became live without their streams have them by now.
        for reader in self.readers.iter().flatten() {
            assert!(reader.synced && self.hub.is_live(reader.id), "{reader:?}");
            assert_eq!(reader.last, Some(self.shelf.log.len() as u64), "{reader:?}");
            assert_eq!(reader.streams, self.shelf.open, "{reader:?}");
        }
    }
}

proptest! {
    /// Under any loss, delay or slow socket: no piece is shown after a hole, none before its begin or after its end, and in
    /// the end every subscriber has every open stream as it is.
    #[test]
    fn every_subscriber_sees_each_stream_whole(deeds in prop::collection::vec(deed(), 1..150)) {
        let mut scene = Scene::new();
        for deed in deeds {
            scene.apply(deed);
        }
        scene.settle();
        let ids: Vec<_> = scene.readers.iter().flatten().map(|reader| reader.id).collect();
        for id in ids {
            scene.hub.close(id);
            scene.hub.check_streams();
        }
        prop_assert_eq!(scene.hub.sizes(), (0, 0, 0), "an empty hub holds nothing");
    }
}

proptest! {
    /// The same when two instances write to the streams in turns, and what the other one sends is lost, late, in another order or
    /// repeated.
    #[test]
    fn every_subscriber_sees_streams_of_two_instances_whole(
        deeds in prop::collection::vec(deed_between_instances(), 1..250),
    ) {
        let mut scene = Scene::new();
        for deed in deeds {
            scene.apply(deed);
        }
        scene.settle();
    }
}

fn live_reader() -> Scene {
    let mut scene = Scene::new();
    for deed in [Deed::Subscribe(0), Deed::Read, Deed::Answer] {
        scene.apply(deed);
    }
    scene
}

#[test]
fn channel_without_streams_keeps_and_reads_nothing_for_them() {
    let mut scene = live_reader();
    for deed in [Deed::Publish, Deed::Deliver(1), Deed::Subscribe(0)] {
        scene.apply(deed);
    }
    let streams = |scene: &Scene| scene.hub.channels.iter().filter(|(_, one)| one.streams.is_some()).count();
    assert_eq!((streams(&scene), scene.needs.len()), (0, 0));
    for deed in [Deed::Begin, Deed::Deliver(1), Deed::Write(0, 3), Deed::Deliver(1)] {
        scene.apply(deed);
    }
    assert_eq!((streams(&scene), scene.needs.len()), (1, 0), "pieces that adjoin need no read");
    for deed in [Deed::End(0), Deed::Deliver(1)] {
        scene.apply(deed);
    }
    assert_eq!(streams(&scene), 0);
}

#[test]
fn readers_that_join_together_share_one_read() {
    let mut scene = live_reader();
    for deed in [Deed::Begin, Deed::Write(0, 3), Deed::Deliver(2)] {
        scene.apply(deed);
    }
    for _ in 0..3 {
        scene.apply(Deed::Subscribe(0));
    }
    assert!(matches!(scene.needs.make_contiguous(), [Need::Streams(_)]), "{:?}", scene.needs);
    // News that arrive meanwhile follow the answer, which is from before it.
    for deed in [Deed::Read, Deed::Write(0, 2), Deed::Deliver(1), Deed::Answer] {
        scene.apply(deed);
    }
    for reader in 0..4 {
        scene.apply(Deed::Drain(reader));
        let reader = scene.readers[reader].as_ref().expect("there");
        assert!(reader.synced && reader.streams == scene.shelf.open, "{reader:?}");
    }
}

#[test]
fn reader_is_synced_without_a_stream_that_cannot_be_read_and_gets_it_later() {
    let mut scene = live_reader();
    for deed in [Deed::Begin, Deed::Write(0, 3), Deed::Deliver(2), Deed::Subscribe(0), Deed::Fail] {
        scene.apply(deed);
    }
    let Some(Found::Streams(id, None)) = scene.found.pop_front() else { panic!("{:?}", scene.found) };
    scene.hub.streams_read(id, None);
    scene.holes = Holes::Possible;
    scene.turn();
    scene.apply(Deed::Drain(1));
    let joined = scene.readers[1].as_ref().expect("there");
    assert!(joined.synced && joined.streams != scene.shelf.open, "{joined:?}");
    scene.hub.ask_streams(id);
    scene.turn();
    for deed in [Deed::Read, Deed::Answer, Deed::Drain(0), Deed::Drain(1)] {
        scene.apply(deed);
    }
    assert!(scene.readers.iter().flatten().all(|reader| reader.streams == scene.shelf.open));
}

#[test]
fn round_that_would_keep_too_much_begins_again() {
    let mut scene = live_reader();
    for deed in [Deed::Begin, Deed::Deliver(1), Deed::Subscribe(0), Deed::Read] {
        scene.apply(deed);
    }
    for _ in 0..2 * super::round::KEPT_BYTES_MAX / 64 {
        scene.apply(Deed::Write(0, 1));
        scene.apply(Deed::Deliver(1));
        scene.apply(Deed::Drain(0));
    }
    scene.apply(Deed::Answer);
    assert!(matches!(scene.needs.make_contiguous(), [Need::Streams(_)]), "the answer was too old");
    for deed in [Deed::Read, Deed::Answer, Deed::Drain(1)] {
        scene.apply(deed);
    }
    assert_eq!(scene.readers[1].as_ref().expect("there").streams, scene.shelf.open);
}

/// A frame of 1 KiB for stream 1, at a position.
fn long_piece(at: u32) -> StreamNews {
    let (id, generation) = (StreamId { channel: name(), offset: Offset(1) }, Generation::FIRST);
    let frames: Arc<[u8]> = vec![at as u8; 1 << 10].into();
    StreamNews { id, generation, news: News::Pieces { at: Position(at), next: Position(at + 1), frames } }
}

#[test]
fn slow_reader_of_long_streams_is_shown_them_in_one_round() {
    let mut streams = super::state::ChannelStreams::default();
    let (channel, reader) = (ChannelId { index: 0, serial: 0 }, SubscriptionId { index: 0, serial: 0 });
    let (mut needs, mut out) = (Vec::new(), Vec::new());
    let whole = |offset| WholeStream {
        id: StreamId { channel: name(), offset: Offset(offset) },
        generation: Generation::FIRST,
        next: Position(0),
        state: StreamState::Streaming,
        frame: vec![0; 60 << 10].into(),
    };
    (1..=8).for_each(|offset| streams.begin(Offset(offset)));
    assert!(matches!(
        streams.show(reader, channel, &mut KnownStreams::new(), &mut needs, &mut out),
        Some(ShowStep::Waits)
    ));
    streams.answered(channel, Offset(8), Some((1..=8).map(whole).collect()), &mut needs);
    let (mut at, mut shown) = (0, Vec::new());
    // While it takes a whole, much is added to one of them.
    for _ in 0..8 {
        let step = streams.show(reader, channel, &mut KnownStreams::new(), &mut needs, &mut out);
        let Some(ShowStep::Shows(frame)) = step else { panic!("{step:?}") };
        assert_eq!(frame.len(), 60 << 10);
        for _ in 0..20 {
            streams.take(channel, &long_piece(at), &mut needs);
            at += 1;
        }
    }
    let mut parts = 0;
    while let Some(step) = streams.show(reader, channel, &mut KnownStreams::new(), &mut needs, &mut out) {
        let ShowStep::Shows(part) = step else { panic!("{step:?}") };
        assert!(part.len() <= super::round::KEPT_BYTES_MAX);
        shown.extend_from_slice(&part);
        parts += 1;
        streams.take(channel, &long_piece(at), &mut needs);
        at += 1;
        streams.check_invariants();
    }
    assert!(parts > 1, "it is not sent all at once");
    assert_eq!(needs, [Need::Streams(channel)], "nothing was read again");
    shown.extend_from_slice(&out);
    let pieces: Vec<u8> = shown.chunks(1 << 10).map(|piece| piece[0]).collect();
    assert_eq!(pieces, (0..at as u8).collect::<Vec<_>>(), "each once, in their order");
}

#[test]
fn last_piece_that_the_bus_lost_is_found_by_a_look_that_delays_nothing() {
    let mut scene = live_reader();
    let written =
        [Deed::CommitAt(Writer::Elsewhere), Deed::Begin, Deed::Write(0, 3), Deed::Hear(0), Deed::Hear(0)];
    written.into_iter().for_each(|deed| scene.apply(deed));
    for deed in [Deed::Write(0, 2), Deed::LoseUnseen(0), Deed::Heads, Deed::Drain(0)] {
        scene.apply(deed);
    }
    let known = |scene: &Scene| scene.readers[0].as_ref().expect("there").streams[&1].next;
    assert_eq!(known(&scene), 3, "nothing shows that there is more");
    // While the read is under way, what adjoins is shown at once.
    for deed in [Deed::Begin, Deed::Write(1, 4), Deed::Hear(0), Deed::Hear(0), Deed::Drain(0)] {
        scene.apply(deed);
    }
    assert_eq!(scene.readers[0].as_ref().expect("there").streams[&2].next, 4);
    for deed in [Deed::Read, Deed::Answer, Deed::Drain(0)] {
        scene.apply(deed);
    }
    assert_eq!(known(&scene), 3, "it may be on its way");
    let look = || [Deed::Heads, Deed::Read, Deed::Answer].into_iter();
    look().chain([Deed::Drain(0)]).for_each(|deed| scene.apply(deed));
    assert_eq!(known(&scene), 5);
    // A look that finds nothing sends nothing.
    look().for_each(|deed| scene.apply(deed));
    assert!(scene.readers[0].as_ref().expect("there").outbox.is_empty());
    // Nor does one that finds only what is on its way, once the bus delivers again.
    [Deed::Write(0, 2), Deed::Hear(0), Deed::Drain(0)].into_iter().for_each(|deed| scene.apply(deed));
    for next in [9, 11, 13] {
        scene.apply(Deed::Write(0, 2));
        look().for_each(|deed| scene.apply(deed));
        assert!(scene.readers[0].as_ref().expect("there").outbox.is_empty());
        [Deed::Hear(0), Deed::Drain(0)].into_iter().for_each(|deed| scene.apply(deed));
        assert_eq!(known(&scene), next);
    }
}

#[test]
fn piece_whose_begin_was_lost_has_the_begin_read() {
    let mut scene = live_reader();
    let lost = [
        Deed::CommitAt(Writer::Elsewhere),
        Deed::Begin,
        Deed::LoseUnseen(0),
        Deed::Write(0, 3),
        Deed::Hear(0),
    ];
    lost.into_iter().for_each(|deed| scene.apply(deed));
    assert!(matches!(scene.needs.make_contiguous(), [Need::Fill(..)]), "{:?}", scene.needs);
    for deed in [Deed::Read, Deed::Answer, Deed::Read, Deed::Answer, Deed::Drain(0)] {
        scene.apply(deed);
    }
    assert_eq!(scene.readers[0].as_ref().expect("there").streams, scene.shelf.open);
}

#[test]
fn slow_subscriber_puts_looks_off_but_not_for_long() {
    let mut streams = super::state::ChannelStreams::default();
    let (channel, reader) = (ChannelId { index: 0, serial: 0 }, SubscriptionId { index: 0, serial: 0 });
    let (mut needs, mut out) = (Vec::new(), Vec::new());
    streams.begin(Offset(1));
    streams.show(reader, channel, &mut KnownStreams::new(), &mut needs, &mut out);
    let whole = WholeStream {
        id: StreamId { channel: name(), offset: Offset(1) },
        generation: Generation::FIRST,
        next: Position(0),
        state: StreamState::Streaming,
        frame: frame("whole"),
    };
    streams.answered(channel, Offset(1), Some(vec![whole]), &mut needs);
    for looks in 0..30 {
        let rounds = needs.len();
        streams.look(channel, &mut needs);
        assert_eq!(needs.len() > rounds, looks == 10, "after {looks} looks");
        streams.check_invariants();
    }
}

#[test]
fn subscriber_is_shown_the_rest_of_what_it_has_unless_it_must_begin_again() {
    let (channel, mut needs) = (ChannelId { index: 0, serial: 0 }, Vec::new());
    let whole = |offset| WholeStream {
        id: StreamId { channel: name(), offset: Offset(offset) },
        generation: Generation::FIRST,
        next: Position(4),
        state: StreamState::Streaming,
        frame: frame(&format!(r#"{{"stream":{{"offset":{offset},"at":0,"text":"abcd","next":4}}}}"#)),
    };
    let part = |offset, next| KnownStream {
        offset: Offset(offset),
        generation: Generation::FIRST,
        next: Position(next),
    };
    let at = |step: Option<ShowStep>| {
        let Some(ShowStep::Shows(frame)) = step else { panic!("{step:?}") };
        let json = frame.split_at(frame.iter().position(|byte| *byte == b'{').expect("JSON")).1;
        let value: serde_json::Value = serde_json::from_slice(json).expect("JSON");
        (value["stream"]["offset"].as_u64(), value["stream"]["at"].as_u64())
    };
    let (reader, other) = (SubscriptionId { index: 0, serial: 0 }, SubscriptionId { index: 1, serial: 0 });
    let mut known = KnownStreams::from([(reader, [part(1, 3), part(3, 1)].into())]);
    let mut streams = super::state::ChannelStreams::default();
    (1..=3).for_each(|offset| streams.begin(Offset(offset)));
    let mut show = |streams: &mut super::state::ChannelStreams, id| {
        streams.show(id, channel, &mut known, &mut needs, &mut Vec::new())
    };
    assert!(matches!(show(&mut streams, reader), Some(ShowStep::Waits)));
    streams.answered(channel, Offset(3), Some((1..=3).map(whole).collect()), &mut Vec::new());
    let wanted = [(1, 3), (2, 0), (3, 1)].map(|(offset, at)| (Some(offset), Some(at)));
    assert_eq!([(); 2].map(|()| at(show(&mut streams, reader))), wanted[..2]);
    assert_eq!(at(show(&mut streams, other)), (Some(1), Some(0)), "it has nothing");
    // A subscriber that was shown something has more than it said.
    let hole = long_piece(9);
    assert!(streams.take(channel, &hole, &mut Vec::new()).is_none());
    assert!(matches!(show(&mut streams, reader), Some(ShowStep::Waits)));
    streams.answered(channel, Offset(3), Some((1..=3).map(whole).collect()), &mut Vec::new());
    let from_the_beginning = [1, 2, 3].map(|offset| (Some(offset), Some(0)));
    assert_eq!([(); 3].map(|()| at(show(&mut streams, reader))), from_the_beginning);
}

#[test]
fn answer_older_than_what_was_sent_is_shown_only_if_it_comes_again_and_again() {
    let mut streams = super::state::ChannelStreams::default();
    let (channel, mut needs) = (ChannelId { index: 0, serial: 0 }, Vec::new());
    streams.begin(Offset(1));
    (0..5).for_each(|at| drop(streams.take(channel, &long_piece(at), &mut needs)));
    let whole = |next| WholeStream {
        id: StreamId { channel: name(), offset: Offset(1) },
        generation: Generation::FIRST,
        next: Position(next),
        state: StreamState::Streaming,
        frame: frame("whole"),
    };
    let mut answer = |streams: &mut super::state::ChannelStreams, next| {
        streams.look(channel, &mut needs);
        streams.answered(channel, Offset(1), Some(vec![whole(next)]), &mut needs).missing.len()
    };
    // A server that lags: each is followed by another read.
    assert_eq!([answer(&mut streams, 2), answer(&mut streams, 4), answer(&mut streams, 5)], [0, 0, 0]);
    // A store that lost commits.
    assert_eq!([2, 2, 2, 2].map(|next| answer(&mut streams, next)), [0, 0, 0, 1]);
    assert_eq!(answer(&mut streams, 2), 0, "it is what they have");
}
