//! What the store workers count.
//!
//! Each cell has one writer, or few that meet rarely; a scrape reads them all. Nothing is decided by these
//! numbers, so relaxed ordering is enough.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of [`CommitLatency`]'s buckets, in microseconds; a last bucket takes the rest.
pub const COMMIT_BOUNDS_US: [u64; 12] =
    [250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 2_500_000];

/// Cells of the store, all workers together.
#[derive(Debug, Default)]
pub struct StoreCounters {
    /// Publications committed.
    pub appends: AtomicU64,
    /// Appends answered with the first one under the same key.
    pub duplicates: AtomicU64,
    /// Appends refused: the key stands for other content.
    pub refused_key_conflict: AtomicU64,
    /// Appends refused: nothing there to edit or delete.
    pub refused_not_found: AtomicU64,
    /// Appends refused: somebody else's publication.
    pub refused_not_author: AtomicU64,
    /// Appends refused: `limits.channels` is reached.
    pub refused_too_many_channels: AtomicU64,
    /// Appends answered `unavailable`.
    pub unavailable: AtomicU64,
    /// Appends answered `unconfirmed`.
    pub unconfirmed: AtomicU64,
    /// Batches tried, committed or not.
    pub batches: AtomicU64,
    /// Appends in those batches; divided by `batches` it is the mean batch.
    pub batched: AtomicU64,
    /// From the first statement of a batch to the end of its commit.
    pub commit_latency: CommitLatency,
    /// Pages and heads read.
    pub reads: AtomicU64,
    /// Reads that failed.
    pub read_failures: AtomicU64,
    /// Publications that retention deleted.
    pub retention_deletes: AtomicU64,
    /// Idempotency keys that were forgotten.
    pub keys_forgotten: AtomicU64,
    /// Retention slices that failed; they are tried again with the next round.
    pub retention_failures: AtomicU64,
    /// Checkpoints that ran.
    pub checkpoints: AtomicU64,
    /// Checkpoints that failed, or could not finish because a reader was in the way.
    pub checkpoint_failures: AtomicU64,
    /// Bytes of the write-ahead log in use, as the last look found them.
    pub wal_bytes: AtomicU64,
    /// Connections to a store server that came back after one was lost.
    pub reconnects: AtomicU64,
    /// Connections given up because the server did not answer in time.
    pub connections_abandoned: AtomicU64,
    /// 1 exactly when the last attempt to write failed.
    pub failing: AtomicU64,
    /// Batches taken by a reactor's live lane, each reactor counted.
    pub live_offered: AtomicU64,
    /// Batches that did not fit into a reactor's live lane.
    pub live_missed: AtomicU64,
}

/// Adds one.
pub fn bump(cell: &AtomicU64) {
    add(cell, 1);
}

/// Adds `count`.
pub fn add(cell: &AtomicU64, count: u64) {
    cell.fetch_add(count, Ordering::Relaxed);
}

/// A histogram of commit times.
#[derive(Debug, Default)]
pub struct CommitLatency {
    /// Commits within each bound of [`COMMIT_BOUNDS_US`] (and over the one before); the last takes the rest.
    pub buckets: [AtomicU64; COMMIT_BOUNDS_US.len() + 1],
    /// The sum of all, microseconds.
    pub sum_us: AtomicU64,
}

impl CommitLatency {
    /// Counts one commit.
    pub fn record(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = COMMIT_BOUNDS_US.partition_point(|bound| *bound < us);
        if let Some(cell) = self.buckets.get(bucket) {
            bump(cell);
        }
        add(&self.sum_us, us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_counted_in_the_first_bucket_that_holds_it() {
        let latency = CommitLatency::default();
        for us in [1, 250, 251, 3_000_000] {
            latency.record(Duration::from_micros(us));
        }
        let counts: Vec<u64> = latency.buckets.iter().map(|cell| cell.load(Ordering::Relaxed)).collect();
        assert_eq!(counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(latency.sum_us.load(Ordering::Relaxed), 3_000_502);
    }
}
