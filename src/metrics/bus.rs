//! Counters of the bus. Its two threads write them.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Totals since the start, and the current state.
#[derive(Debug, Default)]
pub struct BusCounters {
    /// Messages sent. A message holds a signal, a canary, or the publications of one channel and batch.
    pub sent: AtomicU64,
    /// Batches and messages that could not be sent.
    pub dropped: Arc<AtomicU64>,
    /// Publications received from other instances.
    pub publications: AtomicU64,
    /// Signals received from other instances.
    pub signals: AtomicU64,
    /// Messages discarded because no instance of this store made them, or one of another version.
    pub garbled: AtomicU64,
    /// Messages ignored because a newer version sent them.
    pub unknown: AtomicU64,
    /// Channels currently subscribed to.
    pub channels: AtomicU64,
    /// 1 while the canaries show that delivery works, else 0.
    pub delivering: AtomicU64,
    pub lost: AtomicU64,
    /// Reads of the channel heads, made while the bus does not deliver.
    pub surveys: AtomicU64,
    /// Canaries of this instance that were received back.
    pub canaries: AtomicU64,
    /// The time of the last canary from Redis to the last reactor, in microseconds.
    pub canary_us: AtomicU64,
}
