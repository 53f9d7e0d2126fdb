//! The streams of an open transaction.

use crate::store::open_streams::OpenStreams;
use crate::stream::EndFate;
use crate::wire::stream::StreamId;

/// The open streams, for a transaction.
#[derive(Clone, Copy)]
pub(super) struct StreamLedger<'a> {
    pub(super) open: &'a OpenStreams,
    /// The number of the next part.
    pub(super) next_part: i64,
}

/// The streams in an open transaction.
pub(super) struct BatchStreams<'a> {
    pub(super) open: &'a OpenStreams,
    pub(super) changes: StreamChanges,
}

/// The changes that a transaction makes to streams.
pub(super) struct StreamChanges {
    /// The number of the next part.
    pub(super) next_part: i64,
    /// The streams that edits and deletes of their begins have ended.
    pub(super) ended: Vec<(StreamId, EndFate)>,
    /// A stream begins.
    pub(super) begun: bool,
    /// The begin of a stream is deleted, so its parts must go, too.
    pub(super) deletes_begin: bool,
}

impl<'a> BatchStreams<'a> {
    pub(super) fn new(ledger: StreamLedger<'a>) -> BatchStreams<'a> {
        let StreamLedger { open, next_part } = ledger;
        let changes = StreamChanges { next_part, ended: Vec::new(), begun: false, deletes_begin: false };
        BatchStreams { open, changes }
    }
}
