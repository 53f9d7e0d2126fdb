//! A watched folder, and its contents after a power cut.
//!
//! The shadow folder holds a second name for every file (`held`), an image of each file's durable content
//! (`synced`), both by inode, the log of names, and the table. A file without an image is promised to be empty.

use crate::names::{self, NameTree};
use crate::pieces::mix;
use crate::table::{Table, durable_names};
use crate::{Model, WrittenBack};
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};

/// A folder on a disk that can lose power.
#[derive(Debug)]
pub struct Disk {
    watched: PathBuf,
    shadow: PathBuf,
    model: Model,
    /// The state of every file at the start of the watch. A file in the same state has its durable content.
    begun: BTreeMap<u64, Stamp>,
}

/// The contents of the whole folder at one time.
struct Found {
    log: String,
    files: BTreeMap<u64, Stamp>,
    folders: Vec<u64>,
}

/// A file's modification time, in seconds and nanoseconds, and its length.
type Stamp = (i64, i64, u64);

fn stamp(found: &fs::Metadata) -> Stamp {
    (found.mtime(), found.mtime_nsec(), found.len())
}

/// The losses of a power cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Files whose content has changed.
    pub files: u64,
    /// Files with neither their durable content nor the kernel's, but a mixture.
    pub torn: u64,
    /// Files whose content the kernel had not written at all or only in part.
    pub unsynced: u64,
    /// Names that disappeared, came back, or now name another file.
    pub names: u64,
}

impl Disk {
    /// Starts to watch a folder. No process may write to it now; everything in it is durable. The shadow folder is
    /// created again, and must be on the same file system outside the watched folder. It gets the same owner.
    ///
    /// # Errors
    ///
    /// Returns the system's error, with the path.
    pub fn begin(watched: &Path, shadow: &Path, model: Model) -> io::Result<Disk> {
        let (watched, shadow) = (watched.to_owned(), shadow.to_owned());
        let mut disk = Disk { watched, shadow, model, begun: BTreeMap::new() };
        if disk.shadow.exists() {
            at(&disk.shadow, fs::remove_dir_all)?;
        }
        for folder in [disk.shadow.clone(), disk.shadow.join("held"), disk.shadow.join("synced")] {
            at(&folder, fs::create_dir)?;
            disk.own(&folder)?;
        }
        disk.start_watch()?;
        Ok(disk)
    }

    /// The environment for every process that writes the folder, or reads or writes data that another one writes there.
    pub fn environment(&self, library: &Path) -> [(&'static str, String); 2] {
        [
            ("LD_PRELOAD", library.display().to_string()),
            ("POWER_LOSS_DISK", self.shadow.display().to_string()),
        ]
    }

    /// Cuts the power: the folder gets the contents that the disk holds, and a new watch starts. All processes that
    /// wrote to it must have ended.
    ///
    /// # Errors
    ///
    /// Returns the system's error, with the path.
    pub fn cut(&mut self, back: WrittenBack, random: &mut Rng) -> io::Result<Lost> {
        let mut lost = Lost::default();
        for entry in read(&self.shadow.join("held"))? {
            self.cut_content(&entry, back, random, &mut lost)?;
        }
        let log = at(&self.shadow.join("log"), fs::read_to_string)?;
        let durable = durable_names(&at(&self.shadow.join("table"), fs::read)?);
        let ends = names::ends(&log);
        let written = match back {
            WrittenBack::Nothing => 0,
            WrittenBack::Some => ends[random.usize(0..ends.len())],
        };
        let names = names::replay(&log, &durable, written);
        let root = at(&self.watched, fs::metadata)?.ino();
        self.cut_names(&self.watched, root, &names, &mut lost.names)?;
        self.start_watch()?;
        Ok(lost)
    }

    fn cut_content(
        &self,
        held: &Path,
        back: WrittenBack,
        random: &mut Rng,
        lost: &mut Lost,
    ) -> io::Result<()> {
        let name = held.file_name().unwrap_or_default();
        let inode = name.to_string_lossy().parse().unwrap_or(0);
        if self.begun.get(&inode) == Some(&stamp(&at(held, fs::metadata)?)) {
            return Ok(());
        }
        let current = at(held, fs::read)?;
        let image = self.shadow.join("synced").join(name);
        let durable = if image.exists() { at(&image, fs::read)? } else { Vec::new() };
        if durable == current {
            return Ok(());
        }
        lost.unsynced += 1;
        let found = mix(&durable, &current, back, random);
        if found != current {
            lost.files += 1;
            lost.torn += u64::from(found != durable);
            at(held, |path| fs::write(path, &found))?;
        }
        if found != durable {
            at(&image, |path| fs::write(path, &found))?;
            self.own(&image)?;
        }
        Ok(())
    }

    /// Gives a folder and its subfolders the names that are durable.
    fn cut_names(&self, folder: &Path, inode: u64, names: &NameTree, changed: &mut u64) -> io::Result<()> {
        let none = Default::default();
        let wanted = names.get(&inode).unwrap_or(&none);
        let mut right = BTreeSet::new();
        for path in read(folder)? {
            let found = at(&path, fs::symlink_metadata)?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_ours = found.is_file() || found.is_dir();
            if !is_ours || wanted.get(&name) == Some(&found.ino()) {
                right.insert(name);
                continue;
            }
            *changed += 1;
            if found.is_dir() { at(&path, fs::remove_dir_all)? } else { at(&path, fs::remove_file)? }
        }
        for (name, inode) in wanted {
            let path = folder.join(name);
            if !right.contains(name) {
                *changed += 1;
                let held = self.shadow.join("held").join(inode.to_string());
                if held.exists() {
                    at(&path, |path| fs::hard_link(&held, path))?;
                } else {
                    at(&path, fs::create_dir)?;
                    self.own(&path)?;
                }
            }
            if path.is_dir() {
                self.cut_names(&path, *inode, names, changed)?;
            }
        }
        Ok(())
    }

    /// Starts a watch with the present contents as durable. Images of files that existed before are already correct.
    fn start_watch(&mut self) -> io::Result<()> {
        let root = at(&self.watched, fs::metadata)?;
        let mut found = Found { log: String::new(), files: BTreeMap::new(), folders: vec![root.ino()] };
        self.record(&self.watched, root.ino(), &mut found)?;
        for held in read(&self.shadow.join("held"))? {
            let name = held.file_name().unwrap_or_default().to_owned();
            if !name.to_string_lossy().parse().is_ok_and(|inode| found.files.contains_key(&inode)) {
                at(&held, fs::remove_file)?;
                let image = self.shadow.join("synced").join(name);
                if image.exists() {
                    at(&image, fs::remove_file)?;
                }
            }
        }
        let mut table = Table::new(root.dev(), self.model);
        for inode in found.files.keys() {
            table.file(*inode)?;
        }
        for folder in found.folders {
            table.folder(folder, found.log.len() as u64)?;
        }
        self.begun = found.files;
        self.write("log", found.log.as_bytes())?;
        self.write("table", &table.bytes())
    }

    /// Records the contents of a folder, and creates a second name and an image of each new file.
    fn record(&self, folder: &Path, inode: u64, found: &mut Found) -> io::Result<()> {
        for path in read(folder)? {
            let own = at(&path, fs::symlink_metadata)?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if own.is_dir() {
                let _ = writeln!(found.log, "d {inode} {} 0 {name}", own.ino());
                found.folders.push(own.ino());
                self.record(&path, own.ino(), found)?;
            } else if own.is_file() {
                let _ = writeln!(found.log, "+ {inode} {} 0 {name}", own.ino());
                found.files.insert(own.ino(), stamp(&own));
                let held = self.shadow.join("held").join(own.ino().to_string());
                if !held.exists() {
                    at(&held, |held| fs::hard_link(&path, held))?;
                    let image = self.shadow.join("synced").join(own.ino().to_string());
                    at(&image, |image| fs::copy(&path, image))?;
                    self.own(&image)?;
                }
            }
        }
        Ok(())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.shadow.join(name);
        at(&path, |path| fs::write(path, bytes))?;
        self.own(&path)
    }

    /// Gives a file of ours the owner of the watched folder. Root can do that, and other users need not.
    fn own(&self, path: &Path) -> io::Result<()> {
        let (owner, own) = (at(&self.watched, fs::metadata)?, at(path, fs::metadata)?);
        if (owner.uid(), owner.gid()) == (own.uid(), own.gid()) {
            return Ok(());
        }
        at(path, |path| chown(path, Some(owner.uid()), Some(owner.gid())))
    }
}

/// Runs `act` and adds the path to its error.
fn at<'a, P: AsRef<Path> + ?Sized, T>(
    path: &'a P,
    act: impl FnOnce(&'a Path) -> io::Result<T>,
) -> io::Result<T> {
    let path = path.as_ref();
    act(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// The entries of a folder, sorted by name.
fn read(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = at(folder, |folder| {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()
    })?;
    paths.sort();
    Ok(paths)
}
