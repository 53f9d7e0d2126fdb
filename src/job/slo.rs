//! Operators' questions about objectives on their way to the thread `slo`, which owns the rows.

use crate::slo::calendar::IsoWeek;
use crate::slo::weekly_text::ReportFormat;
use crossbeam_channel::{Receiver, Sender, after, bounded, select};
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
        self.ask_until(question, &after(ANSWER_TIMEOUT))
    }

    /// Asks until `late` has a value. That one wait covers the place in the queue and the answer.
    fn ask_until<T>(&self, question: SloQuestion, late: &Receiver<T>) -> Option<SloAnswer> {
        let (reply, answer) = bounded(1);
        select! {
            send(self.0, SloRequest { question, reply }) -> sent => sent.ok()?,
            recv(late) -> _ => return None,
        }
        select! {
            recv(answer) -> answer => answer.ok(),
            recv(late) -> _ => None,
        }
    }
}

/// The way from operators to the thread.
pub fn questions() -> (SloRequests, Receiver<SloRequest>) {
    let (requests, questions) = bounded(INBOX);
    (SloRequests(requests), questions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::never;

    #[test]
    fn one_deadline_covers_the_queue_and_the_answer() {
        let (requests, inbox) = questions();
        let (expire, late) = bounded::<()>(INBOX);
        for _ in 0..INBOX {
            expire.send(()).expect("there is room");
            assert_eq!(requests.ask_until(SloQuestion::Exclusions, &late), None, "no answer");
        }
        while let Ok(request) = inbox.try_recv() {
            assert!(request.reply.send(Ok(String::new())).is_err(), "the operator has gone");
        }
        let served = std::thread::spawn(move || {
            let request = inbox.recv().expect("a question");
            request.reply.send(Ok("rows".into())).expect("the operator waits");
        });
        assert_eq!(requests.ask_until(SloQuestion::Exclusions, &never::<()>()), Some(Ok("rows".into())));
        served.join().expect("no panic");
        drop(expire);
    }
}
