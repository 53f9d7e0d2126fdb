//! Counters of streams.
//!
//! Except the reads, they are written by the thread that writes the store.

use super::answers::AnswerCounters;
use super::duration::DurationHistogram;
use super::store::bump;
use crate::wire::stream::{StreamEnd, StreamFault};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Totals since the start, and current sizes.
#[derive(Debug, Default)]
pub struct StreamCounters {
    /// Open streams.
    pub open: AtomicU64,
    /// The memory of their text, in bytes, and `streams.memory_bytes`.
    pub memory_bytes: AtomicU64,
    pub memory_bytes_max: AtomicU64,
    /// The time between two commits of pieces, in milliseconds.
    pub window_ms: AtomicU64,
    /// Ended streams, by [`StreamEnd::ALL`].
    ends: [AtomicU64; StreamEnd::ALL.len()],
    /// Pieces that producers sent, repeats and refused ones included.
    pub pieces: AtomicU64,
    /// Positions that were committed: bytes of text, and one for each event.
    pub bytes: AtomicU64,
    /// The time that a commit with pieces or ends took.
    pub flushes: DurationHistogram,
    /// The time from taking pieces to their commit, of some of each commit.
    pub latency: DurationHistogram,
    /// Open streams that were read from their beginning.
    pub whole_frames: AtomicU64,
    /// Open streams that were read from a position, because a client missed something.
    pub holes: AtomicU64,
    /// Commands that were refused, by [`REFUSALS`].
    refused: [AtomicU64; REFUSALS.len()],
    /// Notices to threads that produce streams, which had too many waiting.
    pub notices_dropped: Arc<AtomicU64>,
    pub answers: AnswerCounters,
    /// Parts deleted: of ended streams, and of generations that were given up.
    pub parts_deleted: AtomicU64,
}

/// The codes of refusals.
const REFUSALS: [&str; 9] =
    ["stale", "gap", "diverged", "ended", "too_large", "not_found", "forbidden", "overloaded", "malformed"];

impl StreamCounters {
    pub fn count_end(&self, end: StreamEnd) {
        let place = StreamEnd::ALL.iter().position(|each| *each == end);
        if let Some(cell) = place.and_then(|place| self.ends.get(place)) {
            bump(cell);
        }
    }

    pub fn count_refusal(&self, fault: StreamFault) {
        let place = match fault {
            StreamFault::Stale { .. } => 0,
            StreamFault::Gap { .. } => 1,
            StreamFault::Diverged { .. } => 2,
            StreamFault::AlreadyEnded { .. } => 3,
            StreamFault::TooLarge => 4,
            StreamFault::NotFound => 5,
            StreamFault::NotAuthor => 6,
            StreamFault::Overloaded { .. } | StreamFault::ChannelFull { .. } => 7,
            StreamFault::NoGeneration => 8,
        };
        if let Some(cell) = self.refused.get(place) {
            bump(cell);
        }
    }

    /// The ends, by state.
    pub fn ends(&self) -> impl Iterator<Item = (&'static str, u64)> {
        StreamEnd::ALL.into_iter().map(StreamEnd::word).zip(self.ends.iter().map(read))
    }

    /// The refusals, by code.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        REFUSALS.into_iter().zip(self.refused.iter().map(read))
    }
}

fn read(cell: &AtomicU64) -> u64 {
    cell.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::stream::Position;

    #[test]
    fn ends_and_refusals_are_counted_under_their_words() {
        let counters = StreamCounters::default();
        StreamEnd::ALL.into_iter().for_each(|end| counters.count_end(end));
        counters.count_end(StreamEnd::Interrupted);
        assert!(counters.ends().all(|(word, count)| count == 1 + u64::from(word == "interrupted")));
        counters.count_refusal(StreamFault::Gap { next: Position(7) });
        counters.count_refusal(StreamFault::NotAuthor);
        let counted: Vec<_> = counters.refusals().filter(|(_, count)| *count == 1).collect();
        assert_eq!(counted, [("gap", 1), ("forbidden", 1)]);
    }
}
