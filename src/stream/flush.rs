//! The contents of one commit, and what became of them.

use super::fence::StreamFence;
use super::part::PartRow;
use crate::id::{Offset, UserName};
use crate::wire::stream::{EndCause, Generation, StreamEnd, StreamId, StreamState};

/// The contents of one commit. It goes back to the ledger, which has no other one meanwhile: to
/// [`settled`](super::Ledger::settled) after the commit, to [`failed`](super::Ledger::failed) if nothing was stored.
///
/// Store the restarts before the rows, and those before the states.
#[derive(Debug, Default)]
#[must_use]
pub struct Flush {
    pub restarts: Vec<RestartRow>,
    /// At most one for each stream.
    pub rows: Vec<PartRow>,
    pub states: Vec<StateRow>,
    pub ends: Vec<EndRow>,
    /// Streams whose producers gave a sign of life that other instances are to see. Only for a store that several instances write.
    pub touches: Vec<StreamId>,
    /// The streams that took part, some of them only to acknowledge a repeat.
    pub(super) streams: Vec<StreamId>,
}

impl Flush {
    /// True if no stream takes part, so that nothing is to be settled.
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// True if there is nothing to commit. It is settled all the same, because repeats may wait for an acknowledgement.
    pub fn writes_nothing(&self) -> bool {
        self.has_no_rows() && self.touches.is_empty()
    }

    /// True if nothing but signs of life is to be committed.
    pub fn has_no_rows(&self) -> bool {
        self.restarts.is_empty() && self.rows.is_empty() && self.states.is_empty() && self.ends.is_empty()
    }
}

/// A stream's new generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestartRow {
    pub id: StreamId,
    /// The stored generation, which a store of several instances compares.
    pub known: Generation,
    pub generation: Generation,
}

/// A stream's new state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateRow {
    pub id: StreamId,
    pub state: StreamState,
    /// The user that cancels it, if that is the state.
    pub canceller: Option<UserName>,
    /// The stream after the restarts and rows of the flush. `None`: the state does not depend on it.
    pub fence: Option<StreamFence>,
}

/// The end of a stream: an edit of its begin by its author.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndRow {
    pub id: StreamId,
    pub author: UserName,
    /// The generation that the text is of. It may have begun in the same flush.
    pub generation: Generation,
    /// The stream before it, which a store of several instances compares.
    pub fence: StreamFence,
    pub end: StreamEnd,
    /// `None`: its producer ended it, or a user cancelled it.
    pub cause: Option<EndCause>,
    /// JSON.
    pub data: Box<str>,
}

/// The end that the store has for an [`EndRow`]: that one, or an earlier one of which the ledger did not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndFate {
    pub end: StreamEnd,
    /// The offset of the edit.
    pub edit: Offset,
}
