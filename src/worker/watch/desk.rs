//! Where an operator asks and orders: a question goes to the watch thread, which owns the boards, and its answer comes back.
//!
//! The watch thread waits for nothing but news, so an answer takes a millisecond; a bound on the wait is kept all the same,
//! since an operator asks when something is wrong.

use super::{News, Watch};
use crate::clock::Now;
use crate::health::board::{Board, Changes, DependencyId, What};
use crate::health::breaker::Forced;
use crate::health::capacity;
use crate::health::dependency::Order;
use crate::health::report::Report;
use crate::health::report::dependencies::{Form, admission, all, one, standing};
use crate::health::snapshot::AdmissionMode;
use crossbeam_channel::{Sender, bounded};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The longest wait for the watch thread.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// All dependencies, with causes and addresses.
    Dependencies,
    /// One of them, with its last looks.
    Dependency(String),
    /// Whether verdicts are carried out.
    Admission,
    /// To do something.
    Act(Action),
}

/// What an operator does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Look at it now.
    Probe(String),
    /// Hold it open or closed for so long, whatever probes and calls say.
    Force(String, Forced, Duration),
    /// End that.
    Release(String),
    /// Carry verdicts out, or only count them.
    Admission(AdmissionMode),
}

/// What comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What holds now.
    Report(Report),
    /// There is no dependency of this name; these there are.
    Unknown(Vec<Arc<str>>),
    /// It is the gateway itself, which nobody holds.
    NotHeld,
}

/// A question on its way.
#[derive(Debug)]
pub(super) struct Asked {
    ask: Ask,
    who: SocketAddr,
    reply: Sender<Answer>,
}

/// The way to the watch thread.
#[derive(Clone, Debug)]
pub struct Desk {
    news: Sender<News>,
}

impl Desk {
    pub(super) fn new(news: Sender<News>) -> Desk {
        Desk { news }
    }

    /// One that nobody serves, as when the watch thread hangs.
    #[cfg(test)]
    pub(in crate::worker) fn unserved() -> Desk {
        let (news, inbox) = bounded(8);
        // While the inbox exists, questions wait.
        std::mem::forget(inbox);
        Desk { news }
    }

    /// Asks on behalf of `who`. `None`: no answer within a second, or the process ends; an action may yet be done.
    pub fn ask(&self, ask: Ask, who: SocketAddr) -> Option<Answer> {
        let (reply, answer) = bounded(1);
        self.news.send_timeout(News::Asked(Asked { ask, who, reply }), ANSWER_TIMEOUT).ok()?;
        answer.recv_timeout(ANSWER_TIMEOUT).ok()
    }
}

impl<C: Fn() -> Now + Send + 'static> Watch<C> {
    /// Does what is asked and says what holds then.
    pub(super) fn serve(&mut self, asked: Asked, random: u64) {
        let Asked { ask, who, reply } = asked;
        let now = (self.clock)();
        let answer = match ask {
            Ask::Dependencies => Answer::Report(all(&self.board, self.own.board(), now, Form::Admin)),
            Ask::Dependency(name) => self.report_on(&name, one(self.board_of(&name), &name, now)),
            Ask::Admission => Answer::Report(admission(&self.board)),
            Ask::Act(action) => self.act(action, who, now, random),
        };
        // Whoever asked may have gone.
        let _ = reply.send(answer);
    }

    fn board_of(&self, name: &str) -> &Board {
        if name == capacity::NAME { self.own.board() } else { &self.board }
    }

    fn report_on(&self, name: &str, report: Option<Report>) -> Answer {
        debug_assert_eq!(report.is_some(), self.board_of(name).id(name).is_some());
        report.map_or_else(
            || {
                let boards = [self.own.board(), &self.board];
                let all = boards.into_iter().flat_map(Board::dependencies);
                Answer::Unknown(all.map(|each| Arc::clone(&each.definition().name)).collect())
            },
            Answer::Report,
        )
    }

    fn act(&mut self, action: Action, who: SocketAddr, now: Now, random: u64) -> Answer {
        match action {
            Action::Admission(mode) => {
                tracing::warn!(%who, mode = mode.as_str(), from = self.board.mode().as_str(), "an operator sets admission");
                let changes = self.board.set_mode(mode, now);
                self.counters.admission(mode);
                self.apply(changes);
                self.report();
                Answer::Report(admission(&self.board))
            }
            Action::Probe(name) => {
                let board = if name == capacity::NAME { self.own.board_mut() } else { &mut self.board };
                if let Some(id) = board.id(&name) {
                    tracing::info!(%who, dependency = name, "an operator asks for a probe");
                    board.ask(id, now);
                }
                self.stands(&name, now, 202)
            }
            Action::Force(name, _, _) | Action::Release(name) if name == capacity::NAME => Answer::NotHeld,
            Action::Force(name, to, period) => {
                if let Some(id) = self.board.id(&name) {
                    let minutes = period.as_secs() / 60;
                    tracing::warn!(%who, dependency = name, ?to, minutes, "an operator holds a dependency");
                    self.order(id, Some(Order { to, until: now.at + period }), now, random);
                }
                self.stands(&name, now, 200)
            }
            Action::Release(name) => {
                if let Some(id) = self.board.id(&name) {
                    tracing::warn!(%who, dependency = name, "an operator lets a dependency go");
                    self.order(id, None, now, random);
                }
                self.stands(&name, now, 200)
            }
        }
    }

    /// An order whose beginning or end was just told, with whose it is, is not told again.
    fn order(&mut self, id: DependencyId, order: Option<Order>, now: Now, random: u64) {
        let mut changes: Changes = self.board.order(id, order, now, random);
        changes.events.retain(|event| !matches!(event.what, What::Forced(_) | What::Released));
        self.apply(changes);
        self.show();
        self.report();
    }

    fn stands(&self, name: &str, now: Now, status: u16) -> Answer {
        self.report_on(name, standing(self.board_of(name), name, now, status))
    }
}
