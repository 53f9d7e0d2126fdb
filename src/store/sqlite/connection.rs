//! Opening the database file: for writing, reading and checkpoints.
//!
//! Every commit is synced (`synchronous=FULL`), so an acknowledged publication survives a power cut. Automatic checkpoints are
//! off, because they would run inside a commit that clients wait for.

use rusqlite::{Connection, FileControl, MAIN_DB, OpenFlags};
use std::path::Path;
use std::time::Duration;

/// The name of the database in the data folder.
pub(crate) const FILE_NAME: &str = "seawall.db";

/// How long a connection waits for a lock that another program holds, such as an operator's shell.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a checkpoint on the writing connection waits for readers. Appends wait with it.
pub(crate) const CHECKPOINT_TIMEOUT: Duration = Duration::from_millis(50);
/// Prepared statements cached per connection: more than there are.
const STATEMENTS: usize = 64;

/// The only connection that writes. Creates the file if it does not exist.
pub(crate) fn writer(path: &Path) -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    keep_log_files(&connection)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// Configures the writing connection. This changes the file, so first check whose it is.
pub(crate) fn prepare_writer(connection: &Connection) -> rusqlite::Result<()> {
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        // Network file systems without shared memory do not support it; there, readers would block the writer.
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN),
            Some(format!("the file system allows no write-ahead log (journal mode is {mode})")),
        ));
    }
    connection.execute_batch(
        "PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA secure_delete = ON;
         PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -16384;",
    )
}

/// A connection that only reads. The store must exist.
pub(crate) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    keep_log_files(&connection)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.execute_batch("PRAGMA query_only = TRUE; PRAGMA cache_size = -8192;")?;
    Ok(connection)
}

/// A connection that a copy of the store is made from. The store must exist.
pub(super) fn copied(path: &Path) -> rusqlite::Result<Connection> {
    // SQLite creates the copy as if it were written by this connection, so it may not be one that only queries.
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    keep_log_files(&connection)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.execute_batch("PRAGMA secure_delete = ON; PRAGMA temp_store = MEMORY;")?;
    Ok(connection)
}

/// A connection that copies the write-ahead log into the file. It waits for no lock.
pub(crate) fn checkpointer(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    keep_log_files(&connection)?;
    connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;")?;
    Ok(connection)
}

/// Keeps the log's files when the last connection closes. A start needs the index (`-shm`), and on a full disk it could not be
/// created again: clients could not read until there is room.
fn keep_log_files(connection: &Connection) -> rusqlite::Result<()> {
    connection.file_control(Some(MAIN_DB), FileControl::PersistWal(&mut 1))
}

/// Lets the log's file be empty if this connection is the last one to close: its frames would be applied to another database
/// that an operator puts in the place of this one.
pub(super) fn empty_log_on_close(connection: &Connection) {
    // A failure leaves the file as a crash would.
    let _ = connection.query_row("PRAGMA journal_size_limit = 0", [], |_| Ok(()));
}

/// The kind of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checkpoint {
    /// Copies nothing and reports the length of the log.
    Look,
    /// Copies what it can without waiting.
    Passive,
    /// Copies everything, so that the log restarts from its beginning; waits for readers.
    Restart,
    /// Like `Restart`, and returns the log's space to the file system.
    Truncate,
}

/// The length of the write-ahead log in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WalSize {
    pub(crate) bytes: u64,
    /// The bytes not yet copied into the file.
    pub(crate) waiting: u64,
    /// Another connection blocked the checkpoint.
    pub(crate) blocked: bool,
}

/// Bytes per frame of the write-ahead log: a page and its header.
const FRAME_BYTES: i64 = 4096 + 24;

/// Runs a checkpoint and returns the length of the log after it.
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
