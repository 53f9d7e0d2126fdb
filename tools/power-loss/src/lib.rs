//! Cuts the power of a folder: data that was not synced is lost, or half there.
//!
//! `power.c` is loaded with `LD_PRELOAD` into the processes that write the folder, and records what they write and
//! sync. [`Disk::begin`] starts a watch; when the processes are dead, [`Disk::cut`] turns the folder into something a
//! disk could hold after a power cut at that moment.
//!
//! # Guarantees of the modelled disk
//!
//! - When an `fsync` or `fdatasync` of a file has returned, the content and length that the file had when it began are
//!   durable; likewise after a write through a descriptor with `O_SYNC` or `O_DSYNC`.
//! - Content written later may also be on the disk, as any selection of 512-byte sectors, each of them whole. A length
//!   that was not synced is the old one, the new one, or one in between.
//! - The names in a folder are durable as they were when an `fsync` of the folder began. Later changes of names may also
//!   be on the disk, each together with all earlier changes in this folder, because file systems journal them in order.
//! - With [`Names::FileSync`], the `fsync` of a file also makes the names of its folder durable. ext4, XFS and Btrfs do
//!   that, POSIX does not guarantee it, and PostgreSQL 15 relies on it for the files of new tables.
//!
//! ext4 guarantees more: its journal has one order for all folders. `sync`, `syncfs`, `sync_file_range` and `msync`
//! guarantee nothing here. So a program that survives this model survives ext4, but not the other way round.
//!
//! # Limits
//!
//! Works on 64-bit Linux, with dynamically linked glibc programs and a file system with hard links. Does not work with
//! static binaries (musl), programs that make system calls themselves (Go), setuid programs, or io_uring. Bytes written
//! by such calls, or by the C library in a `printf`, count as never synced, and files created by them are lost. Memory
//! mapped for writing becomes durable by `fsync` of its file, and so do files opened with `fopen`. Permissions are
//! durable at once. Folders must not be moved, and files must not be moved into or out of the watched folder.

mod disk;
mod names;
mod pieces;
mod table;

pub use disk::{Disk, Lost};

use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The behaviour of a disk.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    pub sync: Sync,
    pub names: Names,
    /// The duration of a sync. With a longer one, a power cut hits the middle of a sync more often.
    pub sync_time: Duration,
}

/// The honesty of syncs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Synced data is durable.
    Honest,
    /// A sync reports success and does nothing, like a disk with a lying cache or a database configured not to sync.
    Lies,
}

/// The operation that makes the names in a folder durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Only a sync of the folder.
    FolderSync,
    /// Also a sync of a file in the folder.
    FileSync,
}

/// The unsynced data that the disk had written by itself before the power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrittenBack {
    Nothing,
    /// A random choice for each file: nothing, everything, or some of its sectors or pages.
    Some,
}

/// Compiles the library for `LD_PRELOAD` with `cc`. Processes that use an older version keep it.
///
/// # Errors
///
/// Returns an error if there is no `cc`, or with its messages if it fails.
pub fn compile(library: &Path) -> io::Result<()> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("power.c");
    let flags = ["-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror", "-o"];
    let aside = library.with_extension(std::process::id().to_string());
    let output = Command::new("cc").args(flags).arg(&aside).arg(&source).output()?;
    if output.status.success() {
        return std::fs::rename(&aside, library);
    }
    Err(io::Error::other(format!("{}: {}", source.display(), String::from_utf8_lossy(&output.stderr))))
}
