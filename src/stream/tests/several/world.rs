//! Instances, producers that move between them, readers and one store. After each step the promises are checked.

mod sweep;

use super::Reader;
use super::instance::{Arrival, Instance, Line, Output};
use super::store::{Store, Stored};
use crate::clock::Moment;
use crate::id::{ChannelName, Offset, ProducerId, ReactorId, UserName};
use crate::stream::tests::reader;
use crate::stream::tests::source::Source;
use crate::stream::*;
use crate::wire::stream::{
    AnswerOptions, EndCause, EventKeep, Generation, Piece, Position, ProducerNotice, StreamEnd, StreamFault,
    StreamId, StreamOptions, StreamOutcome,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub const INSTANCES: usize = 3;
const PRODUCERS: u64 = 3;
const OFFSETS: u64 = 3;
const GIVE_UP_MS: u32 = 5_000;
const ANSWER_MS: u32 = 8_000;

/// A command that waits for a reply.
struct Command {
    at: usize,
    producer: u64,
    id: StreamId,
    /// The piece of an append.
    piece: Option<(Position, String)>,
}

pub struct World {
    settings: StreamSettings,
    now: Moment,
    store: Store,
    /// The time by which the clock of the store is fast. The age of a stream is that of its life by then.
    jump: Duration,
    instances: Vec<Instance>,
    readers: Vec<Reader>,
    next_offset: u64,
    tickets: u32,
    commands: BTreeMap<u32, Command>,
    answered: BTreeSet<u32>,
    /// The producers whose sockets are not read.
    paused: BTreeSet<(usize, u64)>,
}

fn settings() -> StreamSettings {
    StreamSettings {
        life: Duration::from_secs(60),
        window_bytes: 200,
        message_bytes: 4_000,
        ..StreamSettings::default()
    }
}

fn producer(number: u64) -> ProducerId {
    ProducerId { reactor: ReactorId(0), connection: number }
}

fn bot() -> UserName {
    UserName::parse("bot").expect("valid")
}

impl World {
    pub fn new() -> World {
        let now = Moment::from_micros(5_000_000_000);
        World {
            settings: settings(),
            now,
            store: Store::default(),
            jump: Duration::ZERO,
            instances: (0..INSTANCES).map(|_| Instance::new(settings(), now)).collect(),
            readers: (0..INSTANCES).map(|_| Reader::default()).collect(),
            next_offset: 1,
            tickets: 0,
            commands: BTreeMap::new(),
            answered: BTreeSet::new(),
            paused: BTreeSet::new(),
        }
    }

    /// One of the newest streams.
    fn id(&self, choice: u64) -> StreamId {
        let offset = self.next_offset.saturating_sub(1 + choice % OFFSETS).max(1);
        StreamId { channel: ChannelName::parse("c1").expect("valid"), offset: Offset(offset) }
    }

    fn ticket(&mut self, at: usize, by: u64, id: &StreamId, piece: Option<(Position, String)>) -> u32 {
        self.tickets += 1;
        self.commands.insert(self.tickets, Command { at, producer: by, id: id.clone(), piece });
        self.tickets
    }

    pub fn begin(&mut self, at: usize, number: u64) {
        let id = StreamId { offset: Offset(self.next_offset), ..self.id(0) };
        self.next_offset += 1;
        let question = Offset(id.offset.0 - 1);
        let answer = AnswerOptions { question, give_up_ms: GIVE_UP_MS, answer_ms: ANSWER_MS };
        let answer = (number % 3 == 2).then_some(answer);
        let options = StreamOptions { answer, ..StreamOptions::default() };
        let (author, begun): (_, Box<str>) = (bot(), r#"{"agent":"triage"}"#.into());
        let touched = self.store.next_touch();
        let stream = StoredStream {
            id: id.clone(),
            author: author.clone(),
            options: options.clone(),
            begun: begun.clone(),
            generation: Generation::FIRST,
            state: options.first_state(),
            age: Duration::ZERO,
            asked: answer.map(|_| Duration::ZERO),
        };
        let (canceller, rows, end) = (None, Vec::new(), None);
        self.store
            .streams
            .insert(id.clone(), Stored { stream, touched, sign: self.now, canceller, rows, end });
        let by = answer.is_none().then(|| producer(number % PRODUCERS));
        let begin = StreamBegin { id, author, options, begun, producer: by };
        let ledger = &mut self.instances[at].ledger;
        if ledger.admit(begin.clone(), 0, self.now).is_ok() {
            ledger.begun(begin, touched, self.now);
        }
    }

    /// Gives an order to an instance that has the stream open, or opens it. False if it has ended.
    fn arrive(&mut self, at: usize, id: &StreamId, contradicts: impl Fn(&Ledger<u32>) -> bool) -> bool {
        let instance = &mut self.instances[at];
        if instance.ledger.has(id) && !contradicts(&instance.ledger) {
            return true;
        }
        let mut out = Output::default();
        let is_open = instance.load(id, &self.store, self.now, &mut out);
        self.hear(at, out);
        is_open
    }

    pub fn append(&mut self, at: usize, choice: u64, number: u64, arrival: Arrival) {
        let (id, by) = (self.id(choice), number % PRODUCERS);
        let stored = &self.store.streams[&id];
        let (generation, is_answer) = (stored.stream.generation, stored.stream.options.answer.is_some());
        let known = match (number % 3, self.instances[at].ledger.shared(&id)) {
            (0, Some(shared)) if shared.generation == generation => shared.text.next().0 as usize,
            _ => stored.pieces(generation).next(),
        };
        // A stream's second text is that of an offset which no stream has.
        let text_of = if arrival == Arrival::OtherText { id.offset.0 + 500 } else { id.offset.0 };
        let source = Source::new(text_of, generation.0);
        let Some(end) = source.index(super::super::position(known)) else { return };
        let from = if arrival == Arrival::AtTheEnd { end } else { end.saturating_sub(number as usize % 9) };
        let piece = source.piece(from, 1 + number as usize % 30);
        let place = super::super::position(source.position(from));
        let text = match &piece {
            crate::wire::stream::Piece::Text(text) => text.to_string(),
            _ => String::new(),
        };
        let append = StreamAppend {
            generation: (is_answer || choice.is_multiple_of(2)).then_some(generation),
            at: Some(place),
            piece,
        };
        if self.paused.contains(&(at, by))
            || !self.arrive(at, &id, |ledger| {
                ledger.contradicts(&id, append.generation, append.at, &append.piece)
            })
        {
            return;
        }
        let ticket = choice.is_multiple_of(3).then(|| self.ticket(at, by, &id, Some((place, text))));
        let (mut out, user) = (Output::default(), bot());
        let sender = StreamSender { producer: producer(by), user: &user, ticket };
        let _ = self.instances[at].ledger.take(&id, sender, append, self.now, &mut out);
        self.hear(at, out);
    }

    pub fn restart(&mut self, at: usize, choice: u64, number: u64) {
        let (id, by) = (self.id(choice), number % PRODUCERS);
        self.order(at, by, &id, |ledger, sender, id, now, out| ledger.restart(id, sender, now, out));
    }

    pub fn end(&mut self, at: usize, choice: u64, number: u64) {
        let (id, by) = (self.id(choice), number % PRODUCERS);
        let stored = &self.store.streams[&id];
        let next = super::super::position(stored.pieces(stored.stream.generation).next());
        let end = if number.is_multiple_of(5) { StreamEnd::Failed } else { StreamEnd::Completed };
        let generation = stored.stream.options.answer.map(|_| stored.stream.generation);
        let finish =
            StreamFinish { generation, at: number.is_multiple_of(3).then_some(next), end, data: None };
        if !self.arrive(at, &id, |ledger| ledger.contradicts_end(&id, finish.generation, finish.at)) {
            return;
        }
        self.order(at, by, &id, |ledger, sender, id, now, out| ledger.end(id, sender, finish, now, out));
    }

    pub fn cancel(&mut self, at: usize, choice: u64) {
        let id = self.id(choice);
        self.order(at, 99, &id, |ledger, sender, id, now, out| {
            ledger.cancel(id, sender, CancelRight::All, now, out)
        });
    }

    /// A backend has taken the question of an answer.
    pub fn process(&mut self, at: usize, choice: u64) {
        let id = self.id(choice);
        self.order(at, 98, &id, |ledger, sender, id, now, out| ledger.process(id, sender, now, out));
    }

    /// A backend refuses the question of an answer.
    pub fn fail(&mut self, at: usize, choice: u64) {
        let id = self.id(choice);
        self.order(at, 98, &id, |ledger, sender, id, _, out| ledger.fail(id, sender, EndCause::Refused, out));
    }

    fn order(
        &mut self,
        at: usize,
        by: u64,
        id: &StreamId,
        give: impl FnOnce(&mut Ledger<u32>, StreamSender<'_, u32>, &StreamId, Moment, &mut Output) -> Known,
    ) {
        if !self.arrive(at, id, |_| false) {
            return;
        }
        let ticket = self.ticket(at, by, id, None);
        let (mut out, user) = (Output::default(), bot());
        let sender = StreamSender { producer: producer(by), user: &user, ticket: Some(ticket) };
        assert_eq!(give(&mut self.instances[at].ledger, sender, id, self.now, &mut out), Known::Open);
        self.hear(at, out);
    }

    /// A user edits the begin, at an instance that does not have the stream open.
    pub fn replace(&mut self, choice: u64) {
        if !choice.is_multiple_of(4) {
            return;
        }
        let id = self.id(choice);
        let Some(look) = self.store.look(&id) else { return };
        let fence = StreamFence { generation: look.generation, next: look.next, touched: None };
        let (end, data) = (StreamEnd::Replaced, "null".into());
        let row = EndRow { id, author: bot(), generation: look.generation, fence, end, cause: None, data };
        assert!(matches!(self.store.end(&row), StoredEndFate::Stored(..)));
    }

    pub fn detach(&mut self, at: usize, number: u64) {
        let by = number % PRODUCERS;
        self.instances[at].ledger.detach(producer(by), self.now);
        self.paused.remove(&(at, by));
        self.commands.retain(|_, command| command.at != at || command.producer != by);
    }

    /// A producer begins again under its key.
    pub fn attach(&mut self, at: usize, choice: u64, number: u64) {
        let id = self.id(choice);
        if !self.arrive(at, &id, |_| true) {
            return;
        }
        let mut out = Output::default();
        let begun = self.instances[at].ledger.attach(&id, producer(number % PRODUCERS), self.now, &mut out);
        let begun = begun.expect("it is open");
        let stored = &self.store.streams[&id];
        if begun.generation == stored.stream.generation {
            assert_eq!(begun.next.0 as usize, stored.pieces(begun.generation).next(), "it continues there");
        }
        self.hear(at, out);
    }

    pub fn crash(&mut self, at: usize) {
        self.instances[at] = Instance::new(self.settings.clone(), self.now);
        self.paused.retain(|(of, _)| *of != at);
        self.commands.retain(|_, command| command.at != at);
    }

    /// Puts the clock of the store forward.
    pub fn jump(&mut self, time: Duration) {
        self.jump = time;
        for stored in self.store.streams.values_mut() {
            stored.stream.age = time;
        }
    }

    /// The producer of a begin gives a sign of life.
    pub fn live(&mut self, at: usize) {
        let (id, user) = (self.id(0), bot());
        let append = StreamAppend { generation: None, at: None, piece: Piece::Alive };
        let sender = StreamSender { producer: producer(0), user: &user, ticket: None };
        let mut out = Output::default();
        assert_eq!(self.instances[at].ledger.take(&id, sender, append, self.now, &mut out), Known::Open);
        self.hear(at, out);
    }

    /// True if an instance has the newest stream open.
    pub fn has(&self, at: usize) -> bool {
        self.instances[at].ledger.has(&self.id(0))
    }

    pub fn newest_is_open(&self) -> bool {
        self.store.streams[&self.id(0)].end.is_none()
    }

    pub fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    pub fn look(&mut self, at: usize) {
        let mut out = Output::default();
        let instance = &mut self.instances[at];
        for id in instance.ledger.to_look_at() {
            instance.ledger.looked(&id, self.store.look(&id), self.now, &mut out);
        }
        instance.catch_up(&self.store, self.now, &mut out);
        self.hear(at, out);
    }

    pub fn flush(&mut self, at: usize, line: Line) {
        let mut out = Output::default();
        self.instances[at].flush(&mut self.store, line, self.now, &mut out);
        self.hear(at, out);
    }

    pub fn reconnect(&mut self, at: usize) {
        let mut out = Output::default();
        self.instances[at].catch_up(&self.store, self.now, &mut out);
        self.hear(at, out);
    }

    fn hear(&mut self, at: usize, out: Output) {
        for (ticket, outcome) in out.replies {
            assert!(self.answered.insert(ticket), "one reply to each command");
            // Its connection may have ended.
            let Some(command) = self.commands.remove(&ticket) else { continue };
            match (&outcome, &command.piece) {
                (StreamOutcome::Appended { generation, next }, Some((place, text))) => {
                    let stored = self.whole_text(&command.id, *generation, *next);
                    if self.source_is_plain(&command.id, *generation) {
                        let part = stored.get(place.0 as usize..place.0 as usize + text.len());
                        assert_eq!(part, Some(text.as_str()), "S3: an acknowledged piece is stored");
                    }
                }
                (StreamOutcome::Refused(StreamFault::NotFound), _) => panic!("the stream exists"),
                _ => {}
            }
        }
        for (connection, notice) in out.notices {
            let place = (at, connection.connection);
            match notice {
                ProducerNotice::Appended { id, generation, next } => {
                    self.whole_text(&id, generation, next);
                }
                ProducerNotice::Pause => assert!(self.paused.insert(place), "paused twice"),
                ProducerNotice::Resume => assert!(self.paused.remove(&place), "resumed twice"),
                ProducerNotice::Refused { .. } | ProducerNotice::Cancel { .. } => {}
            }
        }
        // The bus loses the news for one of the others, and has none of what others wrote.
        for (place, news) in out.news.iter().enumerate() {
            for (index, reader) in self.readers.iter_mut().enumerate() {
                let is_lost =
                    index != at && ((index + place).is_multiple_of(3) || out.heard.contains(&place));
                if !is_lost && reader.read(news) {
                    reader.streams.remove(&news.id.offset.0);
                }
            }
        }
    }

    /// True if the positions of the text are its bytes, because it has no event.
    fn source_is_plain(&self, id: &StreamId, generation: Generation) -> bool {
        let stored = &self.store.streams[id];
        stored.pieces(generation).next() == stored.text(generation).len() && stored.end.is_none()
    }

    /// The stored text of a generation, which must reach to an acknowledged position.
    fn whole_text(&self, id: &StreamId, generation: Generation, next: Position) -> String {
        let stored = &self.store.streams[id];
        let pieces = stored.pieces(generation);
        match &stored.end {
            // An end has the text of what waited, without events. The end of another generation with the same text is as good.
            Some((row, _))
                if row.end != StreamEnd::Replaced
                    && (row.generation == generation || pieces.next() < next.0 as usize) =>
            {
                reader::of_end(&row.data, EventKeep::Drop).0
            }
            _ => {
                assert!(
                    pieces.next() >= next.0 as usize,
                    "S3: {generation:?} {next:?} of {pieces:?}, {:?}",
                    stored.end
                );
                stored.text(generation)
            }
        }
    }

    /// S1 and S2.
    pub fn check(&self) {
        for reading in &self.readers {
            for (offset, reading) in &reading.streams {
                let id = StreamId { offset: Offset(*offset), ..self.id(0) };
                let stored = &self.store.streams[&id];
                let generation = Generation(u32::try_from(reading.generation).expect("small"));
                assert_eq!(reading.next as usize, reading.text.len() + reading.events.len(), "S2");
                let text = stored.text(generation);
                assert!(text.starts_with(&reading.text), "S1: {:?} of {text:?}", reading.text);
            }
        }
    }

    /// S4: everything ends without its producers, and every command is answered.
    pub fn finish(mut self) {
        for by in 0..PRODUCERS {
            for at in 0..INSTANCES {
                self.detach(at, by);
            }
        }
        let begun = self.now;
        let bound = self.settings.idle * 2 + self.settings.orphan * 2 + Duration::from_secs(20);
        while self.now.since(begun) < bound {
            for at in 0..INSTANCES {
                self.look(at);
                self.flush(at, Line::Works);
            }
            if (self.now.since(begun).as_millis() / 500).is_multiple_of(20) {
                self.sweep(0);
            }
            self.wait(Duration::from_millis(500));
            self.check();
        }
        for (id, stored) in &self.store.streams {
            assert!(stored.end.is_some(), "S4: {id:?} is open");
        }
        for instance in &self.instances {
            assert_eq!((instance.ledger.open_streams(), instance.ledger.bytes()), (0, 0));
        }
        assert!(self.commands.is_empty(), "each command is answered");
        assert!(self.paused.is_empty(), "each pause ends");
    }
}
