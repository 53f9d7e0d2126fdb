//! The questions of a run: each must reach the backend exactly once, in the order of its channel, and have one answer if its route has
//! answers.

use crate::backend::{Asked, WORD};
use serde::Deserialize;
use std::collections::VecDeque;
use std::time::Instant;

/// The answers of the route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answering {
    /// `answers = false`
    Nothing,
    /// `answers = true`, and the backend answers with one word.
    Word,
}

/// A question that is not done, and the times of its steps.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) sent: Instant,
    /// When `published` was read.
    pub(crate) committed: Option<Instant>,
    /// When the backend had the request.
    pub(crate) asked: Option<Instant>,
    /// When its reader had text of the answer.
    pub(crate) shown: Option<Instant>,
    /// When its reader had the end of the answer.
    pub(crate) ended: Option<Instant>,
    /// Its offset, as either side said first.
    offset: Option<u64>,
    /// The begin of its answer.
    answer: Option<u64>,
}

/// Something that is not as it must be: its kind, and a description.
pub(crate) type Misfit = (&'static str, String);

/// The questions of one channel.
#[derive(Debug, Default)]
struct Line {
    /// The number of the first one that is not done.
    first: u64,
    /// The number of the next one that the backend must get.
    next: u64,
    open: VecDeque<Question>,
    /// The highest begin of an answer so far.
    answer: u64,
}

/// All questions of a run.
#[derive(Debug)]
pub(crate) struct Questions {
    prefix: &'static str,
    run: u64,
    answering: Answering,
    lines: Vec<Line>,
    pub(crate) sent: u64,
    asked: u64,
    done: u64,
}

impl Questions {
    /// No questions yet, for channels whose names are `prefix` and a number.
    pub(crate) fn new(prefix: &'static str, channels: u32, run: u64, answering: Answering) -> Questions {
        let lines = (0..channels).map(|_| Line::default()).collect();
        Questions { prefix, run, answering, lines, sent: 0, asked: 0, done: 0 }
    }

    pub(crate) fn channels(&self) -> usize {
        self.lines.len()
    }

    /// The number of questions that are not done.
    pub(crate) fn open(&self) -> u64 {
        self.sent - self.done
    }

    /// The progress, and what to look at while there is none.
    pub(crate) fn progress(&self) -> String {
        let Questions { sent, asked, done, prefix, .. } = self;
        let hint = match asked {
            0 => format!(" (does the pattern of a route match {prefix}0, and does its url name --backend?)"),
            _ => String::new(),
        };
        format!("{sent} questions sent, {asked} reached the backend, {done} done{hint}")
    }

    /// Adds a question, and returns its number in the channel and its data, padded to this many bytes.
    pub(crate) fn add(&mut self, channel: usize, sent: Instant, bytes: usize) -> (u64, String) {
        let Some(line) = self.lines.get_mut(channel) else { return (0, String::new()) };
        let n = line.first + line.open.len() as u64;
        let (committed, asked, shown, ended) = (None, None, None, None);
        line.open.push_back(Question { sent, committed, asked, shown, ended, offset: None, answer: None });
        self.sent += 1;
        let empty = format!("{{\"run\":{},\"n\":{n},\"pad\":\"\"}}", self.run);
        let pad = "x".repeat(bytes.saturating_sub(empty.len()));
        (n, format!("{{\"run\":{},\"n\":{n},\"pad\":\"{pad}\"}}", self.run))
    }

    /// Notes the reply to a question.
    pub(crate) fn committed(
        &mut self,
        channel: usize,
        n: u64,
        offset: u64,
        at: Instant,
    ) -> Result<(), Misfit> {
        let unexpected = || ("unexpected", format!("a reply to question {n} of channel {channel}"));
        let question = self.find(channel, n).filter(|question| question.committed.is_none());
        let question = question.ok_or_else(unexpected)?;
        question.committed = Some(at);
        same_offset(question, offset)
    }

    /// Notes a request of the relay, and returns its channel.
    pub(crate) fn asked(&mut self, asked: &Asked, at: Instant) -> Result<usize, Misfit> {
        let Asked { channel: name, offset, attempt, answer, run, n } = asked;
        let number = name.strip_prefix(self.prefix).and_then(|number| number.parse::<usize>().ok());
        let foreign = || ("foreign", format!("{asked:?} is of another run: use a new store"));
        let channel = number.filter(|_| *run == self.run).ok_or_else(foreign)?;
        let line = self.lines.get_mut(channel).ok_or_else(foreign)?;
        if *attempt != 1 || *n < line.next {
            return Err((
                "asked_again",
                format!("question {n} of {name} at offset {offset}, attempt {attempt}"),
            ));
        }
        if *n > line.next {
            return Err((
                "out_of_order",
                format!("question {n} of {name} came before question {}", line.next),
            ));
        }
        match (self.answering, answer) {
            (Answering::Nothing, None) | (Answering::Word, Some(_)) => {}
            (Answering::Nothing, Some(_)) => {
                return Err((
                    "answers",
                    "the route has answers: set `answers = false`, or use --answers".into(),
                ));
            }
            (Answering::Word, None) => {
                return Err((
                    "answers",
                    "the route has no answers: set `answers = true`, or leave --answers out".into(),
                ));
            }
        }
        line.next += 1;
        line.answer = line.answer.max(answer.unwrap_or(0));
        self.asked += 1;
        let question = self.find(channel, *n).ok_or_else(foreign)?;
        question.asked = Some(at);
        question.answer = *answer;
        same_offset(question, *offset).map(|()| channel)
    }

    /// Notes text of an answer, as its reader got it.
    pub(crate) fn shown(
        &mut self,
        channel: usize,
        begin: u64,
        (from, text): (u64, &str),
        at: Instant,
    ) -> Result<(), Misfit> {
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        if !WORD.get(from..).is_some_and(|rest| rest.starts_with(text)) {
            return Err(("answer", format!("{text:?} at {from} is no part of {WORD:?}")));
        }
        let known = self.lines.get(channel).map_or(0, |line| line.answer);
        match self.find_answer(channel, begin) {
            Some(question) if !text.is_empty() => drop(question.shown.get_or_insert(at)),
            // A piece may come after the end, which has all of the text.
            Some(_) | None if begin <= known => {}
            Some(_) | None => {
                return Err(("unexpected", format!("text of {begin}, which answers no question")));
            }
        }
        Ok(())
    }

    /// Notes the end of an answer, as its reader got it.
    pub(crate) fn ended(
        &mut self,
        channel: usize,
        begin: u64,
        data: &str,
        at: Instant,
    ) -> Result<(), Misfit> {
        #[derive(Deserialize)]
        struct End<'a> {
            text: &'a str,
        }
        if !serde_json::from_str::<End<'_>>(data).is_ok_and(|end| end.text == WORD) {
            return Err(("answer", format!("the answer {begin} ended with {data}")));
        }
        let again = || ("unexpected", format!("an end of {begin}, which is no open answer"));
        let question = self.find_answer(channel, begin).filter(|question| question.ended.is_none());
        let question = question.ok_or_else(again)?;
        question.shown.get_or_insert(at);
        question.ended = Some(at);
        Ok(())
    }

    /// Takes the oldest question of a channel if it is done.
    pub(crate) fn take_done(&mut self, channel: usize) -> Option<Question> {
        let line = self.lines.get_mut(channel)?;
        let is_done = |question: &mut Question| {
            let is_answered = self.answering == Answering::Nothing || question.ended.is_some();
            question.committed.is_some() && question.asked.is_some() && is_answered
        };
        let question = line.open.pop_front_if(is_done)?;
        line.first += 1;
        self.done += 1;
        Some(question)
    }

    fn find(&mut self, channel: usize, n: u64) -> Option<&mut Question> {
        let line = self.lines.get_mut(channel)?;
        line.open.get_mut(usize::try_from(n.checked_sub(line.first)?).ok()?)
    }

    fn find_answer(&mut self, channel: usize, begin: u64) -> Option<&mut Question> {
        self.lines.get_mut(channel)?.open.iter_mut().find(|question| question.answer == Some(begin))
    }
}

fn same_offset(question: &mut Question, offset: u64) -> Result<(), Misfit> {
    match question.offset.replace(offset) {
        Some(other) if other != offset => {
            Err(("offset", format!("a question has offset {offset} in one message and {other} in another")))
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn three(answering: Answering) -> Questions {
        let mut questions = Questions::new("load-", 2, 7, answering);
        for _ in 0..3 {
            questions.add(1, clock::now(), 64);
        }
        questions
    }

    fn request(n: u64) -> Asked {
        Asked { channel: "load-1".into(), offset: 10 + 2 * n, attempt: 1, answer: None, run: 7, n }
    }

    fn kind<T>(result: Result<T, Misfit>) -> Option<&'static str> {
        result.err().map(|(kind, _)| kind)
    }

    #[test]
    fn data_has_the_number_in_the_channel_and_the_length() {
        let mut questions = three(Answering::Nothing);
        let (n, data) = questions.add(1, clock::now(), 64);
        assert_eq!((n, data.len(), data.starts_with("{\"run\":7,\"n\":3,")), (3, 64, true));
    }

    #[test]
    fn question_that_is_asked_twice_or_too_early_or_by_another_run_is_a_fault() {
        let mut questions = three(Answering::Nothing);
        let now = clock::now();
        assert_eq!(kind(questions.asked(&request(1), now)), Some("out_of_order"));
        assert_eq!(questions.asked(&request(0), now), Ok(1));
        assert_eq!(kind(questions.asked(&request(0), now)), Some("asked_again"));
        assert_eq!(kind(questions.asked(&Asked { attempt: 2, ..request(1) }, now)), Some("asked_again"));
        assert_eq!(kind(questions.asked(&Asked { run: 8, ..request(1) }, now)), Some("foreign"));
        assert_eq!(
            kind(questions.asked(&Asked { channel: "load-9".into(), ..request(1) }, now)),
            Some("foreign")
        );
        assert_eq!(kind(questions.asked(&Asked { answer: Some(3), ..request(1) }, now)), Some("answers"));
        assert_eq!(questions.asked(&request(1), now), Ok(1));
    }

    #[test]
    fn question_is_done_once_it_is_committed_and_asked_at_the_same_offset() {
        let mut questions = three(Answering::Nothing);
        let now = clock::now();
        assert_eq!(questions.asked(&request(0), now), Ok(1));
        assert!(questions.take_done(1).is_none());
        assert_eq!(questions.committed(1, 0, 10, now), Ok(()));
        assert!(questions.take_done(1).is_some() && questions.take_done(1).is_none());
        assert_eq!(kind(questions.committed(1, 0, 10, now)), Some("unexpected"));
        assert_eq!(questions.committed(1, 1, 12, now), Ok(()));
        assert_eq!(kind(questions.asked(&Asked { offset: 13, ..request(1) }, now)), Some("offset"));
        assert_eq!((questions.sent, questions.asked, questions.open()), (3, 2, 2));
    }

    #[test]
    fn answer_is_one_word_and_ends_once() {
        let mut questions = three(Answering::Word);
        let now = clock::now();
        assert_eq!(kind(questions.asked(&request(0), now)), Some("answers"));
        assert_eq!(questions.asked(&Asked { answer: Some(11), ..request(0) }, now), Ok(1));
        assert_eq!(questions.committed(1, 0, 10, now), Ok(()));
        assert_eq!(kind(questions.shown(1, 11, (1, "answered"), now)), Some("answer"));
        assert_eq!(kind(questions.shown(1, 13, (0, "answered"), now)), Some("unexpected"));
        assert_eq!(questions.shown(1, 11, (0, "answ"), now), Ok(()));
        assert!(questions.take_done(1).is_none());
        assert_eq!(kind(questions.ended(1, 11, "{\"text\":\"answ\"}", now)), Some("answer"));
        assert_eq!(questions.ended(1, 11, "{\"text\":\"answered\"}", now), Ok(()));
        assert_eq!(kind(questions.ended(1, 11, "{\"text\":\"answered\"}", now)), Some("unexpected"));
        assert!(questions.take_done(1).is_some());
        assert_eq!(questions.shown(1, 11, (4, "ered"), now), Ok(()), "a piece after the end");
    }
}
