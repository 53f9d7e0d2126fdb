//! Counters of the store workers.
//!
//! Each cell has one writer, or a few that rarely collide. No decision depends on these numbers, so relaxed ordering
//! is enough.

use super::duration::DurationHistogram;
use std::sync::atomic::{AtomicU64, Ordering};

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
    /// Appends refused because `limits.channels_per_user` was reached.
    pub refused_channel_share: AtomicU64,
    /// Appends refused because the channel is new and the token grants no `create`.
    pub refused_may_not_create: AtomicU64,
    /// Edits refused because `limits.edits` was reached.
    pub refused_too_many_edits: AtomicU64,
    /// Begins of streams refused because there is no room for another stream, or the store keeps none.
    pub refused_stream: AtomicU64,
    pub unavailable: AtomicU64,
    pub unconfirmed: AtomicU64,
    /// Batches attempted, committed or not.
    pub batches: AtomicU64,
    /// Appends in all attempted batches. Divided by `batches`, it is the mean batch size.
    pub batched: AtomicU64,
    /// Time from the first statement of a batch to the end of its commit.
    pub commit_latency: DurationHistogram,
    /// Pages and heads read.
    pub reads: AtomicU64,
    pub read_failures: AtomicU64,
    /// Publications deleted by retention.
    pub retention_deletes: AtomicU64,
    /// Expired idempotency keys deleted.
    pub keys_forgotten: AtomicU64,
    /// Free bytes on the disk of the embedded store.
    pub free_bytes: AtomicU64,
    /// 1 while publications are refused because the disk is nearly full.
    pub short_of_room: AtomicU64,
    /// Empty channels removed.
    pub channels_removed: AtomicU64,
    /// Channels in the store, and `limits.channels`.
    pub channels: AtomicU64,
    pub channels_max: AtomicU64,
    /// Retention passes that failed. They are retried in the next round.
    pub retention_failures: AtomicU64,
    /// Users whose erasure is not finished.
    pub erasures_unfinished: AtomicU64,
    /// The age of the oldest of these erasures, in milliseconds.
    pub erasure_age_ms: AtomicU64,
    /// 1 while nothing is deleted by age because the wall clock is not trusted.
    pub retention_rests: AtomicU64,
    pub checkpoints: AtomicU64,
    /// Checkpoints that failed, or could not finish because of a reader.
    pub checkpoint_failures: AtomicU64,
    /// The size of the write-ahead log in use at the last check.
    pub wal_bytes: AtomicU64,
    /// Proofs that a log lost committed publications.
    pub contradictions: AtomicU64,
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
