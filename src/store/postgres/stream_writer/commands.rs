//! Commands about streams. One that the ledger cannot judge by what it knows waits for a load of its stream.

use super::super::connection::StoreConnection;
use super::super::fault::{CallFault, Fate};
use super::super::streams;
use super::super::timing::monotonic;
use super::SharedStreamWriter;
use super::lost_text::TextVerdict;
use crate::id::{ProducerId, UserName};
use crate::job::stream::{StreamJob, StreamOrder, StreamWork};
use crate::metrics::store::bump;
use crate::store::outcome::RETRY_MS;
use crate::store::stream_orders::order;
use crate::stream::{Adoption, EndFate, Loaded, LoadedStream};
use crate::wire::stream::{Piece, ProducerNotice, StreamEnd, StreamFault, StreamId, StreamOutcome};
use ahash::{AHashMap, AHashSet};
use crossbeam_channel::{TryRecvError, never};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Commands that are taken between two commits: a millisecond or two of work.
const WORK_AT_ONCE: usize = 4_096;
/// Times of one flush whose latency is measured.
const LATENCIES: usize = 32;

/// Work that waits for loads, in order.
#[derive(Default)]
struct Unsure {
    work: Vec<UnsureWork>,
    /// The streams of its commands.
    ids: AHashSet<StreamId>,
}

enum UnsureWork {
    /// A command that waits for a load of its stream.
    Job(StreamJob),
    /// The end of a connection, after its commands: each of them makes the connection a producer.
    Detach(ProducerId),
    /// The same for a producer that is done.
    Leave(ProducerId),
}

/// A stream that commands wait for.
struct WantedStream {
    /// The user of the first of them.
    user: UserName,
    adoption: Adoption,
}

/// The outcome of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoadOutcome {
    Open,
    Ended(Option<EndFate>),
    /// The store was asked too often.
    NotTried,
    /// There is no memory to open it. These bytes were read.
    Full(usize),
    Failed,
}

impl SharedStreamWriter {
    /// A queue without senders would be ready for ever.
    pub(in crate::store::postgres) fn forget_lost_queue(&mut self) {
        if self.early.is_none() {
            match self.work.try_recv() {
                Ok(work) => self.early = Some(work),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => self.work = never(),
            }
        }
    }

    /// Takes the commands that wait.
    pub(in crate::store::postgres) fn take_work(&mut self, connection: &mut StoreConnection) {
        if self.early.is_none() && self.work.is_empty() {
            return self.pace.found_none();
        }
        self.pace.took(monotonic());
        let (mut unsure, mut has_pieces) = (Unsure::default(), false);
        for _ in 0..WORK_AT_ONCE {
            let Some(work) = self.early.take().or_else(|| self.work.try_recv().ok()) else { break };
            self.queued_bytes.fetch_sub(work.bytes(), Ordering::AcqRel);
            match work {
                StreamWork::Job(job) => {
                    if let StreamOrder::Append { piece, .. } = &job.order
                        && *piece != Piece::Alive
                    {
                        bump(&self.counters.pieces);
                        has_pieces = true;
                    }
                    self.take(job, &mut unsure);
                }
                StreamWork::Detach { producer } if unsure.work.is_empty() => {
                    self.ledger.detach(producer, self.now());
                }
                StreamWork::Detach { producer } => unsure.work.push(UnsureWork::Detach(producer)),
                StreamWork::Leave { producer } if unsure.work.is_empty() => self.ledger.leave(producer),
                StreamWork::Leave { producer } => unsure.work.push(UnsureWork::Leave(producer)),
                StreamWork::Hint { id } => self.ledger.suspect(&id),
            }
        }
        if !unsure.work.is_empty() {
            self.load_for(unsure.work, connection);
        }
        self.catch_up(connection);
        if has_pieces && self.ledger.has_waiting() && self.taken.len() < LATENCIES {
            self.taken.push(monotonic());
        }
        self.deliver();
    }

    /// Gives a command to the ledger, or puts it behind the ones that wait for a load. The commands about a stream keep their order.
    fn take(&mut self, job: StreamJob, unsure: &mut Unsure) {
        if self.needs_load(&job) || !unsure.ids.is_empty() && unsure.ids.contains(&job.id) {
            unsure.ids.insert(job.id.clone());
            return unsure.work.push(UnsureWork::Job(job));
        }
        let now = self.now();
        // Its stream is open, or it only attaches to one that has ended.
        let _ = order(&mut self.ledger, job, now, &mut self.out);
    }

    fn needs_load(&self, job: &StreamJob) -> bool {
        if !self.ledger.has(&job.id) {
            return !matches!(job.order, StreamOrder::Attach);
        }
        match &job.order {
            StreamOrder::Append { generation, at, piece } => {
                self.ledger.contradicts(&job.id, *generation, *at, piece)
            }
            StreamOrder::End { generation, at, .. } => self.ledger.contradicts_end(&job.id, *generation, *at),
            StreamOrder::Restart
            | StreamOrder::Cancel { .. }
            | StreamOrder::Attach
            | StreamOrder::Take
            | StreamOrder::Fail { .. } => false,
        }
    }

    /// Loads the streams of these commands, and carries the commands out.
    fn load_for(&mut self, unsure: Vec<UnsureWork>, connection: &mut StoreConnection) {
        let (mut outcomes, mut wanted) = (AHashMap::new(), Vec::new());
        let now = self.now();
        for work in &unsure {
            let UnsureWork::Job(StreamJob { id, user, order, .. }) = work else { continue };
            if outcomes.contains_key(id) {
                continue;
            }
            let outcome = match self.ended.find(id).filter(|_| !self.ledger.has(id)) {
                Some(fate) => LoadOutcome::Ended(Some(fate)),
                None if self.late_share.take(user, now) => {
                    wanted.push((id.clone(), WantedStream { user: user.clone(), adoption: adoption(order) }));
                    LoadOutcome::NotTried
                }
                None => LoadOutcome::NotTried,
            };
            outcomes.insert(id.clone(), outcome);
        }
        outcomes.extend(self.load_in_share(wanted, connection));
        for work in unsure {
            match work {
                UnsureWork::Job(job) => {
                    let outcome = outcomes.get(&job.id).copied().unwrap_or(LoadOutcome::Failed);
                    self.carry_out(job, outcome);
                }
                UnsureWork::Detach(producer) => self.ledger.detach(producer, self.now()),
                UnsureWork::Leave(producer) => self.ledger.leave(producer),
            }
        }
        for id in outcomes.keys() {
            self.ledger.release(id, &mut self.out);
        }
    }

    /// Brings streams up to date for commands, as long as their users have bytes left.
    fn load_in_share(
        &mut self,
        wanted: Vec<(StreamId, WantedStream)>,
        connection: &mut StoreConnection,
    ) -> Vec<(StreamId, LoadOutcome)> {
        let ids: Vec<StreamId> = wanted.iter().map(|(id, _)| id.clone()).collect();
        let wanted: AHashMap<StreamId, WantedStream> = wanted.into_iter().collect();
        let (mut outcomes, mut left) = self.compare(&ids, connection);
        while !left.is_empty() {
            let rest = left.split_off(left.len().min(self.loads_at_once));
            let may_read =
                |id: &StreamId| wanted.get(id).is_some_and(|it| self.late_share.may_read(&it.user));
            let (load, late): (Vec<StreamId>, Vec<StreamId>) = left.into_iter().partition(may_read);
            outcomes.extend(late.into_iter().map(|id| (id, LoadOutcome::NotTried)));
            let adoption = |id: &StreamId| wanted.get(id).map_or(Adoption::End, |it| it.adoption);
            for (id, outcome) in self.load(&load, adoption, connection) {
                let bytes = match outcome {
                    LoadOutcome::Full(bytes) => bytes,
                    LoadOutcome::Open
                    | LoadOutcome::Ended(_)
                    | LoadOutcome::NotTried
                    | LoadOutcome::Failed => self.ledger.bytes_of(&id),
                };
                if let Some(WantedStream { user, .. }) = wanted.get(&id) {
                    self.late_share.was_read(user, bytes);
                }
                outcomes.push((id, outcome));
            }
            left = rest;
        }
        outcomes
    }

    /// Brings streams up to date.
    pub(super) fn refresh(
        &mut self,
        ids: &[StreamId],
        adoption: Adoption,
        connection: &mut StoreConnection,
    ) -> Vec<(StreamId, LoadOutcome)> {
        let (mut outcomes, left) = self.compare(ids, connection);
        outcomes.extend(self.load(&left, |_| adoption, connection));
        outcomes
    }

    /// Compares the streams that are open here with the store. A look is much less than the text. Returns the outcomes that are
    /// known by it, and the streams to load.
    fn compare(
        &mut self,
        ids: &[StreamId],
        connection: &mut StoreConnection,
    ) -> (Vec<(StreamId, LoadOutcome)>, Vec<StreamId>) {
        let (open, mut left): (Vec<StreamId>, Vec<StreamId>) =
            ids.iter().cloned().partition(|id| self.ledger.is_current(id));
        let mut outcomes = Vec::with_capacity(open.len());
        if open.is_empty() {
            return (outcomes, left);
        }
        let looks = match self.trusts_logs() {
            true => call(connection, |connection| streams::look(connection, &open)).ok(),
            false => None,
        };
        let Some(looks) = looks else {
            self.late_share.give_up();
            outcomes.extend(open.into_iter().map(|id| (id, LoadOutcome::Failed)));
            return (outcomes, left);
        };
        let now = self.now();
        for (id, look) in open.into_iter().zip(looks) {
            self.ledger.looked(&id, look, now, &mut self.out);
            match self.ledger.is_current(&id) {
                true => outcomes.push((id, LoadOutcome::Open)),
                false => left.push(id),
            }
        }
        (outcomes, left)
    }

    /// False if the logs may be older than what clients have seen: nothing of them is shown then.
    fn trusts_logs(&self) -> bool {
        !self.epoch.is_replaced() && self.epoch.loss().is_none()
    }

    /// Loads streams, and gives them to the ledger.
    pub(super) fn load(
        &mut self,
        ids: &[StreamId],
        adoption: impl Fn(&StreamId) -> Adoption,
        connection: &mut StoreConnection,
    ) -> Vec<(StreamId, LoadOutcome)> {
        let mut outcomes = Vec::with_capacity(ids.len());
        let mut left = ids;
        while !left.is_empty() {
            let (some, rest) = left.split_at(left.len().min(self.loads_at_once));
            left = rest;
            if !connection.is_up() || !self.trusts_logs() {
                outcomes.extend(some.iter().map(|id| (id.clone(), LoadOutcome::Failed)));
                continue;
            }
            let epoch = Arc::clone(&self.epoch);
            match call(connection, |connection| streams::load(connection, &epoch, some)) {
                Ok(loaded) => {
                    let most = streams::loads_at_once(self.settings.message_bytes);
                    self.loads_at_once = (self.loads_at_once * 2).min(most);
                    for (id, loaded) in some.iter().zip(loaded) {
                        let outcome = self.take_loaded(id, loaded, adoption(id), connection);
                        outcomes.push((id.clone(), outcome));
                    }
                }
                Err(_) => {
                    // The answer may have been too much.
                    self.loads_at_once = (self.loads_at_once / 2).max(1);
                    self.late_share.give_up();
                    outcomes.extend(some.iter().map(|id| (id.clone(), LoadOutcome::Failed)));
                }
            }
        }
        outcomes
    }

    fn take_loaded(
        &mut self,
        id: &StreamId,
        loaded: Loaded,
        adoption: Adoption,
        connection: &mut StoreConnection,
    ) -> LoadOutcome {
        match loaded {
            Loaded::Open(stream) if self.is_shorter(&stream, connection) => LoadOutcome::Failed,
            Loaded::Open(stream) if !self.ledger.has_room_for(&stream, adoption) => {
                LoadOutcome::Full(stream.bytes())
            }
            Loaded::Open(stream) => {
                self.doubtful.remove(id);
                let now = self.now();
                if let Err(fault) = self.ledger.loaded(*stream, now, &mut self.out) {
                    tracing::error!(channel = %id.channel, begin = id.offset.0, ?fault, "part of a stream not read");
                }
                LoadOutcome::Open
            }
            Loaded::Ended(fate, time_ms) => {
                self.found_ended(id, fate, time_ms, connection);
                LoadOutcome::Ended(Some(fate))
            }
            Loaded::Absent => {
                // It went with its channel.
                let fate = EndFate { end: StreamEnd::Deleted, edit: id.offset };
                let _ = self.ledger.ended(id, fate, &mut self.out);
                self.doubtful.remove(id);
                LoadOutcome::Ended(None)
            }
        }
    }

    /// True if the store has less of a stream than was committed. Once that is proved, the logs are not trusted any more.
    fn is_shorter(&mut self, loaded: &LoadedStream, connection: &mut StoreConnection) -> bool {
        let id = &loaded.stream.id;
        let Some(known) = self.ledger.known_beyond(loaded) else {
            self.lost_text.clear(id);
            return false;
        };
        match self.lost_text.judge(id, connection.dialled(), monotonic()) {
            TextVerdict::Unproven => {}
            TextVerdict::Redial => connection.redial(),
            TextVerdict::Lost => self.epoch.note_lost_text(id, known, &self.of_store),
        }
        true
    }

    /// Carries out a command whose stream was looked for.
    fn carry_out(&mut self, job: StreamJob, outcome: LoadOutcome) {
        let found = match (outcome, job.ticket) {
            (LoadOutcome::Open, _) => None,
            (LoadOutcome::Ended(found), _) => found,
            (LoadOutcome::NotTried | LoadOutcome::Full(_), _) | (LoadOutcome::Failed, None) => {
                return self.put_off(job);
            }
            (LoadOutcome::Failed, Some(ticket)) => {
                return self.out.replies.push((ticket, StreamOutcome::Unavailable { retry_ms: RETRY_MS }));
            }
        };
        let now = self.now();
        if let Some(late) = order(&mut self.ledger, job, now, &mut self.out) {
            let outcome = late.outcome(found);
            late.answer(outcome, &mut self.out);
        }
    }

    /// Has a command sent again.
    fn put_off(&mut self, job: StreamJob) {
        let fault = StreamFault::Overloaded { retry_ms: RETRY_MS };
        match job.ticket {
            Some(ticket) => self.out.replies.push((ticket, StreamOutcome::Refused(fault))),
            None => {
                self.out.notices.push((job.producer, ProducerNotice::Refused { id: job.id, fault }));
            }
        }
    }

    /// Loads the streams that the store may have otherwise than the ledger.
    pub(super) fn catch_up(&mut self, connection: &mut StoreConnection) {
        while connection.is_up() && self.trusts_logs() {
            let ids: Vec<StreamId> = self.ledger.behind().take(self.loads_at_once).cloned().collect();
            if ids.is_empty() {
                return;
            }
            let outcomes = self.load(&ids, |_| Adoption::Continue, connection);
            // Another attempt waits for the next turn.
            if outcomes.iter().any(|(_, outcome)| *outcome == LoadOutcome::Failed) {
                return;
            }
        }
    }
}

/// The purpose for which a command needs its stream.
fn adoption(order: &StreamOrder) -> Adoption {
    match order {
        StreamOrder::Append { .. } | StreamOrder::Restart | StreamOrder::Attach | StreamOrder::Take => {
            Adoption::Continue
        }
        StreamOrder::End { .. } | StreamOrder::Cancel { .. } | StreamOrder::Fail { .. } => Adoption::End,
    }
}

/// Makes a call. A connection over which it may have been done is not used again.
pub(super) fn call<R>(
    connection: &mut StoreConnection,
    call: impl FnOnce(&mut StoreConnection) -> Result<R, CallFault>,
) -> Result<R, CallFault> {
    let attempt = AssertUnwindSafe(|| call(connection));
    let result = catch_unwind(attempt).unwrap_or_else(|_| Err(CallFault::panicked()));
    result.inspect_err(|fault| {
        if fault.fate == Fate::Unknown {
            connection.drop_link(fault);
        }
    })
}
