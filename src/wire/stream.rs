//! Streams: publications that grow piece by piece before an edit ends them (`docs/protocol.md`, *Streams*).

mod event;
mod news;
mod outcome;
mod place;
mod state;
mod whole;

pub use event::{EVENT_DATA_BYTES_MAX, EVENT_KIND_BYTES_MAX, EventKind, Piece};
pub use news::{News, StreamNews, WholeStream};
pub use outcome::{BegunStream, ProducerNotice, StreamFault, StreamOutcome};
pub use place::{Generation, KnownStream, Position, StreamId};
pub use state::{EndCause, StreamEnd, StreamMark, StreamState};
pub use whole::WholeText;

use crate::id::{Offset, ProducerId, UserName};

/// The wishes of a begin: the member `stream` of `publish`. The key covers none of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamOptions {
    /// `for`: the user whom the text is for, and who may cancel it.
    pub asker: Option<UserName>,
    /// `idle_ms`: the silence after which the gateway ends the stream; `None`: that of the configuration.
    pub idle_ms: Option<u32>,
    pub events: EventKeep,
    /// The gateway began the stream, as the place of the answer to a question. No client can ask for it.
    pub answer: Option<AnswerOptions>,
}

/// The stream of an answer that the gateway began together with its question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerOptions {
    /// The question: the publication before the begin.
    pub question: Offset,
    /// The time for a backend to take the question.
    pub give_up_ms: u32,
    /// The silence of a backend that has taken it, until the first piece, after which the gateway ends the stream.
    pub answer_ms: u32,
}

impl StreamOptions {
    /// The state of a stream with these options at its begin.
    pub const fn first_state(&self) -> StreamState {
        match self.answer {
            Some(_) => StreamState::Accepted,
            None => StreamState::Streaming,
        }
    }
}

/// The begin of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeginStream {
    pub options: StreamOptions,
    pub producer: ProducerId,
}

/// The fate of a stream's events when it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EventKeep {
    /// They are gone.
    #[default]
    Drop,
    /// The end has them in its data.
    Keep,
}

impl EventKeep {
    /// The value of `events`.
    pub const fn word(self) -> &'static str {
        match self {
            EventKeep::Drop => "drop",
            EventKeep::Keep => "keep",
        }
    }

    pub fn parse(word: &str) -> Option<EventKeep> {
        match word {
            "drop" => Some(EventKeep::Drop),
            "keep" => Some(EventKeep::Keep),
            _ => None,
        }
    }
}
