//! Helpers of the tests of the relay.

use super::super::relay_desk::RelayDesk;
use super::super::relay_turn::RelayPart;
use super::support::{KEEP_ALL, Shelf, name};
use crate::id::pattern::ChannelPattern;
use crate::id::{Offset, UserName};
use crate::job::Append;
use crate::job::relay::{
    ClaimOutcome, Claimed, DeadLetter, Fence, RelayAnswer, RelayNotice, RelayNotices, RelayOutcome,
    RelayQueue, RelayWork, Routes, SettleOutcome,
};
use crate::relay::route::{AnswerMode, ChannelOrder, RelayRoute, RelayedKind, RelayedKinds, RouteTable};
use crate::store::RelayEnds;
use crate::store::outcome::Outcome;
use crate::store::retention::Rest;
use crate::stream::Flush;
use crate::wire::publication::Published;
use crossbeam_channel::Receiver;
use std::sync::Arc;
use std::time::Duration;

/// A route for channels that begin with `t`.
pub(in crate::store) fn route() -> RelayRoute {
    RelayRoute {
        name: "assistant".into(),
        pattern: ChannelPattern::parse("t*").expect("a pattern"),
        url: "http://127.0.0.1:9/".into(),
        user: UserName::parse("assistant").expect("a user"),
        answers: AnswerMode::Stored,
        kinds: RelayedKinds::NONE.with(RelayedKind::Original),
        skip_users: Vec::new(),
        claims: Vec::new(),
        publish: Vec::new(),
        dependency: None,
        secrets: Vec::new(),
        timeout: Duration::from_secs(10),
        concurrency: 32,
        order: ChannelOrder::Taken,
        give_up: Duration::from_secs(3_600),
        answer: Duration::from_secs(120),
    }
}

/// The same without answers.
pub(in crate::store) fn silent() -> RelayRoute {
    RelayRoute { answers: AnswerMode::None, ..route() }
}

/// A log and its relay, without threads.
pub(super) struct Desk {
    pub(super) shelf: Shelf,
    pub(super) desk: RelayDesk,
    queue: RelayQueue,
    pub(super) routes: Arc<Routes>,
    pub(super) notices: Receiver<RelayNotice>,
    pub(super) now_ms: u64,
}

impl Desk {
    pub(super) fn new(routes: Vec<RelayRoute>) -> Desk {
        Desk::on(Shelf::new(KEEP_ALL), routes)
    }

    pub(super) fn on(shelf: Shelf, routes: Vec<RelayRoute>) -> Desk {
        let (queue, requests) = RelayQueue::new();
        let (sender, notices) = RelayNotices::new();
        let routes = Arc::new(Routes::new(RouteTable::new(routes)));
        let ends = RelayEnds { requests, notices: sender, routes: Arc::clone(&routes) };
        Desk { shelf, desk: RelayDesk::new(ends), queue, routes, notices, now_ms: 1_000 }
    }

    /// The process ends, and another one begins.
    pub(super) fn restart(&mut self) {
        let (queue, requests) = RelayQueue::new();
        let (sender, notices) = RelayNotices::new();
        let ends = RelayEnds { requests, notices: sender, routes: Arc::clone(&self.routes) };
        self.desk = RelayDesk::new(ends);
        (self.queue, self.notices) = (queue, notices);
        self.shelf.start_again();
    }

    /// Commits a batch, a flush and the requests that wait.
    fn commit(&mut self, jobs: &[Append], flush: &Flush) -> (Vec<Outcome>, Vec<Published>) {
        self.desk.take();
        let routes = self.desk.table();
        let turn = self.desk.turn(routes.as_ref());
        let part = RelayPart { routes: routes.as_ref(), turn: turn.as_ref() };
        let committed = self.shelf.log.commit_all(jobs, flush, part, self.now_ms).expect("it commits");
        drop(turn);
        let answers = self.desk.committed(committed.relay);
        (committed.outcomes, answers)
    }

    /// Commits a batch, and returns its outcomes and the begins of answers to announce.
    pub(super) fn append(&mut self, jobs: &[Append]) -> (Vec<Outcome>, Vec<Published>) {
        let committed = self.commit(jobs, &Flush::default());
        self.desk.answer();
        committed
    }

    /// Stores one publication, and returns its offset and that of its answer.
    pub(super) fn ask(&mut self, job: Append) -> (u64, Option<u64>) {
        let (outcomes, _) = self.append(&[job]);
        let appended = outcomes.first().expect("an outcome").as_ref().expect("stored");
        (appended.offset.0, appended.answer.map(|answer| answer.0))
    }

    pub(super) fn call(&mut self, work: RelayWork) -> RelayAnswer {
        let answer = self.queue.ask(work).expect("room");
        self.append(&[]);
        answer.try_recv().expect("answered")
    }

    /// The request is committed, but its outcome is not known.
    pub(super) fn lose(&mut self, work: RelayWork) {
        let answer = self.queue.ask(work).expect("room");
        self.desk.take();
        let routes = self.desk.table();
        let turn = self.desk.turn(routes.as_ref());
        let part = RelayPart { routes: routes.as_ref(), turn: turn.as_ref() };
        self.shelf.log.commit_all(&[], &Flush::default(), part, self.now_ms).expect("it commits");
        drop(turn);
        self.desk.failed();
        assert!(matches!(answer.try_recv(), Ok(RelayAnswer::Unavailable)));
    }

    /// Does requests in one commit.
    pub(super) fn calls(&mut self, works: impl Iterator<Item = RelayWork>) -> Vec<RelayAnswer> {
        let answers: Vec<_> = works.map(|work| self.queue.ask(work).expect("room")).collect();
        self.append(&[]);
        answers.into_iter().map(|answer| answer.try_recv().expect("answered")).collect()
    }

    pub(super) fn claim(&mut self, channel: &str) -> ClaimOutcome {
        match self.call(RelayWork::Claim { channel: name(channel) }) {
            RelayAnswer::Claim(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn claimed(&mut self, channel: &str) -> Claimed {
        claimed(self.claim(channel))
    }

    pub(super) fn settle(&mut self, channel: &str, fence: Fence, outcome: RelayOutcome) -> SettleOutcome {
        match self.call(RelayWork::Settle { channel: name(channel), fence, outcome }) {
            RelayAnswer::Settle(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    /// Settles a claim, and returns what is next.
    pub(super) fn settled(&mut self, channel: &str, fence: Fence, outcome: RelayOutcome) -> ClaimOutcome {
        match self.settle(channel, fence, outcome) {
            SettleOutcome::Settled(next) => next,
            SettleOutcome::Lost => panic!("lost"),
        }
    }

    pub(super) fn dead(&mut self) -> Vec<DeadLetter> {
        match self.call(RelayWork::Dead { route: None, after: 0, limit: 100 }) {
            RelayAnswer::Dead(letters) => letters,
            other => panic!("{other:?}"),
        }
    }

    /// Sweeps once through all tables.
    pub(super) fn sweep(&mut self, now_ms: u64) {
        while self.desk.sweep(&mut self.shelf.log, now_ms).expect("swept") == Rest::Some {}
    }

    /// Commits what the streams have, and settles it.
    pub(super) fn flush(&mut self) {
        let flush = self.shelf.cut();
        self.shelf.settle(flush);
    }

    pub(super) fn offset_of(outcome: &ClaimOutcome) -> Option<Offset> {
        match outcome {
            ClaimOutcome::Claimed(claimed) => Some(claimed.question.offset),
            _ => None,
        }
    }
}

pub(in crate::store) fn claimed(outcome: ClaimOutcome) -> Claimed {
    match outcome {
        ClaimOutcome::Claimed(claimed) => *claimed,
        other => panic!("{other:?}"),
    }
}
