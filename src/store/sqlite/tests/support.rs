//! Helpers of the store's tests.

use super::super::connection::FILE_NAME;
use super::super::log::{Log, LogBounds};
use super::super::page::LogReader;
use super::super::retention::{DUTIES, SliceRows};
use super::super::schema;
use super::super::store::open_file;
use crate::id::{ChannelName, Epoch, Key, Offset, ReactorId, UserName};
use crate::job::{Append, AppendChange, Authority, Creation, Form, Page, PageRequest, Span, Ticket};
use crate::store::Retention;
use crate::store::open_streams::OpenStreams;
use crate::store::outcome::Outcome;
use crate::store::retention::Rest;
use crate::stream::StreamSettings;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

/// Retention that deletes nothing.
pub(super) const KEEP_ALL: LogBounds = LogBounds {
    retention: Retention { publications: 0, age: None },
    channels_max: 1_000,
    edits_max: 100,
    bytes_max: 0,
};

pub(super) fn name(text: &str) -> ChannelName {
    ChannelName::parse(text).expect("a channel name")
}

pub(super) const TICKET: Ticket = Ticket { reactor: ReactorId(0), request: 0 };

pub(super) fn append(channel: &str, user: &str, key: Option<&str>, data: &str) -> Append {
    Append {
        ticket: TICKET,
        channel: name(channel),
        user: UserName::parse(user).expect("a user name"),
        key: key.map(|key| Key::parse(key).expect("a key")),
        change: AppendChange::Original,
        creation: Creation::Free,
        stream: None,
        claims: None,
        data: data.into(),
    }
}

/// An append by `ann` without a key.
pub(super) fn plain(channel: &str, data: &str) -> Append {
    append(channel, "ann", None, data)
}

pub(super) fn changing(change: AppendChange, job: Append) -> Append {
    Append { change, ..job }
}

pub(super) fn edit(target: u64) -> AppendChange {
    AppendChange::Edit(Offset(target), Authority::Author)
}

pub(super) fn delete(target: u64) -> AppendChange {
    AppendChange::Delete(Offset(target), Authority::Author)
}

/// A log in its own folder.
pub(super) struct Shelf {
    pub(super) folder: TempDir,
    pub(super) bounds: LogBounds,
    pub(super) log: Log,
}

impl Shelf {
    pub(super) fn new(bounds: LogBounds) -> Shelf {
        let folder = tempfile::tempdir().expect("a folder");
        let log = open(&folder.path().join(FILE_NAME), bounds);
        Shelf { folder, bounds, log }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join(FILE_NAME)
    }

    pub(super) fn reopen(&mut self) {
        self.log.close();
        self.log = open(&self.path(), self.bounds);
    }

    pub(super) fn append(&mut self, jobs: &[Append], now_ms: u64) -> Vec<Outcome> {
        self.log.append(jobs, now_ms).expect("the batch commits")
    }

    /// The offset of an append that is stored.
    pub(super) fn offset(&mut self, job: Append, now_ms: u64) -> u64 {
        let outcomes = self.append(&[job], now_ms);
        outcomes.first().expect("an outcome").as_ref().expect("stored").offset.0
    }

    pub(super) fn retain(&mut self, now_ms: u64) {
        for duty in DUTIES {
            while self.log.retain(duty, now_ms, SliceRows::MAX).expect("retention works").rest == Rest::Some {
            }
        }
    }

    pub(super) fn page(&self, channel: &str, span: Span, limit: u32) -> Page {
        self.read(&PageRequest { limit, ..request(channel, span) })
    }

    pub(super) fn read(&self, request: &PageRequest) -> Page {
        let epoch = self.log.epoch();
        LogReader::new(self.path(), epoch).page(request).expect("the page is read")
    }

    /// The whole channel, as JSON.
    pub(super) fn all(&self, channel: &str) -> Vec<serde_json::Value> {
        publications(&self.page(channel, Span::After(Offset::ZERO), u32::MAX))
    }
}

fn open(path: &std::path::Path, bounds: LogBounds) -> Log {
    let writer = open_file(path).expect("the file opens");
    let epoch = schema::epoch(&writer, Epoch(7)).expect("an epoch");
    let streams = Arc::new(OpenStreams::new(StreamSettings::default()));
    Log::new(path.to_owned(), writer, epoch, bounds, streams).expect("the log opens")
}

pub(super) fn request(channel: &str, span: Span) -> PageRequest {
    PageRequest {
        ticket: TICKET,
        channel: name(channel),
        span,
        limit: u32::MAX,
        bytes_max: usize::MAX,
        form: Form::Json,
    }
}

/// The publications of a page in [`Form::Json`].
pub(super) fn publications(page: &Page) -> Vec<serde_json::Value> {
    let body = std::str::from_utf8(&page.body).expect("UTF-8");
    serde_json::from_str(&format!("[{body}]")).expect("JSON")
}

pub(super) fn offsets(page: &Page) -> Vec<u64> {
    publications(page).iter().map(|value| value["offset"].as_u64().expect("an offset")).collect()
}
