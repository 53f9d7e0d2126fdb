//! The backend of the world of answers: it takes questions or not, answers in its response or later, and runs twice if it is asked twice.

use super::answer_text::{Run, RunText};
use fastrand::Rng;
use seawall::clock::{Moment, Now};
use seawall::id::{ChannelName, Offset};
use seawall::wire::stream::Generation;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// A request as it arrives.
#[derive(Clone, Debug)]
pub struct Arrived {
    pub channel: ChannelName,
    pub offset: Offset,
    /// The `webhook-id`.
    pub id: String,
    pub answer: Option<(Offset, Generation)>,
}

/// The end of a response's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyEnd {
    Proper,
    Broken,
    /// The backend sends nothing more.
    Never,
}

/// The head of a response.
pub type Head = (u16, Option<&'static str>);

/// One call, which may have arrived.
#[derive(Debug)]
struct Call {
    /// `None`: there never is one.
    head: Option<(Moment, Head)>,
    body: VecDeque<(Moment, Vec<u8>)>,
    end: BodyEnd,
}

/// The part of a response that is there at a moment.
#[derive(Debug, PartialEq, Eq)]
pub enum BodyRead {
    /// Nothing new.
    Waits,
    Bytes(Vec<u8>),
    End,
    Broken,
}

/// The behaviours of the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// It takes each question and answers it soon.
    Good,
    /// Whatever the seed says.
    Bad,
    /// It refuses connections.
    Dead,
}

/// All that ever arrived for one publication.
#[derive(Debug, Default)]
pub struct Delivered {
    pub id: String,
    pub is_taken: bool,
    /// The generation of each request, unless the question has no answer.
    generations: Vec<Generation>,
}

pub struct AnswerBackend {
    pub mood: Mood,
    calls: BTreeMap<u64, Call>,
    numbers: u64,
    /// The runs that write over a connection of their own.
    pub runs: Vec<Run>,
    /// The generation that each run was asked for first, and the answers that have runs.
    pub texts: Vec<RunText>,
    pub delivered: BTreeMap<(ChannelName, Offset), Delivered>,
    /// Cancels that it has heard of.
    pub cancels: u32,
}

impl AnswerBackend {
    pub fn new() -> AnswerBackend {
        AnswerBackend {
            mood: Mood::Bad,
            calls: BTreeMap::new(),
            numbers: 0,
            runs: Vec::new(),
            texts: Vec::new(),
            delivered: BTreeMap::new(),
            cancels: 0,
        }
    }

    /// A request is sent. `None`: there is no connection.
    pub fn call(&mut self, arrived: Arrived, now: Now, rng: &mut Rng) -> Option<u64> {
        if self.mood == Mood::Dead {
            return None;
        }
        self.numbers += 1;
        let number = self.numbers;
        let place = (arrived.channel.clone(), arrived.offset);
        let delivered = self.delivered.entry(place.clone()).or_default();
        if delivered.id.is_empty() {
            delivered.id.clone_from(&arrived.id);
        }
        assert_eq!(delivered.id, arrived.id, "R3");
        if let Some((_, generation)) = arrived.answer {
            let known = &mut delivered.generations;
            assert!(!known.contains(&generation), "two runs may write {generation:?} of {place:?}");
            known.push(generation);
        }
        let call = self.respond(&arrived, now, rng);
        let is_taken = matches!(call.head, Some((_, (200..=299, _))));
        self.delivered.entry(place).or_default().is_taken |= is_taken;
        self.calls.insert(number, call);
        Some(number)
    }

    fn respond(&mut self, arrived: &Arrived, now: Now, rng: &mut Rng) -> Call {
        let choice = if self.mood == Mood::Good { [0, 20, 40][rng.usize(..3)] } else { rng.u8(..100) };
        let after = |rng: &mut Rng, ms: u64| now.at + Duration::from_millis(rng.u64(1..=ms));
        let head_at = after(rng, if choice < 60 { 200 } else { 1_500 });
        let plain = |status| Call {
            head: Some((head_at, (status, None))),
            body: VecDeque::new(),
            end: BodyEnd::Proper,
        };
        match choice {
            // Taken, and answered over a connection of its own.
            0..20 => {
                self.run(arrived, head_at, rng);
                plain(204)
            }
            20..40 => self.written(arrived, "text/plain; charset=utf-8", head_at, rng),
            40..55 => self.written(arrived, "application/x-ndjson", head_at, rng),
            // Taken, and never answered.
            55..60 => plain(202),
            60..72 => plain([500, 503, 429][rng.usize(..3)]),
            72..75 => plain([400, 404, 301][rng.usize(..3)]),
            // It fails, but a run was begun, and goes on.
            75..82 => {
                self.run(arrived, head_at, rng);
                plain(500)
            }
            // It arrived, and there is no response; perhaps a run.
            _ => {
                if rng.bool() {
                    self.run(arrived, head_at, rng);
                }
                Call { head: None, body: VecDeque::new(), end: BodyEnd::Never }
            }
        }
    }

    /// Begins a run, or goes on with the one that knows the question.
    fn run(&mut self, arrived: &Arrived, at: Moment, rng: &mut Rng) {
        let Some((offset, generation)) = arrived.answer else { return };
        let knows = |run: &&mut Run| run.channel == arrived.channel && run.answer == offset;
        let known = self.runs.iter_mut().filter(|run| !run.is_over()).find(knows);
        match known {
            Some(run) if rng.bool() => run.again(generation),
            Some(_) | None => {
                let text = self.text(arrived, offset, rng);
                self.runs.push(Run::new(arrived.channel.clone(), offset, generation, text, at));
            }
        }
    }

    fn text(&mut self, arrived: &Arrived, answer: Offset, rng: &mut Rng) -> RunText {
        let number = self.texts.len() as u64;
        let text = RunText::new(number, (arrived.channel.clone(), answer), 1 + rng.usize(..30));
        self.texts.push(text.clone());
        text
    }

    /// A response that carries the answer, cut at any byte.
    fn written(&mut self, arrived: &Arrived, kind: &'static str, head_at: Moment, rng: &mut Rng) -> Call {
        let Some((answer, _)) = arrived.answer else {
            return Call { head: Some((head_at, (204, None))), body: VecDeque::new(), end: BodyEnd::Proper };
        };
        let text = self.text(arrived, answer, rng);
        let bytes = match kind {
            "application/x-ndjson" => text.lines(),
            _ => text.until(text.tokens).into_bytes(),
        };
        let (mut left, mut body, mut at) = (&bytes[..], VecDeque::new(), head_at);
        while !left.is_empty() {
            let (chunk, rest) = left.split_at(rng.usize(1..=left.len().min(60)));
            at = at + Duration::from_millis(rng.u64(1..200));
            body.push_back((at, chunk.to_vec()));
            left = rest;
        }
        let end = match rng.u8(..10) {
            _ if self.mood == Mood::Good => BodyEnd::Proper,
            0 => BodyEnd::Never,
            1 => BodyEnd::Broken,
            _ => BodyEnd::Proper,
        };
        if end != BodyEnd::Proper {
            body.truncate(rng.usize(..=body.len()));
        }
        Call { head: Some((head_at, (200, Some(kind)))), body, end }
    }

    /// The head of a response, once it is there.
    pub fn head(&self, call: u64, now: Now) -> Option<Head> {
        let (at, head) = self.calls.get(&call)?.head?;
        (at <= now.at).then_some(head)
    }

    pub fn read(&mut self, call: u64, now: Now) -> BodyRead {
        let Some(call) = self.calls.get_mut(&call) else { return BodyRead::Broken };
        let mut bytes = Vec::new();
        while call.body.front().is_some_and(|(at, _)| *at <= now.at) {
            bytes.extend(call.body.pop_front().expect("a chunk").1);
        }
        match call.end {
            _ if !bytes.is_empty() => BodyRead::Bytes(bytes),
            BodyEnd::Proper if call.body.is_empty() => BodyRead::End,
            BodyEnd::Broken if call.body.is_empty() => BodyRead::Broken,
            BodyEnd::Proper | BodyEnd::Broken | BodyEnd::Never => BodyRead::Waits,
        }
    }

    /// The gateway closes the connection.
    pub fn close(&mut self, call: u64) {
        self.calls.remove(&call);
    }
}
