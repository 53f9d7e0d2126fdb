//! One process of the world of answers: the real ledger, and the writer that does what it asks for.

use super::answer_rows::{EPOCH, ProcessNumber};
use super::answer_store::AnswerStore;
use super::answer_world::settings;
use fastrand::Rng;
use seawall::clock::{Moment, Now};
use seawall::id::{ChannelName, Offset, ProducerId, ReactorId, UserName};
use seawall::job::relay::{RelayAnswer, RelayNotice, RelayWork};
use seawall::job::stream::{ProducerNotice, StreamFault, StreamNews, StreamOrder, StreamOutcome};
use seawall::stream::{
    CancelRight, CancelledAnswer, CancelledBy, EndFate, EndRow, Flush, FlushFates, Known, Ledger, Loaded,
    SilenceWatch, SilentPart, StreamAppend, StreamFinish, StreamOutput, StreamSender, StreamSettings,
};
use seawall::wire::stream::{StreamEnd, StreamId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

const LOOK: Duration = Duration::from_secs(1);
const SWEEP: Duration = Duration::from_secs(5);
/// Requests of the relay in one commit.
const REQUESTS: usize = 4;

/// The line to the store during one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    Works,
    /// The store refuses.
    Refuses,
    /// It is cut before the commit.
    CutBefore,
    /// It is cut after the commit, before the answer.
    CutAfter,
}

/// Of a hundred commits, how many fail, and how many of those have an unknown outcome.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoreFaults {
    pub failing: u8,
}

impl StoreFaults {
    pub fn draw(self, rng: &mut Rng) -> Line {
        if rng.u8(..100) >= self.failing {
            return Line::Works;
        }
        [Line::Refuses, Line::CutBefore, Line::CutAfter][rng.usize(..3)]
    }
}

/// An order about an answer.
#[derive(Debug)]
pub struct AnswerOrder {
    pub connection: u64,
    /// `None`: it is acknowledged in sums.
    pub ticket: Option<u64>,
    pub id: StreamId,
    pub user: UserName,
    pub order: StreamOrder,
}

pub struct AnswerInstance {
    pub process: ProcessNumber,
    ledger: Ledger<u64>,
    out: StreamOutput<u64>,
    /// Ends whose commit is unknown.
    doubtful: BTreeMap<StreamId, EndRow>,
    /// Answers whose question was gone at the last sweep.
    lost: BTreeSet<StreamId>,
    silence: SilenceWatch,
    looks: Moment,
    sweeps: Moment,
    /// The last commit that failed.
    failed: Moment,
    pub outcomes: BTreeMap<u64, StreamOutcome>,
    /// Notices to producers, by their connections.
    pub heard: Vec<(u64, ProducerNotice)>,
    pub notices: VecDeque<RelayNotice>,
    pub news: Vec<StreamNews>,
    requests: VecDeque<(u64, RelayWork)>,
    pub answers: BTreeMap<u64, RelayAnswer>,
    numbers: u64,
}

fn producer(connection: u64) -> ProducerId {
    ProducerId { reactor: ReactorId(0), connection }
}

impl AnswerInstance {
    pub fn new(process: ProcessNumber, settings: StreamSettings, now: Now) -> AnswerInstance {
        AnswerInstance {
            process,
            ledger: Ledger::of_several(settings, now.at),
            out: StreamOutput::default(),
            doubtful: BTreeMap::new(),
            lost: BTreeSet::new(),
            silence: SilenceWatch::default(),
            looks: now.at,
            sweeps: now.at,
            failed: now.at,
            outcomes: BTreeMap::new(),
            heard: Vec::new(),
            notices: VecDeque::new(),
            news: Vec::new(),
            requests: VecDeque::new(),
            answers: BTreeMap::new(),
            numbers: 0,
        }
    }

    /// A number for a connection, a ticket or a request.
    pub fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Asks the store. The answer appears in `answers`, perhaps much later.
    pub fn ask_store(&mut self, work: RelayWork) -> u64 {
        let number = self.number();
        self.requests.push_back((number, work));
        number
    }

    /// A user asks a question. The outcome may be unknown: then it is asked again.
    pub fn ask(
        &mut self,
        store: &mut AnswerStore,
        (channel, user, key): (&ChannelName, &UserName, &str),
        now: Now,
        line: Line,
    ) -> Option<Offset> {
        if matches!(line, Line::Refuses | Line::CutBefore) {
            return None;
        }
        let asked = store.ask(channel, user, key, now.unix_ms)?;
        if line == Line::CutAfter {
            return None;
        }
        if let Some((begin, touched)) = asked.answer {
            self.ledger.begun(begin, touched, now.at);
        }
        self.notices.push_back(RelayNotice::Waiting { channel: channel.clone() });
        Some(asked.offset)
    }

    /// A user deletes a question.
    pub fn delete(
        &mut self,
        store: &mut AnswerStore,
        (channel, question): (&ChannelName, Offset),
        now: Now,
        line: Line,
    ) {
        if matches!(line, Line::Refuses | Line::CutBefore) {
            return;
        }
        let user = store.entry(channel, question).expect("a question").user.clone();
        if store.delete(channel, question, now.unix_ms) && line == Line::Works {
            let id = StreamId { channel: channel.clone(), offset: question.next() };
            self.load(&id, store, now);
            self.ledger.withdraw(channel, question, &user, now.at);
            self.ledger.release(&id, &mut self.out);
        }
    }

    /// Takes an order. `line`: the one over which the stream is loaded, if it must be.
    pub fn order(&mut self, job: AnswerOrder, store: &AnswerStore, now: Now, line: Line) {
        let mut ended = None;
        if self.needs_load(&job) {
            if line != Line::Works {
                return self.not_now(job);
            }
            ended = self.load(&job.id, store, now);
        }
        let (id, connection, ticket) = (job.id.clone(), job.connection, job.ticket);
        let asked = job.order_end();
        if self.give(job, now) == Known::No {
            let outcome = match ended {
                None => StreamOutcome::Refused(StreamFault::NotFound),
                Some(EndFate { end, edit }) if asked == Some(end) => {
                    StreamOutcome::Ended { edit, end, duplicate: true }
                }
                Some(EndFate { end, edit }) => {
                    StreamOutcome::Refused(StreamFault::AlreadyEnded { end, edit })
                }
            };
            match (ticket, outcome) {
                (Some(ticket), outcome) => drop(self.outcomes.insert(ticket, outcome)),
                (None, StreamOutcome::Refused(fault)) => {
                    self.heard.push((connection, ProducerNotice::Refused { id: id.clone(), fault }));
                }
                (None, _) => {}
            }
        }
        self.ledger.release(&id, &mut self.out);
    }

    fn not_now(&mut self, job: AnswerOrder) {
        let fault = StreamFault::Overloaded { retry_ms: 1_000 };
        match job.ticket {
            Some(ticket) => {
                self.outcomes.insert(ticket, StreamOutcome::Unavailable { retry_ms: 1_000 });
            }
            None => self.heard.push((job.connection, ProducerNotice::Refused { id: job.id, fault })),
        }
    }

    fn needs_load(&self, job: &AnswerOrder) -> bool {
        let ledger = &self.ledger;
        if !ledger.has(&job.id) {
            return !matches!(job.order, StreamOrder::Attach);
        }
        match &job.order {
            StreamOrder::Append { generation, at, piece } => {
                ledger.contradicts(&job.id, *generation, *at, piece)
            }
            StreamOrder::End { generation, at, .. } => ledger.contradicts_end(&job.id, *generation, *at),
            StreamOrder::Restart
            | StreamOrder::Cancel { .. }
            | StreamOrder::Attach
            | StreamOrder::Take
            | StreamOrder::Fail { .. } => false,
        }
    }

    fn give(&mut self, job: AnswerOrder, now: Now) -> Known {
        let AnswerOrder { connection, ticket, id, user, order } = job;
        let (ledger, out, producer) = (&mut self.ledger, &mut self.out, producer(connection));
        let sender = StreamSender { producer, user: &user, ticket };
        match order {
            StreamOrder::Append { generation, at, piece } => {
                ledger.take(&id, sender, StreamAppend { generation, at, piece }, now.at, out)
            }
            StreamOrder::Restart => ledger.restart(&id, sender, now.at, out),
            StreamOrder::End { generation, at, end, data } => {
                ledger.end(&id, sender, StreamFinish { generation, at, end, data }, now.at, out)
            }
            StreamOrder::Cancel { .. } => ledger.cancel(&id, sender, CancelRight::Own, now.at, out),
            StreamOrder::Take => ledger.process(&id, sender, now.at, out),
            StreamOrder::Fail { cause } => ledger.fail(&id, sender, cause, out),
            StreamOrder::Attach => {
                let _ = ledger.attach(&id, producer, now.at, out);
                Known::Open
            }
        }
    }

    pub fn detach(&mut self, connection: u64, now: Now) {
        self.ledger.detach(producer(connection), now.at);
    }

    /// Loads a stream. The answer is its end, if it has ended.
    fn load(&mut self, id: &StreamId, store: &AnswerStore, now: Now) -> Option<EndFate> {
        match store.load(id, now.unix_ms) {
            Loaded::Open(loaded) => {
                self.doubtful.remove(id);
                self.ledger.loaded(*loaded, now.at, &mut self.out).expect("rows that adjoin");
                None
            }
            Loaded::Ended(fate, _) => {
                let (row, _) = store.streams[id].end.as_ref().expect("it has ended");
                match self.doubtful.remove(id) {
                    Some(own) if own.data == row.data && own.end == row.end => {
                        self.ledger.finished(id, fate, now.at, &mut self.out);
                    }
                    Some(_) | None => drop(self.ledger.ended(id, fate, &mut self.out)),
                }
                Some(fate)
            }
            Loaded::Absent => None,
        }
    }

    fn catch_up(&mut self, store: &AnswerStore, now: Now) {
        let behind = |ledger: &Ledger<u64>| ledger.behind().next().cloned();
        while let Some(id) = behind(&self.ledger) {
            self.load(&id, store, now);
        }
    }

    /// One turn of the writer, and of the worker for the relay.
    pub fn turn(&mut self, store: &mut AnswerStore, faults: StoreFaults, now: Now, rng: &mut Rng) {
        self.relay(store, faults, now, rng);
        let line = faults.draw(rng);
        if line != Line::Works {
            self.failed = now.at;
        } else {
            self.catch_up(store, now);
            self.look(store, now);
            self.sweep(store, now);
        }
        let flush = self.ledger.cut(now.at);
        match line {
            _ if flush.writes_nothing() => self.settle(flush, &FlushFates::default(), store, now),
            Line::Works => {
                let fates = store.commit(&flush, now.unix_ms);
                self.settle(flush, &fates, store, now);
                self.catch_up(store, now);
            }
            Line::Refuses => self.ledger.failed(flush, now.at, &mut self.out),
            Line::CutBefore => self.doubt(flush),
            Line::CutAfter => {
                store.commit(&flush, now.unix_ms);
                self.doubt(flush);
            }
        }
        self.deliver();
    }

    fn settle(&mut self, flush: Flush, fates: &FlushFates, store: &mut AnswerStore, now: Now) {
        let touches = flush.touches.clone();
        self.ledger.settled_partly(flush, fates, now.at, &mut self.out);
        for id in touches {
            let touched = store.touch(&id, now.unix_ms);
            self.ledger.touched(&id, touched);
        }
    }

    fn doubt(&mut self, flush: Flush) {
        self.ledger.doubtful(&flush);
        self.doubtful.extend(flush.ends.into_iter().map(|row| (row.id.clone(), row)));
    }

    /// Compares the open answers with the store.
    fn look(&mut self, store: &AnswerStore, now: Now) {
        if now.at.since(self.looks) < LOOK {
            return;
        }
        self.looks = now.at;
        for id in self.ledger.to_look_at() {
            self.ledger.looked(&id, store.look(&id), now.at, &mut self.out);
        }
        self.catch_up(store, now);
    }

    /// Watches the answers in which nothing changes, because their process may have died, and ends the ones whose deadline is over, and
    /// those whose question is gone.
    fn sweep(&mut self, store: &AnswerStore, now: Now) {
        if now.at.since(self.failed) < settings().orphan {
            return self.silence.clear();
        }
        for overdue in self.silence.take_due(now.at, usize::MAX) {
            if store.look(&overdue.id) == Some(overdue.seen) {
                self.load(&overdue.id, store, now);
                self.ledger.swept(&overdue, now.at);
            }
        }
        if now.at.since(self.sweeps) < SWEEP {
            return;
        }
        self.sweeps = now.at;
        let mut silent = store.silent(now.unix_ms);
        silent.retain(|stream| !self.ledger.has(&stream.id));
        self.silence.found(silent, SilentPart::All, now.at);
        let (lost, new): (Vec<_>, Vec<_>) =
            store.lost_questions().into_iter().partition(|id| self.lost.contains(id));
        self.lost = new.into_iter().collect();
        for id in lost {
            self.load(&id, store, now);
            self.ledger.lose_question(&id);
        }
    }

    /// Does requests of the relay. They wait while the store is slow.
    fn relay(&mut self, store: &mut AnswerStore, faults: StoreFaults, now: Now, rng: &mut Rng) {
        for _ in 0..rng.usize(..=REQUESTS) {
            let Some((number, work)) = self.requests.pop_front() else { return };
            let line = faults.draw(rng);
            let answer = match line {
                Line::Refuses | Line::CutBefore => RelayAnswer::Unavailable,
                Line::Works => store.relay(&work, self.process, now.unix_ms),
                Line::CutAfter => {
                    store.relay(&work, self.process, now.unix_ms);
                    RelayAnswer::Unavailable
                }
            };
            self.answers.insert(number, answer);
        }
    }

    /// The process is killed. A request that is under way may be done all the same.
    pub fn crash(&mut self, store: &mut AnswerStore, now: Now, rng: &mut Rng) {
        if let Some((_, work)) = self.requests.pop_front()
            && rng.bool()
        {
            store.relay(&work, self.process, now.unix_ms);
        }
    }

    fn deliver(&mut self) {
        let StreamOutput { replies, notices, news, heard: _, cancelled, answers: _ } =
            std::mem::take(&mut self.out);
        self.outcomes.extend(replies);
        self.heard.extend(notices.into_iter().map(|(producer, notice)| (producer.connection, notice)));
        self.news.extend(news);
        for CancelledAnswer { id, question, generation, by, .. } in cancelled {
            self.notices.push_back(match by {
                CancelledBy::Here => RelayNotice::Cancelled { id, question, generation, epoch: EPOCH },
                CancelledBy::Elsewhere => RelayNotice::Over { id },
            });
        }
    }

    pub fn bytes(&self) -> usize {
        self.ledger.bytes()
    }
}

impl AnswerOrder {
    /// The end that it asks for.
    fn order_end(&self) -> Option<StreamEnd> {
        match &self.order {
            StreamOrder::End { end, .. } => Some(*end),
            StreamOrder::Fail { .. } => Some(StreamEnd::Failed),
            StreamOrder::Append { .. }
            | StreamOrder::Restart
            | StreamOrder::Cancel { .. }
            | StreamOrder::Attach
            | StreamOrder::Take => None,
        }
    }
}
