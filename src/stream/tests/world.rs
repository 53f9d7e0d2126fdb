//! Producers, readers, users, a clock and a store that fails, around one ledger. After each step the promises are checked.

use super::checks::plain;
use super::reader::Reader;
use super::source::Source;
use super::store::Store;
use crate::clock::Moment;
use crate::id::{ChannelName, Offset, ProducerId, ReactorId, UserName};
use crate::stream::pieces::position;
use crate::stream::*;
use crate::wire::stream::{
    EventKeep, Generation, Piece, Position, ProducerNotice, StreamEnd, StreamFault, StreamId, StreamOptions,
    StreamOutcome,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub const PRODUCERS: u64 = 3;
const READERS: usize = 2;
const OFFSETS: u64 = 4;

/// The result of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    Stored,
    Failed,
    /// It is stored, but the writer has to take it for failed.
    Unknown,
}

pub struct World {
    pub(super) ledger: Ledger<u32>,
    pub(super) settings: StreamSettings,
    pub(super) now: Moment,
    pub(super) store: Store,
    pub(super) readers: Vec<Reader>,
    pub(super) keeps: BTreeMap<StreamId, EventKeep>,
    pub(super) next_offset: u64,
    tickets: u32,
    /// The orders that wait for a reply: those of each stream.
    pub(super) unanswered: BTreeMap<u32, StreamId>,
    /// The largest position of each generation that was acknowledged.
    pub(super) acknowledged: BTreeMap<(StreamId, Generation), Position>,
    pub(super) paused: BTreeSet<u64>,
    /// The last time a commit failed or the process started.
    spared: Moment,
    pub(super) begun: BTreeMap<StreamId, Moment>,
}

pub fn settings() -> StreamSettings {
    StreamSettings {
        life: Duration::from_secs(60),
        window_bytes: 60,
        pending_bytes: 600,
        memory_bytes: 24_000,
        message_bytes: 700,
        events_per_stream: 40,
        open_per_channel: 3,
        ..StreamSettings::default()
    }
}

pub(super) fn producer(number: u64) -> ProducerId {
    ProducerId { reactor: ReactorId(0), connection: number }
}

pub(super) fn bot() -> UserName {
    UserName::parse("bot").expect("valid")
}

impl World {
    pub fn new() -> World {
        let now = Moment::from_micros(5_000_000_000);
        World {
            ledger: Ledger::new(settings(), now),
            settings: settings(),
            now,
            store: Store::default(),
            readers: (0..READERS).map(|_| Reader::default()).collect(),
            keeps: BTreeMap::new(),
            next_offset: 1,
            tickets: 0,
            unanswered: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            paused: BTreeSet::new(),
            spared: now,
            begun: BTreeMap::new(),
        }
    }

    pub(super) fn id(&self, choice: u64) -> StreamId {
        // One of the newest streams, some of which have ended.
        let offset = self.next_offset.saturating_sub(1 + choice % OFFSETS).max(1);
        StreamId { channel: ChannelName::parse("c1").expect("valid"), offset: Offset(offset) }
    }

    pub(super) fn ticket(&mut self, id: &StreamId) -> u32 {
        self.tickets += 1;
        self.unanswered.insert(self.tickets, id.clone());
        self.tickets
    }

    pub fn begin(&mut self, by: u64, events: EventKeep, commit: Commit) {
        let options = StreamOptions { events, ..StreamOptions::default() };
        self.begin_with(options, Some(producer(by)), commit);
    }

    pub(super) fn begin_with(
        &mut self,
        options: StreamOptions,
        producer: Option<ProducerId>,
        commit: Commit,
    ) {
        let mut id = self.id(0);
        id.offset = Offset(self.next_offset);
        let (events, state) = (options.events, options.first_state());
        let begin = StreamBegin {
            id: id.clone(),
            author: bot(),
            options: options.clone(),
            begun: r#"{"agent":"triage"}"#.into(),
            producer,
        };
        let mut out = StreamOutput::default();
        if self.ledger.begin(begin, self.now).is_err() {
            let is_small = self.ledger.bytes() < self.settings.memory_bytes / 4;
            assert!(self.store.open.len() >= self.settings.open_per_channel || !is_small, "there was room");
            return;
        }
        if commit == Commit::Failed {
            self.ledger.forget(&id, &mut out);
            return self.hear(out);
        }
        self.next_offset += 1;
        self.keeps.insert(id.clone(), events);
        self.begun.insert(id.clone(), self.now);
        let stored = StoredStream {
            id: id.clone(),
            author: bot(),
            options,
            begun: r#"{"agent":"triage"}"#.into(),
            generation: Generation::FIRST,
            state,
            age: Duration::ZERO,
            asked: None,
        };
        self.store.open.insert(id, stored);
    }

    /// A producer sends pieces of the source, from a place that depends on `choice`: the next one, a repeat, an overlap.
    pub fn append(&mut self, by: u64, choice: u64, back: usize, units: usize) {
        let id = self.id(choice);
        let Some(shared) = self.ledger.shared(&id) else { return self.append_to_ended(&id, by) };
        // The ledger's own `next` is not visible, but a wrong append names it.
        let Some((generation, next)) = self.probe(&id, by) else { return };
        assert!(generation >= shared.generation);
        let source = Source::new(id.offset.0, generation.0);
        let end = source.index(next).expect("the end is between units");
        let from = end.saturating_sub(back);
        let piece = source.piece(from, units);
        let at = position(source.position(from));
        let with_ticket = choice.is_multiple_of(3);
        let ticket = with_ticket.then(|| self.ticket(&id));
        let named = (!choice.is_multiple_of(5)).then_some(at).or((from != end).then_some(at));
        let append =
            StreamAppend { generation: self.named(&id, choice).then_some(generation), at: named, piece };
        let out = self.send(&id, by, ticket, append);
        for (producer, notice) in &out.notices {
            if let ProducerNotice::Refused { fault, .. } = notice {
                assert!(
                    matches!(fault, StreamFault::TooLarge | StreamFault::Overloaded { .. }),
                    "{producer:?} was right: {fault:?}"
                );
            }
        }
        self.hear(out);
    }

    fn append_to_ended(&mut self, id: &StreamId, by: u64) {
        let append = StreamAppend { generation: None, at: None, piece: Piece::Text("x".into()) };
        let user = bot();
        let sender = StreamSender { producer: producer(by), user: &user, ticket: None };
        let mut out = StreamOutput::default();
        assert_eq!(self.ledger.take(id, sender, append, self.now, &mut out), Known::No);
        assert!(out.is_empty());
    }

    fn send(
        &mut self,
        id: &StreamId,
        by: u64,
        ticket: Option<u32>,
        append: StreamAppend,
    ) -> StreamOutput<u32> {
        let mut out = StreamOutput::default();
        let user = bot();
        let sender = StreamSender { producer: producer(by), user: &user, ticket };
        assert_eq!(self.ledger.take(id, sender, append, self.now, &mut out), Known::Open);
        out
    }

    /// The newest generation and the end of its text, which refusals name; `None` while the stream ends.
    fn probe(&mut self, id: &StreamId, by: u64) -> Option<(Generation, Position)> {
        let far = Some(Position(u32::MAX));
        let ask = |world: &mut World, generation| {
            let ticket = world.ticket(id);
            let append = StreamAppend { generation, at: far, piece: Piece::Alive };
            let out = world.send(id, by, Some(ticket), append);
            let outcome = out.replies.first().map(|(_, outcome)| outcome.clone());
            world.hear(out);
            outcome
        };
        let stale = ask(self, Some(Generation(u32::MAX)));
        let Some(StreamOutcome::Refused(StreamFault::Stale { generation })) = stale else { return None };
        let named = self.is_answer(id).then_some(generation);
        let Some(StreamOutcome::Refused(StreamFault::Gap { next })) = ask(self, named) else { return None };
        Some((generation, next))
    }

    /// An append that must be refused, and change nothing.
    pub fn append_wrongly(&mut self, by: u64, choice: u64, kind: u64) {
        let id = self.id(choice);
        if self.ledger.shared(&id).is_none() {
            return;
        }
        let Some((generation, next)) = self.probe(&id, by) else { return };
        let source = Source::new(id.offset.0, generation.0);
        let end = source.index(next).expect("the end is between units");
        let before = position(source.position(end.saturating_sub(1)));
        let text = |text: &str| Piece::Text(text.into());
        let newest = self.is_answer(&id).then_some(generation);
        let (generation, at, piece) = match kind % 5 {
            0 => (newest, Position(next.0 + 1), text("x")),
            // Not in the alphabet of the source.
            1 => (Some(generation), before, text("zzzzzz")),
            2 => (Some(Generation(generation.0 - 1)), next, text("x")),
            3 => (Some(Generation(generation.0 + 1)), next, text("x")),
            // Inside of a character, if it has more than one byte.
            _ => (newest, Position(before.0 + 1), text("zz")),
        };
        if end == 0 && kind % 5 == 1 || at >= next && kind % 5 == 4 {
            return;
        }
        let ticket = self.ticket(&id);
        let out = self.send(&id, by, Some(ticket), StreamAppend { generation, at: Some(at), piece });
        let [(_, StreamOutcome::Refused(fault))] = &out.replies[..] else { panic!("{:?}", out.replies) };
        let is_right = match kind % 5 {
            0 => matches!(fault, StreamFault::Gap { .. }),
            1 | 4 => matches!(fault, StreamFault::Diverged { .. }),
            _ => matches!(fault, StreamFault::Stale { .. }),
        };
        assert!(is_right, "{kind}: {fault:?}");
        self.hear(out);
        assert_eq!(self.probe(&id, by).map(|(_, next)| next), Some(next));
    }

    pub fn restart(&mut self, by: u64, choice: u64) {
        let id = self.id(choice);
        let ticket = self.ticket(&id);
        let (mut out, user) = (StreamOutput::default(), bot());
        let sender = StreamSender { producer: producer(by), user: &user, ticket: Some(ticket) };
        if self.ledger.restart(&id, sender, self.now, &mut out) == Known::No {
            self.unanswered.remove(&ticket);
        }
        self.hear(out);
    }

    pub fn end(&mut self, by: u64, choice: u64, end: StreamEnd) {
        let id = self.id(choice);
        let generation = match self.is_answer(&id) {
            true => self.probe(&id, by).map(|(generation, _)| generation),
            false => None,
        };
        let ticket = self.ticket(&id);
        let (mut out, user) = (StreamOutput::default(), bot());
        let sender = StreamSender { producer: producer(by), user: &user, ticket: Some(ticket) };
        let finish = StreamFinish { generation, at: None, end, data: None };
        if self.ledger.end(&id, sender, finish, self.now, &mut out) == Known::No {
            self.unanswered.remove(&ticket);
        }
        self.hear(out);
    }

    pub fn detach(&mut self, by: u64) {
        self.ledger.detach(producer(by), self.now);
        self.paused.remove(&by);
        // Everything that a connection waits for ends with it. The model does not know which ones it sent.
        let waiting: Vec<u32> = self.unanswered.keys().copied().collect();
        for ticket in waiting {
            self.unanswered.remove(&ticket);
        }
    }

    pub fn attach(&mut self, by: u64, choice: u64) {
        let id = self.id(choice);
        let mut out = StreamOutput::default();
        let begun = self.ledger.attach(&id, producer(by), self.now, &mut out);
        assert_eq!(begun.is_some(), self.store.open.contains_key(&id));
        self.hear(out);
    }

    pub fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    /// One turn of the writer.
    pub fn flush(&mut self, commit: Commit, miss: u64) {
        let flush = self.ledger.cut(self.now);
        self.commit(flush, commit, miss);
    }

    fn commit(&mut self, flush: Flush, commit: Commit, miss: u64) {
        let mut out = StreamOutput::default();
        let ends: Vec<StreamId> = flush.ends.iter().map(|row| row.id.clone()).collect();
        if commit == Commit::Stored {
            let fates = self.store.commit(&flush);
            self.check_ends(&flush);
            self.ledger.settled(flush, &fates, self.now, &mut out);
        } else {
            let fates = match commit {
                Commit::Unknown => {
                    let fates = self.store.commit(&flush);
                    self.check_ends(&flush);
                    fates
                }
                Commit::Stored | Commit::Failed => Vec::new(),
            };
            if !flush.writes_nothing() {
                self.spared = self.now;
            }
            self.ledger.failed(flush, self.now, &mut out);
            for (id, fate) in ends.iter().zip(fates) {
                let _ = self.ledger.ended(id, fate, &mut out);
            }
        }
        let news = std::mem::take(&mut out.news);
        self.hear(out);
        for (index, reader) in self.readers.iter_mut().enumerate() {
            for (place, news) in news.iter().enumerate() {
                // A reader may miss a change, like one that was behind.
                let misses = miss & (1 << ((index * 3 + place) % 16)) != 0 && index > 0;
                if !misses
                    && reader.read(news)
                    && let Some(whole) = self.ledger.shared(&news.id)
                {
                    reader.read_whole(&news.id, &whole);
                }
            }
        }
        for id in ends {
            self.read_end(&id);
        }
    }

    pub(super) fn read_end(&mut self, id: &StreamId) {
        for reader in &mut self.readers {
            reader.streams.remove(&id.offset.0);
        }
    }

    /// The process is killed and starts again.
    pub fn crash(&mut self) {
        let ledger = Ledger::new(self.settings.clone(), self.now);
        self.ledger = self.store.restore(ledger, self.now);
        self.paused.clear();
        self.unanswered.clear();
        self.spared = self.now;
        for (id, stored) in &self.store.open {
            let shared = self.ledger.shared(id).expect("open in the store, so open");
            assert_eq!(shared.generation, stored.generation);
            let stored = self.store.pieces(id, stored.generation);
            assert_eq!(shared.text.next(), position(stored.next()));
            assert_eq!(shared.text.text_from(Position(0)), Some(plain(&stored)));
        }
    }

    /// Replies and notices: S3, and pauses that end.
    pub(super) fn hear(&mut self, out: StreamOutput<u32>) {
        for (ticket, outcome) in out.replies {
            let id = self.unanswered.remove(&ticket);
            if let (StreamOutcome::Appended { generation, next }, Some(id)) = (&outcome, id) {
                self.acknowledge(id, *generation, *next);
            }
        }
        for (producer, notice) in out.notices {
            match notice {
                ProducerNotice::Appended { id, generation, next } => self.acknowledge(id, generation, next),
                ProducerNotice::Pause => {
                    assert!(self.paused.insert(producer.connection), "paused twice");
                }
                ProducerNotice::Resume => {
                    assert!(self.paused.remove(&producer.connection), "resumed without a pause");
                }
                ProducerNotice::Refused { .. } | ProducerNotice::Cancel { .. } => {}
            }
        }
    }

    fn acknowledge(&mut self, id: StreamId, generation: Generation, next: Position) {
        let known = self.acknowledged.entry((id, generation)).or_default();
        *known = (*known).max(next);
    }

    /// Waits until every stream has ended.
    pub fn finish(&mut self) {
        for by in 0..PRODUCERS {
            self.ledger.detach(producer(by), self.now);
            self.paused.remove(&by);
        }
        let wait = self.longest_wait();
        let latest = self.now + wait + self.settings.orphan * 2 + Duration::from_secs(1);
        while let Some(due) = self.ledger.due() {
            assert!(due <= latest, "S4: a stream is still open");
            self.now = self.now.max(due);
            self.flush(Commit::Stored, 0);
            self.check();
        }
        assert!(self.store.open.is_empty(), "S4: {:?}", self.store.open.keys());
        assert_eq!((self.ledger.open_streams(), self.ledger.bytes()), (0, 0));
        assert!(self.paused.is_empty());
    }
}
