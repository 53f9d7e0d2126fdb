//! The frames of a stream for its readers: complete ones with the same bytes for all of them.

use super::place::{Generation, Position, StreamId};
use super::state::StreamState;
use std::sync::Arc;

/// A change of an open stream that was committed.
#[derive(Clone, Debug)]
pub struct StreamNews {
    pub id: StreamId,
    pub generation: Generation,
    pub news: News,
}

/// The kinds of change.
#[derive(Clone, Debug)]
pub enum News {
    /// The text grew, or events were added.
    Pieces {
        /// Where the pieces begin.
        at: Position,
        /// Where they end.
        next: Position,
        /// Complete `stream` frames, one after the other.
        frames: Arc<[u8]>,
    },
    /// The stream is in another state, with the `stream` frame that says so.
    State(StreamState, Arc<[u8]>),
    /// A generation began, with its whole, empty `stream` frame.
    Restarted(Arc<[u8]>),
}

impl News {
    /// Its frames.
    pub fn frames(&self) -> &Arc<[u8]> {
        match self {
            News::Pieces { frames, .. } => frames,
            News::State(_, frame) | News::Restarted(frame) => frame,
        }
    }
}

/// An open stream as it is now, for one who joins or missed something.
#[derive(Clone, Debug)]
pub struct WholeStream {
    pub id: StreamId,
    pub generation: Generation,
    /// Where the text ends.
    pub next: Position,
    pub state: StreamState,
    /// The complete `stream` frame: from the position that was asked for, or from 0.
    pub frame: Arc<[u8]>,
}
