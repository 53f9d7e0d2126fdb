//! Why a store does not open, in words for the operator who has to do something about it.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a store does not open.
#[derive(Debug)]
pub enum OpenError {
    /// The data folder cannot be made or written.
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process owns the folder.
    Locked {
        /// The folder.
        path: PathBuf,
        /// That process, if it left its number.
        pid: Option<u32>,
    },
    /// The folder holds no store.
    Missing {
        /// The file that is not there.
        path: PathBuf,
    },
    /// The file is no SQLite database.
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// The file is a database of some other program.
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// The store was written by a newer Seawall.
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of its schema.
        found: u32,
        /// The newest version this program knows.
        known: u32,
    },
    /// SQLite failed.
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What it said.
        source: rusqlite::Error,
    },
    /// The system gave no random number for the epoch.
    Randomness,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Folder { path, source } => write!(
                f,
                "the data folder {} cannot be used: {source}; make it writable for this user or set store.data (--data) to another one",
                path.display()
            ),
            OpenError::Locked { path, pid } => {
                write!(f, "the data folder {} is in use by ", path.display())?;
                match pid {
                    Some(pid) => write!(f, "process {pid}")?,
                    None => f.write_str("another process")?,
                }
                f.write_str("; an embedded store has one owner: stop that process or use another folder")
            }
            OpenError::Missing { path } => {
                write!(f, "there is no store at {}; check the data folder", path.display())
            }
            OpenError::NotADatabase { path } => {
                write!(f, "{} is not a database; move it away, or restore it from a backup", path.display())
            }
            OpenError::NotOurs { path } => {
                write!(f, "{} is a database of another program; use another data folder", path.display())
            }
            OpenError::Newer { path, found, known } => write!(
                f,
                "{} has schema version {found}, and this program knows versions up to {known}; run the newer Seawall that wrote it",
                path.display()
            ),
            OpenError::Sqlite { path, doing, source } => {
                write!(f, "{doing} failed for {}: {source}", path.display())
            }
            OpenError::Randomness => f.write_str("the system gave no random number for the store's epoch"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OpenError::Folder { source, .. } => Some(source),
            OpenError::Sqlite { source, .. } => Some(source),
            OpenError::Locked { .. }
            | OpenError::Missing { .. }
            | OpenError::NotADatabase { .. }
            | OpenError::NotOurs { .. }
            | OpenError::Newer { .. }
            | OpenError::Randomness => None,
        }
    }
}
