//! How the file is opened: for writing, for reading, for checkpoints.
//!
//! Every commit is synced (`synchronous=FULL`): an acknowledged publication survives a power cut. Automatic
//! checkpoints are off, because they would run inside a commit that clients wait for.

use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::time::Duration;

/// The database inside the data folder.
pub(crate) const FILE_NAME: &str = "seawall.db";

/// A connection waits so long for a lock that somebody else's program may hold, an operator's shell say.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_millis(500);
/// A checkpoint on the writing connection waits so long for readers, and appends wait with it.
pub(crate) const CHECKPOINT_TIMEOUT: Duration = Duration::from_millis(50);
/// Prepared statements kept a connection: more than there are.
const STATEMENTS: usize = 64;

/// The one connection that writes. The file is made when there is none.
pub(crate) fn writer(path: &Path) -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// Sets what a writer needs. It changes the file, so it comes after the checks whose file it is.
pub(crate) fn prepare_writer(connection: &Connection) -> rusqlite::Result<()> {
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        // Network file systems without shared memory: readers would block the writer there.
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN),
            Some(format!("the file system allows no write-ahead log (journal mode is {mode})")),
        ));
    }
    connection.execute_batch(
        "PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA secure_delete = FAST;
         PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -16384;",
    )
}

/// A connection that only reads. The store must exist.
pub(crate) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.execute_batch("PRAGMA query_only = TRUE; PRAGMA cache_size = -8192;")?;
    Ok(connection)
}

/// A connection that copies the write-ahead log into the file. It waits for nobody.
pub(crate) fn checkpointer(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;")?;
    Ok(connection)
}

/// How thorough a checkpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checkpoint {
    /// Copies nothing and tells how long the log is.
    Look,
    /// Copies what it can without waiting for anybody.
    Passive,
    /// Copies everything, so that the log starts again from its beginning; waits for readers.
    Restart,
    /// The same, and gives the log's bytes back to the file system.
    Truncate,
}

/// How long the write-ahead log is, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WalSize {
    /// In use.
    pub(crate) bytes: u64,
    /// Of these, not yet copied into the file.
    pub(crate) waiting: u64,
    /// True exactly when somebody was in the way of the checkpoint.
    pub(crate) blocked: bool,
}

/// Bytes of one frame of the write-ahead log: a page and its header.
const FRAME_BYTES: i64 = 4096 + 24;

/// Runs a checkpoint and says what it left.
pub(crate) fn checkpoint(connection: &Connection, how: Checkpoint) -> rusqlite::Result<WalSize> {
    let sql = match how {
        Checkpoint::Look => "PRAGMA wal_checkpoint(NOOP)",
        Checkpoint::Passive => "PRAGMA wal_checkpoint(PASSIVE)",
        Checkpoint::Restart => "PRAGMA wal_checkpoint(RESTART)",
        Checkpoint::Truncate => "PRAGMA wal_checkpoint(TRUNCATE)",
    };
    connection.query_row(sql, [], |row| {
        let (busy, frames, copied): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(WalSize {
            bytes: (frames * FRAME_BYTES).try_into().unwrap_or(0),
            waiting: ((frames - copied) * FRAME_BYTES).try_into().unwrap_or(0),
            blocked: busy != 0,
        })
    })
}
