//! A committed publication on its way from the store to subscribers: framed once, shared by all.

use crate::id::{ChannelName, Offset};
use std::sync::Arc;

/// The effect of a publication on an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// No effect: it is an original.
    None,
    /// It replaces the content of an earlier one.
    Edits(Offset),
    /// It erases an earlier one.
    Deletes(Offset),
}

/// A committed publication, encoded as the push `publication` in a complete text frame.
#[derive(Clone, Debug)]
pub struct Published {
    pub channel: ChannelName,
    pub offset: Offset,
    /// The effect on an earlier publication; memory must drop an erased one.
    pub change: Change,
    /// The frame, header included: the same bytes for every subscriber.
    pub frame: Arc<[u8]>,
}

/// One stored publication, to be encoded for a push, a replay or a page of history.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    pub offset: Offset,
    pub key: Option<&'a str>,
    /// The author.
    pub user: &'a str,
    /// The time of the commit, in Unix milliseconds.
    pub time_ms: u64,
    pub change: Change,
    /// The later publication that deleted this one; `data` is then `null`.
    pub deleted_by: Option<Offset>,
    /// The JSON as it was received, byte for byte.
    pub data: &'a str,
}
