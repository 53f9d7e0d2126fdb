//! Reads the body of a response as it arrives, and carries out what it says.

use super::call::{CallClient, SKIPPED_BYTES_MAX};
use super::orders::{carried_out, carried_out_beside};
use super::readings::AnswerReading;
use super::shared::{Mode, RelayShared};
use crate::id::{ChannelName, Key, UserName};
use crate::job::mailbox::{MailboxItem, ThreadProducer, Unsent};
use crate::job::stream::{ProducerNotice, StreamFault, StreamJob, StreamOrder, StreamOutcome, StreamWork};
use crate::job::{Append, AppendChange, AppendError, Appended, Completion, Creation};
use crate::metrics::relay::RouteMeter;
use crate::net::deadline::now;
use crate::net::http_reading::{CallControl, HttpReading};
use crate::relay::answer::BodyForm;
use crate::relay::response::{ResponseFault, ResponseOrder, ResponseReader};
use crate::relay::route::RelayRoute;
use crate::wire::stream::{
    BeginStream, BegunStream, Generation, Position, StreamEnd, StreamId, StreamOptions,
};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// One read of a body.
const READ_BYTES: usize = 16 << 10;
/// The wait for the rest of a body that is not read.
const SKIP_TIMEOUT: Duration = Duration::from_millis(500);
/// How long the end of an answer, or a publication, is repeated while the store does not answer.
const STORE_TIMEOUT: Duration = Duration::from_secs(60);
/// The wait for one publication to be stored.
const APPEND_TIMEOUT: Duration = Duration::from_secs(5);
/// The least and the longest pause before a publication is repeated.
const APPEND_AGAIN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// A body of a response, and the question that it is for.
pub(super) struct ResponseBody {
    pub(super) client: CallClient,
    pub(super) response: HttpReading,
    pub(super) form: BodyForm,
    /// `None`: the question has no answer that was stored with it.
    pub(super) answer: Option<(StreamId, Generation)>,
    /// Entered before the answer is `processing`: a cancel may come at once, and its notice before the body is read.
    pub(super) reading: Option<AnswerReading>,
    /// Of the question.
    pub(super) channel: ChannelName,
    /// The author of the question, who may cancel the answer. `None`: nothing of the body is read.
    pub(super) asker: Option<UserName>,
    pub(super) message_id: String,
}

/// Why the reading of a body ends before the body.
enum ReadingStop {
    /// The backend sends what is no answer.
    Fault(ResponseFault),
    /// The text would outgrow one publication.
    TooLarge,
    /// A user has cancelled the answer, or it has ended.
    Cancelled,
    /// The answer takes no more: it has ended, or another attempt writes it.
    Over,
    /// The response broke off, or was silent for too long.
    Broken,
}

impl From<ResponseFault> for ReadingStop {
    fn from(fault: ResponseFault) -> ReadingStop {
        ReadingStop::Fault(fault)
    }
}

impl ResponseBody {
    /// A body that is not read.
    pub(super) fn unread(client: CallClient, response: HttpReading, channel: ChannelName) -> ResponseBody {
        ResponseBody {
            client,
            response,
            form: BodyForm::Nothing,
            answer: None,
            reading: None,
            channel,
            asker: None,
            message_id: String::new(),
        }
    }

    /// Drops the body. The connection is kept if little of the body is left.
    fn skip(self, shared: &RelayShared, route: &RelayRoute) {
        let ResponseBody { client, mut response, .. } = self;
        client.control.wait_until(now() + SKIP_TIMEOUT);
        response.skip(SKIPPED_BYTES_MAX);
        drop(response);
        shared.calls.give_back(&route.name, client);
    }

    /// Reads the body to its end.
    pub(super) fn read(self, shared: &RelayShared, route: &RelayRoute, meter: &RouteMeter) {
        if self.form == BodyForm::Nothing {
            return self.skip(shared, route);
        }
        let ResponseBody { client, mut response, form, answer, reading, channel, asker, message_id } = self;
        let producer = Arc::new(shared.mailboxes.open());
        let watched = Arc::clone(&producer);
        client.control.watch(Some(Arc::new(move || watched.is_stopped() || watched.has_ended())));
        let life_end = now() + shared.life;
        let mut reader = ResponseReader::new(form, answer.clone(), &message_id, shared.message_bytes);
        let mut writer = AnswerWriter {
            shared,
            route,
            producer: &producer,
            control: &client.control,
            answer,
            reading,
            channel: &channel,
            asker,
            life_end,
            has_begun: false,
            has_warned: false,
        };
        let stop = writer.copy(&client, &mut response, &mut reader).err();
        client.control.watch(None);
        drop(writer.reading.take());
        let stop = stop.map(|stop| match stop {
            // The relay has closed it: that is no break of the backend.
            ReadingStop::Broken if client.control.is_ended() && !shared.is(Mode::Stopping) => {
                ReadingStop::Cancelled
            }
            stop => stop,
        });
        if let Some(stop) = stop {
            writer.stopped(&stop, meter);
        } else {
            drop(response);
            shared.calls.give_back(&route.name, client);
        }
    }
}

/// Writes what a response says.
struct AnswerWriter<'a> {
    shared: &'a RelayShared,
    route: &'a RelayRoute,
    producer: &'a ThreadProducer,
    control: &'a Arc<CallControl>,
    /// The part that is being written, with the newest generation.
    answer: Option<(StreamId, Generation)>,
    reading: Option<AnswerReading>,
    channel: &'a ChannelName,
    asker: Option<UserName>,
    /// When the response has taken too long.
    life_end: Instant,
    /// A piece was sent, so a break of the response is that of a producer.
    has_begun: bool,
    /// A refused publication was logged. A backend that sends many of them does not fill the log.
    has_warned: bool,
}

impl AnswerWriter<'_> {
    fn copy(
        &mut self,
        client: &CallClient,
        response: &mut HttpReading,
        reader: &mut ResponseReader,
    ) -> Result<(), ReadingStop> {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let silence = if self.has_begun { self.shared.idle } else { self.route.answer };
            client.control.wait_until((now() + silence).min(self.life_end));
            let read = response.read(&mut buffer);
            self.receive()?;
            match read {
                Ok(0) if !response.has_length() => {
                    let route = &*self.route.name;
                    tracing::warn!(route, "relay response without length");
                    return Err(ReadingStop::Broken);
                }
                Ok(0) => return reader.finish(|order| self.perform(order)),
                Ok(count) => {
                    let bytes = buffer.get(..count).unwrap_or_default();
                    reader.push(bytes, |order| self.perform(order))?;
                }
                Err(trouble) => {
                    let route = &*self.route.name;
                    tracing::debug!(route, cause = %trouble.text, "relay response broken");
                    return Err(ReadingStop::Broken);
                }
            }
        }
    }

    fn perform(&mut self, order: ResponseOrder) -> Result<(), ReadingStop> {
        match order {
            ResponseOrder::Append { generation, at, piece } => {
                self.has_begun = true;
                let order = StreamOrder::Append { generation: Some(generation), at: Some(at), piece };
                self.send(order)
            }
            ResponseOrder::Restart => match self.carry_out(|| StreamOrder::Restart)? {
                StreamOutcome::Restarted { generation, .. } => {
                    self.answer = self.answer.take().map(|(id, _)| (id, generation));
                    Ok(())
                }
                outcome => Err(stop_of(&outcome)),
            },
            ResponseOrder::End { generation, at, end, data } => {
                let order = || StreamOrder::End {
                    generation: Some(generation),
                    at: Some(at),
                    end,
                    data: data.clone(),
                };
                match self.carry_out(order)? {
                    StreamOutcome::Ended { .. } => Ok(()),
                    outcome => Err(stop_of(&outcome)),
                }
            }
            ResponseOrder::Publish { channel, key, data } => self.publish(channel, &key, &data),
            ResponseOrder::Continue { generation, at, key } => self.go_on(generation, at, &key),
        }
    }

    /// Sends a piece. While the store is slow, the response is not read.
    fn send(&mut self, order: StreamOrder) -> Result<(), ReadingStop> {
        let Some((id, _)) = &self.answer else { return Ok(()) };
        let (producer, user) = (self.producer.id(), self.route.user.clone());
        let mut work = StreamWork::Job(StreamJob { producer, ticket: None, id: id.clone(), user, order });
        loop {
            work = match self.producer.send(work, self.life_end) {
                Ok(()) => return self.receive(),
                Err(Unsent::Full(_)) if now() >= self.life_end => return Err(ReadingStop::Broken),
                Err(Unsent::Full(work)) => work,
                Err(Unsent::Ends) => return Err(ReadingStop::Broken),
            };
            self.receive()?;
        }
    }

    /// Takes what came meanwhile.
    fn receive(&mut self) -> Result<(), ReadingStop> {
        while let Some(item) = self.producer.try_receive() {
            match item {
                MailboxItem::Notice(ProducerNotice::Refused { fault: StreamFault::TooLarge, .. }) => {
                    return Err(ReadingStop::TooLarge);
                }
                MailboxItem::Notice(ProducerNotice::Refused { .. }) => return Err(ReadingStop::Over),
                MailboxItem::Notice(ProducerNotice::Cancel { .. }) => return Err(ReadingStop::Cancelled),
                MailboxItem::Notice(
                    ProducerNotice::Appended { .. } | ProducerNotice::Pause | ProducerNotice::Resume,
                )
                | MailboxItem::Outcome { .. }
                | MailboxItem::Answer { .. } => {}
            }
        }
        Ok(())
    }

    fn carry_out(&self, order: impl Fn() -> StreamOrder) -> Result<StreamOutcome, ReadingStop> {
        let Some((id, _)) = &self.answer else { return Err(ReadingStop::Over) };
        let deadline = now() + STORE_TIMEOUT;
        carried_out(self.producer, id, &self.route.user, order, deadline).ok_or(ReadingStop::Broken)
    }

    /// Begins the stream that continues a part which is full, and completes that. In this order, a response that can go no further always
    /// leaves a part that is not completed. Meanwhile the response is not read.
    fn go_on(&mut self, generation: Generation, at: Position, key: &Key) -> Result<(), ReadingStop> {
        let Some((id, _)) = self.answer.clone() else { return Err(ReadingStop::Over) };
        let data = format!("{{\"continues\":{}}}", id.offset.0);
        let options = StreamOptions { asker: self.asker.clone(), ..StreamOptions::default() };
        let begin = BeginStream { options, producer: self.producer.id() };
        let stored = self.stored(&id.channel, key, &data, Some(&begin))?;
        let Some(Appended { offset, stream: Some(begun), .. }) = stored else {
            return Err(ReadingStop::TooLarge);
        };
        // A stream that has text already is another run's.
        let BegunStream { generation: Generation::FIRST, next: Position::ZERO, ended: None } = begun else {
            return Err(ReadingStop::Over);
        };
        let next = StreamId { channel: id.channel.clone(), offset };
        self.reading = Some(self.shared.readings.enter(&next, self.control));
        self.answer = Some((next, Generation::FIRST));
        let end = StreamEnd::Completed;
        let order = || StreamOrder::End { generation: Some(generation), at: Some(at), end, data: None };
        let mut is_cancelled = false;
        let notice = |notice| is_cancelled |= matches!(notice, ProducerNotice::Cancel { .. });
        let deadline = now() + STORE_TIMEOUT;
        match carried_out_beside(self.producer, &id, &self.route.user, order, deadline, notice) {
            Some(StreamOutcome::Ended { end: StreamEnd::Completed, .. }) => {}
            Some(outcome) => {
                // The part has ended otherwise, or is that of a later attempt: nothing continues it.
                self.end(StreamEnd::Cancelled);
                return Err(stop_of(&outcome));
            }
            None => return Err(ReadingStop::Broken),
        }
        if is_cancelled || self.control.is_ended() { Err(ReadingStop::Cancelled) } else { Ok(()) }
    }

    /// Stores a publication of the response, and waits for it, so that publications keep their order.
    fn publish(&mut self, channel: Option<ChannelName>, key: &Key, data: &str) -> Result<(), ReadingStop> {
        let channel = channel.unwrap_or_else(|| self.channel.clone());
        if !self.route.may_publish(self.channel, &channel) {
            return Err(ReadingStop::Fault(ResponseFault::NotAllowed { channel }));
        }
        self.stored(&channel, key, data, None).map(drop)
    }

    /// Stores a publication; `None`: it is refused.
    fn stored(
        &mut self,
        channel: &ChannelName,
        key: &Key,
        data: &str,
        begin: Option<&BeginStream>,
    ) -> Result<Option<Appended>, ReadingStop> {
        let deadline = now() + STORE_TIMEOUT;
        loop {
            let wait = match self.append(channel, key, data, begin) {
                Some(Ok(appended)) => return Ok(Some(appended)),
                Some(Err(
                    AppendError::Unavailable { retry_ms }
                    | AppendError::Unconfirmed { retry_ms }
                    | AppendError::NoRoom { retry_ms }
                    | AppendError::ChannelShareUsed { retry_ms }
                    | AppendError::Stream(StreamFault::Overloaded { retry_ms }),
                )) => Duration::from_millis(u64::from(retry_ms)),
                None => Duration::ZERO,
                Some(Err(error)) => {
                    let route = &*self.route.name;
                    if !std::mem::replace(&mut self.has_warned, true) {
                        tracing::warn!(
                            route,
                            channel = channel.as_str(),
                            ?error,
                            "relay publication refused"
                        );
                    }
                    return Ok(None);
                }
            };
            let wait = wait.clamp(APPEND_AGAIN.0, APPEND_AGAIN.1);
            let is_over = self.producer.has_ended() || self.shared.is(Mode::Stopping);
            if is_over || now() + wait >= deadline {
                return Err(ReadingStop::Broken);
            }
            self.shared.pause(wait);
        }
    }

    fn append(
        &self,
        channel: &ChannelName,
        key: &Key,
        data: &str,
        begin: Option<&BeginStream>,
    ) -> Option<Result<Appended, AppendError>> {
        let ticket = self.producer.append_ticket(None)?;
        let job = Append {
            ticket,
            channel: channel.clone(),
            user: self.route.user.clone(),
            key: Some(key.clone()),
            change: AppendChange::Original,
            creation: Creation::Free,
            data: data.into(),
            stream: begin.cloned().map(Box::new),
            claims: None,
        };
        let deadline = now() + APPEND_TIMEOUT;
        let links = self.shared.links.load_full()?;
        if links.appends.send_deadline(job, deadline).is_err() {
            self.producer.withdraw(ticket);
            return None;
        }
        drop(links);
        loop {
            match self.producer.receive(deadline) {
                Some(MailboxItem::Answer {
                    ticket: of,
                    completion: Completion::Appended { outcome, .. },
                }) if of == ticket => {
                    return Some(outcome);
                }
                Some(_) => {}
                None => {
                    self.producer.withdraw(ticket);
                    return None;
                }
            }
        }
    }

    /// Ends what the response left open. Without an end, the stream has lost its producer once this thread's ends.
    fn stopped(&mut self, stop: &ReadingStop, meter: &RouteMeter) {
        let route = &*self.route.name;
        match stop {
            ReadingStop::Fault(fault) => {
                meter.broken_bodies.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(route, %fault, "relay response rejected");
                self.end(StreamEnd::Failed);
            }
            ReadingStop::TooLarge => {
                meter.broken_bodies.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(route, "relay response too large");
                self.end(StreamEnd::Failed);
            }
            ReadingStop::Cancelled => self.end(StreamEnd::Cancelled),
            ReadingStop::Over => {}
            ReadingStop::Broken => {
                meter.broken_bodies.fetch_add(1, Ordering::Relaxed);
                if !self.has_begun {
                    // It was the producer, although it has sent nothing.
                    let _ = self.send(StreamOrder::Attach);
                }
            }
        }
    }

    fn end(&self, end: StreamEnd) {
        let Some((_, generation)) = &self.answer else { return };
        // After what there is. If it is not known, the stream ends at its deadline.
        let order = || StreamOrder::End { generation: Some(*generation), at: None, end, data: None };
        let _ = self.carry_out(order);
    }
}

fn stop_of(outcome: &StreamOutcome) -> ReadingStop {
    match outcome {
        // A gap is one of this response: a piece before was refused, and its notice has not been received.
        StreamOutcome::Refused(StreamFault::TooLarge | StreamFault::Gap { .. }) => ReadingStop::TooLarge,
        StreamOutcome::Cancelling => ReadingStop::Cancelled,
        StreamOutcome::Refused(_)
        | StreamOutcome::Ended { .. }
        | StreamOutcome::Appended { .. }
        | StreamOutcome::Restarted { .. }
        | StreamOutcome::Processing { .. }
        | StreamOutcome::Unavailable { .. }
        | StreamOutcome::Unconfirmed { .. } => ReadingStop::Over,
    }
}
