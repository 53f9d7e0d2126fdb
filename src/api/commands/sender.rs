//! Sends commands to the workers, and turns what comes back into replies.

use super::judge::{AppendAnswers, AskedObject, LineJudge, LineOrder, OrderJob};
use super::replies::Reply;
use crate::api::publish::BUSY_RETRY_MS;
use crate::api::server::{ApiPolicy, ApiServer, draining};
use crate::auth::api_key::ApiKey;
use crate::auth::api_meters::ApiUse;
use crate::clock::Now;
use crate::id::{CommandId, UserName};
use crate::job::mailbox::{MailboxItem, ThreadProducer, Unsent};
use crate::job::places::Places;
use crate::job::stream::{StreamJob, StreamOrder, StreamWork};
use crate::job::{Append, Queues, Read, Ticket};
use crate::limits::REPLY_TIMEOUT;
use crate::net::deadline::now;
use crate::session::StreamsMode;
use crate::wire::api::body::ApiBounds;
use crate::wire::api::problem::{ApiProblem, ProblemCode};
use crate::wire::stream::{Generation, Piece, StreamId};
use crossbeam_channel::TrySendError;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Reads of one request that are not answered, because each may bring a page.
const READS_MAX: usize = 4;
/// Streams with appends without an id of which no answer was asked for. The first append to another one is answered.
const STREAMS_MAX: usize = 256;
/// The wait of a single command for room.
const ROOM_TIMEOUT: Duration = Duration::from_secs(4);
/// The pause before it is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(2);

/// The commands of one request on their way.
pub(super) struct CommandSender<'a, C> {
    pub(super) server: &'a ApiServer<C>,
    key: Arc<ApiKey>,
    bounds: ApiBounds,
    streams: StreamsMode,
    pub(super) producer: ThreadProducer,
    /// Commands that are not answered, oldest first; at most as many as tickets.
    pub(super) pending: VecDeque<PendingCommand>,
    /// Streams that a repeated begin found: this request becomes their producer.
    pub(super) owed: VecDeque<StreamWork>,
    /// The streams of appends without an id after which no answer was asked for.
    pub(super) unanswered: BTreeMap<StreamId, UnansweredAppends>,
}

/// The appends to a stream of which no answer was asked for.
pub(super) struct UnansweredAppends {
    /// The author of the stream.
    user: UserName,
    /// The newest that they named, because an answer takes nothing without one.
    generation: Option<Generation>,
}

/// A command that is not answered.
pub(super) struct PendingCommand {
    pub(super) ticket: Ticket,
    pub(super) id: Option<CommandId>,
    pub(super) sent: Instant,
    pub(super) asked: AskedObject,
}

/// The fate of a command that was to be sent.
pub(super) enum Dispatched {
    Sent,
    /// There is no room for it at the moment.
    Full(LineOrder),
    /// Nothing more is taken.
    Ends,
}

impl<'a, C: Fn() -> Now> CommandSender<'a, C> {
    pub(super) fn new(
        server: &'a ApiServer<C>,
        key: Arc<ApiKey>,
        policy: &ApiPolicy,
        producer: ThreadProducer,
    ) -> CommandSender<'a, C> {
        let (pending, owed, unanswered) = Default::default();
        let ApiPolicy { bounds, streams, .. } = *policy;
        CommandSender { server, key, bounds, streams, producer, pending, owed, unanswered }
    }

    /// Judges the next commands by a changed key and a changed configuration.
    pub(super) fn revise(&mut self, key: Arc<ApiKey>, policy: &ApiPolicy) {
        self.key = key;
        (self.bounds, self.streams) = (policy.bounds, policy.streams);
    }

    /// True if no command waits for its answer, and the answers to all appends were asked for.
    pub(super) fn is_answered(&self) -> bool {
        self.pending.is_empty() && self.owed.is_empty() && self.unanswered.is_empty()
    }

    /// True while a window is full, or much waits to be received: a wake-up follows.
    pub(super) fn is_held(&self) -> bool {
        self.producer.is_held()
    }

    /// A command that is answered when everything of one stream is committed; `None` if all were asked for.
    pub(super) fn confirmation(&mut self) -> Option<LineOrder> {
        let (id, UnansweredAppends { user, generation }) = self.unanswered.pop_first()?;
        let order = StreamOrder::Append { generation, at: None, piece: Piece::Alive };
        let (asked, producer) = (AskedObject::Write(id.clone()), self.producer.id());
        let job = StreamJob { producer, ticket: None, id, user, order };
        Some(LineOrder {
            id: None,
            asked,
            job: OrderJob::Stream(Box::new(job)),
            answers: AppendAnswers::Each,
        })
    }

    /// True if no begin waits for room to become this request's.
    pub(super) fn is_settled(&self) -> bool {
        self.owed.is_empty()
    }

    /// The time by which the next reply is due in any case.
    pub(super) fn due(&self) -> Option<Instant> {
        self.pending.front().map(|command| command.sent + REPLY_TIMEOUT)
    }

    /// Ends properly: the streams go on with the next request.
    pub(super) fn leave(self) {
        self.producer.leave();
    }

    /// The next item that came.
    pub(super) fn receive(&self) -> Option<MailboxItem> {
        self.producer.try_receive()
    }

    /// Reads a line and checks what its command needs.
    pub(super) fn order(&self, line: &[u8]) -> Result<LineOrder, Reply> {
        self.server.counters.commands.fetch_add(1, Ordering::Relaxed);
        let judge = LineJudge {
            key: &self.key,
            bounds: self.bounds,
            streams: self.streams,
            producer: self.producer.id(),
        };
        let order = judge.order(line).map_err(|(id, problem)| self.failed(id, problem))?;
        if matches!(order.job, OrderJob::Append(_)) {
            let checked = self.server.check_store("nothing was stored");
            let admitted = checked.and_then(|()| self.server.admit(&self.key, ApiUse::Publications(1)));
            admitted.map_err(|problem| self.failed(order.id, problem))?;
        }
        Ok(order)
    }

    pub(super) fn failed(&self, id: Option<CommandId>, problem: ApiProblem) -> Reply {
        self.server.counters.commands_refused.fetch_add(1, Ordering::Relaxed);
        Reply::Failed { id, problem }
    }

    /// Sends a command, unless there is no room for it.
    pub(super) fn dispatch(&mut self, queues: &Queues, order: LineOrder) -> Dispatched {
        if !self.send_owed() {
            return Dispatched::Full(order);
        }
        let LineOrder { id, asked, job, answers } = order;
        let sent = now();
        let (ticket, outcome) = match job {
            OrderJob::Append(append) => self.send_append(queues, append),
            OrderJob::Stream(job) => {
                let is_known = self.unanswered.contains_key(&job.id);
                let has_room = is_known || self.unanswered.len() < STREAMS_MAX;
                let is_each = id.is_some() || answers == AppendAnswers::Each || !has_room;
                self.send_stream(job, if is_each { AppendAnswers::Each } else { AppendAnswers::WithId })
            }
            OrderJob::Read(read) => self.send_read(queues, read),
        };
        match outcome {
            Ok(()) => {
                if let Some(ticket) = ticket {
                    self.pending.push_back(PendingCommand { ticket, id, sent, asked });
                }
                Dispatched::Sent
            }
            Err(NotSent::Full(job)) => {
                if let Some(ticket) = ticket {
                    self.producer.withdraw(ticket);
                }
                Dispatched::Full(LineOrder { id, asked, job, answers })
            }
            Err(NotSent::Ends) => Dispatched::Ends,
        }
    }

    fn send_append(&self, queues: &Queues, mut append: Box<Append>) -> (Option<Ticket>, Result<(), NotSent>) {
        let places = Places::take(&self.server.shared.in_flight, self.key.party(), 1, now());
        let ticket = places.and_then(|places| self.producer.append_ticket(Some(places)));
        let Some(ticket) = ticket else { return (None, Err(NotSent::Full(OrderJob::Append(append)))) };
        append.ticket = ticket;
        let sent = queues.append.try_send(*append).map_err(|error| match error {
            TrySendError::Full(append) => NotSent::Full(OrderJob::Append(Box::new(append))),
            TrySendError::Disconnected(_) => NotSent::Ends,
        });
        (Some(ticket), sent)
    }

    fn send_stream(
        &mut self,
        mut job: Box<StreamJob>,
        answers: AppendAnswers,
    ) -> (Option<Ticket>, Result<(), NotSent>) {
        let ticket = match answers {
            AppendAnswers::WithId => None,
            AppendAnswers::Each => match self.producer.ticket() {
                Some(ticket) => Some(ticket),
                None => return (None, Err(NotSent::Full(OrderJob::Stream(job)))),
            },
        };
        job.ticket = ticket;
        let (stream, user, generation) = (job.id.clone(), job.user.clone(), job.order.generation());
        let is_cancel = matches!(job.order, StreamOrder::Cancel { .. });
        let sent = self.producer.try_send(StreamWork::Job(*job)).map_err(|unsent| match unsent {
            Unsent::Full(StreamWork::Job(job)) => NotSent::Full(OrderJob::Stream(Box::new(job))),
            Unsent::Full(StreamWork::Detach { .. } | StreamWork::Leave { .. } | StreamWork::Hint { .. })
            | Unsent::Ends => NotSent::Ends,
        });
        match (&sent, ticket) {
            (Ok(()), None) => {
                let appends = self.unanswered.entry(stream).or_insert(UnansweredAppends { user, generation });
                appends.generation = appends.generation.max(generation);
            }
            // Its answer is one for everything before it.
            (Ok(()), Some(_)) if !is_cancel => {
                self.unanswered.remove(&stream);
            }
            (Ok(()) | Err(_), _) => {}
        }
        (ticket, sent)
    }

    fn send_read(&self, queues: &Queues, mut read: Box<Read>) -> (Option<Ticket>, Result<(), NotSent>) {
        let is_read = |command: &&PendingCommand| {
            matches!(command.asked, AskedObject::Show(_) | AskedObject::History(_))
        };
        let reads = self.pending.iter().filter(is_read).count();
        // Clients always find room for theirs.
        let has_room = queues.read.capacity().is_none_or(|bound| queues.read.len() < bound / 2);
        let ticket = if reads < READS_MAX && has_room { self.producer.ticket() } else { None };
        let Some(given) = ticket else { return (None, Err(NotSent::Full(OrderJob::Read(read)))) };
        match &mut *read {
            Read::Page(page) => page.ticket = given,
            Read::Stream(stream) => stream.ticket = given,
            Read::Heads { .. } | Read::Survey(_) | Read::Contradicted(_) => {}
        }
        let sent = queues.read.try_send(*read).map_err(|error| match error {
            TrySendError::Full(read) => NotSent::Full(OrderJob::Read(Box::new(read))),
            TrySendError::Disconnected(_) => NotSent::Ends,
        });
        (ticket, sent)
    }

    /// Becomes the producer of streams that repeated begins found. False if there is no room for it at the moment.
    pub(super) fn send_owed(&mut self) -> bool {
        while let Some(work) = self.owed.pop_front() {
            if let Err(Unsent::Full(work)) = self.producer.try_send(work) {
                self.owed.push_front(work);
                return false;
            }
        }
        true
    }

    /// Carries out one command, and waits for its reply.
    pub(super) fn carry_out(&mut self, line: &[u8]) -> Result<Vec<u8>, ApiProblem> {
        let queues = self.server.queues()?;
        let until = now() + ROOM_TIMEOUT;
        let order = self.order(line).map_err(Reply::into_problem)?;
        let mut order = LineOrder { answers: AppendAnswers::Each, ..order };
        loop {
            order = match self.dispatch(&queues, order) {
                Dispatched::Sent => break,
                Dispatched::Full(order) if now() < until => order,
                Dispatched::Full(_) => {
                    let detail =
                        "the gateway has more to do than it takes; nothing was done; repeat the request";
                    return Err(ApiProblem::passing(ProblemCode::Overloaded, detail, BUSY_RETRY_MS));
                }
                Dispatched::Ends => return Err(draining()),
            };
            std::thread::park_timeout(TRY_AGAIN);
        }
        let until = self.due().unwrap_or(until);
        loop {
            let Some(item) = self.producer.receive(until) else {
                return Err(self.expired(until).map_or_else(draining, Reply::into_problem));
            };
            let reply = self.take(item);
            // Notices about the stream may come before the answer.
            if self.pending.is_empty() {
                return reply.map_or_else(|| Err(draining()), Reply::into_line);
            }
        }
    }
}

/// The reason why a job was not sent.
enum NotSent {
    Full(OrderJob),
    Ends,
}
