//! What the bus counts. Its two threads write; a scrape reads.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Totals since the start, and how it stands.
#[derive(Debug, Default)]
pub struct BusCounters {
    /// Messages sent: publications of one channel and batch, signals and canaries.
    pub sent: AtomicU64,
    /// Batches and messages that could not be sent.
    pub dropped: Arc<AtomicU64>,
    /// Publications that came from other instances.
    pub publications: AtomicU64,
    /// Signals that came from other instances.
    pub signals: AtomicU64,
    /// Messages that were thrown away: garbled, or of another version.
    pub garbled: AtomicU64,
    /// Channels that are followed.
    pub channels: AtomicU64,
    /// 1 while delivery works, as the canaries show.
    pub delivering: AtomicU64,
    /// Connections that were lost.
    pub lost: AtomicU64,
    /// Looks at where the logs stand, in place of a bus that does not deliver.
    pub surveys: AtomicU64,
    /// Own canaries that came back.
    pub canaries: AtomicU64,
    /// How long the last one took from Redis to the last reactor, in microseconds.
    pub canary_us: AtomicU64,
}
