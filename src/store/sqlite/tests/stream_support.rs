//! Helpers of the tests of streams.

use super::super::log::Log;
use super::super::place::{ChannelNumber, RowKey};
use super::super::stream_end::WrittenEnd;
use super::super::streams;
use super::support::{Shelf, append};
use crate::id::{Offset, ProducerId, ReactorId, UserName};
use crate::job::stream::{StreamJob, StreamOrder};
use crate::job::{Append, Ticket};
use crate::store::open_streams::{OpenStreams, Output};
use crate::stream::{EndFate, Flush, Known, Ledger, StreamAppend, StreamFinish, StreamSender};
use crate::wire::stream::{
    BeginStream, Generation, Piece, Position, StreamEnd, StreamId, StreamOptions, StreamState,
};
use std::sync::Arc;

pub(super) const BOT: ProducerId = ProducerId { reactor: ReactorId(0), connection: 1 };

pub(super) fn user(name: &str) -> UserName {
    UserName::parse(name).expect("a user name")
}

/// The begin of a stream by `bot`.
pub(super) fn begin(channel: &str, key: Option<&str>, data: &str) -> Append {
    let begin = BeginStream { options: StreamOptions::default(), producer: BOT };
    Append { stream: Some(Box::new(begin)), ..append(channel, "bot", key, data) }
}

pub(super) fn id(channel: &str, offset: u64) -> StreamId {
    StreamId { channel: super::support::name(channel), offset: Offset(offset) }
}

/// A command of the producer.
pub(super) fn job(id: &StreamId, ticket: Option<Ticket>, order: StreamOrder) -> StreamJob {
    StreamJob { producer: BOT, ticket, id: id.clone(), user: user("bot"), order }
}

pub(super) fn piece(text: &str) -> StreamOrder {
    StreamOrder::Append { generation: None, at: None, piece: Piece::Text(text.into()) }
}

/// An open stream, as readers see it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) generation: Generation,
    pub(super) state: StreamState,
    pub(super) text: String,
}

impl Shelf {
    pub(super) fn open(&self) -> Arc<OpenStreams> {
        Arc::clone(self.log.open_streams())
    }

    /// Begins a stream, and returns its id.
    pub(super) fn begin(&mut self, channel: &str) -> StreamId {
        let offset = self.offset(begin(channel, None, "{}"), 1);
        id(channel, offset)
    }

    pub(super) fn seen(&self, id: &StreamId) -> Option<Seen> {
        let shared = self.open().order(|ledger, _| ledger.shared(id))?;
        let text = shared.text.text_from(Position::ZERO).expect("the whole text");
        Some(Seen { generation: shared.generation, state: shared.state, text })
    }

    pub(super) fn text(&self, id: &StreamId) -> String {
        self.seen(id).expect("it is open").text
    }

    /// Has the ledger take a text.
    pub(super) fn take(&self, id: &StreamId, text: &str) {
        let (bot, mut out) = (user("bot"), Output::default());
        let sender = StreamSender { producer: BOT, user: &bot, ticket: None };
        let append = StreamAppend { generation: None, at: None, piece: Piece::Text(text.into()) };
        let known = self.open().order(|ledger, now| ledger.take(id, sender, append, now, &mut out));
        assert_eq!((known, out.notices.len()), (Known::Open, 0), "{:?}", out.notices);
    }

    pub(super) fn restart(&self, id: &StreamId) {
        let (bot, mut out) = (user("bot"), Output::default());
        let sender = StreamSender { producer: BOT, user: &bot, ticket: None };
        assert_eq!(self.open().order(|ledger, now| ledger.restart(id, sender, now, &mut out)), Known::Open);
    }

    pub(super) fn end(&self, id: &StreamId, end: StreamEnd) {
        let (bot, mut out) = (user("bot"), Output::default());
        let sender = StreamSender { producer: BOT, user: &bot, ticket: None };
        let finish = StreamFinish { generation: None, at: None, end, data: None };
        assert_eq!(
            self.open().order(|ledger, now| ledger.end(id, sender, finish, now, &mut out)),
            Known::Open
        );
    }

    /// Everything that waits, as one flush.
    pub(super) fn cut(&self) -> Flush {
        self.open().order(Ledger::cut_all)
    }

    /// Commits a flush and settles it. Returns its ends.
    pub(super) fn settle(&mut self, flush: Flush) -> Vec<WrittenEnd> {
        let committed = self.log.commit(&[], &flush, 5).expect("it commits");
        let ends = committed.streams.ends.expect("the flush is written");
        let fates: Vec<EndFate> = ends.iter().map(|end| end.fate).collect();
        self.open().settled(flush, &fates, &mut Output::default());
        ends
    }

    pub(super) fn flush(&mut self) -> Vec<WrittenEnd> {
        let flush = self.cut();
        self.settle(flush)
    }

    /// Reads the file as another process does.
    pub(super) fn start_again(&mut self) {
        self.reopen();
        self.log.load_streams(1_000).expect("the streams are read");
    }

    pub(super) fn count(&mut self, sql: &str) -> i64 {
        self.log.raw().query_row(sql, [], |row| row.get(0)).expect("a number")
    }

    pub(super) fn parts(&mut self) -> i64 {
        self.count("SELECT count(*) FROM stream_parts")
    }

    /// The column `stream` of the publications of the first channel.
    pub(super) fn marks(&mut self) -> Vec<Option<i64>> {
        let mut statement =
            self.log.raw().prepare("SELECT stream FROM publications ORDER BY place").expect("SQL");
        let rows = statement.query_map([], |row| row.get(0)).expect("rows");
        rows.map(|row| row.expect("a row")).collect()
    }
}

/// True if the file has a row of this stream, of the first channel.
pub(super) fn has_row(log: &mut Log, offset: u64) -> bool {
    let place = RowKey::of(ChannelNumber(1), Offset(offset));
    streams::progress(log.raw(), place).expect("it is read").is_some()
}
