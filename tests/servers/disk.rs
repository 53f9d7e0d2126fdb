//! A small disk that can be filled and freed: its own tmpfs.

use super::process;
use super::skipped::skip;
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

/// The reason why no disk can be mounted: the rights of this user on this machine.
#[derive(Debug)]
pub struct NotAllowed(String);

impl std::fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no small disk can be mounted ({}): run as root with CAP_SYS_ADMIN", self.0)
    }
}

impl Disk {
    /// Mounts a disk of this many megabytes.
    ///
    /// # Errors
    ///
    /// The message of `mount` if it is not allowed.
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

    /// As [`Disk::mount`]; prints why the test is skipped and returns `None` if it is not allowed.
    pub fn or_skip(megabytes: u32) -> Option<Disk> {
        Disk::mount(megabytes).map_err(|error| skip(&error.to_string())).ok()
    }

    /// An empty folder on the disk that servers may use.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Fills the disk to the last byte, and returns the number of bytes written.
    pub fn fill(&self) -> u64 {
        let mut file =
            File::options().create(true).append(true).open(&self.ballast).expect("a file can be named");
        let mut written = 0;
        // Large pieces first, then ever smaller ones.
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

    /// Frees what [`Disk::fill`] wrote.
    pub fn free(&self) {
        std::fs::remove_file(&self.ballast).expect("it was filled");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, because a server that is being killed may still have an open file.
        let _ = Command::new("umount").arg("-l").arg(self.folder.path()).status();
    }
}
