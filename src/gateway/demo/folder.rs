//! The folder of a demo, removed at its end.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// A folder of its own, which no other user can read.
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(super) fn create() -> Result<Folder, String> {
        let name = format!("seawall-demo-{}-{:08x}", std::process::id(), fastrand::u32(..));
        let path = std::env::temp_dir().join(name);
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| {
            format!("cannot make a folder in {}: {error}; set TMPDIR", std::env::temp_dir().display())
        })?;
        Ok(Folder { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // It is in the folder for temporary files, which the system empties as well.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
