//! The results of the ledger's work for others, in a buffer of its caller.

use super::facts::AnswerFact;
use crate::id::{Offset, ProducerId};
use crate::wire::stream::{
    Generation, ProducerNotice, StreamFault, StreamId, StreamNews, StreamOutcome, StreamState,
};

/// Replies, notices and news, each in order. `T` identifies the pending command that a reply answers.
#[derive(Debug)]
pub struct StreamOutput<T> {
    /// Answers to commands with an id.
    pub replies: Vec<(T, StreamOutcome)>,
    /// Messages to the connections of producers.
    pub notices: Vec<(ProducerId, ProducerNotice)>,
    /// For readers.
    pub news: Vec<StreamNews>,
    /// The places in `news`, in order, of changes by other instances, which have announced them to all.
    pub heard: Vec<usize>,
    /// Answers that a user has cancelled, or that have ended otherwise than was asked here, for the relay.
    pub cancelled: Vec<CancelledAnswer>,
    /// For the counters.
    pub answers: Vec<AnswerFact>,
}

/// An answer that takes no more text, or not for long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelledAnswer {
    pub id: StreamId,
    /// The question.
    pub question: Offset,
    pub generation: Generation,
    /// The state until then. Of an accepted one, at most an attempt is under way, and it has ended.
    pub state: StreamState,
    pub by: CancelledBy,
}

/// The origin of a cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelledBy {
    /// This instance has committed it, so it notifies the backend, and closes the response if it reads that.
    Here,
    /// Another instance has, or an end came first. This one closes the response if it reads that.
    Elsewhere,
}

impl<T> Default for StreamOutput<T> {
    fn default() -> StreamOutput<T> {
        let (replies, notices, news, heard, cancelled, answers) = Default::default();
        StreamOutput { replies, notices, news, heard, cancelled, answers }
    }
}

impl<T> StreamOutput<T> {
    pub fn is_empty(&self) -> bool {
        self.replies.is_empty()
            && self.notices.is_empty()
            && self.news.is_empty()
            && self.cancelled.is_empty()
            && self.answers.is_empty()
    }

    /// The news from this place on are changes by another instance.
    pub(super) fn note_heard(&mut self, first: usize) {
        self.heard.extend(first..self.news.len());
    }

    /// Refuses a command: with a reply, or with a notice if it has no ticket.
    pub(super) fn refuse(
        &mut self,
        ticket: Option<T>,
        producer: ProducerId,
        id: &StreamId,
        fault: StreamFault,
    ) {
        match ticket {
            Some(ticket) => self.replies.push((ticket, StreamOutcome::Refused(fault))),
            None => self.notices.push((producer, ProducerNotice::Refused { id: id.clone(), fault })),
        }
    }
}
