//! A thread that reads pages and heads, one job at a time, over a connection of its own.

use super::connection::{Connection, GLANCE};
use super::epoch::KnownEpoch;
use super::fault::{CallFault, Fate};
use super::presence::Presence;
use crate::id::{ChannelName, Epoch, Offset};
use crate::job::{Completion, Live, Page, PageRequest, Read, ReadError, Span};
use crate::metrics::store::{StoreCounters, bump};
use crate::wire::publication::Stored;
use crate::wire::push::LogPosition;
use crate::worker::store::body::{Body, Room};
use crate::worker::store::sqlite::log::RETRY_MS;
use crate::worker::store::sqlite::place::{integer, natural};
use crate::worker::store::sqlite::rows::change;
use crate::worker::store::tell::Voice;
use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row};

const PAGE: &str = "SELECT head, floor, epoch, \"offset\", author, key, stamp, kind, target, deleted_by, data
     FROM seawall.page($1, $2, $3, $4, $5, $6)";
const HEADS: &str = "SELECT head, floor, epoch FROM seawall.heads($1)";

/// A read thread.
pub(super) struct ReadWorker {
    pub(super) connection: Connection,
    pub(super) jobs: Receiver<Read>,
    pub(super) voice: Voice,
    pub(super) counters: Arc<StoreCounters>,
    /// By which answers are known to be of the same logs.
    pub(super) epoch: Arc<KnownEpoch>,
    /// Among the threads that share `jobs`.
    pub(super) presence: Presence,
}

impl ReadWorker {
    /// Until all senders are gone.
    pub(super) fn run(mut self) {
        loop {
            self.connect();
            if !self.connection.is_up() {
                // It does not wait at the queue: the job it got might be one that another could read by then.
                if !self.presence.has_others() && self.refuse_all() == TryRecvError::Disconnected {
                    return;
                }
                self.connection.pause(self.connection.patience().min(GLANCE));
                continue;
            }
            match self.jobs.recv_timeout(self.connection.patience()) {
                Ok(job) => self.read(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Refuses what waits; answers why there is no more.
    fn refuse_all(&self) -> TryRecvError {
        loop {
            match self.jobs.try_recv() {
                Ok(job) => refuse(&self.voice, &self.counters, job),
                Err(end) => return end,
            }
        }
    }

    /// Sees to the connection. Meanwhile what comes is refused, unless another thread can read it.
    fn connect(&mut self) {
        if !self.connection.is_up() {
            self.presence.leave();
        }
        let (jobs, voice, counters, presence) = (&self.jobs, &self.voice, &self.counters, &mut self.presence);
        // A failure is told, counted and tried again by the connection.
        let _ = self.connection.advance(|| {
            // It dials: the connection that it had is lost.
            presence.leave();
            if !presence.has_others() {
                jobs.try_iter().for_each(|job| refuse(voice, counters, job));
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
                self.voice.one(ticket.reactor, Completion::Page { ticket, outcome });
            }
            Read::Heads { ticket, channels } => {
                let outcome = self.attempt(|worker| worker.heads(channels));
                self.voice.one(ticket.reactor, Completion::Heads { ticket, outcome });
            }
            Read::Survey(slice) => {
                if let Ok(heads) = self.attempt(|worker| worker.heads(slice.channels().to_vec())) {
                    self.voice.all(&Live::Heads(Arc::from(heads)));
                    slice.answer();
                }
            }
        }
    }

    /// Every job is answered, also one that panics: its connection is then thrown away.
    fn attempt<T>(
        &mut self,
        read: impl FnOnce(&mut ReadWorker) -> Result<T, CallFault>,
    ) -> Result<T, ReadError> {
        let result = catch_unwind(AssertUnwindSafe(|| read(self)));
        result.unwrap_or_else(|_| Err(CallFault::panicked())).map_err(|fault| {
            if fault.fate == Fate::Unknown {
                self.connection.drop_link(&fault);
            }
            tracing::debug!(cause = %fault.cause.text, "a read failed");
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

    fn heads(&mut self, channels: Vec<ChannelName>) -> Result<Vec<(ChannelName, LogPosition)>, CallFault> {
        let names: Vec<&str> = channels.iter().map(ChannelName::as_str).collect();
        let rows = self.connection.read(HEADS, &[(&names, Type::TEXT_ARRAY)])?;
        self.check(&rows)?;
        let positions: Result<Vec<_>, Error> = rows.iter().map(position).collect();
        let positions = positions.map_err(|error| CallFault::garbled(&error))?;
        Ok(channels.into_iter().zip(positions).collect())
    }

    /// One statement reads one epoch.
    fn check(&self, rows: &[Row]) -> Result<(), CallFault> {
        let Some(first) = rows.first() else { return Ok(()) };
        let position = position(first).map_err(|error| CallFault::garbled(&error))?;
        self.epoch.meet(position.epoch)
    }
}

fn refuse(voice: &Voice, counters: &StoreCounters, job: Read) {
    bump(&counters.reads);
    bump(&counters.read_failures);
    let error = ReadError { retry_ms: RETRY_MS };
    match job {
        Read::Page(PageRequest { ticket, .. }) => {
            voice.one(ticket.reactor, Completion::Page { ticket, outcome: Err(error) });
        }
        Read::Heads { ticket, .. } => {
            voice.one(ticket.reactor, Completion::Heads { ticket, outcome: Err(error) });
        }
        // Whoever asked sees that it was not answered.
        Read::Survey(_) => {}
    }
}

fn page_of(request: &PageRequest, rows: &[Row]) -> Result<Page, Error> {
    let mut body = Body::new(request);
    let mut stands = LogPosition { epoch: Epoch(0), head: Offset::ZERO, floor: Offset(1) };
    if let Some(first) = rows.first() {
        stands = position(first)?;
    }
    for row in rows {
        let Some(offset) = row.try_get::<_, Option<i64>>(3)? else { break };
        let kind: i16 = row.try_get(7)?;
        let deleted_by: Option<i64> = row.try_get(9)?;
        let stored = Stored {
            offset: Offset(natural(offset)),
            key: row.try_get(5)?,
            user: row.try_get(4)?,
            time_ms: natural(row.try_get(6)?),
            change: change(i64::from(kind), row.try_get(8)?),
            deleted_by: deleted_by.map(|by| Offset(natural(by))),
            data: row.try_get::<_, Option<&str>>(10)?.unwrap_or("null"),
        };
        if body.take(&stored) == Room::None {
            break;
        }
    }
    Ok(body.finish(stands))
}

fn position(row: &Row) -> Result<LogPosition, Error> {
    let head: Option<i64> = row.try_get(0)?;
    let floor: Option<i64> = row.try_get(1)?;
    let epoch: i64 = row.try_get(2)?;
    Ok(LogPosition {
        epoch: Epoch(epoch as u32),
        head: Offset(natural(head.unwrap_or(0))),
        floor: Offset(natural(floor.unwrap_or(1))),
    })
}
