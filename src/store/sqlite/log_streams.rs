//! The streams of the log, in memory.

use super::batch_streams::{StreamChanges, StreamLedger};
use super::stream_end::WrittenEnd;
use crate::store::open_streams::{OpenStreams, Output};
use crate::stream::EndFate;
use crate::wire::stream::StreamId;
use std::sync::Arc;

/// The streams of a log.
#[derive(Debug)]
pub(super) struct LogStreams {
    pub(super) open: Arc<OpenStreams>,
    /// The number of the next part.
    pub(super) next_part: i64,
    pub(super) sweep: DeletedSweep,
}

/// The progress of the sweep through all parts, for those of deleted streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeletedSweep {
    /// Nothing was deleted since the last one.
    Rests,
    /// It goes on after this part. `again`: a stream was deleted since it began.
    After { part: i64, again: bool },
}

/// The streams that a commit has ended.
#[derive(Debug, Default)]
pub(crate) struct StreamsAtCommit {
    /// The streams that edits and deletes of their begins have ended.
    pub(crate) ended: Vec<(StreamId, EndFate)>,
    /// The ends of the flush, in its order; `None`: the flush was not written.
    pub(crate) ends: Option<Vec<WrittenEnd>>,
}

impl LogStreams {
    /// The first sweep begins with the process: an earlier one may have ended before its own.
    pub(super) fn new(open: Arc<OpenStreams>) -> LogStreams {
        LogStreams { open, next_part: 1, sweep: DeletedSweep::After { part: 0, again: false } }
    }

    pub(super) fn ledger(&self) -> StreamLedger<'_> {
        StreamLedger { open: &self.open, next_part: self.next_part }
    }

    /// Nothing of the transaction is stored.
    pub(super) fn forget_beginning(&self) {
        if self.open.beginning() > 0 {
            self.open.forget_beginning(0, &mut Output::default());
        }
    }

    /// Takes over what a transaction has done, after its commit.
    pub(super) fn committed(
        &mut self,
        changes: StreamChanges,
        ends: Option<Vec<WrittenEnd>>,
    ) -> StreamsAtCommit {
        let StreamChanges { next_part, ended, begun, deletes_begin } = changes;
        self.next_part = next_part;
        if begun {
            self.open.begun();
        }
        if deletes_begin {
            self.sweep = match self.sweep {
                DeletedSweep::Rests => DeletedSweep::After { part: 0, again: false },
                DeletedSweep::After { part, .. } => DeletedSweep::After { part, again: true },
            };
        }
        StreamsAtCommit { ended, ends }
    }
}
