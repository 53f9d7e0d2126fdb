//! Questions of the thread `slo` to the store that all instances share: rows that it does not keep in memory.

use crate::slo::run_counts::AllCounts;
use crate::slo::weekly_rows::RunSpan;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::ops::Range;

/// Rows of the past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastSpan {
    /// Closed quarters of an hour.
    pub quarters: Range<u64>,
    /// The time of the incidents, the notices and the runs, in Unix milliseconds; `None`: none are read.
    pub week_ms: Option<Range<u64>>,
    /// The time zone whose weeks are read; `None`: none are.
    pub zone: Option<String>,
}

/// The sums of a week in a time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedWeek {
    /// As in `2026-W48`.
    pub week: String,
    /// Its begin, in Unix milliseconds.
    pub from_ms: u64,
    pub counts: AllCounts,
}

/// An exclusion as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExclusionRow {
    /// Its meaning. The store has one of each.
    pub identity: String,
    pub until_ms: u64,
    /// JSON.
    pub body: String,
}

/// A question, or an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreQuestion {
    Past(PastSpan),
    /// Keeps the sums of weeks that no row can change any more, in a time zone.
    Close(String, Vec<ClosedWeek>),
    Exclude(ExclusionRow),
    /// Removes the exclusion of this number.
    EndExclusion(u64),
}

/// Rows of the past of all instances.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PastRows {
    pub quarters: Vec<(u64, AllCounts)>,
    /// The times in which any instance ran, in the order of their begins; the last one before the week as well.
    pub runs: Vec<RunSpan>,
    /// Bodies as JSON.
    pub incidents: Vec<String>,
    /// The fate and the body of each.
    pub notices: Vec<(String, String)>,
    pub weeks: Vec<ClosedWeek>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreAnswer {
    Past(PastRows),
    Closed,
    /// The number of the exclusion, also if it was there; `None` if there are too many.
    Excluded(Option<u64>),
    /// The body of the exclusion that was removed; `None` if there is none.
    Ended(Option<String>),
}

/// The end of the thread `slo`. It has at most one question in progress.
#[derive(Debug)]
pub struct StoreQuestions {
    calls: Sender<StoreQuestion>,
    /// `None` in the queue: the store could not be reached.
    answers: Receiver<Option<StoreAnswer>>,
    /// An earlier question was not answered in time.
    is_late: bool,
}

/// The end of the store.
#[derive(Debug)]
pub struct StoreQuestionEnds {
    pub calls: Receiver<StoreQuestion>,
    pub answers: Sender<Option<StoreAnswer>>,
}

/// Makes both ends.
pub fn store_questions() -> (StoreQuestions, StoreQuestionEnds) {
    let (calls, call_jobs) = bounded(1);
    let (answers_in, answers) = bounded(1);
    let questions = StoreQuestions { calls, answers, is_late: false };
    (questions, StoreQuestionEnds { calls: call_jobs, answers: answers_in })
}

impl StoreQuestions {
    /// Asks. False: the store still works on an earlier question, or has ended.
    pub fn ask(&mut self, question: StoreQuestion) -> bool {
        if self.is_late && self.answers.try_recv().is_err() {
            return false;
        }
        self.is_late = false;
        self.calls.try_send(question).is_ok()
    }

    /// The answers, for a wait; [`StoreQuestions::take`] takes what comes.
    pub fn answers(&self) -> Receiver<Option<StoreAnswer>> {
        self.answers.clone()
    }

    /// Takes an answer. `None`: it is to a question that was given up.
    pub fn take(&mut self, answer: Option<StoreAnswer>) -> Option<Option<StoreAnswer>> {
        (!std::mem::take(&mut self.is_late)).then_some(answer)
    }

    /// Gives the question in progress up.
    pub fn give_up(&mut self) {
        self.is_late = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_to_a_question_that_was_given_up_is_not_one_to_the_next() {
        let (mut questions, ends) = store_questions();
        let question = StoreQuestion::Past(PastSpan { quarters: 1..2, week_ms: None, zone: None });
        let answer = || Some(StoreAnswer::Past(PastRows::default()));
        assert!(questions.ask(question.clone()));
        questions.give_up();
        assert!(!questions.ask(question.clone()), "the store works on the first one");
        ends.calls.recv().expect("the first one");
        ends.answers.send(answer()).expect("there is room");
        assert_eq!(questions.take(questions.answers().recv().expect("an answer")), None, "it is late");
        assert!(questions.ask(question.clone()));
        ends.calls.recv().expect("the next one");
        questions.give_up();
        ends.answers.send(None).expect("there is room");
        assert!(questions.ask(question), "the late answer is dropped");
        ends.answers.send(answer()).expect("there is room");
        assert_eq!(questions.take(questions.answers().recv().expect("an answer")), Some(answer()));
    }
}
