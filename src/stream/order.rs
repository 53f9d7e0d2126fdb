//! The orders to the ledger.

use crate::id::{ProducerId, UserName};
use crate::wire::stream::{
    AnswerOptions, EventKeep, Generation, Piece, Position, StreamEnd, StreamId, StreamOptions, StreamState,
};
use std::time::Duration;

/// The sender of an order. `T` identifies the pending command that is answered.
#[derive(Clone, Copy, Debug)]
pub struct StreamSender<'a, T> {
    pub producer: ProducerId,
    pub user: &'a UserName,
    /// `None`: the command has no id.
    pub ticket: Option<T>,
}

/// The begin of a stream.
#[derive(Clone, Debug)]
pub struct StreamBegin {
    pub id: StreamId,
    pub author: UserName,
    pub options: StreamOptions,
    /// The JSON of the begin, which is repeated in the end.
    pub begun: Box<str>,
    /// `None` for an answer, which the gateway begins.
    pub producer: Option<ProducerId>,
}

/// An open stream as the store has it, without its parts.
#[derive(Clone, Debug)]
pub struct StoredStream {
    pub id: StreamId,
    pub author: UserName,
    pub options: StreamOptions,
    pub begun: Box<str>,
    pub generation: Generation,
    pub state: StreamState,
    /// The time since the begin; of an answer that has left its first state, since then.
    pub age: Duration,
    /// The time since the question of an answer that has no text was stored; `None`: it is not known, or there is none.
    pub asked: Option<Duration>,
}

/// One `append`.
#[derive(Clone, Debug)]
pub struct StreamAppend {
    /// `None`: the newest.
    pub generation: Option<Generation>,
    /// `None`: after what there is.
    pub at: Option<Position>,
    pub piece: Piece,
}

/// One `end`.
#[derive(Clone, Debug)]
pub struct StreamFinish {
    /// `None`: the newest.
    pub generation: Option<Generation>,
    /// `None`: after what there is.
    pub at: Option<Position>,
    pub end: StreamEnd,
    /// JSON in place of the text.
    pub data: Option<Box<str>>,
}

/// The streams that a user may cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelRight {
    /// The user's own: the ones it began, and the ones for it.
    Own,
    /// All users': the `moderate` right.
    All,
}

/// Says if the ledger has a stream. If it does not, the caller looks for its end in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Known {
    Open,
    /// It has ended, or there is none. Nothing was done.
    No,
}

/// The options that matter while a stream is open.
#[derive(Clone, Debug)]
pub(super) struct OpenOptions {
    pub(super) asker: Option<UserName>,
    pub(super) keep: EventKeep,
    pub(super) answer: Option<AnswerOptions>,
}

impl OpenOptions {
    /// The user whose question the stream answers.
    pub(super) fn answers(&self) -> Option<&UserName> {
        self.asker.as_ref().filter(|_| self.answer.is_some())
    }
}
