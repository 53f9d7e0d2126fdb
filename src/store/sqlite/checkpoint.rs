//! The thread that copies the write-ahead log into the database file while appends continue.
//!
//! A passive checkpoint blocks nothing and is blocked by nothing. It cannot restart the log while appends keep coming, though.
//! When the log has grown too long, the append thread is asked to restart it between two batches, right after a passive pass
//! has left little to copy. The same thread empties the log some time after text was deleted, because the log still holds it.

use super::connection::{self, Checkpoint, WalSize};
use super::room::{RoomState, RoomWatch};
use crate::metrics::store::{StoreCounters, bump};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use rusqlite::Connection;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

/// The pause between two looks at a log that hardly grows; a growing one sends [`Grown`].
const PERIOD: Duration = Duration::from_millis(250);
/// The number of passes before a restart is requested. Each pass copies what was written during the one before, so they get
/// shorter until little is left for the restart itself.
const PASSES_MAX: usize = 4;

/// A notification from the append thread, through a queue of one, that about [`GROWN_BYTES`] were written. The checkpoint
/// thread ends when the sender is gone.
#[derive(Debug)]
pub(super) struct Grown;

/// Growth that is worth a look. A look costs about 20 µs.
pub(super) const GROWN_BYTES: usize = 1 << 20;

/// Bounds of the write-ahead log.
#[derive(Clone, Copy, Debug)]
pub(super) struct WalBounds {
    /// Bytes not yet copied that are worth a pass and its two syncs.
    pub(super) passive_bytes: u64,
    /// The length at which the log must restart: a longer log slows down reads and recovery.
    pub(super) restart_bytes: u64,
    /// The length at which a restart also returns the log's space: only a reader that does not end lets it grow so far.
    pub(super) truncate_bytes: u64,
    /// The length that is logged, because it takes disk space and slows down every read.
    pub(super) warn_bytes: u64,
    /// Consecutive looks without a change after which even a little is copied, so that an idle store's file is complete.
    pub(super) quiet_looks: u32,
    /// How long deleted text may stay in the log. The text of one delete is gone after at most twice this time, unless a reader
    /// is in the way.
    pub(super) erased_after: Duration,
}

/// The bounds in production; tests use smaller ones.
pub(super) const WAL_BOUNDS: WalBounds = WalBounds {
    passive_bytes: 32 << 20,
    restart_bytes: 64 << 20,
    truncate_bytes: 128 << 20,
    warn_bytes: 256 << 20,
    quiet_looks: 40,
    erased_after: Duration::from_secs(20),
};

/// The signals between the two threads. Neither waits for the other.
#[derive(Debug)]
pub(super) struct WalSignals {
    order: AtomicU8,
    /// Text was deleted since the checkpoint thread last looked. Initially true: a log that a crash left may hold deleted text.
    erased: AtomicBool,
    /// The disk has too little room for publications.
    short: AtomicBool,
}

impl WalSignals {
    pub(super) fn new() -> WalSignals {
        WalSignals {
            order: AtomicU8::new(NO_ORDER),
            erased: AtomicBool::new(true),
            short: AtomicBool::new(false),
        }
    }

    /// The checkpoint that the append thread should make. The checkpoint thread makes no pass until [`WalSignals::done`].
    pub(super) fn order(&self) -> Option<Checkpoint> {
        match self.order.load(Ordering::Acquire) {
            RESTART => Some(Checkpoint::Restart),
            TRUNCATE => Some(Checkpoint::Truncate),
            _ => None,
        }
    }

    /// The append thread has made the checkpoint, or failed to.
    pub(super) fn done(&self) {
        self.order.store(NO_ORDER, Ordering::Release);
    }

    /// True while publications must be refused.
    pub(super) fn is_short_of_room(&self) -> bool {
        self.short.load(Ordering::Relaxed)
    }

    /// Notes that the log holds text which was deleted.
    pub(super) fn note_erased(&self) {
        self.erased.store(true, Ordering::Release);
    }
}

const NO_ORDER: u8 = 0;
const RESTART: u8 = 1;
const TRUNCATE: u8 = 2;

pub(super) struct Checkpointer {
    path: PathBuf,
    bounds: WalBounds,
    grown: Receiver<Grown>,
    signals: Arc<WalSignals>,
    watch: RoomWatch,
    counters: Arc<StoreCounters>,
    connection: Option<Connection>,
    seen: WalSize,
    quiet: u32,
    /// When deleted text was noticed that the log may still hold.
    erased_since: Option<Instant>,
    long: LongLog,
}

/// A log that is longer than it should be, and whether that was logged.
#[derive(Debug, Default)]
struct LongLog {
    since: Option<Instant>,
    warned: bool,
}

impl LongLog {
    /// Notes the length of the log. Returns how long it has been too long when that must be logged: once until it is short again.
    fn note(&mut self, bytes: u64, bounds: &WalBounds, now: Instant) -> Option<Duration> {
        if bytes < bounds.restart_bytes {
            *self = LongLog::default();
            return None;
        }
        let since = *self.since.get_or_insert(now);
        let is_news = bytes >= bounds.warn_bytes && !self.warned;
        self.warned |= is_news;
        is_news.then(|| now.duration_since(since))
    }
}

impl Checkpointer {
    /// Orders checkpoints of the append thread through `signals`.
    pub(super) fn new(
        path: PathBuf,
        bounds: WalBounds,
        grown: Receiver<Grown>,
        signals: Arc<WalSignals>,
        (watch, counters): (RoomWatch, Arc<StoreCounters>),
    ) -> Checkpointer {
        Checkpointer {
            path,
            bounds,
            grown,
            signals,
            watch,
            counters,
            connection: None,
            seen: WalSize::default(),
            quiet: 0,
            erased_since: None,
            long: LongLog::default(),
        }
    }

    /// Runs until the append thread is gone.
    pub(super) fn run(mut self) {
        while let Ok(Grown) | Err(RecvTimeoutError::Timeout) = self.grown.recv_timeout(PERIOD) {
            // Two simultaneous checkpoints would block each other.
            if self.signals.order().is_some() {
                continue;
            }
            let now = monotonic();
            if self.signals.erased.swap(false, Ordering::AcqRel) {
                self.erased_since.get_or_insert(now);
            }
            match self.pass(now) {
                Ok(size) => {
                    self.counters.wal_bytes.store(size.bytes, Ordering::Relaxed);
                    self.give_order(size, now);
                    self.observe(size, now);
                    self.look_at_room(now);
                }
                Err(error) => {
                    // The disk may be full: the next pass tries again.
                    tracing::debug!(%error, "checkpoint failed");
                    bump(&self.counters.checkpoint_failures);
                    self.connection = None;
                }
            }
        }
    }

    fn give_order(&mut self, size: WalSize, now: Instant) {
        let erase = self.erase_is_due(now);
        if erase {
            self.erased_since = None;
        }
        // If nothing is left to copy, the next commit restarts the log by itself, but the file keeps its length.
        let order = if erase || size.bytes >= self.bounds.truncate_bytes {
            TRUNCATE
        } else if size.bytes >= self.bounds.restart_bytes && size.waiting > 0 {
            RESTART
        } else {
            return;
        };
        self.signals.order.store(order, Ordering::Release);
    }

    fn erase_is_due(&self, now: Instant) -> bool {
        self.erased_since.is_some_and(|since| now.duration_since(since) >= self.bounds.erased_after)
    }

    fn observe(&mut self, size: WalSize, now: Instant) {
        if let Some(blocked) = self.long.note(size.bytes, &self.bounds, now) {
            let blocked_s = blocked.as_secs();
            tracing::warn!(
                bytes = size.bytes,
                blocked_s,
                "write-ahead log grows; a program reads the store and does not end"
            );
        }
    }

    fn look_at_room(&mut self, now: Instant) {
        if let Some(connection) = &self.connection {
            let room = self.watch.look(connection, now, &self.counters);
            self.signals.short.store(room == RoomState::Short, Ordering::Relaxed);
        }
    }

    fn pass(&mut self, now: Instant) -> rusqlite::Result<WalSize> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => connection::checkpointer(&self.path)?,
        };
        let mut size = connection::checkpoint(&connection, Checkpoint::Look)?;
        self.quiet = if size == self.seen { self.quiet + 1 } else { 0 };
        let all = self.quiet >= self.bounds.quiet_looks || self.erase_is_due(now);
        let enough = if all { 1 } else { self.bounds.passive_bytes };
        for _ in 0..PASSES_MAX {
            if size.waiting < enough {
                break;
            }
            connection::checkpoint(&connection, Checkpoint::Passive)?;
            bump(&self.counters.checkpoints);
            // The result of a pass is as of its beginning.
            size = connection::checkpoint(&connection, Checkpoint::Look)?;
            if size.bytes < self.bounds.restart_bytes {
                break;
            }
        }
        self.seen = size;
        self.connection = Some(connection);
        Ok(size)
    }
}

#[allow(clippy::disallowed_methods, reason = "workers own the time of their own waits")]
fn monotonic() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn log_over_256_mib_is_reported_once_with_the_time_since_a_reader_holds_it_up() {
        let (mut long, start) = (LongLog::default(), monotonic());
        let mut note = |mib, s| long.note(mib * MIB, &WAL_BOUNDS, start + Duration::from_secs(s));
        assert_eq!((note(63, 0), note(64, 10), note(255, 70)), (None, None, None));
        assert_eq!(note(256, 90), Some(Duration::from_secs(80)), "since it could not be restarted");
        assert_eq!((note(500, 95), note(128, 100), note(300, 110)), (None, None, None), "once");
        assert_eq!(note(63, 120), None);
        assert_eq!(note(256, 130), Some(Duration::ZERO), "it was short again");
    }
}
