//! Backups of a store, while a gateway runs or not.

use super::connection::FILE_NAME;
use super::copy::{self, Part, StoreContent};
use super::fault::SqliteOpenError;
use super::store::make_folder;
use crate::store::wall_clock::WallClock;
use std::io;
use std::path::{Path, PathBuf};

/// How many seconds ahead of the clock a free name is looked for: backups made at once.
const AHEAD_MAX_S: u64 = 60;

/// A backup that was made.
#[derive(Clone, Debug)]
pub struct Backup {
    pub path: PathBuf,
    pub content: StoreContent,
    /// Older backups that were removed.
    pub removed: Vec<PathBuf>,
}

/// Copies the store in `data` into a new file in `folder`, named by the time. With `keep`, only the newest `keep` files with such
/// names stay in `folder`.
pub fn backup(data: &Path, folder: &Path, keep: Option<usize>) -> Result<Backup, SqliteOpenError> {
    let from = data.join(FILE_NAME);
    if !from.is_file() {
        return Err(SqliteOpenError::Missing { path: from });
    }
    let failed = |source| SqliteOpenError::Backup { path: folder.to_owned(), source };
    make_folder(folder).map_err(failed)?;
    copy::remove_abandoned(folder).map_err(failed)?;
    let (path, part) = begin(folder, WallClock::System.unix_ms() / 1_000).map_err(failed)?;
    let content = copy::copy(&from, &part)?;
    part.finish(&path).map_err(failed)?;
    let removed = match keep {
        Some(keep) => remove_older(folder, keep).map_err(failed)?,
        None => Vec::new(),
    };
    Ok(Backup { path, content, removed })
}

/// Begins a file whose name is free.
fn begin(folder: &Path, now_s: u64) -> io::Result<(PathBuf, Part)> {
    for at_s in now_s..now_s + AHEAD_MAX_S {
        let name = file_name(at_s);
        let path = folder.join(&name);
        if path.exists() {
            continue;
        }
        match Part::create(folder, &name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            begun => return begun.map(|part| (path, part)),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "the names of the next minute are taken"))
}

/// The name of a backup, like `seawall-2026-11-28T140300Z.db`: names sort by time.
fn file_name(at_s: u64) -> String {
    format!("seawall-{}.db", copy::stamp(at_s))
}

/// True for names that [`file_name`] makes.
fn is_backup(name: &str) -> bool {
    const PATTERN: &str = "seawall-0000-00-00T000000Z.db";
    name.len() == PATTERN.len()
        && name.chars().zip(PATTERN.chars()).all(|(have, want)| match want {
            '0' => have.is_ascii_digit(),
            other => have == other,
        })
}

fn remove_older(folder: &Path, keep: usize) -> io::Result<Vec<PathBuf>> {
    let names = std::fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<_>>>()?;
    let older: Vec<PathBuf> = older(names, keep).into_iter().map(|name| folder.join(name)).collect();
    older.iter().try_for_each(std::fs::remove_file)?;
    Ok(older)
}

/// The names of backups, oldest first, without the newest `keep`.
fn older(names: Vec<String>, keep: usize) -> Vec<String> {
    let mut names: Vec<String> = names.into_iter().filter(|name| is_backup(name)).collect();
    names.sort();
    names.truncate(names.len().saturating_sub(keep));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_time_and_sort_by_it() {
        assert_eq!(file_name(1_795_874_580), "seawall-2026-11-28T140300Z.db");
        assert_eq!(file_name(u64::MAX), "seawall-1970-01-01T000000Z.db");
        assert!(file_name(1_795_874_579) < file_name(1_795_874_580));
        assert!(is_backup(&file_name(1_795_874_580)));
    }

    #[test]
    fn only_older_backups_are_removed() {
        let names = ["seawall.db", "seawall-2026-11-28T140300Z.db", "seawall-2025-01-01T000000Z.db"];
        let names = names.map(String::from).into_iter().chain([
            "seawall-2025-01-01T000000Z.db.part".into(),
            "seawall-before-2025-01-01.db".into(),
            "seawall-2026-11-28T140301Z.db".into(),
        ]);
        let names: Vec<String> = names.collect();
        assert_eq!(older(names.clone(), 2), ["seawall-2025-01-01T000000Z.db"]);
        assert_eq!(older(names.clone(), 1).len(), 2);
        assert!(older(names, 3).is_empty());
    }

    #[test]
    fn taken_name_is_left_alone_and_the_next_second_is_used() {
        let folder = tempfile::tempdir().expect("a folder");
        let (first, part) = begin(folder.path(), 1_795_874_580).expect("free");
        let (second, _part) = begin(folder.path(), 1_795_874_580).expect("the first is in progress");
        assert!(second.ends_with("seawall-2026-11-28T140301Z.db"), "{second:?}");
        part.finish(&first).expect("named");
        let (third, _part) = begin(folder.path(), 1_795_874_580).expect("the first is there");
        assert!(third.ends_with("seawall-2026-11-28T140302Z.db"), "{third:?}");
    }
}
