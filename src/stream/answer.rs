//! Answers: streams that the gateway begins together with their questions, before any producer.
//!
//! An answer is accepted until a backend takes its question, then it is processed until its first piece, and from then on it is a stream
//! like any other. Each instance that knows of an answer without text keeps it, so that its deadline runs.

use super::facts::AnswerFact;
use super::flush::EndFate;
use super::grid::FlushUrgency;
use super::ledger::Ledger;
use super::open::{OpenStream, PendingEnd, StreamEnder};
use super::order::{Known, StreamSender};
use super::output::{CancelledAnswer, CancelledBy, StreamOutput};
use super::waiting::Wish;
use crate::clock::Moment;
use crate::id::{ChannelName, Offset, UserName};
use crate::wire::stream::{EndCause, Position, StreamEnd, StreamId, StreamState};
use std::time::Duration;

impl<T: Copy> Ledger<T> {
    /// A backend has taken the question of an answer. The sender becomes no producer: the text may come from elsewhere.
    pub fn process(
        &mut self,
        id: &StreamId,
        sender: StreamSender<'_, T>,
        now: Moment,
        out: &mut StreamOutput<T>,
    ) -> Known {
        let life = self.settings.life;
        let Some(stream) = self.streams.get_mut(id) else { return Known::No };
        let StreamSender { producer, ticket, .. } = sender;
        if let Err(fault) = stream.admit_waiting(&sender) {
            out.refuse(ticket, producer, id, fault);
            return Known::Open;
        }
        stream.waiting.push(ticket, producer, Wish::Process);
        if stream.ending.is_none() && stream.state == StreamState::Accepted {
            stream.enter(StreamState::Processing, now, life);
            self.schedule(id);
            self.touch(id, now);
        }
        self.list(id, FlushUrgency::Early);
        Known::Open
    }

    /// Ends an answer as failed: its question was not taken, or refused.
    pub fn fail(
        &mut self,
        id: &StreamId,
        sender: StreamSender<'_, T>,
        cause: EndCause,
        out: &mut StreamOutput<T>,
    ) -> Known {
        let Some(stream) = self.streams.get_mut(id) else { return Known::No };
        let StreamSender { producer, ticket, .. } = sender;
        if let Err(fault) = stream.admit_waiting(&sender) {
            out.refuse(ticket, producer, id, fault);
            return Known::Open;
        }
        if stream.ending.is_some() {
            stream.waiting.push(ticket, producer, Wish::EndAgain(StreamEnd::Failed));
            return Known::Open;
        }
        let (end, by) = (StreamEnd::Failed, StreamEnder::Lasting(cause));
        stream.ending = Some(PendingEnd { end, at: None, by });
        stream.waiting.push(ticket, producer, Wish::End);
        self.list(id, FlushUrgency::Early);
        Known::Open
    }

    /// A user has deleted a question. Its answer ends, if no backend has taken it.
    pub fn withdraw(&mut self, channel: &ChannelName, question: Offset, by: &UserName, now: Moment) {
        if self.streams.is_empty() {
            return;
        }
        let id = StreamId { channel: channel.clone(), offset: Offset(question.0.saturating_add(1)) };
        let is_answer = |stream: &&mut OpenStream<T>| {
            stream.options.answer.is_some_and(|answer| answer.question == question)
                && stream.state == StreamState::Accepted
                && stream.ending.is_none()
        };
        if self.streams.get_mut(&id).filter(is_answer).is_some() {
            self.stop(&id, by, now);
        }
    }

    /// The question of an answer is gone: retention removed it, or its author was erased. The answer ends, if no backend has the question.
    pub fn lose_question(&mut self, id: &StreamId) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let waits = stream.options.answer.is_some()
            && stream.state == StreamState::Accepted
            && stream.producers.is_empty()
            && stream.ending.is_none();
        if waits {
            let by = StreamEnder::Lasting(EndCause::NotDelivered);
            stream.ending = Some(PendingEnd { end: StreamEnd::Failed, at: None, by });
            self.list(id, FlushUrgency::Early);
        }
    }

    /// Has a stream end for a user: its producer has a moment to do so. An answer whose question no backend has ends at once.
    pub(super) fn stop(&mut self, id: &StreamId, by: &UserName, now: Moment) {
        let (cancel, life) = (self.settings.cancel, self.settings.life);
        let Some(stream) = self.streams.get_mut(id) else { return };
        let has_backend = stream.state != StreamState::Accepted || !stream.producers.is_empty();
        stream.enter(StreamState::Cancelling, now, life);
        stream.canceller = Some(by.clone());
        stream.clocks.cancel_end = Some(if has_backend { now + cancel } else { now });
        self.schedule(id);
        self.list(id, FlushUrgency::Early);
    }

    /// The first piece of an answer makes it a stream like any other.
    pub(super) fn note_text(&mut self, id: &StreamId, now: Moment) {
        let life = self.settings.life;
        let Some(stream) = self.streams.get_mut(id) else { return };
        if matches!(stream.state, StreamState::Accepted | StreamState::Processing) {
            stream.enter(StreamState::Streaming, now, life);
            self.schedule(id);
        }
    }

    /// The cancel of a stream is committed, or its end if there was no cancel before. If it is an answer, the relay notifies its backend.
    pub(super) fn note_cancelled(&self, id: &StreamId, out: &mut StreamOutput<T>) {
        let Some(stream) = self.streams.get(id) else { return };
        let by_producer =
            stream.ending.as_ref().is_some_and(|ending| matches!(ending.by, StreamEnder::Producer(_)));
        if !by_producer {
            out.cancelled.extend(stream.cancelled(id, CancelledBy::Here));
        }
    }

    /// An edit or delete by this instance, which is committed, has ended a stream. Call it before [`ended`](Ledger::ended).
    pub fn overwritten(&self, id: &StreamId, fate: EndFate, out: &mut StreamOutput<T>) {
        if self.streams.get(id).is_some_and(|stream| stream.options.answer.is_some()) {
            out.answers.push(AnswerFact::Ended { end: fate.end, cause: None, unheard: None });
        }
    }
}

impl<T: Copy> OpenStream<T> {
    /// Changes the state. The life of an answer begins when it leaves its first one.
    pub(super) fn enter(&mut self, state: StreamState, now: Moment, life: Duration) {
        if self.state == StreamState::Accepted && state != StreamState::Accepted {
            self.clocks.life_end = now + life;
            self.clocks.sign = now;
            // A producer that came and went before its time is not waited for.
            self.clocks.orphaned = None;
        }
        self.state = state;
    }

    /// The state of a paused stream that has a producer again.
    pub(super) fn resumed(&self) -> StreamState {
        let is_blank = self.next() == Position::ZERO;
        match self.options.answer {
            Some(_) if is_blank => StreamState::Processing,
            Some(_) | None => StreamState::Streaming,
        }
    }

    /// The news for the relay that a stream, if it is an answer, takes no more; `None` if the relay knows.
    pub(super) fn cancelled(&self, id: &StreamId, by: CancelledBy) -> Option<CancelledAnswer> {
        let question = self.options.answer?.question;
        let (generation, state) = (self.generation, self.committed_state);
        let is_news = state != StreamState::Cancelling;
        is_news.then(|| CancelledAnswer { id: id.clone(), question, generation, state, by })
    }

    /// The user whose share of memory the stream takes. Answers are all of one author, so theirs is the asker's.
    pub(super) fn payer(&self) -> &UserName {
        self.options.answers().unwrap_or(&self.author)
    }

    /// A piece is stored by this instance.
    pub(super) fn note_piece(&mut self, now: Moment, facts: &mut Vec<AnswerFact>) {
        facts.extend(self.question.take().map(|question| AnswerFact::FirstPiece(question.age(now))));
    }

    /// The end is stored by this instance, with everything that was taken. An answer that is complete without a piece has its text in
    /// the end.
    pub(super) fn note_end(&mut self, fate: EndFate, now: Moment, facts: &mut Vec<AnswerFact>) {
        if self.options.answer.is_none() {
            return;
        }
        let asked = self.end_cause().filter(|(end, _)| *end == fate.end);
        if fate.end == StreamEnd::Completed || asked.is_some() && self.has_pieces_waiting() {
            self.note_piece(now, facts);
        }
        let unheard = self.question.take().map(|question| question.age(now));
        facts.push(AnswerFact::Ended { end: fate.end, cause: asked.and_then(|(_, cause)| cause), unheard });
    }
}
