//! A watched folder, and what becomes of it when the power goes.
//!
//! The shadow folder beside it has a second name for every file (`held`), an image of what each file is promised
//! (`synced`), both by inode, the log of names, and the table. A file without an image is promised to be empty.

use crate::names::{self, Names};
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

/// A folder on a disk whose power can go.
#[derive(Debug)]
pub struct Disk {
    watched: PathBuf,
    shadow: PathBuf,
    model: Model,
    /// What every file looked like when the watch began. One that looks the same holds what it is promised.
    begun: BTreeMap<u64, Look>,
}

/// What a look at the whole folder found.
struct Found {
    log: String,
    files: BTreeMap<u64, Look>,
    folders: Vec<u64>,
}

/// When a file was written, in seconds and nanoseconds, and its length.
type Look = (i64, i64, u64);

fn look(found: &fs::Metadata) -> Look {
    (found.mtime(), found.mtime_nsec(), found.len())
}

/// What a power cut did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Files that hold something else than they did.
    pub files: u64,
    /// Of these, such as hold neither what was promised nor what the kernel had, but something in between.
    pub torn: u64,
    /// Files whose content the kernel had not written at all, or not all of it.
    pub unsynced: u64,
    /// Names that are gone, that came back, or that name another file.
    pub names: u64,
}

impl Disk {
    /// Begins to watch a folder, in which nobody writes now; all that it holds is durable. The shadow folder is made
    /// anew, on the same file system and outside of the watched one, and belongs to the same user as that.
    ///
    /// # Errors
    ///
    /// The system's, with the path.
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
        disk.begin_anew()?;
        Ok(disk)
    }

    /// What a process that writes the folder, or may read or write what another one does, has in its environment.
    pub fn environment(&self, library: &Path) -> [(&'static str, String); 2] {
        [
            ("LD_PRELOAD", library.display().to_string()),
            ("POWER_LOSS_DISK", self.shadow.display().to_string()),
        ]
    }

    /// The power is gone: the folder becomes what the disk holds, and is watched anew from there. All processes
    /// that wrote it have ended.
    ///
    /// # Errors
    ///
    /// The system's, with the path.
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
        self.begin_anew()?;
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
        if self.begun.get(&inode) == Some(&look(&at(held, fs::metadata)?)) {
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

    /// Makes a folder hold the names it is promised, and the folders in it likewise.
    fn cut_names(&self, folder: &Path, inode: u64, names: &Names, changed: &mut u64) -> io::Result<()> {
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

    /// What the folder holds now is durable. Images of files that were there before are right already.
    fn begin_anew(&mut self) -> io::Result<()> {
        let root = at(&self.watched, fs::metadata)?;
        let mut found = Found { log: String::new(), files: BTreeMap::new(), folders: vec![root.ino()] };
        self.take_in(&self.watched, root.ino(), &mut found)?;
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

    /// Notes what is in a folder, and makes a second name and an image of each new file.
    fn take_in(&self, folder: &Path, inode: u64, found: &mut Found) -> io::Result<()> {
        for path in read(folder)? {
            let own = at(&path, fs::symlink_metadata)?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if own.is_dir() {
                let _ = writeln!(found.log, "d {inode} {} 0 {name}", own.ino());
                found.folders.push(own.ino());
                self.take_in(&path, own.ino(), found)?;
            } else if own.is_file() {
                let _ = writeln!(found.log, "+ {inode} {} 0 {name}", own.ino());
                found.files.insert(own.ino(), look(&own));
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

    /// Gives what this made to whom the watched folder belongs: root can, and nobody else has to.
    fn own(&self, path: &Path) -> io::Result<()> {
        let (owner, own) = (at(&self.watched, fs::metadata)?, at(path, fs::metadata)?);
        if (owner.uid(), owner.gid()) == (own.uid(), own.gid()) {
            return Ok(());
        }
        at(path, |path| chown(path, Some(owner.uid()), Some(owner.gid())))
    }
}

/// An error that names the path.
fn at<'a, P: AsRef<Path> + ?Sized, T>(
    path: &'a P,
    act: impl FnOnce(&'a Path) -> io::Result<T>,
) -> io::Result<T> {
    let path = path.as_ref();
    act(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// What is in a folder, by name.
fn read(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = at(folder, |folder| {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()
    })?;
    paths.sort();
    Ok(paths)
}
