//! A database, connections to it, and short ways to write the parts of a flush.

use super::super::super::batch::{self, AppendBounds, SettledAppend};
use super::super::super::connection::{ConnectionRole, ServerTarget, StoreConnection};
use super::super::super::epoch::KnownEpoch;
use super::super::super::fault::CallFault;
use super::super::{StoredFlush, flush, load};
use super::servers::Postgres;
use super::wait::{SOON, until};
use crate::id::{ChannelName, Key, Offset, ProducerId, ReactorId, UserName};
use crate::job::{Append, AppendChange, Authority, Creation, Ticket};
use crate::stream::{
    EndRow, Flush, FlushFates, Loaded, LoadedStream, PartRow, PieceEntry, RestartRow, StateRow, StreamFence,
    Touched, decode,
};
use crate::wire::stream::{
    BeginStream, Generation, Position, StreamEnd, StreamId, StreamOptions, StreamState,
};
use std::sync::Arc;

pub(super) const BOUNDS: AppendBounds = AppendBounds { channels_max: 1_000, edits_max: 100, streams_max: 64 };

/// The time of all publications, unless a test says otherwise.
pub(super) const NOW_MS: u64 = 1_000_000;

/// A database with one connection.
pub(super) struct Store {
    pub(super) server: Postgres,
    pub(super) connection: StoreConnection,
}

impl Store {
    pub(super) fn start() -> Store {
        Store::start_with(&[])
    }

    pub(super) fn start_with(settings: &[(&str, &str)]) -> Store {
        let server = Postgres::start_with(settings);
        let connection = connect(&server);
        Store { server, connection }
    }

    /// Another instance's connection.
    pub(super) fn connect(&self) -> StoreConnection {
        connect(&self.server)
    }

    pub(super) fn sql(&self, text: &str) -> String {
        self.server.sql(text)
    }

    pub(super) fn commit(&mut self, jobs: &[Append]) -> Vec<SettledAppend> {
        commit(&mut self.connection, jobs).expect("the batch commits")
    }

    /// Begins a stream.
    pub(super) fn begin(&mut self, channel: &str) -> StreamId {
        let settled = self.commit(&[begin(channel, None, r#"{"agent":"triage"}"#)]);
        id(channel, settled[0].outcome.as_ref().expect("stored").offset.0)
    }

    pub(super) fn flush(&mut self, contents: &Flush) -> FlushFates {
        write(&mut self.connection, contents).expect("the flush commits").fates
    }

    pub(super) fn load(&mut self, id: &StreamId) -> Loaded {
        let mut loaded =
            load(&mut self.connection, &KnownEpoch::default(), std::slice::from_ref(id)).expect("loaded");
        assert_eq!(loaded.len(), 1);
        loaded.remove(0)
    }

    /// An open stream.
    pub(super) fn open(&mut self, id: &StreamId) -> LoadedStream {
        match self.load(id) {
            Loaded::Open(stream) => *stream,
            other => panic!("{other:?}"),
        }
    }

    /// The generation and text of an open stream.
    pub(super) fn text(&mut self, id: &StreamId) -> (u32, String) {
        let stream = self.open(id);
        (stream.stream.generation.0, text_of(&stream))
    }

    /// The marks of a channel's publications, each with its kind and offset, in order.
    pub(super) fn marks(&self, channel: &str) -> String {
        self.sql(&format!(
            "SELECT string_agg(p.\"offset\" || ':' || p.kind || ':' || coalesce(p.stream::text, '-'), ' ' ORDER BY p.\"offset\")
             FROM seawall.publications p JOIN seawall.channels c ON c.id = p.channel WHERE c.name = '{channel}'"
        ))
    }
}

fn connect(server: &Postgres) -> StoreConnection {
    let target = ServerTarget::parse(&server.url(), None).expect("an address");
    let mut connection = StoreConnection::new(&target, ConnectionRole::Append, Arc::default(), None);
    until(SOON, "it is connected", || connection.advance(|| {}).is_ok() && connection.is_up());
    connection
}

pub(super) fn commit(
    connection: &mut StoreConnection,
    jobs: &[Append],
) -> Result<Vec<SettledAppend>, CallFault> {
    batch::commit(connection, &jobs.iter().collect::<Vec<_>>(), NOW_MS, BOUNDS, None)
}

pub(super) fn write(connection: &mut StoreConnection, contents: &Flush) -> Result<StoredFlush, CallFault> {
    flush(connection, contents, NOW_MS)
}

pub(super) fn text_of(stream: &LoadedStream) -> String {
    let parts = stream.parts.iter().map(|part| decode(part.at, part.next, &part.body).expect("readable"));
    let mut text = String::new();
    for part in parts {
        for entry in part.entries() {
            match entry {
                PieceEntry::Text { text: more, .. } => text.push_str(more),
                PieceEntry::Event(event) => panic!("{event:?}"),
            }
        }
    }
    text
}

pub(super) fn user(name: &str) -> UserName {
    UserName::parse(name).expect("a user name")
}

pub(super) fn name(channel: &str) -> ChannelName {
    ChannelName::parse(channel).expect("a channel name")
}

pub(super) fn id(channel: &str, offset: u64) -> StreamId {
    StreamId { channel: name(channel), offset: Offset(offset) }
}

/// A publication by `bot`.
pub(super) fn plain(channel: &str, key: Option<&str>, data: &str) -> Append {
    Append {
        ticket: Ticket::UNANSWERED,
        channel: name(channel),
        user: user("bot"),
        key: key.map(|key| Key::parse(key).expect("a key")),
        change: AppendChange::Original,
        creation: Creation::Free,
        stream: None,
        claims: None,
        data: data.into(),
    }
}

/// The begin of a stream by `bot` for `ann`.
pub(super) fn begin(channel: &str, key: Option<&str>, data: &str) -> Append {
    let producer = ProducerId { reactor: ReactorId(0), connection: 1 };
    let options =
        StreamOptions { asker: Some(user("ann")), idle_ms: Some(50_000), ..StreamOptions::default() };
    let begin = BeginStream { options, producer };
    Append { stream: Some(Box::new(begin)), ..plain(channel, key, data) }
}

pub(super) fn edit(id: &StreamId) -> Append {
    Append {
        change: AppendChange::Edit(id.offset, Authority::Author),
        ..plain(id.channel.as_str(), None, "\"edit\"")
    }
}

pub(super) fn delete(id: &StreamId) -> Append {
    Append {
        change: AppendChange::Delete(id.offset, Authority::Author),
        ..plain(id.channel.as_str(), None, "null")
    }
}

/// The contents of one flush.
pub(super) fn rows(rows: impl IntoIterator<Item = PartRow>) -> Flush {
    let mut flush = Flush::default();
    flush.rows.extend(rows);
    flush
}

pub(super) fn restarts(rows: impl IntoIterator<Item = RestartRow>) -> Flush {
    let mut flush = Flush::default();
    flush.restarts.extend(rows);
    flush
}

pub(super) fn states(rows: impl IntoIterator<Item = StateRow>) -> Flush {
    let mut flush = Flush::default();
    flush.states.extend(rows);
    flush
}

pub(super) fn ends(rows: impl IntoIterator<Item = EndRow>) -> Flush {
    let mut flush = Flush::default();
    flush.ends.extend(rows);
    flush
}

/// A row with this text.
pub(super) fn row(id: &StreamId, generation: u32, at: u32, text: &str) -> PartRow {
    let length = u32::try_from(text.len()).expect("short");
    let mut body = vec![0];
    body.extend_from_slice(&length.to_le_bytes());
    body.extend_from_slice(text.as_bytes());
    PartRow {
        id: id.clone(),
        generation: Generation(generation),
        at: Position(at),
        next: Position(at + length),
        body,
    }
}

pub(super) fn restart(id: &StreamId, known: u32) -> RestartRow {
    RestartRow { id: id.clone(), known: Generation(known), generation: Generation(known + 1) }
}

pub(super) fn state(id: &StreamId, state: StreamState, fence: Option<StreamFence>) -> StateRow {
    let canceller = (state == StreamState::Cancelling).then(|| user("ann"));
    StateRow { id: id.clone(), state, canceller, fence }
}

pub(super) fn fence(generation: u32, next: u32) -> StreamFence {
    StreamFence { generation: Generation(generation), next: Position(next), touched: None }
}

pub(super) fn fence_at(generation: u32, next: u32, touched: Touched) -> StreamFence {
    StreamFence { touched: Some(touched), ..fence(generation, next) }
}

/// An end as `completed`.
pub(super) fn end(id: &StreamId, fence: StreamFence) -> EndRow {
    EndRow {
        id: id.clone(),
        author: user("bot"),
        generation: fence.generation,
        fence,
        end: StreamEnd::Completed,
        cause: None,
        data: Box::from(r#"{"text":"…"}"#),
    }
}
