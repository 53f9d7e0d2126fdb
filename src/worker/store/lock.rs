//! One process owns a data folder: the lock that says so.
//!
//! SQLite would let a second process write as well, but offsets, caches and idempotency assume one writer.
//! The kernel drops the lock with the process, however it ends, so a crash leaves nothing to clean up.

use super::fault::OpenError;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;

/// Holds the folder for as long as it lives.
#[derive(Debug)]
pub(super) struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Takes the folder, or says which process has it.
    pub(super) fn take(data: &Path) -> Result<FolderLock, OpenError> {
        let path = data.join("lock");
        let folder = |source| OpenError::Folder { path: data.to_owned(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(folder)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(OpenError::Locked { path: data.to_owned(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(folder(source)),
        }
        // The number only helps a person. A full disk must not keep the store from opening for reads.
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
    fn a_second_owner_is_refused_with_the_first_ones_process_and_welcome_after_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = FolderLock::take(folder.path()).expect("free");
        let refused = FolderLock::take(folder.path()).expect_err("taken");
        assert!(matches!(refused, OpenError::Locked { pid: Some(pid), .. } if pid == std::process::id()));
        assert!(refused.to_string().contains(&std::process::id().to_string()), "{refused}");
        drop(first);
        FolderLock::take(folder.path()).expect("free again");
    }
}
