//! The hub's requests to its reactor, and the store pages that answer them.

use super::id::ChannelId;
use crate::id::{ChannelName, Offset};
use crate::wire::command::HistoryRange;
use crate::wire::push::LogPosition;
use std::sync::Arc;

/// A store read that serves a whole channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// The position of the channel's log, with the publications that [`super::Hub::wanted`] names.
    Position(ChannelId),
    /// The publications that [`super::Hub::older`] names, for all subscribers that wait for them.
    Older(ChannelId),
    /// The open streams, whole.
    Streams(ChannelId),
    /// The publications after this offset, which did not arrive on the live lane.
    Fill(ChannelId, Offset),
}

/// Proof that a log lost publications: it gave an offset again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    pub channel: ChannelName,
    /// The newest offset that is known to have been committed.
    pub known: Offset,
    /// The offset of another publication, or the head that was read later.
    pub found: Offset,
}

/// The publications to read along with a log's position. `limits::RECOVERY_PAGE_BYTES_MAX` also bounds the read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageWanted {
    /// The part of the log.
    pub range: HistoryRange,
    /// The largest number of publications; 0 reads only the position.
    pub limit: u32,
}

/// A page of a log, read for a whole channel.
pub struct LogPage<'a> {
    /// The log's position at the time of the read.
    pub position: LogPosition,
    /// The first publication of the page; [`Offset::ZERO`] when the page is empty.
    pub first: Offset,
    /// The last publication of the page.
    pub last: Offset,
    /// The number of publications.
    pub count: u32,
    /// Whole frames.
    pub frames: &'a [u8],
    /// The channel had open streams.
    pub has_streams: bool,
}

impl LogPage<'_> {
    /// A page with a position and no publications.
    pub fn bare(position: LogPosition) -> LogPage<'static> {
        LogPage {
            position,
            first: Offset::ZERO,
            last: Offset::ZERO,
            count: 0,
            frames: &[],
            has_streams: false,
        }
    }

    /// True exactly when the page is not empty and holds every publication from the first to the last.
    pub(super) fn is_unbroken(&self) -> bool {
        self.count > 0 && self.last.0.checked_sub(self.first.0) == Some(u64::from(self.count) - 1)
    }
}

/// The outcome of [`super::Hub::step`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CatchUpStep {
    /// The subscription is live.
    Done,
    /// Frames were written; call again when the outbox has room.
    Wrote,
    /// Like `Wrote`; in addition, send this frame after the written ones. All subscribers that lack it share its
    /// bytes: see [`crate::limits::SHARED_FRAME_BYTES_MIN`].
    Shares(Arc<[u8]>),
    /// Nothing to do until the requested page arrives or the channel's head moves.
    Waits,
    /// Read this from the store and answer with [`super::Hub::page_read`].
    Page {
        channel: ChannelName,
        /// Read the publications after this offset.
        after: Offset,
        /// The largest number of publications: none may be above the hub's head.
        limit: u32,
    },
}

/// Permission to read a page for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paging {
    Allowed,
    /// Another page of this connection is under way. One at a time keeps a replay within the outbox's bound.
    Busy,
}

/// A page of one subscriber's replay: whole frames, which the caller holds.
#[derive(Clone, Copy, Debug)]
pub struct ReplayPage {
    /// The oldest publication retained.
    pub floor: Offset,
    /// The first publication of the page; [`Offset::ZERO`] when the page is empty.
    pub first: Offset,
    /// The last publication of the page.
    pub last: Offset,
}
