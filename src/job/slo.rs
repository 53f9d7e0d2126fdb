//! Operators' questions about objectives on their way to the thread `slo`, which owns the rows.

use crate::slo::calendar::IsoWeek;
use crate::slo::weekly_text::ReportFormat;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::time::Duration;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Questions that wait.
const INBOX: usize = 16;

/// A question or an order about objectives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SloQuestion {
    /// The report of a week; `None`: of this one so far.
    Report {
        week: Option<IsoWeek>,
        format: ReportFormat,
    },
    /// The last weeks of an objective, this one included.
    History {
        name: String,
        weeks: u16,
    },
    Exclusions,
    /// Adds an exclusion, with the address that it comes from.
    Exclude(ExclusionWish, String),
    /// Removes one.
    EndExclusion(u64, String),
}

/// An exclusion as an operator writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExclusionWish {
    /// `None`: all.
    pub objective: Option<String>,
    /// Times like `2026-11-24T02:00`.
    pub from: String,
    pub until: String,
    pub why: String,
}

/// Why there is no answer: a word for programs is made of it, and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SloProblem {
    /// There is nothing of this name or time.
    Unknown(String),
    /// The question breaks a bound.
    Refused(String),
    /// `slo.db` cannot be read.
    Unreadable(String),
}

/// The body of an answer.
pub type SloAnswer = Result<String, SloProblem>;

/// A question, and the way back.
#[derive(Debug)]
pub struct SloRequest {
    pub question: SloQuestion,
    pub reply: Sender<SloAnswer>,
}

/// A sender of questions.
#[derive(Clone, Debug)]
pub struct SloRequests(Sender<SloRequest>);

impl SloRequests {
    /// `None`: no answer within two seconds, or objectives are off.
    pub fn ask(&self, question: SloQuestion) -> Option<SloAnswer> {
        let (reply, answer) = bounded(1);
        self.0.send_timeout(SloRequest { question, reply }, ANSWER_TIMEOUT).ok()?;
        answer.recv_timeout(ANSWER_TIMEOUT).ok()
    }
}

/// The way from operators to the thread.
pub fn questions() -> (SloRequests, Receiver<SloRequest>) {
    let (requests, questions) = bounded(INBOX);
    (SloRequests(requests), questions)
}
