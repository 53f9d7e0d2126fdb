//! The threads that read pages and heads, one job at a time, each over its own connection.

use super::connection::StoreConnection;
use super::epoch::KnownEpoch;
use super::fault::{CallFault, Fate};
use super::presence::Presence;
use super::read_streams;
use super::suspicion::HeadsVerdict;
use super::timing::{GLANCE, monotonic, pause};
use crate::id::{ChannelName, Epoch, Offset};
use crate::job::{Broadcast, Completion, Page, PageRequest, Read, ReadError, Span, StreamRequest};
use crate::metrics::store::{StoreCounters, bump};
use crate::metrics::streams::StreamCounters;
use crate::net::postgres::Row;
use crate::net::trouble::Trouble;
use crate::store::answers::Answers;
use crate::store::columns::change;
use crate::store::columns::{integer, natural};
use crate::store::outcome::RETRY_MS;
use crate::store::page_body::{PageBody, Room};
use crate::wire::publication::Stored;
use crate::wire::push::LogPosition;
use crate::wire::stream::StreamMark;
use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};
use postgres_types::Type;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

pub(super) const PAGE: &str = "SELECT head, floor, epoch, \"offset\", author, key, stamp, kind, target, deleted_by, data, stream, has_streams
     FROM seawall.page_marked($1, $2, $3, $4, $5, $6)";
/// With the proof that no standby answered, which may lag: a pooler can send reads to one.
const HEADS: &str = "SELECT head, floor, epoch, NOT pg_catalog.pg_is_in_recovery() FROM seawall.heads($1)";

type Heads = Vec<(ChannelName, LogPosition)>;

/// The server that answered a read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Primary,
    /// Its logs may be older than what is known.
    Standby,
}

pub(super) struct PostgresReader {
    pub(super) connection: StoreConnection,
    pub(super) jobs: Receiver<Read>,
    pub(super) answers: Answers,
    pub(super) counters: Arc<StoreCounters>,
    pub(super) of_streams: Arc<StreamCounters>,
    /// The epoch by which answers are known to come from the same logs.
    pub(super) epoch: Arc<KnownEpoch>,
    /// Streams in one answer of the database.
    pub(super) streams_at_once: usize,
    /// This worker among the threads that share `jobs`.
    pub(super) presence: Presence,
}

impl PostgresReader {
    /// Runs until all senders are gone.
    pub(super) fn run(mut self) {
        loop {
            self.connect();
            if !self.connection.is_up() {
                // It does not wait at the queue: by then another thread might be able to read the job.
                if !self.presence.has_others() && self.refuse_all() == TryRecvError::Disconnected {
                    return;
                }
                pause(self.connection.patience().min(GLANCE));
                continue;
            }
            match self.jobs.recv_timeout(self.connection.patience()) {
                Ok(job) => self.read(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Refuses the jobs that wait; returns why there are no more.
    fn refuse_all(&self) -> TryRecvError {
        loop {
            match self.jobs.try_recv() {
                Ok(job) => refuse(&self.answers, &self.counters, job),
                Err(end) => return end,
            }
        }
    }

    /// Maintains the connection. Meanwhile, refuses arriving jobs unless another thread can read them.
    fn connect(&mut self) {
        if !self.connection.is_up() {
            self.presence.leave();
        }
        let (jobs, answers, counters, presence) =
            (&self.jobs, &self.answers, &self.counters, &mut self.presence);
        // The connection reports, counts and retries a failure.
        let _ = self.connection.advance(|| {
            // It dials, so the connection it had is lost.
            presence.leave();
            if !presence.has_others() {
                jobs.try_iter().for_each(|job| refuse(answers, counters, job));
            }
        });
        match self.connection.is_up() {
            true => self.presence.arrive(),
            false => self.presence.leave(),
        }
    }

    fn read(&mut self, job: Read) {
        bump(&self.counters.reads);
        match job {
            Read::Page(request) => {
                let ticket = request.ticket;
                let outcome = self.attempt(|worker| worker.page(&request));
                self.answers.one(ticket.reactor, Completion::Page { ticket, outcome });
            }
            Read::Heads { ticket, channels } => {
                let outcome = self.attempt(|worker| worker.checked_heads(channels));
                self.answers.one(ticket.reactor, Completion::Heads { ticket, outcome });
            }
            Read::Survey(slice) => {
                let channels = slice.channels();
                if let Ok((heads, _)) = self.attempt(|worker| worker.heads(channels.to_vec())) {
                    self.answers.all(&Broadcast::Heads(Arc::from(heads)));
                    slice.answer();
                }
            }
            Read::Stream(request) => {
                let ticket = request.ticket;
                let read = self.attempt(|worker| {
                    let PostgresReader { connection, epoch, streams_at_once, .. } = worker;
                    read_streams::read(connection, epoch, *streams_at_once, &request)
                });
                let completion = read_streams::completion(&request, read, &self.of_streams);
                self.answers.one(ticket.reactor, completion);
            }
            Read::Contradicted(contradiction) => self.epoch.note_lost(&contradiction, &self.counters),
        }
    }

    /// Answers every job, even one that panics; its connection is then closed.
    fn attempt<T>(
        &mut self,
        read: impl FnOnce(&mut PostgresReader) -> Result<T, CallFault>,
    ) -> Result<T, ReadError> {
        let result = catch_unwind(AssertUnwindSafe(|| read(self)));
        result.unwrap_or_else(|_| Err(CallFault::panicked())).map_err(|fault| {
            if fault.fate == Fate::Unknown {
                self.connection.drop_link(&fault);
            }
            tracing::debug!(cause = %fault.cause.text, "read failed");
            bump(&self.counters.read_failures);
            ReadError { retry_ms: RETRY_MS }
        })
    }

    fn page(&mut self, request: &PageRequest) -> Result<Page, CallFault> {
        let (after, below, backwards) = match request.span {
            Span::After(offset) => (integer(offset.0), i64::MAX, false),
            Span::Before(offset) => (0, integer(offset.0), true),
        };
        let bytes = i64::try_from(request.bytes_max).unwrap_or(i64::MAX);
        let rows = self.connection.read(
            PAGE,
            &[
                (&request.channel.as_str(), Type::TEXT),
                (&after, Type::INT8),
                (&below, Type::INT8),
                (&backwards, Type::BOOL),
                (&i64::from(request.limit), Type::INT8),
                (&bytes, Type::INT8),
            ],
        )?;
        self.check(&rows)?;
        page_of(request, &rows).map_err(|error| CallFault::garbled(&error))
    }

    /// Reads the positions of logs whose heads are known to have been at least these.
    fn checked_heads(&mut self, channels: Vec<(ChannelName, Offset)>) -> Result<Heads, CallFault> {
        let (names, known): (Vec<ChannelName>, Vec<Offset>) = channels.into_iter().unzip();
        let (heads, source) = self.heads(names)?;
        if source == Source::Standby {
            return Ok(heads);
        }
        match self.epoch.judge(&heads, &known, self.connection.dialled(), monotonic()) {
            HeadsVerdict::Unproven => {}
            HeadsVerdict::Redial => self.connection.redial(),
            HeadsVerdict::Lost(found) => self.epoch.note_lost(&found, &self.counters),
        }
        Ok(heads)
    }

    fn heads(&mut self, channels: Vec<ChannelName>) -> Result<(Heads, Source), CallFault> {
        let names: Vec<&str> = channels.iter().map(ChannelName::as_str).collect();
        let rows = self.connection.read(HEADS, &[(&names, Type::TEXT_ARRAY)])?;
        self.check(&rows)?;
        let positions: Result<Vec<_>, Trouble> = rows.iter().map(position).collect();
        let positions = positions.map_err(|error| CallFault::garbled(&error))?;
        let is_primary = rows.first().is_some_and(|row| row.try_get(3).unwrap_or(false));
        let source = if is_primary { Source::Primary } else { Source::Standby };
        Ok((channels.into_iter().zip(positions).collect(), source))
    }

    /// One statement reads one epoch.
    fn check(&self, rows: &[Row]) -> Result<(), CallFault> {
        let Some(first) = rows.first() else { return Ok(()) };
        let position = position(first).map_err(|error| CallFault::garbled(&error))?;
        self.epoch.meet(position.epoch)
    }
}

fn refuse(answers: &Answers, counters: &StoreCounters, job: Read) {
    bump(&counters.reads);
    bump(&counters.read_failures);
    let error = ReadError { retry_ms: RETRY_MS };
    match job {
        Read::Page(PageRequest { ticket, .. }) => {
            answers.one(ticket.reactor, Completion::Page { ticket, outcome: Err(error) });
        }
        Read::Heads { ticket, .. } => {
            answers.one(ticket.reactor, Completion::Heads { ticket, outcome: Err(error) });
        }
        Read::Stream(StreamRequest { ticket, .. }) => {
            answers.one(ticket.reactor, Completion::StreamRead { ticket, outcome: Err(error) });
        }
        // The asker sees that the slice was not answered, and the next publication contradicts what is known again.
        Read::Survey(_) | Read::Contradicted(_) => {}
    }
}

/// The page that the rows of an answer hold.
pub fn page_of(request: &PageRequest, rows: &[Row]) -> Result<Page, Trouble> {
    let mut body = PageBody::new(request);
    let mut log_position = LogPosition { epoch: Epoch(0), head: Offset::ZERO, floor: Offset(1) };
    let mut has_streams = false;
    if let Some(first) = rows.first() {
        log_position = position(first)?;
        has_streams = first.try_get(12)?;
    }
    for row in rows {
        let Some(offset) = row.try_get::<Option<i64>>(3)? else { break };
        let kind: i16 = row.try_get(7)?;
        let deleted_by: Option<i64> = row.try_get(9)?;
        let stored = Stored {
            offset: Offset(natural(offset)),
            key: row.try_get(5)?,
            user: row.try_get(4)?,
            time_ms: natural(row.try_get(6)?),
            change: change(i64::from(kind), row.try_get(8)?),
            stream: mark(row.try_get(11)?),
            deleted_by: deleted_by.map(|by| Offset(natural(by))),
            data: row.try_get::<Option<&str>>(10)?.unwrap_or("null"),
        };
        if body.take(&stored) == Room::None {
            break;
        }
    }
    Ok(Page { has_streams, ..body.finish(log_position) })
}

/// The part that a publication has in a stream. A mark of a later version is none.
fn mark(code: Option<i16>) -> StreamMark {
    code.and_then(|code| StreamMark::of_code(code.into())).unwrap_or(StreamMark::None)
}

fn position(row: &Row) -> Result<LogPosition, Trouble> {
    let head: Option<i64> = row.try_get(0)?;
    let floor: Option<i64> = row.try_get(1)?;
    let epoch: i64 = row.try_get(2)?;
    Ok(LogPosition {
        epoch: Epoch(epoch as u32),
        head: Offset(natural(head.unwrap_or(0))),
        floor: Offset(natural(floor.unwrap_or(1))),
    })
}
