//! Readings of the segments of a channel.

use crate::clock::Moment;
use crate::id::ChannelName;

/// A reading that is asked for. Its moment names it, because its answer can come after it was given up and another one was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterReading {
    pub channel: ChannelName,
    pub asked: Moment,
}

/// The outcome of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadingOutcome {
    Done,
    Failed,
}
