//! Copies the write-ahead log into the file, beside the appends.
//!
//! A passive checkpoint waits for nobody and nobody waits for it. It cannot make the log start again while
//! appends keep coming, though; when the log has grown too long, the append worker is asked to do that
//! between two batches, right after a passive pass has left it little to copy.

use super::sqlite::connection::{self, Checkpoint, WalSize};
use crate::metrics::store::{StoreCounters, bump};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use rusqlite::Connection;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Between two looks at a log that hardly grows; see [`Grown`] for one that does.
const PERIOD: Duration = Duration::from_millis(250);
/// Passes made before a restart is asked for: each finds what was written during the one before, so they
/// get shorter until little is left for the restart itself.
const PASSES_MAX: usize = 4;

/// Sent by the append worker, to a queue of one: about [`GROWN_BYTES`] were written, so look now. The thread
/// ends when the sender is gone.
#[derive(Debug)]
pub(super) struct Grown;

/// Growth that is worth a look, which costs some 20 µs.
pub(super) const GROWN_BYTES: usize = 1 << 20;

/// How long the write-ahead log may get.
#[derive(Clone, Copy, Debug)]
pub(super) struct WalBounds {
    /// Bytes not yet copied that make a pass worth its two syncs.
    pub(super) passive_bytes: u64,
    /// Bytes past which it has to start again: a longer one slows reads and recovery down.
    pub(super) restart_bytes: u64,
    /// Looks in a row that find no change before even a little is copied: an idle store's file is whole, and
    /// what was deleted does not linger in the log.
    pub(super) quiet_looks: u32,
}

/// The bounds of a store in use; a test has smaller ones.
pub(super) const WAL_BOUNDS: WalBounds =
    WalBounds { passive_bytes: 32 << 20, restart_bytes: 64 << 20, quiet_looks: 40 };

/// The checkpoint thread.
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
    /// It asks for a restart through `restart_wanted`.
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

    /// Until the append worker is gone.
    pub(super) fn run(mut self) {
        while let Ok(Grown) | Err(RecvTimeoutError::Timeout) = self.grown.recv_timeout(PERIOD) {
            // Two checkpoints at once would turn each other away.
            if self.restart_wanted.load(Ordering::Acquire) {
                continue;
            }
            match self.pass() {
                Ok(size) => {
                    self.counters.wal_bytes.store(size.bytes, Ordering::Relaxed);
                    // With nothing left to copy, the next commit starts it again by itself.
                    if size.bytes >= self.bounds.restart_bytes && size.waiting > 0 {
                        self.restart_wanted.store(true, Ordering::Release);
                    }
                }
                Err(error) => {
                    // A full disk, say: the next pass tries again.
                    tracing::debug!(%error, "a checkpoint failed");
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
            // What a pass says was true when it began.
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
