//! The outcomes of a flush in a store that several instances write, and streams as that store has them.
//!
//! Two instances may have one stream open. Neither owns it: the store refuses what does not follow on its last row, and the instance
//! that is refused loads the stream and goes on from there.

pub use super::fence::{StreamFence, Touched};

use super::flush::{EndFate, Flush};
use super::order::StoredStream;
use super::part::PartRow;
use crate::id::UserName;
use crate::wire::stream::{Generation, Position, StreamState};

/// The outcome of each part of a [`Flush`], in the order of its lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlushFates {
    pub restarts: Vec<RestartFate>,
    pub rows: Vec<RowFate>,
    pub states: Vec<StateFate>,
    pub ends: Vec<StoredEndFate>,
}

impl FlushFates {
    /// Those of a store that nothing else writes, which has these ends.
    pub(super) fn stored(flush: &Flush, ends: &[EndFate]) -> FlushFates {
        FlushFates {
            restarts: vec![RestartFate::Stored; flush.restarts.len()],
            rows: vec![RowFate::Stored; flush.rows.len()],
            states: vec![StateFate::Stored; flush.states.len()],
            ends: ends.iter().map(|fate| StoredEndFate::Stored(*fate, 0)).collect(),
        }
    }

    /// True if there is one for each part of a flush.
    pub fn are_of(&self, flush: &Flush) -> bool {
        self.restarts.len() == flush.restarts.len()
            && self.rows.len() == flush.rows.len()
            && self.states.len() == flush.states.len()
            && self.ends.len() == flush.ends.len()
    }
}

/// The outcome of a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartFate {
    Stored,
    /// The store has another generation, or the stream is not open there.
    Lost,
}

/// The outcome of a row of pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowFate {
    Stored,
    /// Another writer has that position, the generation is not the newest, or the stream is not open.
    Lost,
}

/// The outcome of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateFate {
    Stored,
    /// The stream is not open, it is being cancelled, or it is not as the [`StreamFence`] says.
    Moved,
}

/// The outcome of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredEndFate {
    /// With the time of the edit.
    Stored(EndFate, u64),
    /// The stream is not as the [`StreamFence`] says.
    Moved,
    /// It had ended. A stream that is gone with its channel is deleted at its own offset.
    Ended(EndFate),
}

/// A stream as the store has it.
#[derive(Clone, Debug)]
pub enum Loaded {
    Open(Box<LoadedStream>),
    /// With the time of the edit; `None` if it is not known.
    Ended(EndFate, Option<u64>),
    /// There is no publication that began one.
    Absent,
}

/// An open stream with its text.
#[derive(Clone, Debug)]
pub struct LoadedStream {
    pub stream: StoredStream,
    pub touched: Touched,
    /// The user that cancelled it.
    pub canceller: Option<UserName>,
    /// The rows of its generation, in order.
    pub parts: Vec<PartRow>,
    /// The bytes of the rows of earlier generations.
    pub restarted: usize,
}

/// An open stream without its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLook {
    pub generation: Generation,
    pub next: Position,
    pub state: StreamState,
    pub touched: Touched,
}
