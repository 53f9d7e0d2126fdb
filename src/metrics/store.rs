//! Counters of the store workers.
//!
//! Each cell has one writer, or a few that rarely collide. No decision depends on these numbers, so relaxed ordering
//! is enough.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of [`CommitLatency`]'s buckets, in microseconds. A last bucket takes the rest.
pub const COMMIT_BOUNDS_US: [u64; 12] =
    [250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 2_500_000];

/// The cells of all store workers together.
#[derive(Debug, Default)]
pub struct StoreCounters {
    pub appends: AtomicU64,
    /// Appends answered with the earlier publication under the same idempotency key.
    pub duplicates: AtomicU64,
    /// Appends refused because the key was used for other content.
    pub refused_key_conflict: AtomicU64,
    /// Appends refused because the publication to edit or delete does not exist.
    pub refused_not_found: AtomicU64,
    /// Appends refused because the publication belongs to another user.
    pub refused_not_author: AtomicU64,
    /// Appends refused because `limits.channels` was reached.
    pub refused_too_many_channels: AtomicU64,
    /// Edits refused because `limits.edits` was reached.
    pub refused_too_many_edits: AtomicU64,
    pub unavailable: AtomicU64,
    pub unconfirmed: AtomicU64,
    /// Batches attempted, committed or not.
    pub batches: AtomicU64,
    /// Appends in all attempted batches. Divided by `batches`, it is the mean batch size.
    pub batched: AtomicU64,
    /// Time from the first statement of a batch to the end of its commit.
    pub commit_latency: CommitLatency,
    /// Pages and heads read.
    pub reads: AtomicU64,
    pub read_failures: AtomicU64,
    /// Publications deleted by retention.
    pub retention_deletes: AtomicU64,
    /// Expired idempotency keys deleted.
    pub keys_forgotten: AtomicU64,
    /// Empty channels removed.
    pub channels_removed: AtomicU64,
    /// Channels in the store, and `limits.channels`.
    pub channels: AtomicU64,
    pub channels_max: AtomicU64,
    /// Retention passes that failed. They are retried in the next round.
    pub retention_failures: AtomicU64,
    /// 1 while nothing is deleted by age because the wall clock is not trusted.
    pub retention_rests: AtomicU64,
    pub checkpoints: AtomicU64,
    /// Checkpoints that failed, or could not finish because of a reader.
    pub checkpoint_failures: AtomicU64,
    /// The size of the write-ahead log in use at the last check.
    pub wal_bytes: AtomicU64,
    /// Lost connections to a store server that were restored.
    pub reconnects: AtomicU64,
    /// Connections abandoned because the server did not answer in time.
    pub connections_abandoned: AtomicU64,
    /// 1 exactly if the last attempt to write failed.
    pub failing: AtomicU64,
    /// Batches accepted by a reactor's live lane, counted once for each reactor.
    pub live_offered: AtomicU64,
    /// Batches that did not fit into a reactor's live lane, counted once for each reactor.
    pub live_missed: AtomicU64,
}

pub fn bump(cell: &AtomicU64) {
    add(cell, 1);
}

pub fn add(cell: &AtomicU64, count: u64) {
    cell.fetch_add(count, Ordering::Relaxed);
}

/// A histogram of commit times.
#[derive(Debug, Default)]
pub struct CommitLatency {
    /// Commits within each bound of [`COMMIT_BOUNDS_US`] and above the previous one. The last bucket takes the rest.
    pub buckets: [AtomicU64; COMMIT_BOUNDS_US.len() + 1],
    /// The sum of all commit times, in microseconds.
    pub sum_us: AtomicU64,
}

impl CommitLatency {
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
    fn commit_is_counted_in_the_first_bucket_whose_bound_holds_it() {
        let latency = CommitLatency::default();
        for us in [1, 250, 251, 3_000_000] {
            latency.record(Duration::from_micros(us));
        }
        let counts: Vec<u64> = latency.buckets.iter().map(|cell| cell.load(Ordering::Relaxed)).collect();
        assert_eq!(counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(latency.sum_us.load(Ordering::Relaxed), 3_000_502);
    }
}
