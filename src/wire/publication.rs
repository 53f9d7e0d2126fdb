//! One committed publication on its way from the store to subscribers: framed once, shared by all.

use crate::id::{ChannelName, Offset};
use std::sync::Arc;

/// What a publication does to the log beside standing in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is an original.
    None,
    /// It replaces what an earlier one says.
    Edits(Offset),
    /// It erases an earlier one.
    Deletes(Offset),
}

/// A committed publication, encoded as the push `publication` in a complete text frame.
#[derive(Clone, Debug)]
pub struct Published {
    /// Its channel.
    pub channel: ChannelName,
    /// Its place in the channel's log.
    pub offset: Offset,
    /// Whether an earlier one is affected: what memory still holds of an erased one must go.
    pub change: Change,
    /// The frame, header included: the same bytes for every subscriber.
    pub frame: Arc<[u8]>,
}

/// One publication as the store has it: what is encoded for a push, a replay or a page of history.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    /// Its place in the channel's log.
    pub offset: Offset,
    /// The idempotency key, if it was published with one.
    pub key: Option<&'a str>,
    /// Who published it.
    pub user: &'a str,
    /// When it was committed, Unix milliseconds.
    pub time_ms: u64,
    /// Whether it edits or deletes an earlier one.
    pub change: Change,
    /// The later publication that deleted this one; `data` is then `null`.
    pub deleted_by: Option<Offset>,
    /// The JSON as it was received, byte for byte.
    pub data: &'a str,
}
