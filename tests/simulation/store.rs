//! A log a channel in memory: offsets, keys, edits, deletes, retention, and faults of every kind.
//!
//! It is the truth that the shadow checks against, also of earlier epochs.

use super::frame::Channel;
use seawall::id::{ChannelName, Epoch, Offset};
use seawall::job::{
    Append, AppendChange, AppendError, Appended, Attempt, Authority, Form, Page, PageRequest, Span,
};
use seawall::wire::publication::{Change, Published, Stored};
use seawall::wire::push::{self, LogPosition};
use seawall::wire::stream::StreamMark;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Which command of which connection asked for it.
pub type Origin = (u64, u64);

/// One publication.
#[derive(Clone, Debug)]
pub struct Entry {
    pub user: String,
    pub key: Option<String>,
    pub change: Change,
    /// Its content, kept when it is erased.
    pub data: String,
    pub deleted_by: Option<u64>,
    pub time_ms: u64,
    pub origin: Origin,
}

#[derive(Clone, Debug, Default)]
pub struct Log {
    /// The entry of offset 1 first; retention leaves them here.
    pub entries: Vec<Entry>,
    /// The oldest offset that is retained, less one.
    expired: u64,
}

impl Log {
    pub fn head(&self) -> u64 {
        self.entries.len() as u64
    }

    pub fn floor(&self) -> u64 {
        self.expired + 1
    }

    pub fn at(&self, offset: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(offset.checked_sub(1)?).ok()?)
    }
}

type Keys = BTreeMap<(Channel, String, String), u64>;

#[derive(Debug, Default)]
pub struct Store {
    pub epoch: u32,
    pub logs: BTreeMap<Channel, Log>,
    keys: Keys,
    /// The logs of earlier epochs, as they were when they were lost.
    lost: BTreeMap<u32, BTreeMap<Channel, Log>>,
    /// Commands whose clients learned that they are certainly not stored.
    pub refused: BTreeSet<Origin>,
}

impl Store {
    pub fn new() -> Store {
        Store { epoch: 100, ..Store::default() }
    }

    pub fn log(&self, epoch: Epoch, channel: Channel) -> Option<&Log> {
        let logs = if epoch.0 == self.epoch { &self.logs } else { self.lost.get(&epoch.0)? };
        logs.get(&channel)
    }

    pub fn head(&self, channel: Channel) -> u64 {
        self.logs.get(&channel).map_or(0, Log::head)
    }

    pub fn position(&self, channel: Channel) -> LogPosition {
        let (head, floor) = self.logs.get(&channel).map_or((0, 1), |log| (log.head(), log.floor()));
        LogPosition { epoch: Epoch(self.epoch), head: Offset(head), floor: Offset(floor) }
    }

    pub fn key(&self, channel: Channel, user: &str, key: &str) -> Option<u64> {
        self.keys.get(&(channel, user.to_owned(), key.to_owned())).copied()
    }

    /// Commits one publication, or says why not.
    pub fn append(&mut self, job: &Append, origin: Origin, now_ms: u64) -> Result<Appended, AppendError> {
        let channel = number(&job.channel);
        let epoch = Epoch(self.epoch);
        let change = change_of(job.change);
        if let Some(key) = &job.key
            && let Some(offset) = self.key(channel, job.user.as_str(), key.as_str())
            && let Some(entry) = self.logs.get(&channel).and_then(|log| log.at(offset))
        {
            if (entry.change, &*entry.data) != (change, &*job.data) {
                return Err(AppendError::KeyConflict);
            }
            let attempt = Attempt::Repeat;
            return Ok(Appended {
                epoch,
                offset: Offset(offset),
                time_ms: entry.time_ms,
                attempt,
                stream: None,
                answer: None,
            });
        }
        self.check_target(channel, job)?;
        assert!(!self.refused.contains(&origin), "{origin:?} was answered as certainly not stored");
        let log = self.logs.entry(channel).or_default();
        log.entries.push(Entry {
            user: job.user.as_str().into(),
            key: job.key.as_ref().map(|key| key.as_str().into()),
            change,
            data: job.data.to_string(),
            deleted_by: None,
            time_ms: now_ms,
            origin,
        });
        let offset = log.head();
        if let Change::Deletes(target) = change {
            for (index, entry) in log.entries.iter_mut().enumerate() {
                if index as u64 + 1 == target.0 || entry.change == Change::Edits(target) {
                    entry.deleted_by = Some(offset);
                }
            }
        }
        if let Some(key) = &job.key {
            self.keys.insert((channel, job.user.as_str().into(), key.as_str().into()), offset);
        }
        Ok(Appended {
            epoch,
            offset: Offset(offset),
            time_ms: now_ms,
            attempt: Attempt::First,
            stream: None,
            answer: None,
        })
    }

    fn check_target(&self, channel: Channel, job: &Append) -> Result<(), AppendError> {
        let (target, authority) = match job.change {
            AppendChange::Original => return Ok(()),
            AppendChange::Edit(target, authority) | AppendChange::Delete(target, authority) => {
                (target, authority)
            }
        };
        let log = self.logs.get(&channel).filter(|log| log.floor() <= target.0);
        let entry = log.and_then(|log| log.at(target.0)).ok_or(AppendError::NotFound)?;
        if entry.change != Change::None || entry.deleted_by.is_some() {
            return Err(AppendError::NotFound);
        }
        match authority {
            Authority::Author if entry.user != job.user.as_str() => Err(AppendError::NotAuthor),
            Authority::Author | Authority::Moderator => Ok(()),
        }
    }

    /// The announcement of a commit to the reactors.
    pub fn published(&self, name: &ChannelName, offset: Offset) -> Published {
        let entry = self.logs.get(&number(name)).and_then(|log| log.at(offset.0)).expect("it is stored");
        let mut frame = Vec::new();
        // As it was when it was committed.
        let stored = Stored { deleted_by: None, ..stored(entry, offset, &entry.data) };
        push::publication(&mut frame, name, &stored);
        let (time_ms, frame) = (stored.time_ms, Arc::from(frame));
        Published {
            channel: name.clone(),
            offset,
            change: entry.change,
            stream: StreamMark::None,
            time_ms,
            frame,
        }
    }

    pub fn page(&self, request: &PageRequest) -> Page {
        let position = self.position(number(&request.channel));
        let (head, floor) = (position.head.0, position.floor.0);
        let offsets: Vec<u64> = match request.span {
            Span::After(after) => (after.0.min(head).saturating_add(1).max(floor)..=head).collect(),
            Span::Before(before) => (floor..before.0.min(head + 1)).rev().collect(),
        };
        let mut pieces: Vec<(u64, Vec<u8>)> = Vec::new();
        let mut bytes = 0;
        for offset in offsets.into_iter().take(request.limit as usize) {
            let piece = self.piece(request, offset);
            bytes += piece.len();
            if bytes > request.bytes_max && !pieces.is_empty() {
                break;
            }
            pieces.push((offset, piece));
        }
        pieces.sort();
        let first = pieces.first().map_or(Offset::ZERO, |(offset, _)| Offset(*offset));
        let last = pieces.last().map_or(Offset::ZERO, |(offset, _)| Offset(*offset));
        let count = pieces.len() as u32;
        let pieces: Vec<Vec<u8>> = pieces.into_iter().map(|(_, piece)| piece).collect();
        let body = match request.form {
            Form::Json => pieces.join(&b","[..]),
            Form::Frames => pieces.concat(),
        };
        Page { position, count, first, last, body, has_streams: false }
    }

    fn piece(&self, request: &PageRequest, offset: u64) -> Vec<u8> {
        let log = self.logs.get(&number(&request.channel)).expect("it has publications");
        let entry = log.at(offset).expect("within the log");
        let data = if entry.deleted_by.is_some() { "null" } else { &entry.data };
        let stored = stored(entry, Offset(offset), data);
        let mut piece = Vec::new();
        match request.form {
            Form::Json => push::publication_body(&mut piece, &request.channel, &stored),
            Form::Frames => push::publication(&mut piece, &request.channel, &stored),
        }
        piece
    }

    /// Forgets the oldest: at most `keep` stay.
    pub fn retain(&mut self, channel: Channel, keep: u64) {
        if let Some(log) = self.logs.get_mut(&channel) {
            log.expired = log.expired.max(log.head().saturating_sub(keep));
        }
    }

    /// A backup was restored: the newest publications of some logs are gone, and the epoch is another.
    pub fn restore(&mut self, mut lose: impl FnMut() -> u64) {
        self.lost.insert(self.epoch, self.logs.clone());
        self.epoch += 1;
        for log in self.logs.values_mut() {
            let head = log.head().saturating_sub(lose());
            log.entries.truncate(head as usize);
            log.expired = log.expired.min(head);
            for entry in &mut log.entries {
                entry.deleted_by = entry.deleted_by.filter(|by| *by <= head);
            }
        }
        let logs = &self.logs;
        self.keys
            .retain(|(channel, _, _), offset| logs.get(channel).is_some_and(|log| *offset <= log.head()));
    }
}

fn stored<'a>(entry: &'a Entry, offset: Offset, data: &'a str) -> Stored<'a> {
    Stored {
        offset,
        key: entry.key.as_deref(),
        user: &entry.user,
        time_ms: entry.time_ms,
        change: entry.change,
        stream: StreamMark::None,
        deleted_by: entry.deleted_by.map(Offset),
        data,
    }
}

pub fn change_of(change: AppendChange) -> Change {
    match change {
        AppendChange::Original => Change::None,
        AppendChange::Edit(target, _) => Change::Edits(target),
        AppendChange::Delete(target, _) => Change::Deletes(target),
    }
}

pub fn number(name: &ChannelName) -> Channel {
    super::frame::channel(name.as_str())
}
