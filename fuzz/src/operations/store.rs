//! A store in memory, for an engine without workers: logs, keys, pages.

use seawall::id::{ChannelName, Epoch, Key, Offset, UserName};
use seawall::job::{
    Append, AppendChange, AppendError, Appended, Attempt, Authority, Form, Page, PageRequest, Span,
};
use seawall::wire::publication::{Change, Published, Stored};
use seawall::wire::push::{self, LogPosition};
use seawall::wire::stream::StreamMark;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The only epoch. A client writes it `10`.
pub const EPOCH: Epoch = Epoch(36);
/// Publications of one log, which bounds the work of an input.
pub const LOG_MAX: u64 = 1_500;

/// One publication.
#[derive(Debug)]
pub struct Entry {
    user: UserName,
    key: Option<Key>,
    change: Change,
    /// As it was committed, even if it is erased now.
    pub data: Box<str>,
    /// The offset of the publication that erased it.
    pub deleted_by: Option<u64>,
}

/// One channel's log. Entry 0 has offset 1; retention only moves the floor.
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

impl Store {
    pub fn position(&self, channel: &ChannelName) -> LogPosition {
        let (head, floor) =
            self.logs.get(channel).map_or((0, 1), |log| (log.entries.len() as u64, log.floor.max(1)));
        LogPosition { epoch: EPOCH, head: Offset(head), floor: Offset(floor) }
    }

    pub fn head(&self, channel: &ChannelName) -> u64 {
        self.position(channel).head.0
    }

    pub fn entry(&self, channel: &ChannelName, offset: u64) -> Option<&Entry> {
        self.logs.get(channel)?.entries.get(usize::try_from(offset.checked_sub(1)?).ok()?)
    }

    /// Commits a publication. Returns what is to be broadcast, which is nothing for a repeat.
    pub fn append(&mut self, append: &Append) -> Result<(Appended, Option<Published>), AppendError> {
        let Append { channel, user, key, data, .. } = append;
        let log = self.logs.entry(channel.clone()).or_default();
        let change = match append.change {
            AppendChange::Original => Change::None,
            AppendChange::Edit(target, _) => Change::Edits(target),
            AppendChange::Delete(target, _) => Change::Deletes(target),
        };
        let same = |entry: &Entry| key.is_some() && entry.key == *key && entry.user == *user;
        if let Some(at) = log.entries.iter().position(same) {
            let first = &log.entries[at];
            let repeats = first.data == *data && first.change == change;
            let repeat = (appended(at as u64 + 1, Attempt::Repeat), None);
            return if repeats { Ok(repeat) } else { Err(AppendError::KeyConflict) };
        }
        log.check_target(append)?;
        if log.entries.len() as u64 >= LOG_MAX {
            return Err(AppendError::Unavailable { retry_ms: 1 });
        }
        let (user, key, data) = (user.clone(), key.clone(), data.clone());
        log.entries.push(Entry { user, key, change, data, deleted_by: None });
        let offset = log.entries.len() as u64;
        if let Change::Deletes(target) = change {
            for (entry, at) in log.entries.iter_mut().zip(1..) {
                if at == target.0 || entry.change == Change::Edits(target) {
                    entry.deleted_by = Some(offset);
                }
            }
        }
        let frame = Arc::from(self.piece(channel, offset, Form::Frames));
        let published = Published {
            channel: channel.clone(),
            offset: Offset(offset),
            change,
            stream: StreamMark::None,
            time_ms: offset,
            frame,
        };
        Ok((appended(offset, Attempt::First), Some(published)))
    }

    /// Forgets all publications of a channel but the newest `keep`.
    pub fn retain(&mut self, channel: &ChannelName, keep: u64) {
        if let Some(log) = self.logs.get_mut(channel) {
            log.floor = log.floor.max((log.entries.len() as u64 + 1).saturating_sub(keep));
        }
    }

    /// Reads a page of at most `bytes_max` bytes; its first publication always fits.
    pub fn page(&self, request: &PageRequest, bytes_max: usize) -> Page {
        let position = self.position(&request.channel);
        let (head, floor) = (position.head.0, position.floor.0);
        let offsets: Vec<u64> = match request.span {
            Span::After(after) => (after.0.min(head).saturating_add(1).max(floor)..=head).collect(),
            Span::Before(before) => (floor..before.0.min(head + 1)).rev().collect(),
        };
        let mut pieces: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        let mut bytes = 0;
        for offset in offsets.into_iter().take(request.limit as usize) {
            let piece = self.piece(&request.channel, offset, request.form);
            bytes += piece.len();
            if bytes > bytes_max.min(request.bytes_max) && !pieces.is_empty() {
                break;
            }
            pieces.insert(offset, piece);
        }
        let first = pieces.first_key_value().map_or(Offset::ZERO, |(offset, _)| Offset(*offset));
        let last = pieces.last_key_value().map_or(Offset::ZERO, |(offset, _)| Offset(*offset));
        let count = pieces.len() as u32;
        let pieces: Vec<Vec<u8>> = pieces.into_values().collect();
        let body = match request.form {
            Form::Json => pieces.join(&b","[..]),
            Form::Frames => pieces.concat(),
        };
        Page { position, count, first, last, body, has_streams: false }
    }

    fn piece(&self, channel: &ChannelName, offset: u64, form: Form) -> Vec<u8> {
        let entry = self.entry(channel, offset).expect("within the log");
        let data = if entry.deleted_by.is_some() { "null" } else { &entry.data };
        let stored = Stored {
            offset: Offset(offset),
            key: entry.key.as_ref().map(Key::as_str),
            user: entry.user.as_str(),
            time_ms: offset,
            change: entry.change,
            stream: StreamMark::None,
            deleted_by: entry.deleted_by.map(Offset),
            data,
        };
        let mut piece = Vec::new();
        match form {
            Form::Json => push::publication_body(&mut piece, channel, &stored),
            Form::Frames => push::publication(&mut piece, channel, &stored),
        }
        piece
    }
}

impl Log {
    /// Checks that the publication to edit or delete is a retained original, and that its user may change it.
    fn check_target(&self, append: &Append) -> Result<(), AppendError> {
        let (target, authority) = match append.change {
            AppendChange::Original => return Ok(()),
            AppendChange::Edit(target, authority) | AppendChange::Delete(target, authority) => {
                (target, authority)
            }
        };
        let retained = self.floor.max(1)..=self.entries.len() as u64;
        let entry = retained.contains(&target.0).then(|| &self.entries[target.0 as usize - 1]);
        match entry {
            Some(entry) if entry.change == Change::None && entry.deleted_by.is_none() => match authority {
                Authority::Author if entry.user != append.user => Err(AppendError::NotAuthor),
                Authority::Author | Authority::Moderator => Ok(()),
            },
            Some(_) | None => Err(AppendError::NotFound),
        }
    }
}

fn appended(offset: u64, attempt: Attempt) -> Appended {
    Appended { epoch: EPOCH, offset: Offset(offset), time_ms: offset, attempt, stream: None, answer: None }
}
