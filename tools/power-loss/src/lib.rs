//! Takes the power from a folder: what was not synced is gone, or half there.
//!
//! `power.c` is loaded with `LD_PRELOAD` into the processes that write the folder, and notes what they write and what
//! they sync. [`Disk::begin`] starts such a watch; when the processes are dead, [`Disk::cut`] turns the folder into
//! what a disk could hold after a power cut at that moment.
//!
//! # What a disk promises here
//!
//! - The content of a file, its length included, is durable as it was when an `fsync` or `fdatasync` of it began,
//!   once that has returned; likewise after a write through a descriptor with `O_SYNC` or `O_DSYNC`.
//! - Content that was written later may be on the disk as well, in any selection of sectors of 512 bytes, and each
//!   sector is whole. A length that was not synced is the old one, the new one, or one in between.
//! - The names in a folder are durable as they were when an `fsync` of the folder began. Later changes of names may be
//!   on the disk as well, and then those before them are, in this folder: file systems keep the order in a journal.
//! - With [`Names::FileSync`], the `fsync` of a file makes the names of its folder durable too. ext4, XFS and Btrfs do
//!   that, POSIX does not promise it, and PostgreSQL 15 relies on it for the files of new tables.
//!
//! ext4 promises more: its journal has one order for all folders. `sync`, `syncfs`, `sync_file_range` and `msync`
//! promise nothing here. So whoever survives this survives that, but not the other way round.
//!
//! # Where it does not work
//!
//! 64-bit Linux, dynamically linked programs with glibc, and a file system with hard links. Not with static binaries
//! (musl), programs that make system calls by themselves (Go), setuid programs, or io_uring. What such calls write, or
//! the C library in a `printf`, counts as never synced; what they create is gone. Memory mapped for writing is durable
//! by `fsync` of its file, and so is what was opened with `fopen`. Permissions are durable at once. No folder of the
//! watched one may be moved, and no file into it or out of it.

mod disk;
mod names;
mod pieces;
mod table;

pub use disk::{Disk, Lost};

use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// How a disk behaves.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// Whether a sync keeps its word.
    pub sync: Sync,
    /// What makes names durable.
    pub names: Names,
    /// How long a sync takes. A longer one makes it likelier that the power goes in the middle of it.
    pub sync_time: Duration,
}

/// Whether a sync keeps its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// What was synced is durable.
    Honest,
    /// It says that it was done, and nothing was: a disk with a cache that lies, or a database told not to sync.
    Lies,
}

/// What makes the names in a folder durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Only a sync of the folder.
    FolderSync,
    /// Also a sync of a file in it.
    FileSync,
}

/// What of the unsynced a disk had written by itself when the power went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrittenBack {
    /// Nothing.
    Nothing,
    /// Of each file nothing, all, or some of the sectors or pages, as chance has it.
    Some,
}

/// Compiles the library for `LD_PRELOAD` with the C compiler of the machine. Whoever uses an older one goes on with it.
///
/// # Errors
///
/// There is no `cc`, or what it says.
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
