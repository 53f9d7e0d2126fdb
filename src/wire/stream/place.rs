//! The names of streams, and the places in them.

use crate::id::{ChannelName, Offset};
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

/// The part of an open stream that a client has: everything of a generation before `next`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownStream {
    /// The begin of the stream.
    pub offset: Offset,
    pub generation: Generation,
    /// Where the piece begins that it lacks.
    pub next: Position,
}
