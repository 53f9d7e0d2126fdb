//! The lock that gives a data folder one owner.
//!
//! SQLite would let a second process write, but offsets, caches and idempotency assume one writer. The kernel drops the lock
//! when the process ends, however it ends, so a crash leaves nothing to clean up.

use super::fault::SqliteOpenError;
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Holds the folder while it exists.
#[derive(Debug)]
pub(super) struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Locks the folder, or reports which process holds it.
    pub(super) fn take(data: &Path) -> Result<FolderLock, SqliteOpenError> {
        let path = data.join("lock");
        let folder = |source| SqliteOpenError::Folder { path: data.to_owned(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            // A link would let its target be overwritten.
            .custom_flags(OFlags::NOFOLLOW.bits() as i32)
            .mode(0o600)
            .open(&path)
            .map_err(folder)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(SqliteOpenError::Locked { path: data.to_owned(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(folder(source)),
        }
        // The number is only for people. A full disk must not keep the store from opening for reads.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(FolderLock { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_owner_is_refused_with_the_process_number_until_the_first_is_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = FolderLock::take(folder.path()).expect("free");
        let refused = FolderLock::take(folder.path()).expect_err("taken");
        assert!(
            matches!(refused, SqliteOpenError::Locked { pid: Some(pid), .. } if pid == std::process::id())
        );
        assert!(refused.to_string().contains(&std::process::id().to_string()), "{refused}");
        drop(first);
        FolderLock::take(folder.path()).expect("free again");
    }

    #[test]
    fn link_named_lock_is_refused_and_its_target_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("victim");
        std::fs::write(&target, "keep me").expect("a file");
        std::os::unix::fs::symlink(&target, folder.path().join("lock")).expect("a link");
        let refused = FolderLock::take(folder.path()).expect_err("a link");
        assert!(matches!(refused, SqliteOpenError::Folder { .. }), "{refused}");
        assert_eq!(std::fs::read_to_string(target).expect("the file"), "keep me");
    }
}
