//! A store in memory, for a world without workers: logs, keys, pages.

use seawall::id::{ChannelName, Epoch, Key, Offset, UserName};
use seawall::session::AppendEffect;
use seawall::session::outcome::{AppendChange, AppendError, Appended, Attempt};
use seawall::wire::publication::{Change, Published, Stored};
use seawall::wire::push::{self, LogPosition};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The one epoch there is; a client writes it `10`.
pub const EPOCH: Epoch = Epoch(36);
/// Publications of one log, so that an input's work is bounded.
pub const LOG_MAX: u64 = 1_500;

#[derive(Debug)]
struct Entry {
    user: UserName,
    key: Option<Key>,
    change: Change,
    data: Box<str>,
}

/// One channel's log. Entry 0 is offset 1; retention only moves the floor.
#[derive(Debug, Default)]
struct Log {
    entries: Vec<Entry>,
    floor: u64,
}

/// All logs.
#[derive(Debug, Default)]
pub struct Store {
    logs: BTreeMap<ChannelName, Log>,
}

/// A page of frames.
pub struct FramePage {
    pub first: u64,
    pub last: u64,
    pub count: u32,
    pub frames: Vec<u8>,
}

impl Store {
    pub fn position(&self, channel: &ChannelName) -> LogPosition {
        let (head, floor) =
            self.logs.get(channel).map_or((0, 1), |log| (log.entries.len() as u64, log.floor.max(1)));
        LogPosition { epoch: EPOCH, head: Offset(head), floor: Offset(floor) }
    }

    pub fn head(&self, channel: &ChannelName) -> u64 {
        self.position(channel).head.0
    }

    pub fn data(&self, channel: &ChannelName, offset: u64) -> Option<&str> {
        let entry = self.logs.get(channel)?.entries.get(usize::try_from(offset.checked_sub(1)?).ok()?)?;
        Some(&entry.data)
    }

    /// Commits, and gives what is to be announced unless it is a repeat.
    pub fn append(&mut self, effect: &AppendEffect) -> Result<(Appended, Option<Published>), AppendError> {
        let AppendEffect { channel, user, key, change, data, .. } = effect;
        let log = self.logs.entry(channel.clone()).or_default();
        let same = |entry: &Entry| key.is_some() && entry.key == *key && entry.user == *user;
        if let Some(at) = log.entries.iter().position(same) {
            let appended = appended(at as u64 + 1, Attempt::Repeat);
            return if log.entries[at].data == *data {
                Ok((appended, None))
            } else {
                Err(AppendError::KeyConflict)
            };
        }
        let change = match change {
            AppendChange::Original => Change::None,
            AppendChange::Edit(target, _) => Change::Edits(*target),
            AppendChange::Delete(target, _) => Change::Deletes(*target),
        };
        let retained = log.floor.max(1)..=log.entries.len() as u64;
        if let Change::Edits(target) | Change::Deletes(target) = change
            && !retained.contains(&target.0)
        {
            return Err(AppendError::NotFound);
        }
        if log.entries.len() as u64 >= LOG_MAX {
            return Err(AppendError::Unavailable { retry_ms: 1 });
        }
        log.entries.push(Entry { user: user.clone(), key: key.clone(), change, data: data.clone() });
        let offset = log.entries.len() as u64;
        let published = Published {
            channel: channel.clone(),
            offset: Offset(offset),
            change,
            frame: self.frame(channel, offset),
        };
        Ok((appended(offset, Attempt::First), Some(published)))
    }

    /// What is older than the newest `keep` goes.
    pub fn retain(&mut self, channel: &ChannelName, keep: u64) {
        if let Some(log) = self.logs.get_mut(channel) {
            log.floor = log.floor.max((log.entries.len() as u64 + 1).saturating_sub(keep));
        }
    }

    /// Whole frames after an offset.
    pub fn frames(&self, channel: &ChannelName, after: u64, limit: u64) -> FramePage {
        let position = self.position(channel);
        let first = (after + 1).max(position.floor.0);
        let last = position.head.0.min((first + limit).saturating_sub(1));
        if first > last {
            return FramePage { first: 0, last: 0, count: 0, frames: Vec::new() };
        }
        let frames = (first..=last).flat_map(|offset| self.frame(channel, offset).to_vec()).collect();
        FramePage { first, last, count: (last - first + 1) as u32, frames }
    }

    /// The body of a `history`, for offsets `first` to `last`.
    pub fn json(&self, channel: &ChannelName, first: u64, last: u64) -> Vec<u8> {
        let mut body = Vec::new();
        for offset in first.max(self.position(channel).floor.0)..=last.min(self.head(channel)) {
            if !body.is_empty() {
                body.push(b',');
            }
            self.with_stored(channel, offset, |stored| push::publication_body(&mut body, channel, &stored));
        }
        body
    }

    fn frame(&self, channel: &ChannelName, offset: u64) -> Arc<[u8]> {
        let mut frame = Vec::new();
        self.with_stored(channel, offset, |stored| push::publication(&mut frame, channel, &stored));
        Arc::from(frame)
    }

    fn with_stored(&self, channel: &ChannelName, offset: u64, act: impl FnOnce(Stored<'_>)) {
        let Some(entry) = self.logs.get(channel).and_then(|log| log.entries.get(offset as usize - 1)) else {
            return;
        };
        act(Stored {
            offset: Offset(offset),
            key: entry.key.as_ref().map(Key::as_str),
            user: entry.user.as_str(),
            time_ms: offset,
            change: entry.change,
            deleted_by: None,
            data: &entry.data,
        });
    }
}

fn appended(offset: u64, attempt: Attempt) -> Appended {
    Appended { epoch: EPOCH, offset: Offset(offset), time_ms: offset, attempt }
}
