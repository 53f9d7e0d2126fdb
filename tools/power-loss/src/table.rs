//! What the library and this crate share: a file of fixed slots, one for each inode of the folder.

use crate::{Model, Names, Sync};
use std::collections::BTreeMap;
use std::io;

/// As in `power.c`.
const MAGIC: u64 = 0x3130_5245_5750;
const SLOTS: usize = 1 << 14;
const HEADER_WORDS: usize = 8;
const SLOT_WORDS: usize = 4;
const FILE: u64 = 1;
const FOLDER: u64 = 2;
const SYNC_LIES: u64 = 1;
const FILE_SYNC_KEEPS_NAMES: u64 = 2;

/// A table before any process has written to it.
pub(crate) struct Table {
    words: Vec<u64>,
    used: usize,
}

impl Table {
    pub(crate) fn new(device: u64, model: Model) -> Table {
        let mut words = vec![0; HEADER_WORDS + SLOTS * SLOT_WORDS];
        let lies = if model.sync == Sync::Lies { SYNC_LIES } else { 0 };
        let names = if model.names == Names::FileSync { FILE_SYNC_KEEPS_NAMES } else { 0 };
        let micros = u64::try_from(model.sync_time.as_micros()).unwrap_or(u64::MAX);
        for (word, value) in words.iter_mut().zip([MAGIC, device, micros, lies | names]) {
            *word = value;
        }
        Table { words, used: 0 }
    }

    /// A file without anything unsynced.
    pub(crate) fn file(&mut self, inode: u64) -> io::Result<()> {
        self.put([inode, 0, 0, FILE])
    }

    /// A folder whose names are durable as the first `length` bytes of the log tell them.
    pub(crate) fn folder(&mut self, inode: u64, length: u64) -> io::Result<()> {
        self.put([inode, length, 0, FOLDER])
    }

    fn put(&mut self, slot: [u64; SLOT_WORDS]) -> io::Result<()> {
        // The library looks for an inode as long as there is no free slot; a full table has none.
        if self.used >= SLOTS / 2 {
            return Err(io::Error::other(format!("more than {} files", SLOTS / 2)));
        }
        let mut at = (slot[0].wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 50) as usize;
        while self.words[HEADER_WORDS + at * SLOT_WORDS] != 0 {
            at = (at + 1) % SLOTS;
        }
        let start = HEADER_WORDS + at * SLOT_WORDS;
        self.words[start..start + SLOT_WORDS].copy_from_slice(&slot);
        self.used += 1;
        Ok(())
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }
}

/// By folder: so many bytes of the log are durable for its names.
pub(crate) fn durable_names(table: &[u8]) -> BTreeMap<u64, u64> {
    let words: Vec<u64> = table.as_chunks::<8>().0.iter().map(|bytes| u64::from_ne_bytes(*bytes)).collect();
    let slots = words.get(HEADER_WORDS..).unwrap_or_default().as_chunks::<SLOT_WORDS>().0;
    slots.iter().filter(|slot| slot[3] & FOLDER != 0).map(|slot| (slot[0], slot[1])).collect()
}
