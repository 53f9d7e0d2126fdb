//! Every bound, its reason, and what a peer is told when it is hit.
//!
//! What an operator may change stands in [`Limits`], under its configuration name; what only the source may
//! change is a constant. Const assertions relate those that depend on each other.

use std::time::Duration;

/// Bounds an operator sets in `[limits]`. Sizes are bytes, rates are per second; 0 turns a limit off only
/// where its doc says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once, this process. 0: as many as descriptors allow. Over it: `bye`, 1013.
    pub connections: u32,
    /// Resident memory past which new handshakes are refused with 1013. 0: nine tenths of what the machine
    /// or the control group allows.
    pub memory_bytes: u64,
    /// One frame's payload. Over it: close 1009.
    pub frame_bytes: u32,
    /// One message's payload, all its fragments together. Over it: close 1009.
    pub message_bytes: u32,
    /// Frames of one message: an attacker's empty fragments cost us, not him. Over it: close 1009.
    pub fragments: u32,
    /// From a message's first byte to its last. Over it: close 4408.
    pub message_ms: u32,
    /// Pings, pongs a second from one peer. Over it: close 4429. 0: off.
    pub control_frames_per_s: u32,
    /// Pings and pongs at once after a rest.
    pub control_frames_burst: u32,
    /// Request line and headers together. Over it: HTTP 431.
    pub head_bytes: u32,
    /// Header lines of one request. Over it: HTTP 431.
    pub headers: u32,
    /// The request target. Over it: HTTP 414.
    pub uri_bytes: u32,
    /// From accept, or from the first byte of a further request, to a complete head. Over it: HTTP 408.
    pub head_ms: u32,
    /// From the upgrade to `connect`. Over it: close 4408.
    pub connect_ms: u32,
    /// Silence on a kept-alive plain connection before it is closed.
    pub keep_alive_ms: u32,
    /// Nesting of JSON in a command. Over it: error `malformed`.
    pub json_depth: u32,
    /// Publishes a second, one connection. Over it: error `rate_limited`. 0: off.
    pub publishes_per_s: u32,
    /// Publishes at once after a rest.
    pub publishes_burst: u32,
    /// All other commands a second, one connection. Over it: error `rate_limited`. 0: off.
    pub commands_per_s: u32,
    /// Other commands at once after a rest.
    pub commands_burst: u32,
    /// Channels one connection may be subscribed to. Over it: error `too_large`.
    pub subscriptions: u32,
    /// Commands of one connection waiting for a worker. Over it: error `overloaded`.
    pub pending: u32,
    /// Bytes waiting for one socket past which publications are left to the log (lag).
    pub outbox_bytes: u32,
    /// Bytes waiting for one socket past which it is no longer read.
    pub outbox_bytes_hard: u32,
    /// Bytes waiting for all sockets together. Over it: replays pause, then the longest stalled get 4408.
    pub outbox_bytes_total: u64,
    /// Recent publications kept in memory for recovery, all channels together. Over it: the oldest go.
    pub tail_bytes_total: u64,
    /// A socket that takes no bytes for so long is closed: 4408.
    pub stall_ms: u32,
    /// Channels the store may ever hold, and channels one reactor follows at once. Over it: error
    /// `overloaded`.
    pub channels: u32,
    /// Connections of one user at once (`anonymous` is not one). Over it: `bye`, 1013. 0: off.
    pub connections_per_user: u32,
    /// Connections of one address at once. Over it: HTTP 429. 0: off.
    pub connections_per_address: u32,
    /// Handshakes let in a second, all reactors together. 0: as many as the reactors measure that they can do. Over it:
    /// `bye`, 1013, with the time to come back; far over it HTTP 503.
    pub admissions_per_s: u32,
    /// New connections of one address a second, burst ten times that. Over it: HTTP 429. 0: off.
    pub handshakes_per_s: u32,
    /// Silence after which the server pings; `beat` has the same period.
    pub ping_ms: u32,
    /// Silence after that ping before 4408.
    pub pong_ms: u32,
    /// Time online after which a client may reset its backoff; told in `connected`.
    pub stable_ms: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 0,
            memory_bytes: 0,
            frame_bytes: 65_536,
            message_bytes: 65_536,
            fragments: 1_024,
            message_ms: 30_000,
            control_frames_per_s: 20,
            control_frames_burst: 50,
            head_bytes: 16_384,
            headers: 64,
            uri_bytes: 2_048,
            head_ms: 5_000,
            connect_ms: 10_000,
            keep_alive_ms: 15_000,
            json_depth: 32,
            publishes_per_s: 20,
            publishes_burst: 40,
            commands_per_s: 100,
            commands_burst: 300,
            subscriptions: 128,
            pending: 64,
            outbox_bytes: 256 << 10,
            outbox_bytes_hard: 1 << 20,
            outbox_bytes_total: 1 << 30,
            tail_bytes_total: 256 << 20,
            stall_ms: 15_000,
            channels: 1_000_000,
            connections_per_user: 32,
            connections_per_address: 0,
            admissions_per_s: 0,
            handshakes_per_s: 0,
            ping_ms: 25_000,
            pong_ms: 10_000,
            stable_ms: 10_000,
        }
    }
}

/// Publications replayed on recovery. Past it a client pages through `history`, at its own pace.
pub const REPLAY_PUBLICATIONS_MAX: u64 = 300;
/// Publications in one page of `history`.
pub const HISTORY_LIMIT_MAX: u32 = 300;
/// Bytes of one page of `history`, save that one publication always fits.
pub const HISTORY_PAGE_BYTES_MAX: usize = 256 << 10;
/// Bytes of one page of a replay: small, so that many replays interleave fairly.
pub const REPLAY_PAGE_BYTES_MAX: usize = 64 << 10;
/// Subscribers that one page of a replay is given to: half of what a turn may write for single connections.
pub const REPLAYS_PER_READ: usize = ARENA_BYTES_MAX / REPLAY_PAGE_BYTES_MAX / 2;
/// Reads for recoveries that one reactor has under way: enough for the store's readers never to wait for the next one, few
/// enough for a page of history to come soon.
pub const RECOVERIES_AT_ONCE: usize = 16;
/// Such reads that wait for their turn in one reactor. Over it a subscription is told `unavailable`.
pub const RECOVERIES_WAITING_MAX: usize = 8_192;
/// Bytes of a page that is read for all recoveries of a channel: usually it holds all that any of them needs.
pub const RECOVERY_PAGE_BYTES_MAX: usize = 256 << 10;
/// A command with an `id` is answered within this, whatever has failed. (The promise is 5 s; the rest is
/// for the way to the client.)
pub const REPLY_TIMEOUT: Duration = Duration::from_millis(4_500);
/// `malformed` answers in [`MISUSE_WINDOW`] before 4500.
pub const MALFORMED_MAX: u32 = 10;
/// `rate_limited` answers in [`MISUSE_WINDOW`] before 4429: a client that obeys `retry_ms` sees a handful.
pub const RATE_LIMITED_MAX: u32 = 100;
/// The window of both.
pub const MISUSE_WINDOW: Duration = Duration::from_secs(60);
/// Bytes of a close frame's reason (RFC 6455 section 5.5: 125 less the code).
pub const CLOSE_REASON_BYTES_MAX: usize = 123;
/// Waiting for the peer's half of the close handshake (RFC 6455 section 7.1.1).
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Reading on after our last byte, so that a reset does not overtake it.
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes read and thrown away while lingering.
pub const LINGER_BYTES_MAX: usize = 256 << 10;
/// Heads of locally subscribed channels are read from the store this often: a publication that was lost on
/// its way here shows as a gap within one period.
pub const HEADS_PERIOD: Duration = Duration::from_secs(10);
/// Channels in one `Heads` job.
pub const HEADS_CHANNELS_MAX: usize = 1_000;

/// Publications of one channel kept in memory: what a replay may need.
pub const TAIL_PUBLICATIONS_MAX: usize = 300;
/// Bytes of one channel's recent publications: a busy channel must not push out all others.
pub const TAIL_BYTES_MAX: usize = 1 << 20;
/// Bytes of a frame from which on a replay shares the one in memory: many that fell behind and do not read would
/// hold a copy each. A shorter one is copied, which costs less than to look for it.
pub const SHARED_FRAME_BYTES_MIN: usize = 4 << 10;
/// What a turn may write for single connections before it goes on to flush.
pub const ARENA_BYTES_MAX: usize = 8 << 20;
/// The arena's memory that is never given back.
pub const ARENA_BYTES_KEPT: usize = 256 << 10;
/// When to ask the store again after a read of the hub's own failed.
pub const REFILL_RETRY: Duration = Duration::from_millis(500);

/// The reactor's one read buffer: the most taken from one socket by one read.
pub const READ_BYTES: usize = 64 << 10;
/// Reads of one connection in a turn; what is left goes on the ready list, since an edge fires once.
pub const READS_PER_TURN: usize = 2;
/// Connections told of a changed `status` in a turn: some milliseconds of work.
pub const TELLS_PER_TURN: usize = 512;
/// Completions taken in a turn, each lane: a burst from the workers must not starve the sockets.
pub const COMPLETIONS_PER_TURN: usize = 1_024;
/// Longest wait for more publications before a costly fan-out (see `reactor::complete`).
pub const GATHER_MAX: Duration = Duration::from_millis(5);
/// A fan-out shorter than this is never waited for: the poll cannot sleep less.
pub const GATHER_MIN: Duration = Duration::from_millis(1);
/// Connections accepted in a turn: half a millisecond of work.
pub const ACCEPTS_PER_TURN: usize = 64;
/// The same while people publish: so many take no longer than a delivery should wait.
pub const FEW_ACCEPTS_PER_TURN: usize = 8;
/// Pending connections in the kernel: a reconnect storm waits there instead of being refused.
pub const LISTEN_BACKLOG: i32 = 4_096;
/// Bytes the kernel holds for a peer that does not take them, beyond what is on its way (`TCP_NOTSENT_LOWAT`).
/// Without it the kernel grows a socket's buffer to megabytes, out of sight of every bound here: what waits
/// belongs in the outbox, which shares it and counts it.
pub const UNSENT_BYTES_MAX: u32 = 32 << 10;
/// Plain bytes in one TLS record (RFC 8446 section 5.1): what goes out is encrypted so many at a time.
pub const TLS_RECORD_BYTES: usize = 16 << 10;
/// Bytes of a TLS record or handshake message that are kept until the rest comes. A whole record is under 17 KiB, a
/// client's first message under 4 KiB.
pub const TLS_HELD_BYTES_MAX: usize = 32 << 10;
/// Slots in one vectored write (far under the kernel's 1,024).
pub const IOVECS_MAX: usize = 64;
/// Descriptors kept for files, workers and probes, out of reach of connections.
pub const RESERVED_DESCRIPTORS: u64 = 128;
/// Connections over the bound that are accepted only to be told so, all reactors together. (A reactor knows
/// of the others' as of their last turn, so a burst may pass it; then the descriptor limit holds.)
pub const REFUSALS_AT_ONCE: usize = 256;

/// Places in the queue of appends. A full queue answers `overloaded`.
pub const APPEND_QUEUE: usize = 8_192;
/// Places in the queue of reads.
pub const READ_QUEUE: usize = 8_192;
/// Places in the queue of the auth worker.
pub const AUTH_QUEUE: usize = 8_192;
/// Places in the queue of the watch thread: each dependency has one look in hand at most and operators have few
/// questions, so it is never full.
pub const WATCH_QUEUE: usize = 128;
/// Places for what the store's workers met: over it they drop what the watch has heard already.
pub const EVIDENCE_QUEUE: usize = 64;
/// Jobs one reactor may have outstanding. Over it: error `overloaded`.
pub const OUTSTANDING_MAX: usize = 8_192;
/// Places in a reactor's lane of answers: one for each job outstanding, and as many again for those that
/// come after their deadline.
pub const ANSWERS_LANE: usize = 2 * OUTSTANDING_MAX;
/// Batches waiting in a reactor's lane of publications. A full lane marks the reactor behind.
pub const LIVE_LANE: usize = 256;
/// Batches of publications that wait for the bus: as many as may wait in a reactor's lane. Over it they are dropped, and the other
/// instances read the log.
pub const BUS_PUBLICATIONS: usize = 256;
/// Signals that wait for the bus. Over it they are lost, as signals may be.
pub const BUS_SIGNALS: usize = 1_024;
/// Channels to be followed or left that wait for the bus. Over it a subscription is refused with `retry_ms`.
pub const BUS_INTERESTS: usize = 8_192;
/// Channels in one look of the bus at where the logs stand, while it does not deliver.
pub const SURVEY_CHANNELS_MAX: usize = 10_000;
/// Publications committed at once.
pub const APPEND_BATCH_MAX: usize = 1_024;
/// Bytes committed at once, save that one publication always fits.
pub const APPEND_BATCH_BYTES_MAX: usize = 4 << 20;

const _: () = {
    assert!(REPLY_TIMEOUT.as_millis() < 5_000);
    assert!(REPLAY_PAGE_BYTES_MAX <= HISTORY_PAGE_BYTES_MAX);
    assert!(APPEND_QUEUE <= OUTSTANDING_MAX && READ_QUEUE <= OUTSTANDING_MAX);
    assert!(HISTORY_LIMIT_MAX as u64 >= REPLAY_PUBLICATIONS_MAX);
    assert!(CLOSE_REASON_BYTES_MAX + 2 <= 125);
    assert!(IOVECS_MAX <= 1_024);
};
