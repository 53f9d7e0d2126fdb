//! Streams: publications that grow piece by piece before an edit ends them (`docs/protocol.md`, *Streams*).

mod event;
mod news;
mod outcome;
mod state;

pub use event::{EVENT_DATA_BYTES_MAX, EVENT_KIND_BYTES_MAX, EventKind, Piece};
pub use news::{News, StreamNews, WholeStream};
pub use outcome::{BegunStream, ProducerNotice, StreamFault, StreamOutcome};
pub use state::{EndCause, StreamEnd, StreamMark, StreamState};

use crate::id::{ChannelName, Offset, ProducerId, UserName};
use std::fmt;

/// The number of a stream's text, from 1. A restart begins the next one, which is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u32);

impl Generation {
    /// That of a stream that has just begun.
    pub const FIRST: Generation = Generation(1);
}

/// A place in a generation: the bytes of UTF-8 of the text before it, plus one for each event before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u32);

impl Position {
    /// The beginning.
    pub const ZERO: Position = Position(0);
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A stream, named by the publication that began it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    pub channel: ChannelName,
    /// The offset of the begin.
    pub offset: Offset,
}

/// The wishes of a begin: the member `stream` of `publish`. They are not part of what the key stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamOptions {
    /// `for`: the user whom the text is for, and who may cancel it.
    pub asker: Option<UserName>,
    /// `idle_ms`: the silence after which the gateway ends the stream; `None`: that of the configuration.
    pub idle_ms: Option<u32>,
    pub events: EventKeep,
}

/// The begin of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeginStream {
    pub options: StreamOptions,
    pub producer: ProducerId,
}

/// What becomes of a stream's events when it ends.
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
