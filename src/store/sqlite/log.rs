//! The log as its only writer sees it: a batch goes in; outcomes or a definite statement about the commit come out.
//!
//! The meaning of a failed commit:
//!
//! - An error before `COMMIT` rolls back: nothing of the batch is stored.
//! - `SQLITE_FULL` at `COMMIT` means that a frame of the write-ahead log could not be written. The frame
//!   that makes a transaction valid is the last one written (the default file system layer promises
//!   power-safe overwrites, so no padding follows it), hence it was not: nothing of the batch is stored.
//! - Any other error at `COMMIT`, above all of the sync, leaves the outcome open. A repeat under the same key finds out. The
//!   connection is reopened, because its view of the file is in doubt.

use super::attempt::{Isolation, Stop, append_apart, is_of_one_append, stop};
pub(crate) use super::batch_fault::BatchFault;

use super::batch::{Batch, ChannelRoom, HeadState};
use super::connection::{self, Checkpoint, WalSize};
use super::keys::SweepCursor;
use super::log_streams::{LogStreams, StreamsAtCommit};
use super::overfull::Overfull;
use super::place::CHANNELS_MAX;
use super::relay_turn::{RelayAtCommit, RelayPart};
use super::removal;
use super::rows::RowMemory;
use super::streams;
use crate::auth::account::ChannelCharge;
use crate::id::{Epoch, Offset};
use crate::job::Append;
use crate::store::Retention;
use crate::store::columns::natural;
use crate::store::idempotency::SweepPace;
use crate::store::large_cuts::LargeCuts;
use crate::store::open_streams::OpenStreams;
use crate::store::outcome::Outcome;
use crate::stream::Flush;
use rusqlite::{Connection, ErrorCode};
use std::path::PathBuf;
use std::sync::Arc;

/// The bounds of a log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogBounds {
    pub(crate) retention: Retention,
    /// The number of channels that may exist.
    pub(crate) channels_max: u64,
    /// The number of retained edits of one original.
    pub(crate) edits_max: u32,
    /// Bytes in use in the file above which the oldest publications are deleted; 0: no bound.
    pub(crate) bytes_max: u64,
}

/// The log and its only writing connection.
///
/// Invariants: no transaction is open between calls; `memory`, `channels` and `base` reflect committed state, and are read again
/// after any failure that leaves them in doubt.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    pub(super) bounds: LogBounds,
    epoch: Epoch,
    /// `None` after a failure that left the connection in doubt.
    writer: Option<Connection>,
    pub(super) memory: RowMemory,
    pub(super) channels: u64,
    /// The offset after which new channels start.
    pub(super) base: Offset,
    pub(super) overfull: Overfull,
    pub(super) keys: KeySweep,
    pub(super) emptied: EmptiedSweep,
    pub(super) large_cuts: LargeCuts,
    pub(super) streams: LogStreams,
}

/// A batch that was committed.
#[derive(Debug)]
pub(crate) struct CommittedBatch {
    /// Of each append, in order.
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) streams: StreamsAtCommit,
    pub(crate) relay: RelayAtCommit,
}

/// The progress of the sweep through the keys.
#[derive(Debug, Default)]
pub(super) struct KeySweep {
    pub(super) from: SweepCursor,
    pub(super) pace: SweepPace,
}

/// The progress of the sweep through the empty channels.
#[derive(Debug, Default)]
pub(super) struct EmptiedSweep {
    /// The number of the last channel examined.
    pub(super) from: i64,
    pub(super) pace: SweepPace,
}

impl Log {
    /// Takes an open, migrated file.
    pub(crate) fn new(
        path: PathBuf,
        writer: Connection,
        epoch: Epoch,
        bounds: LogBounds,
        streams: Arc<OpenStreams>,
    ) -> rusqlite::Result<Log> {
        let bounds = LogBounds { channels_max: bounds.channels_max.min(CHANNELS_MAX), ..bounds };
        let mut log = Log {
            path,
            bounds,
            epoch,
            writer: None,
            memory: RowMemory::default(),
            channels: 0,
            base: Offset::ZERO,
            overfull: Overfull::default(),
            keys: KeySweep::default(),
            emptied: EmptiedSweep::default(),
            large_cuts: LargeCuts::default(),
            streams: LogStreams::new(streams),
        };
        log.adopt(writer)?;
        Ok(log)
    }

    /// The identity of the log.
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The number of channels, and the number that may exist.
    pub(crate) fn channels(&self) -> (u64, u64) {
        (self.channels, self.bounds.channels_max)
    }

    /// Commits a batch and returns the outcome of each append, in order.
    #[cfg(test)]
    pub(crate) fn append(&mut self, jobs: &[Append], now_ms: u64) -> Result<Vec<Outcome>, BatchFault> {
        self.commit(jobs, &Flush::default(), now_ms).map(|committed| committed.outcomes)
    }

    /// Commits a batch together with a flush of streams.
    #[cfg(test)]
    pub(crate) fn commit(
        &mut self,
        jobs: &[Append],
        flush: &Flush,
        now_ms: u64,
    ) -> Result<CommittedBatch, BatchFault> {
        self.commit_all(jobs, flush, RelayPart::default(), now_ms)
    }

    /// Commits a batch together with a flush of streams and requests of the relay.
    pub(crate) fn commit_all(
        &mut self,
        jobs: &[Append],
        flush: &Flush,
        mut relay: RelayPart<'_>,
        now_ms: u64,
    ) -> Result<CommittedBatch, BatchFault> {
        let (mut written, mut isolation) = (Some(flush), Isolation::Together);
        loop {
            let stop = match self.attempt(jobs, written, relay, (now_ms, isolation)) {
                Ok(committed) => return Ok(committed),
                Err(stop) => stop,
            };
            self.streams.forget_beginning();
            let fault = match stop {
                Stop::Append if isolation == Isolation::Together => {
                    isolation = Isolation::Apart;
                    self.roll_back();
                    continue;
                }
                Stop::Flush(error) if written.is_some() => {
                    tracing::error!(%error, "pieces of streams not stored");
                    written = None;
                    self.roll_back();
                    continue;
                }
                Stop::Relay(error) if relay.turn.is_some() => {
                    tracing::error!(%error, "requests of the relay not done");
                    relay.turn = None;
                    self.roll_back();
                    continue;
                }
                Stop::Append | Stop::Flush(_) | Stop::Relay(_) => {
                    BatchFault::NotStored(rusqlite::Error::InvalidQuery)
                }
                Stop::Store(fault) => fault,
            };
            self.recover(&fault);
            return Err(fault);
        }
    }

    /// `flush`: `None` if it is at fault, so that it must not be written.
    fn attempt(
        &mut self,
        jobs: &[Append],
        flush: Option<&Flush>,
        relay: RelayPart<'_>,
        (now_ms, isolation): (u64, Isolation),
    ) -> Result<CommittedBatch, Stop> {
        self.open()?;
        let room =
            ChannelRoom { left: self.bounds.channels_max.saturating_sub(self.channels), base: self.base };
        let Some(writer) = self.writer.as_ref() else {
            return Err(Stop::from(rusqlite::Error::InvalidQuery));
        };
        begin(writer)?;
        let bounds = (self.bounds.edits_max, self.streams.ledger(), relay.routes);
        let mut batch = Batch::new(writer, &self.memory, self.epoch, now_ms, room, bounds);
        // First, so that a publication of this batch cannot end a stream that ends anyway.
        let ends = match flush.map(|flush| batch.flush(flush)).transpose() {
            Err(error) if is_of_one_append(writer, &error) => return Err(Stop::Flush(error)),
            ends => ends?,
        };
        let mut outcomes = Vec::with_capacity(jobs.len());
        for job in jobs {
            outcomes.push(match isolation {
                Isolation::Together => batch.append(job).map_err(|error| stop(writer, error))?,
                Isolation::Apart => append_apart(writer, &mut batch, job)?,
            });
        }
        batch.write_heads()?;
        // Last, so that a claim finds what was published just now.
        let done = match relay.turn.map(|turn| turn.run(writer, self.epoch, now_ms)).transpose() {
            Err(error) if is_of_one_append(writer, &error) => return Err(Stop::Relay(error)),
            done => done?,
        };
        let Batch { touched, created, charges, claimed, streams, relay, .. } = batch;
        let (changes, relay) = (streams.changes, RelayAtCommit { changes: relay.changes, done });
        commit(writer).map_err(Stop::Store)?;
        self.channels += created;
        charges.into_iter().for_each(ChannelCharge::keep);
        self.keys.pace.note_claims(claimed);
        self.emptied.pace.note_claims(created);
        for (name, touched) in touched {
            if touched.head == HeadState::Moved {
                self.overfull.note(&name, &touched.row, self.bounds.retention);
            }
            self.memory.remember(name, touched.row);
        }
        let streams = self.streams.committed(changes, ends, flush);
        Ok(CommittedBatch { outcomes, streams, relay })
    }

    /// Writes one row outside every channel's log, to test whether the store takes commits again.
    pub(crate) fn probe(&mut self) -> Result<(), BatchFault> {
        let result = self.transaction(|connection| {
            connection
                .prepare_cached(
                    "INSERT INTO meta (name, value) VALUES ('probe', 1)
                     ON CONFLICT DO UPDATE SET value = value + 1",
                )?
                .execute([])
                .map(drop)
        });
        result.inspect_err(|fault| self.recover(fault))
    }

    /// Runs `work` in a transaction. After a fault the caller must call [`Log::recover`].
    pub(super) fn transaction<T>(
        &mut self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, BatchFault> {
        let writer = self.connection().map_err(BatchFault::NotStored)?;
        begin(writer).map_err(BatchFault::NotStored)?;
        let done = work(writer).map_err(BatchFault::NotStored)?;
        commit(writer)?;
        Ok(done)
    }

    /// The writing connection, opened if necessary.
    pub(super) fn connection(&mut self) -> rusqlite::Result<&Connection> {
        self.open()?;
        self.writer.as_ref().ok_or(rusqlite::Error::InvalidQuery)
    }

    /// Runs a checkpoint. It waits briefly for readers in its way, but not for a backup.
    pub(crate) fn checkpoint(&mut self, how: Checkpoint) -> rusqlite::Result<WalSize> {
        let writer = self.connection()?;
        writer.busy_timeout(connection::CHECKPOINT_TIMEOUT)?;
        let size = connection::checkpoint(writer, how);
        writer.busy_timeout(connection::BUSY_TIMEOUT)?;
        size
    }

    /// Closes any open transaction and forgets everything that was not committed.
    pub(crate) fn recover(&mut self, fault: &BatchFault) {
        let sound = match fault {
            BatchFault::Unknown(_) => false,
            BatchFault::NotStored(error) => matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::TooBig)
            ),
        };
        if sound {
            self.roll_back();
        } else {
            self.close();
        }
        self.memory.clear();
    }

    /// Drops the connection, and with it any open transaction. The next use opens another.
    pub(crate) fn close(&mut self) {
        if let Some(writer) = self.writer.take() {
            connection::empty_log_on_close(&writer);
        }
        self.memory.clear();
    }

    fn roll_back(&mut self) {
        let clean = self.writer.as_ref().is_none_or(|writer| {
            // SQLite itself rolls back after some errors; a second rollback would be an error.
            writer.is_autocommit() || writer.execute_batch("ROLLBACK").is_ok()
        });
        if !clean {
            self.close();
        }
    }

    fn open(&mut self) -> rusqlite::Result<()> {
        if self.writer.is_some() {
            return Ok(());
        }
        let writer = connection::writer(&self.path)?;
        connection::prepare_writer(&writer)?;
        self.adopt(writer)
    }

    /// Reads what memory must reflect: the number of channels, the base, and the channels that hold too much.
    fn adopt(&mut self, writer: Connection) -> rusqlite::Result<()> {
        self.channels =
            writer.query_row("SELECT count(*) FROM channels", [], |row| row.get(0).map(natural))?;
        self.base = removal::base(&writer)?;
        self.overfull = Overfull::scan(&writer, self.bounds.retention.publications)?;
        self.streams.next_part = streams::next_part(&writer)?;
        self.writer = Some(writer);
        Ok(())
    }

    /// The writing connection itself, so that tests can make it fail.
    #[cfg(test)]
    pub(crate) fn raw(&mut self) -> &Connection {
        self.connection().expect("the store opens")
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.close();
    }
}

fn begin(writer: &Connection) -> rusqlite::Result<()> {
    writer.prepare_cached("BEGIN IMMEDIATE")?.execute([]).map(drop)
}

fn commit(writer: &Connection) -> Result<(), BatchFault> {
    let committed = writer.prepare_cached("COMMIT").and_then(|mut statement| statement.execute([]));
    committed.map(drop).map_err(commit_fault)
}

fn commit_fault(error: rusqlite::Error) -> BatchFault {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => BatchFault::NotStored(error),
        _ => BatchFault::Unknown(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    #[test]
    fn only_a_full_disk_proves_that_a_commit_did_not_happen() {
        let fault = |code| commit_fault(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
        assert!(matches!(fault(ffi::SQLITE_FULL), BatchFault::NotStored(_)));
        for code in [ffi::SQLITE_IOERR, ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_BUSY, ffi::SQLITE_NOMEM] {
            assert!(matches!(fault(code), BatchFault::Unknown(_)), "{code}");
        }
    }
}
