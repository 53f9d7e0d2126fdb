//! The table shared with the library: a file of fixed slots, one for each inode of the folder.

use crate::{Model, Names, Sync};
use std::collections::BTreeMap;
use std::io;

/// The same value as in `power.c`.
const MAGIC: u64 = 0x3130_5245_5750;
const SLOTS: usize = 1 << 14;
const HEADER_WORDS: usize = 8;
const SLOT_WORDS: usize = 4;
const FILE: u64 = 1;
const FOLDER: u64 = 2;
const SYNC_LIES: u64 = 1;
const FILE_SYNC_KEEPS_NAMES: u64 = 2;

/// The table before any process has written to it.
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

    /// Adds a file without unsynced data.
    pub(crate) fn file(&mut self, inode: u64) -> io::Result<()> {
        self.put([inode, 0, 0, FILE])
    }

    /// Adds a folder whose names are durable as of the first `length` bytes of the log.
    pub(crate) fn folder(&mut self, inode: u64, length: u64) -> io::Result<()> {
        self.put([inode, length, 0, FOLDER])
    }

    fn put(&mut self, slot: [u64; SLOT_WORDS]) -> io::Result<()> {
        // The library probes until it finds the inode or a free slot, so the table must never be full.
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

/// By folder: the number of log bytes that are durable for its names.
pub(crate) fn durable_names(table: &[u8]) -> BTreeMap<u64, u64> {
    let words: Vec<u64> = table.as_chunks::<8>().0.iter().map(|bytes| u64::from_ne_bytes(*bytes)).collect();
    let slots = words.get(HEADER_WORDS..).unwrap_or_default().as_chunks::<SLOT_WORDS>().0;
    slots.iter().filter(|slot| slot[3] & FOLDER != 0).map(|slot| (slot[0], slot[1])).collect()
}
