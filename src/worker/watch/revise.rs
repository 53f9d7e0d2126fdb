//! The dependencies change while they are watched: some come, some go, some are looked at in another way.
//!
//! Who stays keeps everything that is known of it, and the thread that looks at it where that looks at the same place. A
//! thread that nobody needs any more ends with the look it is at, whose finding then finds no one.

use super::{News, Watch, looker};
use crate::clock::Now;
use crate::health::board::{DependencyId, Due, Place};
use crate::health::definition::Definition;
use crate::health::snapshot::AdmissionMode;
use crate::worker::probe::Probe;
use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use std::sync::Arc;
use std::time::Duration;

/// The longest wait for the watch thread, which itself waits for nothing but news.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// What is watched from here on.
#[derive(Debug)]
pub struct Revision {
    /// All dependencies, in the order of the configuration.
    pub dependencies: Vec<Revised>,
    /// Whether verdicts are carried out; `None`: as it is, since an operator may have said so meanwhile.
    pub mode: Option<AdmissionMode>,
}

/// One of them.
#[derive(Debug)]
pub struct Revised {
    /// How it is judged and told.
    pub definition: Definition,
    /// What looks at it; `None`: what looked at it before.
    pub probe: Option<Probe>,
}

/// Why a revision brought no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unrevised {
    /// The watch thread took nothing, the process ends, or there was no thread for a probe: nothing has changed.
    Refused,
    /// The watch thread has the message and did not answer within a second: it may yet take it.
    Unanswered,
}

/// The dependencies that are watched, by name.
pub type Watched = Vec<(Arc<str>, DependencyId)>;

/// A revision on its way.
#[derive(Debug)]
pub(super) struct Asked {
    revision: Revision,
    news: Sender<News>,
    reply: Sender<Watched>,
}

/// The way to the watch thread.
#[derive(Clone, Debug)]
pub struct Reviser {
    news: Sender<News>,
}

impl Reviser {
    pub(super) fn new(news: Sender<News>) -> Reviser {
        Reviser { news }
    }

    /// Has this watched from here on.
    pub fn revise(&self, revision: Revision) -> Result<Watched, Unrevised> {
        let (reply, answer) = bounded(1);
        let asked = Asked { revision, news: self.news.clone(), reply };
        let sent = self.news.send_timeout(News::Revised(Box::new(asked)), ANSWER_TIMEOUT);
        sent.map_err(|_| Unrevised::Refused)?;
        answer.recv_timeout(ANSWER_TIMEOUT).map_err(|error| match error {
            RecvTimeoutError::Disconnected => Unrevised::Refused,
            RecvTimeoutError::Timeout => Unrevised::Unanswered,
        })
    }
}

impl<C: Fn() -> Now + Send + 'static> Watch<C> {
    pub(super) fn revise(&mut self, asked: Asked) {
        let Asked { revision, news, reply } = asked;
        let now = (self.clock)();
        let mut definitions = Vec::new();
        let mut newcomers: Vec<(Arc<str>, Sender<Due>)> = Vec::new();
        for Revised { definition, probe } in revision.dependencies {
            let place = if probe.is_some() { Place::Other } else { Place::Same };
            if let Some(probe) = probe {
                match looker(probe, &definition.name, news.clone()) {
                    Ok(looker) => newcomers.push((Arc::clone(&definition.name), looker)),
                    // Nobody is told: the reply's end goes with this call.
                    Err(error) => return tracing::error!(%error, "no thread for a probe"),
                }
            }
            definitions.push((definition, place));
        }
        let mode = revision.mode.unwrap_or(self.board.mode());
        let changes = self.board.revise(definitions, mode, now);
        self.take_lookers(newcomers);
        self.counters.revise(self.board.dependencies());
        self.counters.admission(mode);
        self.apply(changes);
        self.show();
        self.report();
        let name = |name: Arc<str>| self.board.id(&name).map(|id| (name, id));
        let names = self.board.dependencies().map(|each| Arc::clone(&each.definition().name));
        // Whoever asked may have given up.
        let _ = reply.send(names.filter_map(name).collect());
    }

    /// Newcomers take the place of who looked before, and who is gone looks no more.
    fn take_lookers(&mut self, newcomers: Vec<(Arc<str>, Sender<Due>)>) {
        let board = &self.board;
        let mut lookers: Vec<(DependencyId, Sender<Due>)> = newcomers
            .into_iter()
            .filter_map(|(name, looker)| board.id(&name).map(|id| (id, looker)))
            .collect();
        let stays = |(id, looker): (DependencyId, Sender<Due>)| {
            let replaced = lookers.iter().any(|(newer, _)| *newer == id);
            (!replaced && board.holds(id)).then_some((id, looker))
        };
        let kept: Vec<_> = std::mem::take(&mut self.lookers).into_iter().filter_map(stays).collect();
        lookers.extend(kept);
        self.lookers = lookers;
    }
}
