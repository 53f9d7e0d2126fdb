//! A checked copy of a store in one file, for backups and restores.
//!
//! SQLite writes it in one read transaction: the copy is consistent, includes the write-ahead log, and appends continue.

use super::connection;
use super::fault::SqliteOpenError;
use super::schema;
use super::store::{schema_fault, sqlite_fault};
use crate::id::Epoch;
use rusqlite::Connection;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use time::OffsetDateTime;

/// The ending of a file that is being written.
const PART: &str = "part";

/// The content of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreContent {
    /// The size of its file.
    pub bytes: u64,
    pub channels: u64,
    /// Retained publications, edits and deletes included.
    pub publications: u64,
    pub epoch: Epoch,
    /// Its schema version.
    pub schema: u32,
}

/// A file that is being written, removed unless it gets its name.
#[derive(Debug)]
pub(super) struct Part {
    path: PathBuf,
    /// Locked while this process writes it, so that another one can tell it from one that a crash left.
    file: File,
}

impl Part {
    /// Creates an empty file for the owner alone, for the copy that will be called `name`.
    pub(super) fn create(folder: &Path, name: &str) -> io::Result<Part> {
        let path = folder.join(format!("{name}.{PART}"));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let part = Part { path, file };
        part.file.lock()?;
        Ok(part)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it durable and gives it its name; a file of that name is an error.
    pub(super) fn finish(self, path: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        std::fs::hard_link(&self.path, path)?;
        sync_folder_of(path)
    }

    /// Makes it durable and puts it in the place of another file.
    pub(super) fn replace(self, path: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        std::fs::rename(&self.path, path)?;
        sync_folder_of(path)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // After `replace` it has another name.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Removes the files that processes left which were killed while they wrote them.
pub(super) fn remove_abandoned(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let is_ours = path
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with("seawall") && name.ends_with(".db.part"));
        if is_ours && File::open(&path).is_ok_and(|file| file.try_lock().is_ok()) {
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// A time in names of files, like `2026-11-28T140300Z`.
pub(super) fn stamp(at_s: u64) -> String {
    let at = i64::try_from(at_s).ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
    let at = at.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second) = at.to_hms();
    format!("{year:04}-{:02}-{day:02}T{hour:02}{minute:02}{second:02}Z", u8::from(month))
}

pub(super) fn sync_folder_of(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Copies the store at `from` into a part, and checks the copy.
pub(super) fn copy(from: &Path, part: &Part) -> Result<StoreContent, SqliteOpenError> {
    let failed = |doing| move |source| sqlite_fault(from, doing, source);
    let source = connection::copied(from).map_err(failed("opening"))?;
    schema::check(&source).map_err(|fault| schema_fault(from, fault))?;
    let into = part.path().to_string_lossy();
    source.execute("VACUUM INTO ?1", [&*into]).map_err(failed("copying"))?;
    drop(source);
    let copied = connection::reader(part.path()).map_err(failed("opening the copy"))?;
    let finding: String = copied
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(failed("checking the copy"))?;
    if finding != "ok" {
        return Err(SqliteOpenError::Damaged { path: from.to_owned(), finding });
    }
    let schema = schema::noted(&copied).map_err(|fault| schema_fault(from, fault))?.version;
    content(&copied, part.path(), schema).map_err(failed("counting the publications"))
}

fn content(file: &Connection, path: &Path, schema: u32) -> rusqlite::Result<StoreContent> {
    let count = |sql| file.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs);
    Ok(StoreContent {
        bytes: path.metadata().map_or(0, |metadata| metadata.len()),
        channels: count("SELECT count(*) FROM channels")?,
        publications: count("SELECT count(*) FROM publications")?,
        epoch: schema::stored_epoch(file)?.unwrap_or(Epoch(0)),
        schema,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_that_a_killed_process_left_is_removed_and_one_in_progress_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let left = folder.path().join("seawall-1.db.part");
        std::fs::write(&left, "").expect("a file");
        let other = folder.path().join("notes.part");
        std::fs::write(&other, "").expect("a file");
        let part = Part::create(folder.path(), "seawall-2.db").expect("a part");
        remove_abandoned(folder.path()).expect("looked at");
        assert!(!left.exists() && other.exists() && part.path().exists());
        let path = part.path().to_owned();
        drop(part);
        assert!(!path.exists());
    }

    #[test]
    fn part_gets_no_name_that_is_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let name = folder.path().join("seawall.db");
        std::fs::write(&name, "kept").expect("a file");
        let part = Part::create(folder.path(), "seawall.db").expect("a part");
        let refused = part.finish(&name).expect_err("taken");
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&name).expect("the file"), "kept");
    }
}
