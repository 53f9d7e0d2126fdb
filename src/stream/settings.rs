//! The bounds and deadlines of streams.

use std::time::Duration;

/// The bytes that an open stream takes in addition to its text, its events and the data of its begin.
pub(super) const STREAM_BYTES: usize = 1 << 10;
/// The bytes that a waiting event takes in addition to its data.
pub(super) const EVENT_BYTES: usize = 64;
/// Connections that produce one stream: an old one and its successor, and some that are slow to end.
pub(super) const PRODUCERS_MAX: usize = 4;
/// The texts that restarts have given up may together have this many times the bytes of a message: they are in the store until
/// retention comes by.
pub(super) const RESTARTED_MESSAGES: usize = 8;
/// Replies about one stream that wait for a commit. A producer without a store repeats its commands.
pub(super) const WAITING_MAX: usize = 64;
/// Streams that one flush ends at their deadlines: after a restart all may be due together, and each end has up to a message.
pub(super) const ENDS_AT_ONCE: usize = 64;
/// The time after which a producer may send again what there was no room for.
pub(super) const RETRY_MS: u32 = 1_000;
/// A stream without a producer for this long is shown as paused: most producers are back sooner.
pub(super) const PAUSED_AFTER: Duration = Duration::from_secs(1);
/// The gateway ends an answer that no backend has taken this long after the relay was to give up, which does it with its reason.
pub(super) const GIVE_UP_MARGIN: Duration = Duration::from_secs(60);
/// The longest window of the grid, unless the configured one is longer.
pub(super) const WINDOW_MAX: Duration = Duration::from_millis(200);

/// The settings of `[streams]`, and the bound of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSettings {
    /// The time between two flushes.
    pub rollup: Duration,
    /// The silence after which the gateway ends a stream, unless its begin asked for another.
    pub idle: Duration,
    /// The time without a producer after which the gateway ends a stream. After an outage or a start, silent streams and streams
    /// without a producer are spared for this long.
    pub orphan: Duration,
    /// The time from a cancel to the end.
    pub cancel: Duration,
    /// The longest life of a stream.
    pub life: Duration,
    /// Open streams in one channel.
    pub open_per_channel: usize,
    /// Events in one generation.
    pub events_per_stream: usize,
    /// Bytes of one stream that wait for a commit; above it, its producer's socket is not read.
    pub window_bytes: usize,
    /// The same for all streams. One user has at most half.
    pub pending_bytes: usize,
    /// Bytes of all open streams. One user has at most half.
    pub memory_bytes: usize,
    /// Bytes of one publication, and so of an end.
    pub message_bytes: usize,
}

impl Default for StreamSettings {
    fn default() -> StreamSettings {
        StreamSettings {
            rollup: Duration::from_millis(40),
            idle: Duration::from_secs(30),
            orphan: Duration::from_secs(10),
            cancel: Duration::from_secs(5),
            life: Duration::from_secs(600),
            open_per_channel: 16,
            events_per_stream: 256,
            window_bytes: 64 << 10,
            pending_bytes: 16 << 20,
            memory_bytes: 64 << 20,
            message_bytes: 64 << 10,
        }
    }
}
