//! The answers to an append, a history read and commands about streams, as the reactor hands them to a session.

use super::outcome::{AppendError, Appended};
use crate::id::Offset;
use crate::wire::push::LogPosition;
use crate::wire::stream::{StreamEnd, StreamOutcome, WholeStream};

/// The outcome of an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendOutcome {
    /// The store answered.
    Answered(Result<Appended, AppendError>),
    /// The store's queue was full: certainly not stored.
    QueueFull,
    /// The store did not answer in time.
    Late,
}

/// The outcome of a read of a roster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PresenceOutcome<'a> {
    /// The object `presence`.
    Page(&'a [u8]),
    /// The queue of the rosters was full.
    QueueFull,
    /// The rosters did not answer in time.
    Late,
}

/// The outcome of a history read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryOutcome<'a> {
    /// The publications of the page as JSON objects separated by commas: `{…},{…}`.
    Page(LogPosition, &'a [u8]),
    /// The store's queue was full.
    QueueFull,
    /// The store could not be read; retry after `retry_ms` milliseconds.
    Unavailable { retry_ms: u32 },
    /// The store did not answer in time.
    Late,
}

/// The answer to a command that writes to a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamReply {
    /// The owner of the streams answered.
    Outcome(StreamOutcome),
    /// A queue was full: certainly not done.
    QueueFull,
    /// The owner did not answer in time.
    Late,
}

/// The answer to `stream`.
#[derive(Clone, Copy, Debug)]
pub enum StreamReadOutcome<'a> {
    /// The stream, if it is open.
    Read(Option<&'a WholeStream>),
    /// It has ended, by this edit.
    Ended { end: StreamEnd, edit: Offset },
    /// The queue was full.
    QueueFull,
    /// The streams could not be read; retry after `retry_ms` milliseconds.
    Unavailable { retry_ms: u32 },
    /// They were not read in time.
    Late,
}
