//! Every bound, its reason, and the answer to a peer that exceeds it.
//!
//! Bounds that an operator may change are in [`Limits`], under their setting names; all others are constants. Const
//! assertions relate bounds that depend on each other.

use std::time::Duration;

/// The bounds that an operator sets in `[limits]`. Sizes are in bytes and rates per second; 0 turns a limit off only
/// where its doc says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Concurrent connections of this process. 0: as many as descriptors allow. Over it: `bye`, 1013.
    pub connections: u32,
    /// Resident memory above which new handshakes are refused with 1013. 0: nine tenths of the memory that the
    /// machine or the control group allows.
    pub memory_bytes: u64,
    /// One frame's payload. Over it: close 1009.
    pub frame_bytes: u32,
    /// One message's payload, the sum of its fragments. Over it: close 1009.
    pub message_bytes: u32,
    /// Frames of one message, because empty fragments cost the server more than the sender. Over it: close 1009.
    pub fragments: u32,
    /// Time from a message's first byte to its last. Over it: close 4408.
    pub message_ms: u32,
    /// Pings and pongs per second from one peer. Over it: close 4429. 0: off.
    pub control_frames_per_s: u32,
    /// Pings and pongs in one burst after a pause.
    pub control_frames_burst: u32,
    /// Request line and headers together. Over it: HTTP 431.
    pub head_bytes: u32,
    /// Header lines of one request. Over it: HTTP 431.
    pub headers: u32,
    /// The request target. Over it: HTTP 414.
    pub uri_bytes: u32,
    /// Time from accept, or from the first byte of a further request, to a complete head. Over it: HTTP 408.
    pub head_ms: u32,
    /// Time from the upgrade to `connect`. Over it: close 4408.
    pub connect_ms: u32,
    /// Silence on a kept-alive plain connection before it is closed.
    pub keep_alive_ms: u32,
    /// Nesting depth of a command's JSON. Over it: error `malformed`.
    pub json_depth: u32,
    /// Publishes per second of one user, or of one connection if auth is off. Over it: error `rate_limited`. 0: off.
    pub publishes_per_s: u32,
    /// Publishes in one burst after a pause.
    pub publishes_burst: u32,
    /// Publishes per second up to which a token's claim lifts those of its user; 0: no claim counts.
    pub publishes_per_s_claimed: u32,
    /// Bytes per second that one user may publish, [`PUBLISH_OVERHEAD_BYTES`] for each publication included. Over it: error
    /// `rate_limited`. 0: off.
    pub publish_bytes_per_s: u32,
    /// Bytes in one burst after a pause.
    pub publish_bytes_burst: u32,
    /// Refreshes per minute of one user, because each costs the one thread that checks tokens. Over it: error
    /// `rate_limited`. 0: off.
    pub refreshes_per_minute: u32,
    /// Refreshes in one burst after a pause.
    pub refreshes_burst: u32,
    /// Signals per second of one user, or of one connection if auth is off. Over it: error `rate_limited`. 0: off.
    pub signals_per_s: u32,
    /// Signals in one burst after a pause.
    pub signals_burst: u32,
    /// One signal's data, because every subscriber gets it. Over it: error `too_large`.
    pub signal_bytes: u32,
    /// Bytes per second of history pages and replays that are sent to one user, or to one connection if auth is off,
    /// because a short command can ask for much. Over it: error `rate_limited` for `history` and `subscribe`. 0: off.
    pub read_bytes_per_s: u32,
    /// Bytes in one burst after a pause.
    pub read_bytes_burst: u32,
    /// All other commands per second of one connection. Over it: error `rate_limited`. 0: off.
    pub commands_per_s: u32,
    /// Other commands in one burst after a pause.
    pub commands_burst: u32,
    /// `append` commands per second of one connection, with a burst of twice that. Over it: error `rate_limited`. 0: off.
    pub stream_appends_per_s: u32,
    /// Bytes per second of these commands, with a burst of twice that. Over it: error `rate_limited`. 0: off.
    pub stream_bytes_per_s: u32,
    /// Channels that one connection may subscribe to. Over it: error `too_large`.
    pub subscriptions: u32,
    /// Commands of one connection that wait for a worker. Over it: error `overloaded`.
    pub pending: u32,
    /// Bytes waiting for one socket above which publications are no longer queued; the subscriber lags and reads the log.
    pub outbox_bytes: u32,
    /// Bytes waiting for one socket above which the gateway stops reading from it.
    pub outbox_bytes_hard: u32,
    /// Bytes waiting for all sockets together. Over it: the replays of stalled connections pause, then those of the user with the most
    /// bytes are closed with 4408, the longest stalled first.
    pub outbox_bytes_total: u64,
    /// Bytes of requests and messages that have begun and not ended, all connections together. Over it: the connection with
    /// the largest one is closed with 1013: first one that is not `connected`, then one of the user with the most bytes.
    pub inbound_bytes_total: u64,
    /// Bytes of recent publications kept in memory for recovery, all channels together. Over it: the oldest are dropped.
    pub tail_bytes_total: u64,
    /// Time after which a socket that accepts no bytes is closed with 4408.
    pub stall_ms: u32,
    /// Channels that the store may hold, and channels that one reactor follows at once. Over it: error `overloaded`.
    pub channels: u32,
    /// Channels that one user may create per hour. Over it: error `rate_limited`. 0: [`Limits::channels_per_user`].
    pub channels_per_user: u32,
    /// Retained edits of one original. Over it: error `too_large`.
    pub edits: u32,
    /// Concurrent connections of one user (`anonymous` does not count as one). Over it: `bye`, 1013. 0: off.
    pub connections_per_user: u32,
    /// Concurrent connections of one address. Over it: HTTP 429. 0: off.
    pub connections_per_address: u32,
    /// Handshakes admitted per second, all reactors together. 0: as many as the reactors measure that they can
    /// handle. Over it: `bye`, 1013, with the time to return; far over it HTTP 503.
    pub admissions_per_s: u32,
    /// New connections of one address per second, with a burst of ten times that. Over it: HTTP 429. 0: off.
    pub handshakes_per_s: u32,
    /// Silence after which the server pings; also the period of `beat`.
    pub ping_ms: u32,
    /// Silence after that ping before close 4408.
    pub pong_ms: u32,
    /// Time online after which a client may reset its backoff; sent in `connected`.
    pub stable_ms: u32,
}

impl Limits {
    /// Subscriptions that one user may have on all connections together: a quarter of the channels that one reactor follows, so
    /// that one user cannot keep the others out.
    pub fn subscriptions_per_user(&self) -> u32 {
        (self.channels / 4).max(1)
    }

    /// The number of channels that one user may create per hour: as configured, or a thousandth of all; where that is few, 16,
    /// but never more than a quarter.
    pub fn channels_per_user(&self) -> u32 {
        match self.channels_per_user {
            0 => (self.channels / 1_000).max(16).min(self.channels / 4).max(1),
            set => set,
        }
    }
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
            publishes_per_s_claimed: 0,
            publish_bytes_per_s: 192 << 10,
            publish_bytes_burst: 4 << 20,
            refreshes_per_minute: 6,
            refreshes_burst: 3,
            signals_per_s: 10,
            signals_burst: 20,
            signal_bytes: 4_096,
            read_bytes_per_s: 4 << 20,
            read_bytes_burst: 32 << 20,
            commands_per_s: 100,
            commands_burst: 300,
            stream_appends_per_s: 10_000,
            stream_bytes_per_s: 8 << 20,
            subscriptions: 128,
            pending: 64,
            outbox_bytes: 256 << 10,
            outbox_bytes_hard: 1 << 20,
            outbox_bytes_total: 1 << 30,
            inbound_bytes_total: 256 << 20,
            tail_bytes_total: 256 << 20,
            stall_ms: 15_000,
            channels: 1_000_000,
            channels_per_user: 0,
            edits: 100,
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

/// The bytes of a publication besides its data, as the store keeps it: name, key, digest and indexes.
pub const PUBLISH_OVERHEAD_BYTES: usize = 256;
/// Publications replayed on recovery. A client that lacks more pages through `history` at its own pace.
pub const REPLAY_PUBLICATIONS_MAX: u64 = 300;
/// Publications in one page of `history`.
pub const HISTORY_LIMIT_MAX: u32 = 300;
/// Bytes of one page of `history`; a single publication always fits.
pub const HISTORY_PAGE_BYTES_MAX: usize = 256 << 10;
/// Bytes of one page of a replay: small, so that many replays interleave fairly.
pub const REPLAY_PAGE_BYTES_MAX: usize = 64 << 10;
/// Subscribers that share one page of a replay: half of what a turn may write for single connections.
pub const REPLAYS_PER_READ: usize = ARENA_BYTES_MAX / REPLAY_PAGE_BYTES_MAX / 2;
/// Concurrent recovery reads of one reactor: enough to keep the store's readers busy, and few enough that a page of
/// history does not wait long.
pub const RECOVERIES_AT_ONCE: usize = 16;
/// The same for each user whose recovery reads wait, while more than one user is connected: what the readers hold of one user
/// delays the others by less than a millisecond.
pub const RECOVERIES_PER_PARTY: usize = 4;
/// Recovery reads that wait in one reactor. Over it the newest one of the user with the most is answered `unavailable`.
pub const RECOVERIES_WAITING_MAX: usize = 8_192;
/// Bytes of a page that is read for all recoveries of a channel: usually enough for every one of them.
pub const RECOVERY_PAGE_BYTES_MAX: usize = 256 << 10;
/// Members in one page of a roster.
pub const ROSTER_PAGE_MEMBERS: u32 = 100;
/// Bytes of one frame about a roster; a single member always fits.
pub const ROSTER_FRAME_BYTES: usize = 16 << 10;
/// Bytes of the claim `info`, which watchers of a roster are shown.
pub const INFO_BYTES_MAX: usize = 512;
/// Reactors of a process, even on a machine with more cores.
pub const REACTORS_MAX: usize = 256;
/// News of other instances' rosters that wait for the thread that owns the rosters. Over it all views are read.
pub const ROSTER_NEWS: usize = 8_192;
/// Topics of rosters to follow or leave that wait for the thread that listens. Further ones wait at the sender.
pub const ROSTER_TOPICS: usize = 4_096;
/// Fields of rosters' hashes in one write: more wait for its outcome.
pub const SEGMENT_FIELDS_MAX: usize = 2_048;
/// Names of instances in one answer about a roster.
pub const SEGMENT_MISSING_MAX: usize = 32;
/// Events that wait for the thread that owns the rosters. Over it a reactor repeats everything that it holds.
pub const ROSTER_EVENTS: usize = 16_384;
/// Bytes of frames about rosters that one reactor has not offered to any watcher. Over it the watchers get a snapshot later.
pub const ROSTER_WAITING_BYTES: usize = 16 << 20;
/// A command with an `id` is answered within this time, whatever fails. The promise is 5 s; the rest is for the network.
pub const REPLY_TIMEOUT: Duration = Duration::from_millis(4_500);
/// Commands about streams that wait for their owner, which takes them as they come. Over it their producers are not read.
pub const STREAM_QUEUE: usize = 4_096;
/// Commands about streams that wait in one reactor for room in the queue of the streams, while their producers are not read. Over it:
/// error `overloaded`.
pub const STREAM_WORK_WAITING_MAX: usize = 16_384;
/// The bytes of their texts and data, likewise.
pub const STREAM_WORK_WAITING_BYTES: usize = 16 << 20;
/// Bytes of the texts and data of the commands that wait for the owner of the streams. Over it their producers are not read.
pub const STREAM_QUEUE_BYTES: usize = 16 << 20;
/// `malformed` answers in [`MISUSE_WINDOW`] before 4500.
pub const MALFORMED_MAX: u32 = 10;
/// `rate_limited` answers in [`MISUSE_WINDOW`] before 4429: a client that obeys `retry_ms` gets only a handful.
pub const RATE_LIMITED_MAX: u32 = 100;
/// Refreshes with a bad token in [`MISUSE_WINDOW`] before 4501: a client that gets a new token for each has at most a few.
pub const BAD_REFRESHES_MAX: u32 = 5;
/// The window in which these are counted.
pub const MISUSE_WINDOW: Duration = Duration::from_secs(60);
/// Bytes of a close frame's reason (RFC 6455 section 5.5: 125 minus the code).
pub const CLOSE_REASON_BYTES_MAX: usize = 123;
/// The longest wait for the peer's half of the close handshake (RFC 6455 section 7.1.1).
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long reading continues after our last byte, so that a reset does not overtake it.
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes read and discarded while lingering.
pub const LINGER_BYTES_MAX: usize = 256 << 10;
/// The period at which the heads of locally subscribed channels are read from the store. A publication that was lost
/// on its way here is noticed within one period.
pub const HEADS_PERIOD: Duration = Duration::from_secs(10);
/// Channels in one `Heads` job.
pub const HEADS_CHANNELS_MAX: usize = 1_000;

/// Publications of one channel kept in memory: as many as a replay may need.
pub const TAIL_PUBLICATIONS_MAX: usize = 300;
/// Bytes of one channel's recent publications, so that a busy channel does not push out all others.
pub const TAIL_BYTES_MAX: usize = 1 << 20;
/// The frame size in bytes from which a replay shares the frame in memory, because many lagging subscribers that do
/// not read would each hold a copy. A shorter frame is copied, which costs less than sharing it.
pub const SHARED_FRAME_BYTES_MIN: usize = 4 << 10;
/// Bytes that a turn may write for single connections before it flushes.
pub const ARENA_BYTES_MAX: usize = 8 << 20;
/// Bytes of the arena that are never released.
pub const ARENA_BYTES_KEPT: usize = 256 << 10;
/// The delay before the hub's failed store reads are repeated.
pub const REFILL_RETRY: Duration = Duration::from_millis(500);

/// The size of the reactor's one read buffer: the most that one read takes from a socket.
pub const READ_BYTES: usize = 64 << 10;
/// Reads of one connection in a turn. If more is left, the connection goes on the ready list, because an edge fires once.
pub const READS_PER_TURN: usize = 2;
/// Connections that are sent a changed `status`, or compared with changed keys, in a turn: some milliseconds of work.
pub const TELLS_PER_TURN: usize = 512;
/// Completions taken from each lane in a turn: a burst from the workers must not starve the sockets.
pub const COMPLETIONS_PER_TURN: usize = 1_024;
/// The longest wait for more publications before a costly fan-out (see `reactor::complete`).
pub const GATHER_MAX: Duration = Duration::from_millis(5);
/// A fan-out that takes less time than this never waits, because the poll cannot sleep for less.
pub const GATHER_MIN: Duration = Duration::from_millis(1);
/// The most that one write of a fan-out is taken to cost; 5 to 9 µs is usual. So a fan-out to fewer than 100 subscribers never waits.
pub const WRITE_COST_MAX: Duration = Duration::from_micros(10);
/// Connections accepted in a turn: half a millisecond of work.
pub const ACCEPTS_PER_TURN: usize = 64;
/// The same while clients publish, so that accepting takes no longer than a delivery may wait.
pub const FEW_ACCEPTS_PER_TURN: usize = 8;
/// Pending connections in the kernel: a reconnect storm waits there instead of being refused.
pub const LISTEN_BACKLOG: i32 = 4_096;
/// Unsent bytes that the kernel may hold for one peer (`TCP_NOTSENT_LOWAT`). Without this bound the kernel grows a
/// socket's buffer to megabytes that no other bound counts. Waiting bytes belong in the outbox, which shares and
/// counts them.
pub const UNSENT_BYTES_MAX: u32 = 32 << 10;
/// Plaintext bytes in one TLS record (RFC 8446 section 5.1): output is encrypted in pieces of this size.
pub const TLS_RECORD_BYTES: usize = 16 << 10;
/// Bytes kept of an incomplete TLS record or handshake message. A whole record is under 17 KiB, a client's first message
/// under 4 KiB.
pub const TLS_HELD_BYTES_MAX: usize = 32 << 10;
/// Slots in one vectored write (far under the kernel's 1,024).
pub const IOVECS_MAX: usize = 64;
/// Descriptors kept for files, workers and probes, out of reach of connections.
pub const RESERVED_DESCRIPTORS: u64 = 128;
/// Connections over the bound that are accepted only to be refused with a reason, all reactors together. A reactor
/// knows the counts of the others as of their last turn, so a burst may exceed this bound; then the descriptor limit
/// applies.
pub const REFUSALS_AT_ONCE: usize = 256;

/// Places in the queue of appends. A full queue answers `overloaded`.
pub const APPEND_QUEUE: usize = 8_192;
/// Appends that all reactors together hand to the store at once: half of them are written while the others gather. Further
/// ones wait in their reactors, in turn by user.
pub const APPENDS_AT_ONCE: usize = APPEND_BATCH_MAX;
/// The least part of these that a reactor has.
pub const APPENDS_AT_ONCE_MIN: usize = 32;
/// The same for each user whose appends wait, while more than one user is connected: a publish of another user waits for two
/// commits, and those are short, because few appends of one user are in them. All users together have [`APPENDS_AT_ONCE`].
pub const APPENDS_PER_PARTY: usize = 64;
/// The least part of these that a reactor has.
pub const APPENDS_PER_PARTY_MIN: usize = 16;
/// Places in the queue of reads.
pub const READ_QUEUE: usize = 8_192;
/// History pages that all reactors together hand to the store at once: two for each reader. The others wait in turn.
pub const PAGES_AT_ONCE: usize = 4;
/// The least part of these that a reactor has: otherwise a reader would rest between two pages.
pub const PAGES_AT_ONCE_MIN: usize = 2;
/// Appends, and as many history pages, that wait in one reactor for their turn. Over it the user with the most is answered
/// `overloaded`.
pub const WAITING_MAX: usize = 4_096;
/// Places in the queue of the auth worker.
pub const AUTH_QUEUE: usize = 8_192;
/// Places in the queue of the watch thread. Each dependency has at most one probe result in it and operators send few
/// requests, so it is never full.
pub const WATCH_QUEUE: usize = 128;
/// Places for evidence from the store's workers about the store's health. When full, they drop evidence, because the
/// watch thread already has the same.
pub const EVIDENCE_QUEUE: usize = 64;
/// Jobs one reactor may have outstanding. Over it: error `overloaded`, for the user with the most waiting ones.
pub const OUTSTANDING_MAX: usize = 8_192;
/// The part of these for handshakes and tokens, so that a storm of clients refuses no publish.
pub const ARRIVALS_OUTSTANDING_MAX: usize = OUTSTANDING_MAX / 2;
/// Places in a reactor's lane of answers: one for each job outstanding, and as many again for answers that arrive
/// after their deadline.
pub const ANSWERS_LANE: usize = 2 * OUTSTANDING_MAX;
/// Batches waiting in a reactor's lane of publications. A full lane marks the reactor behind.
pub const LIVE_LANE: usize = 256;
/// Batches of publications and of changes of streams that wait for the bus, as many as may wait in a reactor's lane. Over it they are
/// dropped, and the other instances read the store.
pub const BUS_BATCHES: usize = 256;
/// Signals that wait for the bus. Over it they are dropped, which the protocol allows for signals.
pub const BUS_SIGNALS: usize = 1_024;
/// Messages to all instances on their way to the bus.
pub const BUS_NOTES: usize = 256;
/// Sessions that an order examines per turn of a reactor.
pub const ORDERED_PER_TURN: usize = 512;
/// Requests to follow or leave a channel that wait for the bus. Over it a subscription is refused with `retry_ms`.
pub const BUS_INTERESTS: usize = 8_192;
/// Masters of a Redis Cluster, because each has two threads and three connections of an instance. A cluster with more is refused.
pub const BUS_MASTERS_MAX: usize = 64;
/// Other instances that one instance follows. Further ones are not listed until another one has ended.
pub const INSTANCES_MAX: usize = 1_000;
/// Events that wait for the registry. A reading of the rows that does not fit is dropped, because another comes within 2.4 s; users that
/// changed wait in the auth worker; a question is refused.
pub const REGISTRY_EVENTS: usize = 1_024;
/// Channels in one read of log positions by the bus while it does not deliver.
pub const SURVEY_CHANNELS_MAX: usize = 10_000;
/// Publications in one commit.
pub const APPEND_BATCH_MAX: usize = 1_024;
/// Bytes in one commit; a single publication always fits.
pub const APPEND_BATCH_BYTES_MAX: usize = 4 << 20;

const _: () = {
    assert!(REPLY_TIMEOUT.as_millis() < 5_000);
    assert!(REPLAY_PAGE_BYTES_MAX <= HISTORY_PAGE_BYTES_MAX);
    assert!(APPEND_QUEUE <= OUTSTANDING_MAX && READ_QUEUE <= OUTSTANDING_MAX);
    assert!(WAITING_MAX + ARRIVALS_OUTSTANDING_MAX <= OUTSTANDING_MAX);
    // With the most reactors (256), what they hand out at once fits into the queues.
    assert!(APPENDS_AT_ONCE <= APPEND_QUEUE && 256 * APPENDS_AT_ONCE_MIN <= APPEND_QUEUE);
    assert!(APPENDS_PER_PARTY <= APPENDS_AT_ONCE && APPENDS_PER_PARTY_MIN <= APPENDS_AT_ONCE_MIN);
    assert!(RECOVERIES_PER_PARTY <= RECOVERIES_AT_ONCE);
    assert!(256 * (PAGES_AT_ONCE_MIN + RECOVERIES_AT_ONCE) <= READ_QUEUE);
    assert!(HISTORY_LIMIT_MAX as u64 >= REPLAY_PUBLICATIONS_MAX);
    assert!(CLOSE_REASON_BYTES_MAX + 2 <= 125);
    assert!(IOVECS_MAX <= 1_024);
};
