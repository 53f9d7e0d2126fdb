//! Counters of the bus. Its threads write them.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Totals since the start, and the current state.
#[derive(Debug, Default)]
pub struct BusCounters {
    /// Messages sent. A message holds a signal, a canary, or the publications or changes of streams of one channel.
    pub sent: AtomicU64,
    /// Batches and messages that could not be sent.
    pub dropped: Arc<AtomicU64>,
    /// Publications received from other instances.
    pub publications: AtomicU64,
    /// Signals received from other instances.
    pub signals: AtomicU64,
    /// Changes of open streams received from other instances.
    pub streamed: AtomicU64,
    /// Messages discarded because no instance of this store made them, or one of another version.
    pub garbled: AtomicU64,
    /// Messages ignored because a newer version sent them.
    pub unknown: AtomicU64,
    pub gauges: Arc<BusGauges>,
    /// Masters of the cluster; 0 on a single Redis.
    pub masters: AtomicU64,
    /// Of these, the ones over which delivery works.
    pub masters_delivering: AtomicU64,
    pub lost: AtomicU64,
    /// Reads of the channel heads, made while the bus does not deliver.
    pub surveys: AtomicU64,
    /// Canaries of this instance that were received back.
    pub canaries: AtomicU64,
    /// The time of the last canary from Redis to the last reactor, in microseconds.
    pub canary_us: AtomicU64,
}

/// The current state of the bus, or of its part at one master of a cluster.
#[derive(Debug, Default)]
pub struct BusGauges {
    /// Channels currently subscribed to.
    pub channels: AtomicU64,
    /// 1 while the canaries show that delivery works, else 0.
    pub delivering: AtomicU64,
}
