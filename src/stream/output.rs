//! The results of the ledger's work for others, in a buffer of its caller.

use crate::id::ProducerId;
use crate::wire::stream::{ProducerNotice, StreamFault, StreamId, StreamNews, StreamOutcome};

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
}

impl<T> Default for StreamOutput<T> {
    fn default() -> StreamOutput<T> {
        let (replies, notices, news, heard) = Default::default();
        StreamOutput { replies, notices, news, heard }
    }
}

impl<T> StreamOutput<T> {
    pub fn is_empty(&self) -> bool {
        self.replies.is_empty() && self.notices.is_empty() && self.news.is_empty()
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
