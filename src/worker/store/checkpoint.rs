//! Copies the write-ahead log into the file, beside the appends.
//!
//! A passive checkpoint waits for nobody and nobody waits for it. It cannot make the log start again while
//! appends keep coming, though; when the log has grown too long, the append worker is asked to do that
//! between two batches, right after a passive pass has left it little to copy.

use super::Stop;
use super::sqlite::connection::{self, Checkpoint, WalSize};
use crate::metrics::store::{StoreCounters, bump};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use rusqlite::Connection;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Between two looks at a log that has nothing to copy.
const IDLE_PERIOD: Duration = Duration::from_millis(250);
/// Between two looks at one that has: a fast disk writes 10 MiB in this time.
const BUSY_PERIOD: Duration = Duration::from_millis(50);
/// Passes made before a restart is asked for: each finds what was written during the one before, so they
/// get shorter until little is left for the restart itself.
const PASSES_MAX: usize = 4;

/// How long the write-ahead log may get.
#[derive(Clone, Copy, Debug)]
pub(super) struct WalBounds {
    /// Bytes not yet copied that make a pass worth its two syncs.
    pub(super) passive_bytes: u64,
    /// Bytes past which it has to start again: a longer one slows reads and recovery down.
    pub(super) restart_bytes: u64,
}

/// The bounds of a store in use; a test has smaller ones.
pub(super) const WAL_BOUNDS: WalBounds = WalBounds { passive_bytes: 4 << 20, restart_bytes: 64 << 20 };

/// The checkpoint thread.
pub(super) struct Checkpointer {
    path: PathBuf,
    bounds: WalBounds,
    stopped: Receiver<Stop>,
    restart_wanted: Arc<AtomicBool>,
    counters: Arc<StoreCounters>,
    connection: Option<Connection>,
}

impl Checkpointer {
    /// It asks for a restart through `restart_wanted`, and ends when the sender of `stopped` is gone.
    pub(super) fn new(
        path: PathBuf,
        bounds: WalBounds,
        stopped: Receiver<Stop>,
        restart_wanted: Arc<AtomicBool>,
        counters: Arc<StoreCounters>,
    ) -> Checkpointer {
        Checkpointer { path, bounds, stopped, restart_wanted, counters, connection: None }
    }

    /// Until it is stopped.
    pub(super) fn run(mut self) {
        let mut period = IDLE_PERIOD;
        while let Err(RecvTimeoutError::Timeout) = self.stopped.recv_timeout(period) {
            // Two checkpoints at once would turn each other away.
            if self.restart_wanted.load(Ordering::Acquire) {
                continue;
            }
            match self.pass() {
                Ok(size) => {
                    period = if size.waiting > 0 { BUSY_PERIOD } else { IDLE_PERIOD };
                    self.counters.wal_bytes.store(size.bytes, Ordering::Relaxed);
                    // With nothing left to copy, the next commit starts it again by itself.
                    if size.bytes >= self.bounds.restart_bytes && size.waiting > 0 {
                        self.restart_wanted.store(true, Ordering::Release);
                    }
                }
                Err(error) => {
                    // A full disk, say: the next pass tries again.
                    tracing::debug!(%error, "a checkpoint failed");
                    period = IDLE_PERIOD;
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
        for _ in 0..PASSES_MAX {
            if size.waiting < self.bounds.passive_bytes {
                break;
            }
            connection::checkpoint(&connection, Checkpoint::Passive)?;
            bump(&self.counters.checkpoints);
            // What a pass says was true when it began.
            size = connection::checkpoint(&connection, Checkpoint::Look)?;
            if size.bytes < self.bounds.restart_bytes {
                break;
            }
        }
        self.connection = Some(connection);
        Ok(size)
    }
}
