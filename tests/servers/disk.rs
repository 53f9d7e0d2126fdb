//! A small disk that can be filled and freed: a tmpfs of its own.

use super::process;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A mounted tmpfs; dropping it unmounts it.
pub struct Disk {
    folder: TempDir,
    ballast: PathBuf,
}

/// Why there is no disk: the rights of this user on this machine.
#[derive(Debug)]
pub struct NotAllowed(String);

impl std::fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no small disk can be mounted ({}): run as root with CAP_SYS_ADMIN", self.0)
    }
}

impl Disk {
    /// Mounts one that holds so many megabytes.
    ///
    /// # Errors
    ///
    /// The message of `mount`, where it is not allowed.
    pub fn mount(megabytes: u32) -> Result<Disk, NotAllowed> {
        let folder = tempfile::Builder::new().prefix("seawall-disk-").tempdir().expect("a temporary folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={megabytes}m,mode=0755"), "seawall-test"]);
        process::run({
            mount.arg(folder.path());
            mount
        })
        .map_err(NotAllowed)?;
        process::give(folder.path());
        let ballast = folder.path().join("ballast");
        Ok(Disk { folder, ballast })
    }

    /// As [`Disk::mount`]; says on the test's output why it is skipped where there can be none.
    pub fn or_skip(megabytes: u32) -> Option<Disk> {
        Disk::mount(megabytes).map_err(|error| eprintln!("SKIPPED: {error}")).ok()
    }

    /// An empty folder on it, which servers may use.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Leaves no byte free; how many bytes that took.
    pub fn fill(&self) -> u64 {
        let mut file =
            File::options().create(true).append(true).open(&self.ballast).expect("a file can be named");
        let mut written = 0;
        // Large pieces first, then whatever still fits.
        for piece in [1 << 16, 1 << 12, 1 << 9, 1] {
            let bytes = vec![0; piece];
            loop {
                match file.write(&bytes) {
                    Ok(count) => written += count as u64,
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("filling {}: {error}", self.path().display()),
                }
            }
        }
        written
    }

    /// Gives back what [`Disk::fill`] took.
    pub fn free(&self) {
        std::fs::remove_file(&self.ballast).expect("it was filled");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a server that is being killed may still hold a file.
        let _ = Command::new("umount").arg("-l").arg(self.folder.path()).status();
    }
}
