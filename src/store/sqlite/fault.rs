//! The reasons why a store does not open, in words for the operator who has to fix it.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// The free bytes with which every store opens: SQLite needs an index of 32 KiB and room for a transaction.
pub(super) const ROOM_TO_OPEN: u64 = 1 << 20;

/// The reason why a store does not open.
#[derive(Debug)]
pub enum SqliteOpenError {
    /// The data folder cannot be created or written.
    Folder { path: PathBuf, source: io::Error },
    /// Another process owns the data folder.
    Locked {
        path: PathBuf,
        /// Its process number, if the lock file holds one.
        pid: Option<u32>,
    },
    /// The data folder holds no store.
    Missing {
        /// The missing file.
        path: PathBuf,
    },
    /// A backup cannot be written.
    Backup {
        /// The folder of backups.
        path: PathBuf,
        source: io::Error,
    },
    /// A store is damaged, so no copy of it was kept.
    Damaged {
        path: PathBuf,
        /// The first fault that SQLite found.
        finding: String,
    },
    /// The file is not an SQLite database.
    NotADatabase { path: PathBuf },
    /// The file is a database of another program.
    NotOurs { path: PathBuf },
    Newer {
        path: PathBuf,
        /// The version of its schema.
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// The disk is full.
    NoRoom {
        path: PathBuf,
        /// The bytes free for this user.
        free: u64,
        /// The operation that failed.
        doing: &'static str,
        source: rusqlite::Error,
    },
    Sqlite {
        path: PathBuf,
        /// The operation that failed.
        doing: &'static str,
        source: rusqlite::Error,
    },
    /// The system gave no random number for the epoch.
    Randomness,
}

impl fmt::Display for SqliteOpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SqliteOpenError::Folder { path, source } => write!(
                f,
                "the data folder {} cannot be used: {source}; make it writable for this user or set store.data (--data) to another one",
                path.display()
            ),
            SqliteOpenError::Locked { path, pid } => {
                write!(f, "the data folder {} is in use by ", path.display())?;
                match pid {
                    Some(pid) => write!(f, "process {pid}")?,
                    None => f.write_str("another process")?,
                }
                f.write_str("; an embedded store has one owner: stop that process or use another folder")
            }
            SqliteOpenError::Missing { path } => {
                write!(f, "there is no store at {}; check the path", path.display())
            }
            SqliteOpenError::Backup { path, source } => write!(
                f,
                "no backup was made in {}: {source}; name a folder that this user can write",
                path.display()
            ),
            SqliteOpenError::Damaged { path, finding } => {
                write!(f, "{} is damaged: {finding}; restore another backup", path.display())
            }
            SqliteOpenError::NotADatabase { path } => {
                write!(f, "{} is not a database; move it away, or restore it from a backup", path.display())
            }
            SqliteOpenError::NotOurs { path } => {
                write!(f, "{} is a database of another program; use another data folder", path.display())
            }
            SqliteOpenError::Newer { path, found, known } => write!(
                f,
                "{} has schema version {found}, and this program knows versions up to {known}; run the newer Seawall that wrote it",
                path.display()
            ),
            SqliteOpenError::NoRoom { path, free, doing, source } => write!(
                f,
                "the disk of {} is full: {free} bytes are free, and {doing} failed ({source}); free at least {ROOM_TO_OPEN} bytes on it, or move the data folder to a larger disk (store.data, --data)",
                path.display()
            ),
            SqliteOpenError::Sqlite { path, doing, source } => {
                write!(f, "{doing} failed for {}: {source}", path.display())
            }
            SqliteOpenError::Randomness => {
                f.write_str("the system gave no random number for the store's epoch")
            }
        }
    }
}

impl std::error::Error for SqliteOpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SqliteOpenError::Folder { source, .. } | SqliteOpenError::Backup { source, .. } => Some(source),
            SqliteOpenError::NoRoom { source, .. } | SqliteOpenError::Sqlite { source, .. } => Some(source),
            SqliteOpenError::Locked { .. }
            | SqliteOpenError::Missing { .. }
            | SqliteOpenError::NotADatabase { .. }
            | SqliteOpenError::Damaged { .. }
            | SqliteOpenError::NotOurs { .. }
            | SqliteOpenError::Newer { .. }
            | SqliteOpenError::Randomness => None,
        }
    }
}
