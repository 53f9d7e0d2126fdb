//! The store of the world of answers, which two instances write: logs, and streams that take only what follows on what they have.

use super::answer_rows::ChannelRow;
use seawall::id::{ChannelName, Offset, UserName};
use seawall::job::relay::DeadCause;
use seawall::relay::route::{RelayRoute, RouteTable};
use seawall::stream::{
    EndFate, EndRow, Flush, FlushFates, Loaded, LoadedStream, PartRow, PieceEntry, RestartFate, RestartRow,
    RowFate, SilentStream, StateFate, StoredEndFate, StoredStream, StreamBegin, StreamFence, StreamLook,
    StreamSettings, Touched, decode,
};
use seawall::wire::publication::Change;
use seawall::wire::stream::{
    AnswerOptions, EventKeep, Generation, Position, StreamId, StreamMark, StreamOptions, StreamState,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// The ledger ends an answer that no backend has this long after the relay was to give up.
const GIVE_UP_MARGIN: Duration = Duration::from_secs(60);
/// The least silence of an answer that is watched.
const SILENT_AFTER_MS: u64 = 2_000;

/// One publication.
#[derive(Clone, Debug)]
pub struct Entry {
    pub user: UserName,
    pub change: Change,
    pub mark: StreamMark,
    pub data: String,
    pub time_ms: u64,
    pub is_deleted: bool,
}

/// An answer with everything that was ever stored of it. A row counts once, and has text only.
pub struct StoredAnswer {
    pub stream: StoredStream,
    began_ms: u64,
    /// When it left its first state.
    left_ms: Option<u64>,
    touched: Touched,
    /// The last write that is a sign of life.
    sign_ms: u64,
    canceller: Option<UserName>,
    rows: Vec<PartRow>,
    texts: BTreeMap<Generation, String>,
    pub end: Option<(EndRow, EndFate)>,
    /// When a cancel was committed, or an end because of one.
    pub cancelled_ms: Option<u64>,
}

/// The outcome of a question.
#[derive(Clone, Debug)]
pub struct Asked {
    pub offset: Offset,
    /// The begin of its answer. Of a repeat it is known from the first.
    pub answer: Option<(StreamBegin, Touched)>,
}

pub struct AnswerStore {
    pub table: RouteTable,
    settings: StreamSettings,
    pub logs: BTreeMap<ChannelName, Vec<Entry>>,
    keys: BTreeMap<(ChannelName, String), Offset>,
    pub streams: BTreeMap<StreamId, StoredAnswer>,
    pub rows: BTreeMap<ChannelName, ChannelRow>,
    pub dead: Vec<(ChannelName, Offset, DeadCause)>,
    touches: u64,
}

impl StoredAnswer {
    pub fn text(&self, generation: Generation) -> &str {
        self.texts.get(&generation).map_or("", String::as_str)
    }

    /// The newest generation, and its text.
    pub fn newest(&self) -> (Generation, &str) {
        (self.stream.generation, self.text(self.stream.generation))
    }

    fn next(&self) -> Position {
        Position(self.text(self.stream.generation).len() as u32)
    }

    fn is_as(&self, fence: &StreamFence) -> bool {
        self.stream.generation == fence.generation
            && self.next() == fence.next
            && fence.touched.is_none_or(|touched| touched == self.touched)
    }

    fn add(&mut self, row: &PartRow, now_ms: u64) {
        for entry in decode(row.at, row.next, &row.body).expect("a body").entries() {
            let PieceEntry::Text { text, .. } = entry else { panic!("no events here") };
            self.texts.entry(row.generation).or_default().push_str(text);
        }
        self.rows.push(row.clone());
        self.sign_ms = now_ms;
    }

    /// As it is loaded now.
    fn stored(&self, now_ms: u64) -> StoredStream {
        let since = self.left_ms.unwrap_or(self.began_ms);
        let age = |since: u64| Duration::from_millis(now_ms.saturating_sub(since));
        let asked = self.texts.values().all(String::is_empty).then(|| age(self.began_ms));
        StoredStream { age: age(since), asked, ..self.stream.clone() }
    }
}

impl AnswerStore {
    pub fn new(table: RouteTable, settings: StreamSettings) -> AnswerStore {
        AnswerStore {
            table,
            settings,
            logs: BTreeMap::new(),
            keys: BTreeMap::new(),
            streams: BTreeMap::new(),
            rows: BTreeMap::new(),
            dead: Vec::new(),
            touches: 0,
        }
    }

    pub fn open(&self, id: &StreamId) -> Option<&StoredAnswer> {
        self.streams.get(id).filter(|stored| stored.end.is_none())
    }

    fn open_mut(&mut self, id: &StreamId) -> Option<&mut StoredAnswer> {
        self.streams.get_mut(id).filter(|stored| stored.end.is_none())
    }

    pub fn open_answers(&self) -> impl Iterator<Item = (&StreamId, &StoredAnswer)> {
        self.streams.iter().filter(|(_, stored)| stored.end.is_none())
    }

    fn append(&mut self, channel: &ChannelName, entry: Entry) -> Offset {
        let log = self.logs.entry(channel.clone()).or_default();
        log.push(entry);
        Offset(log.len() as u64)
    }

    pub fn entry(&self, channel: &ChannelName, offset: Offset) -> Option<&Entry> {
        self.logs.get(channel)?.get(offset.0.checked_sub(1)? as usize)
    }

    /// Stores a question, and the begin of its answer, or finds both by the key. `None`: too many answers are open.
    pub fn ask(&mut self, channel: &ChannelName, user: &UserName, key: &str, now_ms: u64) -> Option<Asked> {
        if let Some(offset) = self.keys.get(&(channel.clone(), key.into())) {
            return Some(Asked { offset: *offset, answer: None });
        }
        let route = self.table.of(channel).cloned().expect("a route");
        let is_answered = route.is_answered(user.as_str(), Change::None, StreamMark::None);
        if is_answered && !self.admits(channel, user) {
            return None;
        }
        let entry = Entry {
            user: user.clone(),
            change: Change::None,
            mark: StreamMark::None,
            data: r#""?""#.into(),
            time_ms: now_ms,
            is_deleted: false,
        };
        let offset = self.append(channel, entry);
        self.keys.insert((channel.clone(), key.into()), offset);
        let answer = is_answered.then(|| self.begin(channel, &route, offset, user, now_ms));
        self.note_relayed(channel, offset, now_ms);
        Some(Asked { offset, answer })
    }

    /// All open answers of a channel are bounded, and those to one user to half of that.
    fn admits(&self, channel: &ChannelName, user: &UserName) -> bool {
        let open = || self.open_answers().filter(|(id, _)| id.channel == *channel);
        let own = open().filter(|(_, stored)| stored.stream.options.asker.as_ref() == Some(user)).count();
        open().count() < self.settings.open_per_channel && own < self.settings.open_per_channel.div_ceil(2)
    }

    fn begin(
        &mut self,
        channel: &ChannelName,
        route: &RelayRoute,
        question: Offset,
        asker: &UserName,
        now_ms: u64,
    ) -> (StreamBegin, Touched) {
        let data = format!("{{\"answers\":{question}}}");
        let entry = Entry {
            user: route.user.clone(),
            change: Change::None,
            mark: StreamMark::Begun,
            data: data.clone(),
            time_ms: now_ms,
            is_deleted: false,
        };
        let offset = self.append(channel, entry);
        let ms = |duration: Duration| duration.as_millis() as u32;
        let answer = AnswerOptions { question, give_up_ms: ms(route.give_up), answer_ms: ms(route.answer) };
        let (asker, idle_ms) = (Some(asker.clone()), None);
        let options = StreamOptions { asker, idle_ms, events: EventKeep::Drop, answer: Some(answer) };
        let id = StreamId { channel: channel.clone(), offset };
        let (author, begun): (_, Box<str>) = (route.user.clone(), data.into());
        let stream = StoredStream {
            id: id.clone(),
            author: author.clone(),
            options: options.clone(),
            begun: begun.clone(),
            generation: Generation::FIRST,
            state: StreamState::Accepted,
            age: Duration::ZERO,
            asked: None,
        };
        let touched = self.next_touch();
        let stored = StoredAnswer {
            stream,
            began_ms: now_ms,
            left_ms: None,
            touched,
            sign_ms: now_ms,
            canceller: None,
            rows: Vec::new(),
            texts: BTreeMap::new(),
            end: None,
            cancelled_ms: None,
        };
        self.streams.insert(id.clone(), stored);
        (StreamBegin { id, author, options, begun, producer: None }, touched)
    }

    /// A user deletes a question. False if it was deleted before.
    pub fn delete(&mut self, channel: &ChannelName, question: Offset, now_ms: u64) -> bool {
        let log = self.logs.get_mut(channel).expect("a log");
        let asked = &mut log[question.0 as usize - 1];
        if std::mem::replace(&mut asked.is_deleted, true) {
            return false;
        }
        let (user, change) = (asked.user.clone(), Change::Deletes(question));
        let (mark, data) = (StreamMark::None, "null".into());
        self.append(channel, Entry { user, change, mark, data, time_ms: now_ms, is_deleted: false });
        true
    }

    fn next_touch(&mut self) -> Touched {
        self.touches += 1;
        Touched(self.touches)
    }

    pub fn touch(&mut self, id: &StreamId, now_ms: u64) -> Option<Touched> {
        let touched = self.next_touch();
        let stored = self.open_mut(id)?;
        (stored.touched, stored.sign_ms) = (touched, now_ms);
        Some(touched)
    }

    pub fn commit(&mut self, flush: &Flush, now_ms: u64) -> FlushFates {
        let mut fates = FlushFates::default();
        for RestartRow { id, known, generation } in &flush.restarts {
            assert!(generation > known, "a generation of {id:?} begins twice");
            let stored = self.open_mut(id).filter(|stored| stored.stream.generation == *known);
            fates.restarts.push(match stored {
                Some(stored) => {
                    (stored.stream.generation, stored.sign_ms) = (*generation, now_ms);
                    RestartFate::Stored
                }
                None => RestartFate::Lost,
            });
        }
        for row in &flush.rows {
            let adjoins = |stored: &&mut StoredAnswer| {
                stored.stream.generation == row.generation && stored.next() == row.at
            };
            fates.rows.push(match self.open_mut(&row.id).filter(adjoins) {
                Some(stored) => {
                    stored.add(row, now_ms);
                    RowFate::Stored
                }
                None => RowFate::Lost,
            });
        }
        for row in &flush.states {
            let may = |stored: &&mut StoredAnswer| {
                stored.stream.state != StreamState::Cancelling
                    && row.fence.as_ref().is_none_or(|fence| stored.is_as(fence))
            };
            fates.states.push(match self.open_mut(&row.id).filter(may) {
                Some(stored) => {
                    if row.state == StreamState::Cancelling {
                        stored.cancelled_ms = Some(now_ms);
                    }
                    stored.left_ms = stored.left_ms.or(Some(now_ms));
                    (stored.stream.state, stored.sign_ms) = (row.state, now_ms);
                    stored.canceller.clone_from(&row.canceller);
                    StateFate::Stored
                }
                None => StateFate::Moved,
            });
        }
        fates.ends = flush.ends.iter().map(|row| self.end(row, now_ms)).collect();
        fates
    }

    fn end(&mut self, row: &EndRow, now_ms: u64) -> StoredEndFate {
        let stored = self.streams.get(&row.id).expect("a stream that has begun");
        if let Some((_, fate)) = &stored.end {
            return StoredEndFate::Ended(*fate);
        }
        if !stored.is_as(&row.fence) {
            return StoredEndFate::Moved;
        }
        let entry = Entry {
            user: row.author.clone(),
            change: Change::Edits(row.id.offset),
            mark: StreamMark::Ended(row.end),
            data: row.data.to_string(),
            time_ms: now_ms,
            is_deleted: false,
        };
        let fate = EndFate { end: row.end, edit: self.append(&row.id.channel, entry) };
        let stored = self.streams.get_mut(&row.id).expect("a stream that has begun");
        stored.end = Some((row.clone(), fate));
        if row.end == seawall::wire::stream::StreamEnd::Cancelled {
            stored.cancelled_ms = stored.cancelled_ms.or(Some(now_ms));
        }
        StoredEndFate::Stored(fate, now_ms)
    }

    pub fn load(&self, id: &StreamId, now_ms: u64) -> Loaded {
        let Some(stored) = self.streams.get(id) else { return Loaded::Absent };
        if let Some((_, fate)) = &stored.end {
            return Loaded::Ended(*fate, Some(now_ms));
        }
        let is_newest = |row: &&PartRow| row.generation == stored.stream.generation;
        Loaded::Open(Box::new(LoadedStream {
            stream: stored.stored(now_ms),
            touched: stored.touched,
            canceller: stored.canceller.clone(),
            parts: stored.rows.iter().filter(is_newest).cloned().collect(),
            restarted: stored.rows.iter().filter(|row| !is_newest(row)).map(|row| row.body.len()).sum(),
        }))
    }

    pub fn look(&self, id: &StreamId) -> Option<StreamLook> {
        let stored = self.open(id)?;
        let StoredStream { generation, state, .. } = stored.stream;
        Some(StreamLook { generation, next: stored.next(), state, touched: stored.touched })
    }

    /// The deadline of an answer, by the last sign of life that is stored.
    pub fn deadline_ms(&self, stored: &StoredAnswer) -> u64 {
        let answer = stored.stream.options.answer.expect("an answer");
        let after = match stored.stream.state {
            StreamState::Accepted => Duration::from_millis(answer.give_up_ms.into()) + GIVE_UP_MARGIN,
            StreamState::Processing => Duration::from_millis(answer.answer_ms.into()),
            StreamState::Streaming => self.settings.idle,
            StreamState::Paused => self.settings.orphan,
            StreamState::Cancelling => self.settings.cancel,
        };
        stored.sign_ms + after.as_millis() as u64
    }

    /// The answers in which nothing changes.
    pub fn silent(&self, now_ms: u64) -> Vec<SilentStream> {
        let StreamSettings { idle, orphan, cancel, .. } = self.settings;
        let more = (idle / 3).max(orphan);
        let silent = |(id, stored): (&StreamId, &StoredAnswer)| {
            let answer = stored.stream.options.answer.expect("an answer");
            let (after_ms, deadline) = match stored.stream.state {
                StreamState::Accepted => (answer.give_up_ms.into(), idle + more),
                StreamState::Processing => {
                    (SILENT_AFTER_MS, Duration::from_millis(answer.answer_ms.into()) + more)
                }
                StreamState::Streaming => (SILENT_AFTER_MS, idle + more),
                StreamState::Paused => (SILENT_AFTER_MS, orphan),
                StreamState::Cancelling => (SILENT_AFTER_MS, cancel),
            };
            let seen = self.look(id).filter(|_| now_ms > stored.sign_ms + after_ms)?;
            Some(SilentStream { id: id.clone(), seen, deadline })
        };
        self.open_answers().filter_map(silent).collect()
    }

    /// The answers that wait for a backend, and whose question is deleted.
    pub fn lost_questions(&self) -> Vec<StreamId> {
        let is_lost = |(id, stored): &(&StreamId, &StoredAnswer)| {
            let question = stored.stream.options.answer.expect("an answer").question;
            stored.stream.state == StreamState::Accepted
                && self.entry(&id.channel, question).is_some_and(|entry| entry.is_deleted)
        };
        self.open_answers().filter(is_lost).map(|(id, _)| id.clone()).collect()
    }
}
