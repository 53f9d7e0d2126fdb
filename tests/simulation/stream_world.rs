//! Producers and readers of streams on real engines, with the real ledger in a store that fails: promises S1 to S6 of
//! `docs/streams.md`.

use super::stream_rig::Rig;
use super::stream_socket::{self, Link};
use super::stream_store::{Heard, StreamStore, Ticketed, settings};
use super::trace::Trace;
use super::world::Phase;
use fastrand::Rng;
use seawall::clock::{Moment, Now};
use seawall::job::CancelAuthority;
use seawall::job::stream::{BegunStream, ProducerNotice, StreamFault, StreamOrder, StreamOutcome};
use seawall::wire::stream::{Generation, Piece, Position, StreamEnd};
use serde_json::Value;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

const REACTORS: u16 = 2;
const PRODUCERS: u64 = 4;
const READERS: usize = 4;
const STEPS: u32 = 1_000;
/// A stream without a producer ends within this, after a crash or an outage too; readers then need a look at the log.
const ENDED_WITHIN: Duration = Duration::from_secs(4 + 4 + 2);
const HEALED_WITHIN: Duration = Duration::from_secs(25);
/// All that is stored is shown within this after the last fault, before any stream ends: nothing else then heals what was lost.
const SHOWN_WITHIN: Duration = Duration::from_secs(3);
/// The tokens of one text.
const TOKENS_MAX: usize = 150;

/// Token `n` of a generation: its text is known in advance, and no two are equal.
fn token(offset: u64, generation: u64, n: usize) -> String {
    let tail = ["é", "\"", "\n", "→ ", "🚀"][(offset as usize + n) % 5];
    format!("{generation}.{n}{tail}")
}

/// The first bytes of a generation.
fn expected(offset: u64, generation: u64, bytes: usize) -> String {
    let mut text = String::new();
    for n in 0.. {
        if text.len() >= bytes {
            break;
        }
        text += &token(offset, generation, n);
    }
    text.get(..bytes).unwrap_or_else(|| panic!("{bytes} is inside of a character")).to_owned()
}

fn tokens_in(offset: u64, generation: u64, bytes: usize) -> usize {
    let (mut length, mut n) = (0, 0);
    while length < bytes {
        length += token(offset, generation, n).len();
        n += 1;
    }
    assert_eq!(length, bytes, "pieces are committed whole");
    n
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Writing {
    /// It begins the next stream, or repeats its begin.
    #[default]
    Wanted,
    Asked,
    Open {
        offset: u64,
        generation: u64,
        sent: usize,
    },
    /// A restart or an end is not answered.
    Waiting,
}

/// A producer. It has a socket, or speaks to the writer as its session would, which reaches states that sessions come to seldom.
#[derive(Debug, Default)]
struct Producer {
    number: u64,
    /// 0: it has no connection.
    connection: u64,
    socket: Option<Link>,
    /// The id of its last command on a socket, and of its last begin.
    commands: u64,
    begin: u64,
    /// The number of its stream.
    stream: u64,
    writing: Writing,
    quiet_until: Moment,
}

/// A stream as a reader has it.
#[derive(Clone, Debug, Default)]
struct Reading {
    generation: u64,
    text: String,
    next: u64,
}

#[derive(Debug, Default)]
struct StreamReader {
    link: Link,
    streams: BTreeMap<u64, Reading>,
    pace: usize,
    /// Frames of streams that added text.
    frames: u64,
}

pub struct StreamWorld {
    now: Now,
    rng: Rng,
    trace: Rc<Trace>,
    rigs: Vec<Rig>,
    store: StreamStore,
    producers: Vec<Producer>,
    readers: Vec<StreamReader>,
    connections: u64,
    /// The largest acknowledged position of each generation.
    acknowledged: BTreeMap<(u64, u64), u64>,
}

impl StreamWorld {
    pub fn new(seed: u64, trace: Rc<Trace>) -> StreamWorld {
        let now = Now { at: Moment::from_micros(3_600_000_000), unix_ms: 1_763_770_000_000 };
        let mut rng = Rng::with_seed(seed);
        let rigs = (0..REACTORS).map(|reactor| Rig::new(reactor, now, rng.u64(..))).collect();
        let producers = (0..PRODUCERS).map(|number| {
            let socket = (number % 2 == 0).then(Link::default);
            Producer { number, socket, ..Producer::default() }
        });
        let readers = (0..READERS).map(|index| StreamReader {
            pace: [1 << 20, 1 << 20, 300, 40][index % 4],
            ..StreamReader::default()
        });
        StreamWorld {
            now,
            rng,
            trace,
            rigs,
            store: StreamStore::new(settings(), now),
            producers: producers.collect(),
            readers: readers.collect(),
            connections: 0,
            acknowledged: BTreeMap::new(),
        }
    }

    pub fn run(&mut self) {
        for _ in 0..STEPS {
            if self.rng.u16(..400) == 0 {
                self.crash();
            }
            if self.rng.u16(..60) == 0 {
                self.store.failing = [0, 0, 30, 100][self.rng.usize(..4)];
                self.store.losing = [0, 0, 20][self.rng.usize(..3)];
                let room = [usize::MAX, usize::MAX, 2, 1][self.rng.usize(..4)];
                self.rigs.iter_mut().for_each(|rig| rig.stream_room = room);
            }
            self.step(Phase::Faults);
        }
        self.settle();
    }

    /// The process dies: engines, ledger and connections are gone.
    fn crash(&mut self) {
        self.trace.note(self.now, || "the process is killed".into());
        let (now, rng) = (self.now, &mut self.rng);
        self.rigs = (0..REACTORS).map(|reactor| Rig::new(reactor, now, rng.u64(..))).collect();
        self.store.crash(now);
        self.producers.iter_mut().for_each(Producer::lose);
        self.readers.iter_mut().for_each(StreamReader::lose);
    }

    fn step(&mut self, phase: Phase) {
        let pause = self.rng.u64(3..60);
        self.now.at = self.now.at + Duration::from_millis(pause);
        self.now.unix_ms += pause;
        let (now, rng) = (self.now, &mut self.rng);
        for (connection, offset, message) in self.store.heard() {
            self.trace.note(now, || format!("producer of {offset} hears {message:?}"));
            let producer = self.producers.iter_mut().find(|producer| producer.connection == connection);
            if let Some(producer) = producer {
                producer.hear(offset, message, &mut self.acknowledged);
            }
        }
        for producer in &mut self.producers {
            producer.listen(now, &mut self.rigs, &mut self.acknowledged, &self.trace);
        }
        let mut stage = Stage {
            now,
            store: &mut self.store,
            rigs: &mut self.rigs,
            connections: &mut self.connections,
            rng: &mut *rng,
        };
        for producer in self.producers.iter_mut().filter(|_| phase == Phase::Faults) {
            producer.act(&mut stage);
        }
        for reader in &mut self.readers {
            reader.act(now, &mut self.rigs, rng, phase, &self.trace);
        }
        for rig in &mut self.rigs {
            rig.turn(now);
            self.store.take(std::mem::take(&mut rig.jobs), now);
        }
        self.store.turn(now, &mut self.rigs, rng);
        self.check();
    }

    /// S1, S2: every reader has a prefix of what is stored, without a hole or a repeat.
    fn check(&self) {
        for reader in &self.readers {
            for (offset, reading) in &reader.streams {
                assert_eq!(reading.next as usize, reading.text.len(), "S2: {offset}");
                let stored = self.store.text(*offset, reading.generation);
                assert!(stored.starts_with(&reading.text), "S1, S2: {offset} shows {:?}", reading.text);
            }
        }
    }

    fn settle(&mut self) {
        self.trace.note(self.now, || "calm".into());
        (self.store.failing, self.store.losing) = (0, 0);
        self.rigs.iter_mut().for_each(|rig| rig.stream_room = usize::MAX);
        self.show();
        for producer in &mut self.producers {
            producer.leave(self.now, &mut self.store, &mut self.rigs);
        }
        let begun = self.now.at;
        while self.store.open_streams() > 0 {
            self.step(Phase::Calm);
            assert!(self.now.at.since(begun) < ENDED_WITHIN, "S4: streams are open");
        }
        let ended = self.now.at;
        while self.readers.iter().any(|reader| !reader.streams.is_empty()) {
            self.step(Phase::Calm);
            let left = || self.readers.iter().map(|reader| reader.streams.keys().collect::<Vec<_>>());
            assert!(
                self.now.at.since(ended) < HEALED_WITHIN,
                "S4: readers miss ends: {:?}",
                left().collect::<Vec<_>>()
            );
        }
        self.check_ends();
    }

    /// S2: nothing is written or lost any more, and every reader gets all there is.
    fn show(&mut self) {
        let begun = self.now.at;
        while let Some(missed) = self.missed() {
            self.step(Phase::Calm);
            assert!(self.now.at.since(begun) < SHOWN_WITHIN, "S2: readers miss text: {missed}");
        }
    }

    /// An open stream of which a reader does not have the whole stored text.
    fn missed(&self) -> Option<String> {
        let mut open = self.store.open();
        open.find_map(|(offset, generation)| {
            let stored = self.store.text(offset, generation);
            let has_all = |reader: &StreamReader| {
                let reading = reader.streams.get(&offset);
                stored.is_empty()
                    || reading.is_some_and(|reading| {
                        (reading.generation, reading.text.as_str()) == (generation, stored)
                    })
            };
            (!self.readers.iter().all(has_all))
                .then(|| format!("{offset}, generation {generation}: {stored:?}"))
        })
    }

    /// S3, S5: each end is the text of its last generation, with everything that was acknowledged.
    fn check_ends(&self) {
        let mut generations = BTreeMap::new();
        for (id, entry) in self.store.ends() {
            let data: Value = serde_json::from_str(&entry.data).expect("JSON");
            let text = data["text"].as_str().expect("a text");
            let generation =
                text.split_once('.').map_or(0, |(generation, _)| generation.parse().expect("a number"));
            assert_eq!(text, expected(id.offset.0, generation, text.len()), "S5");
            assert!(text.starts_with(self.store.text(id.offset.0, generation)), "S5: {}", id.offset);
            generations.insert(id.offset.0, (generation, text.len()));
        }
        for ((offset, generation), next) in &self.acknowledged {
            let (last, length) = generations.get(offset).copied().expect("S4: every stream has ended");
            let kept = if last == *generation { length } else { self.store.text(*offset, *generation).len() };
            assert!(kept as u64 >= *next, "S3: {next} of {offset} was acknowledged, {kept} is kept");
        }
        let frames: u64 = self.readers.iter().map(|reader| reader.frames).sum();
        assert!(frames > 30 && self.store.commits > 30, "{frames} frames, {} commits", self.store.commits);
    }
}

/// The things that a producer acts on.
struct Stage<'a> {
    now: Now,
    store: &'a mut StreamStore,
    rigs: &'a mut [Rig],
    connections: &'a mut u64,
    rng: &'a mut Rng,
}

impl Producer {
    fn lose(&mut self) {
        self.connection = 0;
        if let Some(link) = &mut self.socket {
            *link = Link::default();
        }
        // Whatever it was about, it begins again with the same key.
        self.writing = Writing::Wanted;
    }

    fn leave(&mut self, now: Now, store: &mut StreamStore, rigs: &mut [Rig]) {
        match &mut self.socket {
            Some(link) => link.leave(rigs),
            None if self.connection > 0 => store.detach(self.connection, now),
            None => {}
        }
        self.lose();
    }

    /// Hears what came on its socket.
    fn listen(
        &mut self,
        now: Now,
        rigs: &mut [Rig],
        acknowledged: &mut BTreeMap<(u64, u64), u64>,
        trace: &Trace,
    ) {
        let Some((link, slot)) = self.socket.as_mut().and_then(|link| link.slot.map(|slot| (link, slot)))
        else {
            return;
        };
        let Some(messages) = rigs[link.rig].hear(slot) else { return self.lose() };
        for message in messages {
            trace.note(now, || format!("producer {} hears {message}", self.number));
            let (kind, body) = kind(&message);
            match stream_socket::meaning(kind, body) {
                // The answer to another command than its begin.
                Some((_, Heard::NotBegun | Heard::Begun(_))) if message["id"] != self.begin => {}
                Some((offset, heard)) => self.hear(offset, heard, acknowledged),
                None if kind == "connected" => {
                    self.socket.as_mut().expect("a socket").connected = true;
                }
                None => {}
            }
        }
    }

    fn begin(&mut self, key: &str, stage: &mut Stage<'_>) {
        match &self.socket {
            None => stage.store.begin(self.connection, key, stage.now),
            Some(link) => {
                self.commands += 1;
                self.begin = self.commands;
                link.say(stage.rigs, &stream_socket::begin(self.commands, key));
            }
        }
    }

    fn say(&mut self, offset: u64, ticketed: Ticketed, order: StreamOrder, stage: &mut Stage<'_>) {
        match &self.socket {
            None => stage.store.say(self.connection, offset, ticketed, order, stage.now),
            Some(link) => {
                self.commands += 1;
                let id = (ticketed == Ticketed::Yes).then_some(self.commands);
                link.say(stage.rigs, &stream_socket::command(id, offset, &order));
            }
        }
    }

    /// True if it has a connection; makes one.
    fn is_connected(&mut self, stage: &mut Stage<'_>) -> bool {
        match &mut self.socket {
            Some(link) => {
                link.open(stage.rigs, 1 << 20, stage.rng);
                link.connected
            }
            None if self.connection > 0 => true,
            None if stage.rng.u8(..20) > 0 => false,
            None => {
                *stage.connections += 1;
                self.connection = *stage.connections;
                true
            }
        }
    }

    fn next_stream(&mut self) {
        self.stream += 1;
        self.writing = Writing::Wanted;
    }

    fn hear(&mut self, offset: u64, message: Heard, acknowledged: &mut BTreeMap<(u64, u64), u64>) {
        let mut acknowledge = |generation: Generation, next: Position| {
            let known = acknowledged.entry((offset, generation.0.into())).or_default();
            *known = u64::from(next.0).max(*known);
        };
        match message {
            Heard::Begun(BegunStream { ended: Some(_), .. }) => self.next_stream(),
            Heard::Begun(BegunStream { generation, next, ended: None }) => {
                let sent = tokens_in(offset, generation.0.into(), next.0 as usize);
                self.writing = Writing::Open { offset, generation: generation.0.into(), sent };
            }
            Heard::NotBegun => self.writing = Writing::Wanted,
            Heard::Outcome(StreamOutcome::Appended { generation, next })
            | Heard::Notice(ProducerNotice::Appended { generation, next, .. }) => {
                acknowledge(generation, next)
            }
            Heard::Outcome(StreamOutcome::Restarted { generation, .. }) => {
                self.writing = Writing::Open { offset, generation: generation.0.into(), sent: 0 };
            }
            Heard::Outcome(StreamOutcome::Ended { .. }) => self.next_stream(),
            Heard::Outcome(StreamOutcome::Refused(fault))
            | Heard::Notice(ProducerNotice::Refused { fault, .. }) => self.refused(offset, fault),
            Heard::Outcome(StreamOutcome::Cancelling)
            | Heard::Notice(ProducerNotice::Cancel { .. } | ProducerNotice::Pause | ProducerNotice::Resume) =>
                {}
            Heard::Outcome(outcome) => panic!("{outcome:?}"),
        }
    }

    fn refused(&mut self, refused: u64, fault: StreamFault) {
        match (fault, self.writing) {
            // About the stream before.
            (_, Writing::Open { offset, .. }) if offset != refused => {}
            (StreamFault::AlreadyEnded { .. }, Writing::Open { .. } | Writing::Waiting) => self.next_stream(),
            (StreamFault::Gap { next }, Writing::Open { offset, generation, .. }) => {
                let sent = tokens_in(offset, generation, next.0 as usize);
                self.writing = Writing::Open { offset, generation, sent };
            }
            // The end was about what is not taken yet, or was taken again.
            (
                StreamFault::Overloaded { .. } | StreamFault::Gap { .. } | StreamFault::Diverged { .. },
                Writing::Waiting,
            ) => self.writing = Writing::Wanted,
            // Its begin, sent again, names the newest.
            (StreamFault::Stale { .. }, _) => self.writing = Writing::Wanted,
            (
                StreamFault::Overloaded { .. }
                | StreamFault::Gap { .. }
                | StreamFault::AlreadyEnded { .. }
                | StreamFault::TooLarge,
                _,
            ) => {}
            (fault, writing) => panic!("{fault:?} for an honest producer that is {writing:?}"),
        }
    }

    fn act(&mut self, stage: &mut Stage<'_>) {
        if !self.is_connected(stage) || self.quiet_until > stage.now.at {
            return;
        }
        match self.writing {
            Writing::Wanted => {
                self.writing = Writing::Asked;
                let key = format!("p{}-{}", self.number, self.stream);
                self.begin(&key, stage);
            }
            Writing::Asked | Writing::Waiting => {
                if stage.rng.u8(..100) == 0 {
                    self.leave(stage.now, stage.store, stage.rigs);
                }
            }
            Writing::Open { offset, generation, sent } => self.write((offset, generation, sent), stage),
        }
    }

    fn write(&mut self, open: (u64, u64, usize), stage: &mut Stage<'_>) {
        let (offset, generation, sent) = open;
        let at = |n: usize| -> usize { (0..n).map(|n| token(offset, generation, n).len()).sum() };
        // Without a position it ends after what was taken, of which a producer that has come back does not know.
        let is_named = stage.rng.bool();
        let end = |end| StreamOrder::End {
            generation: Some(Generation(generation as u32)),
            at: is_named.then(|| Position(at(sent) as u32)),
            end,
            data: None,
        };
        match stage.rng.u16(..1_000) {
            0..6 => self.leave(stage.now, stage.store, stage.rigs),
            6..12 => {
                self.quiet_until = stage.now.at + Duration::from_millis(stage.rng.u64(0..12_000));
            }
            12..16 => {
                self.writing = Writing::Waiting;
                self.say(offset, Ticketed::Yes, StreamOrder::Restart, stage);
            }
            choice @ 16..22 => {
                self.writing = Writing::Waiting;
                let state = if choice == 16 { StreamEnd::Failed } else { StreamEnd::Completed };
                self.say(offset, Ticketed::Yes, end(state), stage);
            }
            22..25 => {
                let order = StreamOrder::Cancel { authority: CancelAuthority::Reader };
                self.say(offset, Ticketed::Yes, order, stage);
            }
            choice => {
                // Mostly the next token, sometimes one that was sent before.
                let n = if choice < 100 { stage.rng.usize(..=sent) } else { sent };
                let order = StreamOrder::Append {
                    generation: Some(Generation(generation as u32)),
                    at: Some(Position(at(n) as u32)),
                    piece: Piece::Text(token(offset, generation, n).into()),
                };
                let ticketed = if choice % 4 == 0 { Ticketed::Yes } else { Ticketed::No };
                self.say(offset, ticketed, order, stage);
                self.writing = Writing::Open { offset, generation, sent: sent.max(n + 1) };
                if sent > TOKENS_MAX {
                    self.writing = Writing::Waiting;
                    self.say(offset, Ticketed::Yes, end(StreamEnd::Completed), stage);
                }
            }
        }
    }
}

impl StreamReader {
    fn lose(&mut self) {
        self.link.slot = None;
        self.link.connected = false;
        self.streams.clear();
    }

    fn act(&mut self, now: Now, rigs: &mut [Rig], rng: &mut Rng, phase: Phase, trace: &Trace) {
        let pace = if phase == Phase::Faults { self.pace } else { 1 << 20 };
        self.link.open(rigs, pace, rng);
        let Some(slot) = self.link.slot else { return };
        rigs[self.link.rig].set_pace(slot, pace);
        let Some(messages) = rigs[self.link.rig].hear(slot) else { return self.lose() };
        for message in messages {
            trace.note(now, || format!("reader hears {message}"));
            self.hear(&message, rigs);
        }
        if phase == Phase::Faults && rng.u16(..300) == 0 {
            self.link.leave(rigs);
            self.lose();
        }
    }

    fn hear(&mut self, message: &Value, rigs: &mut [Rig]) {
        let (kind, body) = kind(message);
        match kind {
            "connected" => {
                self.link.connected = true;
                self.link.say(rigs, r#"{"id":2,"subscribe":{"channel":"c0"}}"#);
            }
            "stream" => self.stream(body),
            "publication" if body.get("edits").is_some() => {
                self.streams.remove(&body["edits"].as_u64().expect("an offset"));
            }
            "subscribed" | "publication" | "synced" | "lag" | "beat" | "status" => {}
            other => panic!("{other}: {message}"),
        }
    }

    /// The rules for clients.
    fn stream(&mut self, body: &Value) {
        let number = |member: &str| body[member].as_u64();
        let offset = number("offset").expect("an offset");
        let generation = number("gen").expect("a generation");
        let (Some(at), Some(next)) = (number("at"), number("next")) else { return };
        // A stream begins with nothing.
        let begun = || Reading { generation, ..Reading::default() };
        let known = self.streams.entry(offset).or_insert_with(begun);
        let is_whole = at == 0 && body.get("state").is_some();
        if generation < known.generation
            || (generation == known.generation && next <= known.next && !is_whole)
        {
            return;
        }
        if is_whole {
            *known = Reading { generation, ..Reading::default() };
        }
        // The gateway sends what adjoins, or the whole.
        assert_eq!((generation, at), (known.generation, known.next), "S2: a hole in {offset}");
        known.text.push_str(body["text"].as_str().expect("a text"));
        known.next = next;
        self.frames += 1;
    }
}

/// The name of a message's only member besides `id`, and its value.
fn kind(message: &Value) -> (&str, &Value) {
    let members = message.as_object().expect("an object");
    let (kind, body) = members.iter().find(|(name, _)| *name != "id").expect("a member");
    (kind, body)
}
