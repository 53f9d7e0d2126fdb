//! Puts a backup in the place of a store.
//!
//! Until the last step, the old store is in its place and whole; after it, the backup is, and has a new epoch. The old files
//! stay in the data folder, because that is the only folder which is certain to be writable.

use super::connection::{self, Checkpoint, FILE_NAME};
use super::copy::{self, Part, StoreContent};
use super::fault::SqliteOpenError;
use super::lock::FolderLock;
use super::schema;
use super::store::{make_folder, random_epoch, sqlite_fault};
use crate::id::Epoch;
use crate::store::wall_clock::WallClock;
use rusqlite::{Connection, OpenFlags};
use std::io;
use std::path::{Path, PathBuf};

/// The files of a store besides the database.
const LOG_FILES: [&str; 2] = ["seawall.db-wal", "seawall.db-shm"];

/// A store that was restored.
#[derive(Clone, Debug)]
pub struct Restored {
    pub content: StoreContent,
    /// The epoch of the backup, which `content` no longer has.
    pub replaced: Epoch,
    /// The folder with the old files, if there was a store.
    pub aside: Option<PathBuf>,
}

/// Replaces the store in `data` by the one in `file`, with a new epoch. The gateway must be stopped.
pub fn restore(data: &Path, file: &Path) -> Result<Restored, SqliteOpenError> {
    if !file.is_file() {
        return Err(SqliteOpenError::Missing { path: file.to_owned() });
    }
    let folder = |source| SqliteOpenError::Folder { path: data.to_owned(), source };
    make_folder(data).map_err(folder)?;
    let _lock = FolderLock::take(data)?;
    copy::remove_abandoned(data).map_err(folder)?;
    let part = Part::create(data, "seawall-restored.db").map_err(folder)?;
    let mut content = copy::copy(file, &part)?;
    let replaced = content.epoch;
    let path = data.join(FILE_NAME);
    content.epoch = other_epoch(&[Some(replaced), epoch_of(&path)])?;
    replace_epoch(part.path(), content.epoch)
        .map_err(|source| sqlite_fault(part.path(), "changing the epoch", source))?;
    let aside = set_aside(data, &path).map_err(folder)?;
    part.replace(&path).map_err(folder)?;
    Ok(Restored { content, replaced, aside })
}

/// The epoch of the store that is replaced. It may be damaged: then any other epoch will do.
fn epoch_of(path: &Path) -> Option<Epoch> {
    let file = if path.is_file() { connection::reader(path).ok()? } else { return None };
    schema::stored_epoch(&file).ok().flatten()
}

fn other_epoch(taken: &[Option<Epoch>]) -> Result<Epoch, SqliteOpenError> {
    loop {
        let fresh = random_epoch()?;
        if !taken.contains(&Some(fresh)) {
            return Ok(fresh);
        }
    }
}

fn replace_epoch(path: &Path, fresh: Epoch) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let file = Connection::open_with_flags(path, flags)?;
    // Nothing else reads the file yet, and a failure discards it.
    file.execute_batch("PRAGMA journal_mode = MEMORY; PRAGMA synchronous = FULL")?;
    schema::replace_epoch(&file, fresh)
}

/// Links the old files into a folder of their own, then removes the old write-ahead log, which would be applied to the new file.
fn set_aside(data: &Path, path: &Path) -> io::Result<Option<PathBuf>> {
    let logs = LOG_FILES.map(|name| data.join(name));
    if !path.exists() && !logs.iter().any(|log| log.exists()) {
        return Ok(None);
    }
    if path.is_file() {
        // With an empty log, the database alone is the whole store. A damaged one may not allow it.
        let _ = connection::writer(path).and_then(|file| connection::checkpoint(&file, Checkpoint::Truncate));
    }
    let aside = free_folder(data)?;
    for old in std::iter::once(path).chain(logs.iter().map(PathBuf::as_path)).filter(|old| old.exists()) {
        std::fs::hard_link(old, aside.join(old.file_name().unwrap_or_default()))?;
    }
    copy::sync_folder_of(&aside.join(FILE_NAME))?;
    copy::sync_folder_of(path)?;
    for log in logs.iter().filter(|log| log.exists()) {
        std::fs::remove_file(log)?;
    }
    Ok(Some(aside))
}

/// Makes a folder for the old files, named by the time.
fn free_folder(data: &Path) -> io::Result<PathBuf> {
    let now_s = WallClock::System.unix_ms() / 1_000;
    let folder = (now_s..)
        .map(|at_s| data.join(format!("before-restore-{}", copy::stamp(at_s))))
        .find(|folder| !folder.exists());
    let folder = folder.unwrap_or_else(|| data.to_owned());
    make_folder(&folder)?;
    Ok(folder)
}
