//! The thread that copies the write-ahead log into the database file while appends continue.
//!
//! A passive checkpoint blocks nothing and is blocked by nothing. It cannot restart the log while appends keep coming, though.
//! When the log has grown too long, the append thread is asked to restart it between two batches, right after a passive pass
//! has left little to copy.

use super::connection::{self, Checkpoint, WalSize};
use crate::metrics::store::{StoreCounters, bump};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use rusqlite::Connection;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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
    /// Consecutive looks without a change after which even a little is copied, so that an idle store's file is complete and
    /// deleted text does not stay in the log.
    pub(super) quiet_looks: u32,
}

/// The bounds in production; tests use smaller ones.
pub(super) const WAL_BOUNDS: WalBounds =
    WalBounds { passive_bytes: 32 << 20, restart_bytes: 64 << 20, quiet_looks: 40 };

pub(super) struct Checkpointer {
    path: PathBuf,
    bounds: WalBounds,
    grown: Receiver<Grown>,
    restart_wanted: Arc<AtomicBool>,
    counters: Arc<StoreCounters>,
    connection: Option<Connection>,
    seen: WalSize,
    quiet: u32,
}

impl Checkpointer {
    /// Requests a restart through `restart_wanted`.
    pub(super) fn new(
        path: PathBuf,
        bounds: WalBounds,
        grown: Receiver<Grown>,
        restart_wanted: Arc<AtomicBool>,
        counters: Arc<StoreCounters>,
    ) -> Checkpointer {
        Checkpointer {
            path,
            bounds,
            grown,
            restart_wanted,
            counters,
            connection: None,
            seen: WalSize::default(),
            quiet: 0,
        }
    }

    /// Runs until the append thread is gone.
    pub(super) fn run(mut self) {
        while let Ok(Grown) | Err(RecvTimeoutError::Timeout) = self.grown.recv_timeout(PERIOD) {
            // Two simultaneous checkpoints would block each other.
            if self.restart_wanted.load(Ordering::Acquire) {
                continue;
            }
            match self.pass() {
                Ok(size) => {
                    self.counters.wal_bytes.store(size.bytes, Ordering::Relaxed);
                    // If nothing is left to copy, the next commit restarts the log by itself.
                    if size.bytes >= self.bounds.restart_bytes && size.waiting > 0 {
                        self.restart_wanted.store(true, Ordering::Release);
                    }
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

    fn pass(&mut self) -> rusqlite::Result<WalSize> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => connection::checkpointer(&self.path)?,
        };
        let mut size = connection::checkpoint(&connection, Checkpoint::Look)?;
        self.quiet = if size == self.seen { self.quiet + 1 } else { 0 };
        let enough = if self.quiet >= self.bounds.quiet_looks { 1 } else { self.bounds.passive_bytes };
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
