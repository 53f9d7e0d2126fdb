//! Questions of operators, and reports, that wait for rows of the store.
//!
//! One waits at a time, and the next ones in their queue, because the store answers one after the other.

use super::Keeper;
use super::deployment::Deployment;
use super::shared_state::{StoreAsker, WaitingQuestion};
use crate::clock::Now;
use crate::job::shared_questions::{StoreAnswer, StoreQuestion};
use crate::job::slo::{SloAnswer, SloProblem, SloQuestion, SloRequest};
use crossbeam_channel::{Receiver, after, never};
use std::time::{Duration, Instant};

/// The wait for the store. An operator waits for two seconds.
const WAIT: Duration = Duration::from_millis(1_500);

impl<C: Fn() -> Now> Keeper<C> {
    /// Asks the store, or refuses at once.
    pub(super) fn ask_store(&mut self, question: StoreQuestion, asker: StoreAsker) {
        let is_asked = self.deployment.as_mut().is_some_and(|it| it.questions().ask(question.clone()));
        if is_asked {
            self.asked.waiting = Some(WaitingQuestion { asker, question, late: after(WAIT) });
        } else {
            refuse(asker);
        }
    }

    /// The answers of the store, and the end of the wait for one.
    pub(super) fn waits(&mut self) -> (Receiver<Option<StoreAnswer>>, Receiver<Instant>) {
        let answers = self.deployment.as_mut().map_or_else(never, |it| it.questions().answers());
        let late = self.asked.waiting.as_ref().map_or_else(never, |waiting| waiting.late.clone());
        (answers, late)
    }

    pub(super) fn take_store_answer(&mut self, answer: Option<StoreAnswer>) {
        let questions = self.deployment.as_mut().map(Deployment::questions);
        let answer = questions.and_then(|questions| questions.take(answer));
        let Some((answer, waiting)) = answer.zip(self.asked.waiting.take()) else { return };
        let Some(answer) = answer else { return self.refuse_asked(waiting) };
        let WaitingQuestion { asker, question, .. } = waiting;
        match (answer, asker) {
            (answer, StoreAsker::Operator(request)) => {
                let answer = self.finish_answer(&request.question, &question, answer);
                reply(&request, answer);
            }
            (StoreAnswer::Past(rows), StoreAsker::Report(week)) => self.send_week(week, Some(rows)),
            (answer, StoreAsker::Weeks(week)) => self.go_on_closing(week, answer),
            // No other question is asked for a report.
            (_, StoreAsker::Report(_)) => {}
        }
    }

    /// Goes on with the counts of this instance, because the store has ended.
    pub(super) fn leave_store(&mut self) {
        self.give_up_waiting();
        self.deployment = None;
    }

    /// Refuses the question that waits, because the store has not answered in time.
    pub(super) fn give_up_waiting(&mut self) {
        if let Some(waiting) = self.asked.waiting.take() {
            if let Some(deployment) = &mut self.deployment {
                deployment.questions().give_up();
            }
            self.refuse_asked(waiting);
        }
    }

    /// Refuses a question whose answer is not known. An order may be carried out all the same, so it is kept until a list shows that.
    fn refuse_asked(&mut self, WaitingQuestion { asker, question, .. }: WaitingQuestion) {
        if let StoreAsker::Operator(request) = &asker {
            self.doubt(&request.question, &question);
        }
        refuse(asker);
    }
}

/// A question of this thread itself is asked again after a later judgement.
fn refuse(asker: StoreAsker) {
    match asker {
        StoreAsker::Operator(request) => reply(&request, Err(silent(&request.question))),
        StoreAsker::Report(_) | StoreAsker::Weeks(_) => {}
    }
}

/// The problem while the store does not answer.
fn silent(question: &SloQuestion) -> SloProblem {
    match question {
        SloQuestion::Report { .. } | SloQuestion::History { .. } | SloQuestion::Exclusions => unread(),
        SloQuestion::Exclude(..) | SloQuestion::EndExclusion(..) => SloProblem::Unreadable(
            "the store does not answer, and exclusions are those of all instances: repeat this when it is back, which adds nothing \
             twice and is possible for 35 days; `seawall alert silence` holds notices until then"
                .into(),
        ),
    }
}

/// The problem while the rows of the other instances are not known.
pub(super) fn unread() -> SloProblem {
    SloProblem::Unreadable(
        "the store does not answer, and this needs the rows of all instances: ask again when it is back; \
         `seawall slo` shows the present budgets without it"
            .into(),
    )
}

pub(super) fn reply(request: &SloRequest, answer: SloAnswer) {
    // An operator who does not wait any more has no use for it.
    let _ = request.reply.try_send(answer);
}
