//! The answers to a stream's producer and to users who cancel it.

use super::place::{Generation, Position, StreamId};
use super::state::StreamEnd;
use crate::id::{Offset, UserName};

/// The stream of a publication that began it, in the answer to its producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BegunStream {
    pub generation: Generation,
    /// Where the producer continues.
    pub next: Position,
    /// The end and its edit, if the begin was a repeat and the stream has ended.
    pub ended: Option<(StreamEnd, Offset)>,
}

/// The answer to one command about a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamOutcome {
    /// Everything below `next` is committed.
    Appended {
        generation: Generation,
        next: Position,
    },
    /// A generation began.
    Restarted {
        generation: Generation,
        next: Position,
    },
    /// The stream has ended; `duplicate` if it had ended so before.
    Ended {
        edit: Offset,
        end: StreamEnd,
        duplicate: bool,
    },
    /// The stream ends in a moment.
    Cancelling,
    /// A backend has the question of this answer.
    Processing {
        generation: Generation,
    },
    Refused(StreamFault),
    /// Certainly not done; retry after `retry_ms` milliseconds.
    Unavailable {
        retry_ms: u32,
    },
    /// The outcome of the commit is unknown; sending it again finds out.
    Unconfirmed {
        retry_ms: u32,
    },
}

/// The reason why a command about a stream was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamFault {
    /// A later generation has begun.
    Stale { generation: Generation },
    /// The piece begins above the end of the text.
    Gap { next: Position },
    /// The piece differs from the text.
    Diverged { next: Position },
    /// The stream has ended.
    AlreadyEnded { end: StreamEnd, edit: Offset },
    /// The stream would outgrow one publication, or have too many events.
    TooLarge,
    /// There is no such stream.
    NotFound,
    /// Another user began it, or may end it.
    NotAuthor,
    /// There is no room for it; retry after `retry_ms` milliseconds.
    Overloaded { retry_ms: u32 },
    /// As many streams as may be are open in the channel; retry after `retry_ms` milliseconds.
    ChannelFull { retry_ms: u32 },
    /// A piece or end of an answer must name the generation that it is for: the newest may be that of another attempt.
    NoGeneration,
}

/// A message to a producer's connection that answers no command with an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProducerNotice {
    /// Everything below `next` is committed.
    Appended { id: StreamId, generation: Generation, next: Position },
    /// A piece without an id was refused.
    Refused { id: StreamId, fault: StreamFault },
    /// `user` asked to end the stream; the gateway does so after `end_ms` milliseconds.
    Cancel { id: StreamId, generation: Generation, user: UserName, end_ms: u32 },
    /// Too much of the producer's text waits to be committed: its socket is not read.
    Pause,
    /// Its socket is read again.
    Resume,
}
