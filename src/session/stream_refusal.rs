//! The reasons to refuse a command that only commands about streams have.

use crate::wire::push::ErrorCode;
use crate::wire::stream::StreamFault;

/// A reason to refuse a command about a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamRefusal {
    /// `streams.enabled` is off.
    Off,
    /// The owner of the streams refused the command.
    Fault(StreamFault),
    /// The owner of the streams did not answer in time.
    Unconfirmed { retry_ms: u32 },
}

impl StreamRefusal {
    pub fn code(self) -> ErrorCode {
        match self {
            StreamRefusal::Off => ErrorCode::Forbidden,
            StreamRefusal::Unconfirmed { .. } => ErrorCode::Unconfirmed,
            StreamRefusal::Fault(fault) => match fault {
                StreamFault::Stale { .. } => ErrorCode::Stale,
                StreamFault::Gap { .. } => ErrorCode::Gap,
                StreamFault::Diverged { .. } => ErrorCode::Diverged,
                StreamFault::AlreadyEnded { .. } => ErrorCode::Ended,
                StreamFault::TooLarge => ErrorCode::TooLarge,
                StreamFault::NotFound => ErrorCode::NotFound,
                StreamFault::NotAuthor => ErrorCode::Forbidden,
                StreamFault::Overloaded { .. } | StreamFault::ChannelFull { .. } => ErrorCode::Overloaded,
                StreamFault::NoGeneration => ErrorCode::Malformed,
            },
        }
    }

    pub fn retry_ms(self) -> Option<u32> {
        match self {
            StreamRefusal::Unconfirmed { retry_ms }
            | StreamRefusal::Fault(
                StreamFault::Overloaded { retry_ms } | StreamFault::ChannelFull { retry_ms },
            ) => Some(retry_ms),
            StreamRefusal::Off | StreamRefusal::Fault(_) => None,
        }
    }

    pub fn dependency(self) -> Option<&'static str> {
        match self {
            StreamRefusal::Unconfirmed { .. } => Some("store"),
            StreamRefusal::Off | StreamRefusal::Fault(_) => None,
        }
    }

    pub fn message(self) -> &'static str {
        match self {
            StreamRefusal::Off => {
                "streams.enabled is false here; publish without stream, or ask the operator"
            }
            StreamRefusal::Unconfirmed { .. } => {
                "the command may or may not be carried out; send it again, and its position finds out"
            }
            StreamRefusal::Fault(fault) => match fault {
                StreamFault::Stale { .. } => "a later generation has begun; send its gen",
                StreamFault::Gap { .. } => "at is above the end of the text; continue at next",
                StreamFault::Diverged { .. } => {
                    "the piece differs from what is stored; continue at next, or restart the stream"
                }
                StreamFault::AlreadyEnded { .. } => "the stream has ended; begin another one",
                StreamFault::TooLarge => {
                    "the stream would outgrow limits.message_bytes or streams.events_per_stream, or its restarts eight times limits.message_bytes; end it and begin another one"
                }
                StreamFault::NotFound => "offset must name the begin of an open stream",
                StreamFault::NotAuthor => "the stream is another user's; only that user may write to it",
                StreamFault::Overloaded { .. } => "there is no room for the stream; retry after retry_ms",
                StreamFault::ChannelFull { .. } => {
                    "too many answers are open in this channel (streams.open_per_channel); wait until one has ended, or stop one"
                }
                StreamFault::NoGeneration => {
                    "gen is missing, and the stream is an answer to a question; send the gen that came with the question"
                }
            },
        }
    }
}
