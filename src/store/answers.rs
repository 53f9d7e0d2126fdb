//! Answers to the reactors and threads that asked, and announcements of new publications to all reactors and to the bus.

use super::outcome::{Outcome, RETRY_MS, change_of};
use crate::id::{ChannelName, Epoch, ReactorId};
use crate::job::bus::{Bus, InstanceNote};
use crate::job::callers::Callers;
use crate::job::relay::{RelayNotice, RelayNotices, Routes};
use crate::job::wake::wake;
use crate::job::{Append, AppendError, Appended, Attempt, Broadcast, Completion, Mailbox, Offered, Ticket};
use crate::metrics::store::{StoreCounters, bump};
use crate::relay::route::ChannelOrder;
use crate::stream::{CancelledAnswer, CancelledBy, EndFate, StreamOutput};
use crate::wire::publication::{Published, Stored};
use crate::wire::push;
use crate::wire::stream::{ProducerNotice, StreamId, StreamMark, StreamNews};
use std::borrow::Borrow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Sends to the reactors of this instance, and over the bus to the others.
#[derive(Clone)]
pub(super) struct Answers {
    mailboxes: Arc<[Mailbox]>,
    callers: Arc<Callers>,
    bus: Option<Bus>,
    relay: (RelayNotices, Arc<Routes>),
    counters: Arc<StoreCounters>,
}

impl Answers {
    /// `mailboxes` are indexed by reactor.
    pub(super) fn new(
        mailboxes: Arc<[Mailbox]>,
        callers: Arc<Callers>,
        bus: Option<Bus>,
        relay: (RelayNotices, Arc<Routes>),
        counters: Arc<StoreCounters>,
    ) -> Answers {
        Answers { mailboxes, callers, bus, relay, counters }
    }

    /// Answers each job with its outcome, announces the new publications, and wakes each reactor once. The outcomes are in the
    /// order of the jobs.
    pub(super) fn settled<J: Borrow<Append>>(&self, jobs: &[J], outcomes: Vec<Outcome>) {
        self.committed(jobs, outcomes, &CommittedStreams::default());
    }

    /// The same for a batch that was committed together with streams.
    pub(super) fn committed<J: Borrow<Append>>(
        &self,
        jobs: &[J],
        outcomes: Vec<Outcome>,
        streams: &CommittedStreams<'_>,
    ) {
        if outcomes.is_empty() {
            return self.announce(&streams.ends);
        }
        let encode = AssertUnwindSafe(|| publish(jobs, &outcomes, streams));
        let published = catch_unwind(encode).unwrap_or_else(|_| {
            // Subscribers notice the gap at the next beat; the acknowledgements below are true.
            tracing::error!("announcing a batch panicked");
            Arc::from([])
        });
        for (job, outcome) in jobs.iter().map(Borrow::borrow).zip(outcomes) {
            bump(cell(&self.counters, &outcome));
            self.answer(job.ticket.reactor, Completion::Appended { ticket: job.ticket, outcome });
        }
        self.pass_on(published);
        self.mailboxes.iter().for_each(wake);
    }

    /// Announces publications to all reactors and to the bus, and wakes the reactors.
    pub(super) fn announce(&self, published: &[Published]) {
        if !published.is_empty() {
            self.pass_on(Arc::from(published));
            self.mailboxes.iter().for_each(wake);
        }
    }

    /// Notifies the relay of channels that have publications for it.
    pub(super) fn relay(&self, channels: Vec<ChannelName>) {
        for channel in channels {
            self.relay.0.send(RelayNotice::Waiting { channel });
        }
    }

    /// Where an answer has ended, a serial route may go on.
    fn relay_ends(&self, published: &[Published]) {
        let (notices, routes) = &self.relay;
        if routes.is_empty() {
            return;
        }
        let table = routes.current();
        for end in published.iter().filter(|published| matches!(published.stream, StreamMark::Ended(_))) {
            if table.of(&end.channel).is_some_and(|route| route.order == ChannelOrder::Answered) {
                notices.send(RelayNotice::Waiting { channel: end.channel.clone() });
            }
        }
    }

    fn pass_on(&self, published: Arc<[Published]>) {
        if published.is_empty() {
            return;
        }
        self.relay_ends(&published);
        self.offer(&Broadcast::Published(Arc::clone(&published)));
        if let Some(bus) = &self.bus {
            bus.publish(&published);
        }
    }

    /// Sends what the ledger of streams has: replies, messages to producers, and news for readers here and, over the bus, elsewhere.
    pub(super) fn streams(&self, out: StreamOutput<Ticket>, epoch: Epoch) {
        let StreamOutput { replies, notices, news, heard, cancelled, answers: _ } = out;
        for CancelledAnswer { id, question, generation, by, .. } in cancelled {
            self.relay.0.send(match by {
                CancelledBy::Here => RelayNotice::Cancelled { id, question, generation, epoch },
                CancelledBy::Elsewhere => RelayNotice::Over { id },
            });
        }
        for (ticket, outcome) in replies {
            self.answer(ticket.reactor, Completion::Stream { ticket, outcome });
        }
        let mut of_reactors: Vec<Vec<(u64, ProducerNotice)>> = Vec::new();
        for (producer, notice) in notices {
            let reactor = usize::from(producer.reactor.0);
            if reactor >= self.mailboxes.len() {
                self.callers.producers().notify(producer, notice);
            } else {
                of_reactors.resize_with(of_reactors.len().max(reactor + 1), Vec::new);
                if let Some(of_reactor) = of_reactors.get_mut(reactor) {
                    of_reactor.push((producer.connection, notice));
                }
            }
        }
        for (mailbox, notices) in self.mailboxes.iter().zip(of_reactors) {
            if !notices.is_empty() {
                mailbox.answer(Completion::Producers(notices.into()));
            }
        }
        if !news.is_empty() {
            let news: Arc<[StreamNews]> = news.into();
            self.offer(&Broadcast::Streamed(Arc::clone(&news)));
            if let Some(bus) = &self.bus {
                bus.streamed(&own_news(&news, &heard));
            }
        }
        self.mailboxes.iter().for_each(wake);
    }

    /// Has the other instances look at a stream that this one changed, in case its producer is there.
    pub(super) fn stream_hint(&self, id: &StreamId) {
        if let Some(bus) = &self.bus {
            bus.note(InstanceNote::StreamHint(id.clone()));
        }
    }

    /// Announces to all reactors, and wakes them.
    pub(super) fn all(&self, live: &Broadcast) {
        self.offer(live);
        self.mailboxes.iter().for_each(wake);
    }

    fn offer(&self, live: &Broadcast) {
        for mailbox in self.mailboxes.iter() {
            match mailbox.offer(live.clone()) {
                Offered::Taken => bump(&self.counters.live_offered),
                Offered::Missed => bump(&self.counters.live_missed),
            }
        }
    }

    /// Answers `unavailable`: these appends are certainly not stored.
    pub(super) fn unavailable<J: Borrow<Append>>(&self, jobs: &[J]) {
        self.refuse(jobs, &AppendError::Unavailable { retry_ms: RETRY_MS });
    }

    /// Answers all jobs with one error.
    pub(super) fn refuse<J: Borrow<Append>>(&self, jobs: &[J], error: &AppendError) {
        self.settled(jobs, jobs.iter().map(|_| Err(error.clone())).collect());
    }

    pub(super) fn one(&self, reactor: ReactorId, completion: Completion) {
        self.answer(reactor, completion);
        if let Some(mailbox) = self.mailboxes.get(usize::from(reactor.0)) {
            wake(mailbox);
        }
    }

    fn answer(&self, reactor: ReactorId, completion: Completion) {
        match self.mailboxes.get(usize::from(reactor.0)) {
            Some(mailbox) => mailbox.answer(completion),
            None => self.callers.answer(completion),
        }
    }
}

/// The news without the changes by other instances.
fn own_news(news: &Arc<[StreamNews]>, heard: &[usize]) -> Arc<[StreamNews]> {
    if heard.is_empty() {
        return Arc::clone(news);
    }
    let own = news.iter().enumerate().filter(|(place, _)| heard.binary_search(place).is_err());
    own.map(|(_, news)| news.clone()).collect()
}

/// The streams that changed in the transaction of a batch.
#[derive(Debug, Default)]
pub(super) struct CommittedStreams<'a> {
    /// Streams that appends of the batch have ended, each with the offset of that append.
    pub(super) ended: &'a [(StreamId, EndFate)],
    /// The ends of other streams, which were stored before the batch.
    pub(super) ends: Vec<Published>,
    /// The begins of answers, each stored after its question, in the order of the batch.
    pub(super) answers: Vec<Published>,
}

/// Encodes the new publications of a batch: each once, for all reactors.
fn publish<J: Borrow<Append>>(
    jobs: &[J],
    outcomes: &[Outcome],
    streams: &CommittedStreams<'_>,
) -> Arc<[Published]> {
    let mut frame = Vec::new();
    let encode = |(job, outcome): (&Append, &Outcome)| {
        let Ok(appended @ Appended { offset, time_ms, attempt: Attempt::First, .. }) = outcome else {
            return None;
        };
        frame.clear();
        let (change, stream) = (change_of(job.change), mark(job, appended, streams.ended));
        let stored = Stored {
            offset: *offset,
            key: job.key.as_ref().map(|key| key.as_str()),
            user: job.user.as_str(),
            time_ms: *time_ms,
            change,
            stream,
            deleted_by: None,
            data: &job.data,
        };
        push::publication(&mut frame, &job.channel, &stored);
        let (channel, frame) = (job.channel.clone(), Arc::from(frame.as_slice()));
        Some(Published { channel, offset: *offset, change, stream, time_ms: *time_ms, frame })
    };
    let appends = jobs.iter().map(Borrow::borrow).zip(outcomes).filter_map(encode);
    if streams.answers.is_empty() {
        return streams.ends.iter().cloned().chain(appends).collect();
    }
    let mut published = streams.ends.clone();
    let mut answers = streams.answers.iter().peekable();
    for question in appends {
        let (channel, offset) = (question.channel.clone(), question.offset.next());
        published.push(question);
        published
            .extend(answers.next_if(|answer| answer.offset == offset && answer.channel == channel).cloned());
    }
    published.into()
}

/// The part that a new publication has in a stream.
fn mark(job: &Append, appended: &Appended, ended: &[(StreamId, EndFate)]) -> StreamMark {
    if appended.stream.is_some() {
        return StreamMark::Begun;
    }
    let is_this =
        |(id, fate): &&(StreamId, EndFate)| fate.edit == appended.offset && id.channel == job.channel;
    ended.iter().find(is_this).map_or(StreamMark::None, |(_, fate)| StreamMark::Ended(fate.end))
}

fn cell<'a>(counters: &'a StoreCounters, outcome: &Outcome) -> &'a AtomicU64 {
    match outcome {
        Ok(Appended { attempt: Attempt::First, .. }) => &counters.appends,
        Ok(Appended { attempt: Attempt::Repeat, .. }) => &counters.duplicates,
        Err(AppendError::KeyConflict) => &counters.refused_key_conflict,
        Err(AppendError::NotFound) => &counters.refused_not_found,
        Err(AppendError::NotAuthor) => &counters.refused_not_author,
        Err(AppendError::TooManyChannels) => &counters.refused_too_many_channels,
        Err(AppendError::ChannelShareUsed { .. }) => &counters.refused_channel_share,
        Err(AppendError::MayNotCreate) => &counters.refused_may_not_create,
        Err(AppendError::TooManyEdits) => &counters.refused_too_many_edits,
        Err(AppendError::Stream(_)) => &counters.refused_stream,
        Err(AppendError::Unavailable { .. } | AppendError::NoRoom { .. }) => &counters.unavailable,
        Err(AppendError::Unconfirmed { .. }) => &counters.unconfirmed,
    }
}
