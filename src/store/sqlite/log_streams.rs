//! The streams of the log, in memory.

use super::batch_streams::{StreamChanges, StreamLedger};
use super::stream_end::WrittenEnd;
use super::streams::{PartsBound, StaleStream};
use crate::store::open_streams::{OpenStreams, Output};
use crate::stream::{EndFate, Flush};
use crate::wire::stream::StreamId;
use std::sync::Arc;

/// Bytes of parts that are written between the beginnings of two sweeps. One old stream that is open keeps the parts of all others
/// from going with the lowest numbers; only a sweep finds those of ended streams and earlier generations above.
const SWEEP_BYTES: u64 = 32 << 20;
/// Bytes that a part takes in addition to its body.
const PART_BYTES: u64 = 64;

/// The streams of a log.
#[derive(Debug)]
pub(super) struct LogStreams {
    pub(super) open: Arc<OpenStreams>,
    /// The number of the next part.
    pub(super) next_part: i64,
    pub(super) sweep: DeletedSweep,
    /// Rows that no stream belongs to. They are removed when the file takes writes.
    pub(super) stale: Vec<StaleStream>,
    /// Written since the last slice of retention.
    unsliced: PartsBound,
    /// Bytes written since the last sweep began.
    pub(super) unswept: u64,
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
        LogStreams {
            open,
            next_part: 1,
            sweep: DeletedSweep::After { part: 0, again: false },
            stale: Vec::new(),
            unsliced: PartsBound::default(),
            unswept: 0,
        }
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

    /// The parts that the next slice of retention may delete: more than were written since the last one, within bounds, because
    /// appends wait for it.
    pub(super) fn take_slice(&mut self) -> PartsBound {
        std::mem::take(&mut self.unsliced).outrun()
    }

    /// Begins a sweep if much was written since the last one.
    pub(super) fn sweep_if_due(&mut self) {
        if self.sweep == DeletedSweep::Rests && self.unswept > SWEEP_BYTES {
            self.sweep = DeletedSweep::After { part: 0, again: false };
            self.unswept = 0;
        }
    }

    /// Takes over what a transaction has done, after its commit. `flush` is what it was to write of streams.
    pub(super) fn committed(
        &mut self,
        changes: StreamChanges,
        ends: Option<Vec<WrittenEnd>>,
        flush: Option<&Flush>,
    ) -> StreamsAtCommit {
        for row in flush.iter().flat_map(|flush| &flush.rows) {
            let bytes = row.body.len() as u64 + PART_BYTES;
            self.unsliced.rows += 1;
            self.unsliced.bytes += bytes;
            self.unswept += bytes;
        }
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
