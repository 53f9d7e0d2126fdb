//! Streams: the commands of producers to the thread that owns the streams, its answers and notices, and the sockets that are not read
//! while it has no room.
//!
//! A command never gets lost between a producer and the owner of its stream, because the next one would then leave a hole. So a command
//! that does not fit into the queue waits here in its order, and the sockets of such producers are not read (they are *held*) until
//! there is room: TCP slows the producer. A producer is also held from [`ProducerNotice::Pause`] to [`ProducerNotice::Resume`]. A held
//! peer cannot be heard, so it is not asked for a sign of life either, for as long as a stream may live at most.

use super::Engine;
use super::order::Job;
use super::peer::{Peer, Reading, WebSocket};
use super::pending::{Request, Unanswered};
use super::recover::Retry;
use super::slots::SlotId;
use super::turns::StoreLine;
use crate::clock::Moment;
use crate::hub::ChannelId;
use crate::id::{ChannelName, CommandId, ProducerId, UserName};
use crate::job::stream::{ProducerNotice, StreamJob, StreamOrder, StreamOutcome, StreamWork, WholeStream};
use crate::job::{Appended, Attempt, Read, ReadError, StreamRequest, Ticket};
use crate::limits::{STREAM_WORK_WAITING_BYTES, STREAM_WORK_WAITING_MAX};
use crate::session::{StreamCommand, StreamEffect, StreamReadOutcome, StreamReply};
use crate::wire::stream::StreamId;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// The time between two attempts to send what waits.
const SEND_AGAIN: Duration = Duration::from_millis(1);
/// Begins that are remembered until the store answers them.
const BEGINS_MAX: usize = 4_096;
/// A begin without an answer for this long was never handed to the store.
const BEGIN_LOST_AFTER: Duration = Duration::from_secs(60);

/// Reasons not to read a producer's socket, with the start of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    No,
    /// Its commands wait for room in the queue.
    Queue(Moment),
    /// Too much of its text waits to be committed.
    Ledger(Moment),
}

/// The producers of a reactor.
#[derive(Debug, Default)]
pub(super) struct StreamSide {
    /// Connections that sent a command about a stream.
    producers: HashMap<SlotId, Hold, ahash::RandomState>,
    /// Work that did not fit into the queue, oldest first.
    waiting: VecDeque<StreamWork>,
    /// Work that was handed out and returned, in its order: it is older than what waits.
    returned: Vec<StreamWork>,
    /// The bytes of both.
    waiting_bytes: usize,
    /// The connections of begins that the store has not answered, with the moment of the request. The answer may come after the deadline of
    /// the reply and after the end of the connection, which is the stream's producer all the same.
    begins: HashMap<Ticket, (SlotId, Moment), ahash::RandomState>,
}

impl WebSocket {
    /// Counts the silence of the peer, and the time of a message that has begun, from now on, because the peer was not read.
    fn suspend_deadlines(&mut self, now: Moment) {
        self.heartbeat.received(now);
        self.decoder.restart(now);
    }
}

impl StreamSide {
    fn has_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.returned.is_empty()
    }

    /// The time to send again what waits; `None` if nothing does.
    pub(super) fn due(&self, now: Moment) -> Option<Moment> {
        self.has_waiting().then_some(now + SEND_AGAIN)
    }

    /// Notes a begin that goes to the store.
    pub(super) fn begin_asked(&mut self, ticket: Ticket, slot: SlotId, now: Moment) {
        if self.begins.len() >= BEGINS_MAX {
            self.begins.retain(|_, (_, asked)| now.since(*asked) < BEGIN_LOST_AFTER);
        }
        if self.begins.len() < BEGINS_MAX {
            self.begins.insert(ticket, (slot, now));
        }
    }

    /// Takes the connection of a begin that the store answered or never got.
    pub(super) fn begin_answered(&mut self, ticket: Ticket) -> Option<SlotId> {
        if self.begins.is_empty() {
            return None;
        }
        self.begins.remove(&ticket).map(|(slot, _)| slot)
    }

    /// True if another command of this size may wait.
    fn has_room(&self, bytes: usize) -> bool {
        self.waiting.len() < STREAM_WORK_WAITING_MAX
            && self.waiting_bytes.saturating_add(bytes) <= STREAM_WORK_WAITING_BYTES
    }

    /// Puts the work that was returned before what waits.
    fn take_returned(&mut self) {
        for work in self.returned.drain(..).rev() {
            self.waiting.push_front(work);
        }
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len() + self.returned.len()
    }
}

impl Engine {
    pub(super) fn stream_command(&mut self, slot: SlotId, effect: StreamEffect) {
        let StreamEffect { id, stream, user, command, asked } = effect;
        let order = match command {
            StreamCommand::Append { generation, at, piece } => StreamOrder::Append { generation, at, piece },
            StreamCommand::Restart => StreamOrder::Restart,
            StreamCommand::End { generation, at, end, data } => {
                StreamOrder::End { generation, at, end, data }
            }
            StreamCommand::Cancel { authority } => StreamOrder::Cancel { authority },
            StreamCommand::Read { known } => {
                let Some(id) = id else { return };
                let (channel, offset) = (stream.channel.clone(), Some(stream.offset));
                let request = Request::StreamRead { slot, id, stream, asked };
                return self.ask_in_turn(slot, StoreLine::Pages, request, asked, |ticket| {
                    Job::Read(Read::Stream(StreamRequest { ticket, channel, offset, known }))
                });
            }
        };
        let ticket = match id {
            None => None,
            Some(id) => {
                let request = Request::Stream { slot, id, stream: stream.clone(), asked };
                match self.pending.insert(request, asked) {
                    Ok(ticket) => Some(ticket),
                    Err(request) => return self.answer_without_worker(request, Unanswered::Refused),
                }
            }
        };
        let producer = self.produce(slot);
        self.send_stream_work(StreamWork::Job(StreamJob { producer, ticket, id: stream, user, order }));
    }

    /// Notes that a connection may produce streams: the owner of the streams is notified when it ends.
    pub(super) fn produce(&mut self, slot: SlotId) -> ProducerId {
        self.streams.producers.entry(slot).or_insert(Hold::No);
        self.producer_of(slot)
    }

    fn producer_of(&self, slot: SlotId) -> ProducerId {
        let connection = u64::from(slot.generation) << 32 | u64::from(slot.index);
        ProducerId { reactor: self.basis.id, connection }
    }

    /// Hands work out, behind what waits. A command for which even the waiting list has no room is answered.
    fn send_stream_work(&mut self, work: StreamWork) {
        if !self.streams.has_waiting() {
            return self.hand_out(Job::Stream(Box::new(work)));
        }
        let bytes = work.bytes();
        match work {
            StreamWork::Job(job) if !self.streams.has_room(bytes) => self.refuse_stream_job(job),
            StreamWork::Job(_)
            | StreamWork::Detach { .. }
            | StreamWork::Leave { .. }
            | StreamWork::Hint { .. } => {
                self.hold_sender(&work);
                self.streams.waiting_bytes += bytes;
                self.streams.waiting.push_back(work);
            }
        }
    }

    /// Takes work that did not fit into the queue.
    pub(super) fn stream_work_returned(&mut self, work: StreamWork) {
        self.hold_sender(&work);
        self.streams.waiting_bytes += work.bytes();
        self.streams.returned.push(work);
    }

    fn hold_sender(&mut self, work: &StreamWork) {
        if let StreamWork::Job(job) = work {
            self.hold(slot_of(job.producer), Hold::Queue(self.now.at));
        }
    }

    fn refuse_stream_job(&mut self, job: StreamJob) {
        match job.ticket {
            Some(ticket) => self.refuse(ticket),
            None => {
                let slot = slot_of(job.producer);
                self.with_session(slot, |session, cx| session.piece_refused(&job.id, cx));
            }
        }
    }

    /// True exactly when work waits for room in the queue of the streams.
    pub fn wants_stream_room(&self) -> bool {
        self.streams.has_waiting()
    }

    /// Hands out the work that fits by now, and reads the producers that were held for it.
    pub fn set_stream_room(&mut self, room: usize) {
        self.streams.take_returned();
        let fits = room.min(self.streams.waiting.len());
        let StreamSide { waiting, waiting_bytes, .. } = &mut self.streams;
        self.out.jobs.extend(waiting.drain(..fits).map(|work| {
            *waiting_bytes -= work.bytes();
            Job::Stream(Box::new(work))
        }));
        if self.streams.waiting.is_empty() {
            let held = self.streams.producers.iter().filter(|(_, hold)| matches!(hold, Hold::Queue(_)));
            for slot in held.map(|(slot, _)| *slot).collect::<Vec<_>>() {
                self.release_producer(slot);
            }
        }
    }

    /// Stops reading a producer's socket.
    fn hold(&mut self, slot: SlotId, wanted: Hold) {
        let Some(peer) = self.peers.get_mut(slot) else { return };
        let Some(hold) = self.streams.producers.get_mut(&slot) else { return };
        *hold = match (*hold, wanted) {
            (Hold::Ledger(since), _) => Hold::Ledger(since),
            (Hold::Queue(since), Hold::Ledger(_)) => Hold::Ledger(since),
            (Hold::Queue(since), Hold::Queue(_) | Hold::No) => Hold::Queue(since),
            (Hold::No, wanted) => wanted,
        };
        match peer.reading {
            Reading::Open | Reading::Ending | Reading::Paused => peer.reading = Reading::Held,
            Reading::Held | Reading::Ended | Reading::Dead => {}
        }
    }

    /// Reads a producer's socket again.
    fn release_producer(&mut self, slot: SlotId) {
        if let Some(hold) = self.streams.producers.get_mut(&slot) {
            *hold = Hold::No;
        }
        self.read_again(slot);
    }

    fn read_again(&mut self, slot: SlotId) {
        let now = self.now.at;
        let Some(peer) = self.peers.get_mut(slot) else { return };
        if peer.reading != Reading::Held {
            return;
        }
        // The poll may have reported the peer's end meanwhile, so it is read to the end.
        peer.reading = Reading::Ending;
        if let Some(websocket) = peer.websocket_mut() {
            websocket.suspend_deadlines(now);
        }
        self.mark_ready(slot);
    }

    /// Moves the deadlines of a peer that is held on, unless it has been held for longer than a stream lives.
    pub(super) fn spare_held(&mut self, slot: SlotId) {
        let (now, life) = (self.now.at, self.setup.policy.streams.life);
        let since = match self.streams.producers.get(&slot) {
            Some(Hold::Queue(since) | Hold::Ledger(since)) => *since,
            Some(Hold::No) | None => return,
        };
        if now.since(since) < life
            && let Some(websocket) = self.peers.get_mut(slot).and_then(Peer::websocket_mut)
        {
            websocket.suspend_deadlines(now);
        }
    }

    /// Notes the end of a connection: its streams lose their producer.
    pub(super) fn end_producer(&mut self, slot: SlotId) {
        if self.streams.producers.remove(&slot).is_some() {
            // Input that it still sends is awaited as after any other close.
            self.read_again(slot);
            let producer = self.producer_of(slot);
            self.send_stream_work(StreamWork::Detach { producer });
        }
    }

    /// Takes the commit of a begin.
    pub(super) fn stream_begun(
        &mut self,
        slot: SlotId,
        channel: &ChannelName,
        user: &UserName,
        appended: Appended,
    ) {
        let Some(begun) = appended.stream else { return };
        let id = StreamId { channel: channel.clone(), offset: appended.offset };
        if !self.streams.producers.contains_key(&slot) {
            self.detach_ended(slot);
        } else if appended.attempt == Attempt::Repeat && begun.ended.is_none() {
            let (producer, user, order) = (self.producer_of(slot), user.clone(), StreamOrder::Attach);
            self.send_stream_work(StreamWork::Job(StreamJob { producer, ticket: None, id, user, order }));
        }
    }

    /// Takes the commit of a begin: if the connection ended before, the stream began with it as its producer.
    pub(super) fn detach_ended(&mut self, slot: SlotId) {
        if !self.streams.producers.contains_key(&slot) {
            let producer = self.producer_of(slot);
            self.send_stream_work(StreamWork::Detach { producer });
        }
    }

    /// Takes the answer to a command about a stream.
    pub(super) fn stream_answered(&mut self, ticket: Ticket, outcome: StreamOutcome) {
        if let Some(Request::Stream { slot, id, stream, asked }) = self.pending.take(ticket) {
            self.count_reply(asked);
            self.stream_reply(slot, id, &stream, StreamReply::Outcome(outcome));
        }
    }

    fn stream_reply(&mut self, slot: SlotId, id: CommandId, stream: &StreamId, reply: StreamReply) {
        self.with_session(slot, |session, cx| session.stream_answered(id, stream, &reply, cx));
    }

    pub(super) fn stream_unanswered(
        &mut self,
        slot: SlotId,
        id: CommandId,
        stream: &StreamId,
        why: Unanswered,
    ) {
        let reply = match why {
            Unanswered::Late => {
                self.count_no_reply();
                StreamReply::Late
            }
            Unanswered::Refused => StreamReply::QueueFull,
        };
        self.stream_reply(slot, id, stream, reply);
    }

    pub(super) fn stream_read_unanswered(
        &mut self,
        slot: SlotId,
        id: CommandId,
        stream: &StreamId,
        why: Unanswered,
    ) {
        let outcome = match why {
            Unanswered::Late => {
                self.count_no_reply();
                StreamReadOutcome::Late
            }
            Unanswered::Refused => StreamReadOutcome::QueueFull,
        };
        self.stream_shown(slot, id, stream, outcome);
    }

    /// Takes open streams that were read: for a channel of the hub, or for a client.
    pub(super) fn streams_read(&mut self, ticket: Ticket, outcome: Result<Vec<WholeStream>, ReadError>) {
        match self.pending.take(ticket) {
            Some(Request::Streams(channel)) => self.open_streams(channel, outcome.ok()),
            Some(Request::StreamRead { slot, id, stream, asked }) => {
                if outcome.is_ok() {
                    self.count_reply(asked);
                }
                let outcome = match &outcome {
                    Ok(wholes) => StreamReadOutcome::Read(wholes.first()),
                    Err(error) => StreamReadOutcome::Unavailable { retry_ms: error.retry_ms },
                };
                self.stream_shown(slot, id, &stream, outcome);
            }
            Some(_) | None => {}
        }
    }

    /// Takes the end of a stream that a client asked for.
    pub(super) fn stream_ended(&mut self, ticket: Ticket, outcome: StreamReadOutcome<'_>) {
        if let Some(Request::StreamRead { slot, id, stream, asked }) = self.pending.take(ticket) {
            self.count_reply(asked);
            self.stream_shown(slot, id, &stream, outcome);
        }
    }

    fn stream_shown(
        &mut self,
        slot: SlotId,
        id: CommandId,
        stream: &StreamId,
        outcome: StreamReadOutcome<'_>,
    ) {
        self.with_session(slot, |session, cx| session.stream_read(id, stream, outcome, cx));
    }

    /// Reads a channel's open streams, whole.
    pub(super) fn read_streams(&mut self, id: ChannelId) {
        let Some(channel) = self.hub.channel_name(id).cloned() else { return };
        self.ask(Request::Streams(id), self.now.at, |ticket| {
            Job::Read(Read::Stream(StreamRequest { ticket, channel, offset: None, known: None }))
        });
    }

    /// Gives a channel its open streams; without them it is asked again a little later.
    pub(super) fn open_streams(&mut self, channel: ChannelId, read: Option<Vec<WholeStream>>) {
        if read.is_none() {
            self.reads.retry(Retry::Streams(channel), self.now.at);
        }
        self.hub.streams_read(channel, read);
    }

    /// Takes notices for producers of this reactor.
    pub(super) fn notify_producers(&mut self, notices: Box<[(u64, ProducerNotice)]>) {
        for (connection, notice) in notices {
            let slot = slot_of(ProducerId { reactor: self.basis.id, connection });
            match notice {
                ProducerNotice::Pause => self.hold(slot, Hold::Ledger(self.now.at)),
                ProducerNotice::Resume => self.release_producer(slot),
                ProducerNotice::Appended { .. }
                | ProducerNotice::Refused { .. }
                | ProducerNotice::Cancel { .. } => {
                    self.with_session(slot, |session, cx| session.notify_producer(&notice, cx));
                }
            }
        }
    }

    /// Reads the open streams of all channels after the lane of broadcasts was full.
    pub fn handle_missed_streams(&mut self) {
        self.hub.streams_missed();
    }
}

fn slot_of(producer: ProducerId) -> SlotId {
    SlotId { index: producer.connection as u32, generation: (producer.connection >> 32) as u32 }
}
