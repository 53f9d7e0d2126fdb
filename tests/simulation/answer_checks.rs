//! The promises of the world of answers, checked at each step and at the end.

use super::answer_backend::AnswerBackend;
use super::answer_store::{AnswerStore, StoredAnswer};
use super::answer_text::RunText;
use super::stream_reading::{Reads, StreamReading};
use fastrand::Rng;
use seawall::id::{ChannelName, Offset};
use seawall::job::stream::StreamNews;
use seawall::wire::server_frame;
use seawall::wire::stream::{EndCause, Generation, StreamEnd, StreamId, StreamMark, StreamState};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A deadline of another process runs twice: by the store's clock until a sweep finds it, and again at the process that found it.
const OVERDUE_MS_MAX: u64 = 25_000;

pub struct AnswerChecks {
    /// One reader at each process.
    readers: Vec<BTreeMap<StreamId, StreamReading>>,
    /// The largest acknowledged position of each generation.
    pub acknowledged: BTreeMap<(StreamId, Generation), usize>,
    /// Answers that a user has cancelled. Until the cancel is committed, what it says may be known to one process alone.
    pub cancelled: BTreeSet<StreamId>,
}

impl AnswerChecks {
    pub fn new(readers: usize) -> AnswerChecks {
        AnswerChecks {
            readers: vec![BTreeMap::new(); readers],
            acknowledged: BTreeMap::new(),
            cancelled: BTreeSet::new(),
        }
    }

    /// The process is killed, and its reader joins again.
    pub fn lose_reader(&mut self, at: usize) {
        self.readers[at].clear();
    }

    /// The reader at a process gets a change, or misses it.
    pub fn hear(&mut self, at: usize, news: &StreamNews, store: &AnswerStore, rng: &mut Rng) {
        if rng.u8(..10) == 0 {
            return;
        }
        for frame in server_frame::split(news.news.frames()) {
            let payload = server_frame::text(frame).expect("a text frame");
            let message: Value = serde_json::from_slice(payload).expect("JSON");
            let reading = self.readers[at].entry(news.id.clone()).or_default();
            if reading.read(&message["stream"]) == Reads::Hole
                && let Some(stored) = store.open(&news.id)
            {
                // The answer to `stream`.
                let (generation, text) = stored.newest();
                *reading = StreamReading { generation: generation.0.into(), text: text.to_owned() };
            }
        }
    }

    /// S1, S2: every reader has a prefix of what is stored, without a hole or a repeat, and of one run. R1: an answer that waits for a
    /// backend has a question that waits as well.
    pub fn check(&self, store: &AnswerStore, backend: &AnswerBackend) {
        for (id, reading) in self.readers.iter().flatten().filter(|(_, reading)| !reading.text.is_empty()) {
            let stored = store.streams[id].text(Generation(reading.generation as u32));
            assert!(
                stored.starts_with(&reading.text),
                "S1, S2: {id:?} shows {:?}, and {stored:?} is stored",
                reading.text
            );
            check_run(id, &reading.text, backend);
        }
        for (id, stored) in store.open_answers().filter(|(_, it)| it.stream.state == StreamState::Accepted) {
            let question = stored.stream.options.answer.expect("an answer").question;
            let is_deleted = store.entry(&id.channel, question).is_some_and(|entry| entry.is_deleted);
            let is_done = store.rows[&id.channel].cursor >= question;
            let is_withdrawn = is_deleted || self.cancelled.contains(id);
            assert!(is_withdrawn || !is_done, "R1: {id:?} waits for a backend, and its question is done");
        }
    }

    /// S4: once everything works again, no answer is open long after its deadline.
    pub fn check_deadlines(&self, store: &AnswerStore, since_ms: u64, now_ms: u64) {
        for (id, stored) in store.open_answers() {
            let overdue_ms = now_ms.saturating_sub(store.deadline_ms(stored).max(since_ms));
            let state = stored.stream.state;
            assert!(overdue_ms <= OVERDUE_MS_MAX, "S4: {id:?} is {state:?}, {overdue_ms} ms too long");
        }
    }

    /// The first thing that is not settled yet.
    pub fn left(&self, store: &AnswerStore) -> Option<String> {
        let waits = store.rows.iter().find(|(_, row)| row.cursor < row.head);
        let open = store.open_answers().next();
        let waits = waits.map(|(channel, row)| format!("{channel} waits after {}", row.cursor));
        waits.or_else(|| open.map(|(id, stored)| format!("{id:?} is {:?}", stored.stream.state)))
    }

    /// The promises that are about all that happened.
    pub fn finish(&self, store: &AnswerStore, backend: &AnswerBackend, questions: &[(ChannelName, Offset)]) {
        for (channel, log) in &store.logs {
            let route = store.table.of(channel).expect("a route");
            for (at, entry) in log.iter().enumerate() {
                let offset = Offset(at as u64 + 1);
                if !route.relays(entry.user.as_str(), entry.change, entry.mark) {
                    continue;
                }
                if route.is_answered(entry.user.as_str(), entry.change, entry.mark) {
                    assert_eq!(log[at + 1].mark, StreamMark::Begun, "R4: {offset} of {channel}");
                    assert_eq!(log[at + 1].data, format!("{{\"answers\":{offset}}}"), "R4");
                }
                assert!(is_settled(store, backend, channel, offset), "R1: {offset} of {channel} is lost");
            }
        }
        for (id, stored) in &store.streams {
            self.check_end(id, stored, store, backend);
        }
        assert!(!questions.is_empty() && !backend.delivered.is_empty(), "nothing was asked");
    }

    /// S3 to S5: it has ended once, and its text is that of its last generation, by one run.
    fn check_end(&self, id: &StreamId, stored: &StoredAnswer, store: &AnswerStore, backend: &AnswerBackend) {
        let (row, fate) = stored.end.as_ref().expect("S4: every answer has ended");
        let entry = store.entry(&id.channel, fate.edit).expect("its edit");
        assert_eq!(entry.mark, StreamMark::Ended(row.end), "S4: {id:?}");
        let data: Value = serde_json::from_str(&row.data).expect("JSON");
        let text = data["text"].as_str().expect("a text");
        let known = stored.text(row.generation);
        assert!(text.starts_with(known), "S5: {id:?} ends with {text:?} after {known:?}");
        check_run(id, text, backend);
        for ((_, generation), next) in self.acknowledged.iter().filter(|((of, _), _)| of == id) {
            let kept =
                if *generation == row.generation { text.len() } else { stored.text(*generation).len() };
            assert!(kept >= *next, "S3: {next} of {id:?} was acknowledged, {kept} is kept");
        }
        if row.end == StreamEnd::Completed {
            let is_whole = runs_of(id, backend).any(|run| run.until(run.tokens) == text);
            assert!(is_whole, "S5: {id:?} is complete with {text:?}");
        }
    }
}

/// Two runs never mix their texts, and none writes into the answer to another question.
fn check_run(id: &StreamId, text: &str, backend: &AnswerBackend) {
    let is_own = runs_of(id, backend).any(|run| run.begins_with(text));
    assert!(text.is_empty() || is_own, "the texts of two runs are mixed: {id:?} has {text:?}");
}

fn runs_of<'a>(id: &'a StreamId, backend: &'a AnswerBackend) -> impl Iterator<Item = &'a RunText> {
    backend.texts.iter().filter(|run| run.answer.0 == id.channel && run.answer.1 == id.offset)
}

/// R1: the backend has it, or it is a dead letter, or its user withdrew it.
fn is_settled(store: &AnswerStore, backend: &AnswerBackend, channel: &ChannelName, offset: Offset) -> bool {
    let delivered = backend.delivered.get(&(channel.clone(), offset));
    let is_dead = store.dead.iter().any(|(of, at, _)| of == channel && *at == offset);
    let is_deleted = store.entry(channel, offset).is_some_and(|entry| entry.is_deleted);
    if is_dead || is_deleted || delivered.is_some_and(|delivered| delivered.is_taken) {
        return true;
    }
    let id = StreamId { channel: channel.clone(), offset: offset.next() };
    let Some((row, _)) = store.streams.get(&id).and_then(|stored| stored.end.as_ref()) else { return false };
    match (row.end, row.cause) {
        (StreamEnd::Cancelled, _) => true,
        // A run of a request whose response was lost has written it, or was at it.
        (_, Some(EndCause::NotDelivered | EndCause::Refused)) => false,
        (StreamEnd::Completed | StreamEnd::Failed | StreamEnd::Interrupted, _) => delivered.is_some(),
        (StreamEnd::Replaced | StreamEnd::Deleted, _) => false,
    }
}
