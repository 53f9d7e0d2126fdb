//! Opening the store in a data folder, and starting its threads.

use super::append::{SqliteAppender, WriterInputs};
use super::checkpoint::{Checkpointer, WAL_BOUNDS, WalBounds, WalSignals};
use super::checkpoints::Checkpoints;
use super::connection::{self, Checkpoint, FILE_NAME};
use super::fault::{ROOM_TO_OPEN, SqliteOpenError};
use super::lock::FolderLock;
use super::log::{Log, LogBounds};
use super::orders;
use super::page::LogReader;
use super::read::SqliteReader;
use super::room::RoomWatch;
use super::schema::{self, SchemaFault};
use super::space;
use crate::id::Epoch;
use crate::store::answers::Answers;
use crate::store::loaded_orders::LoadedOrders;
use crate::store::open_streams::OpenStreams;
use crate::store::thread::{spawn, warn_of_panic};
use crate::store::wall_clock::WallClock;
use crate::store::{Retention, StoreEnds, StoreSchema};
use crate::stream::StreamSettings;
use crossbeam_channel::bounded;
use rusqlite::{Connection, ErrorCode};
use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

/// The settings of a store in SQLite.
#[derive(Clone, Debug)]
pub struct SqliteConfig {
    /// The data folder; it is created if missing.
    pub data: PathBuf,
    pub retention: Retention,
    /// `limits.channels`: the number of channels that may exist, up to 16,777,215.
    pub channels_max: u64,
    /// `limits.edits`: the number of retained edits of one original.
    pub edits_max: u32,
    pub room: SqliteRoom,
    /// The number of threads that read pages; at least 1.
    pub readers: usize,
    pub streams: StreamSettings,
}

/// The room that the store may take on its disk. By default it is not bounded.
#[derive(Clone, Copy, Debug, Default)]
pub struct SqliteRoom {
    /// `retention.bytes`: bytes in use in the file above which the oldest publications are deleted; 0: no bound.
    pub bytes_max: u64,
    /// `store.free_bytes_min`: free bytes on the disk below which publications are refused; 0: no bound.
    pub free_bytes_min: u64,
}

/// An open store whose threads do not run yet. It owns the data folder.
#[derive(Debug)]
pub struct SqliteStore {
    config: SqliteConfig,
    clock: WallClock,
    pub(super) wal: WalBounds,
    log: Log,
    /// Restrictions and orders of before.
    orders: LoadedOrders,
    /// Last, because fields are dropped in order: the file is closed before the folder is unlocked.
    lock: FolderLock,
}

impl SqliteStore {
    /// Locks the folder, migrates the file to this version and reads the epoch.
    pub fn open(config: SqliteConfig) -> Result<SqliteStore, SqliteOpenError> {
        SqliteStore::open_with(config, WallClock::System)
    }

    pub(super) fn open_with(config: SqliteConfig, clock: WallClock) -> Result<SqliteStore, SqliteOpenError> {
        make_folder(&config.data)
            .map_err(|source| SqliteOpenError::Folder { path: config.data.clone(), source })?;
        let lock = FolderLock::take(&config.data)?;
        let path = config.data.join(FILE_NAME);
        let writer = open_file(&path)?;
        log_newer(&path, &writer)?;
        warn_of_access(&path);
        let failed = |doing| move |source| sqlite_fault(&path, doing, source);
        let epoch = schema::epoch(&writer, random_epoch()?).map_err(failed.clone()("reading the epoch"))?;
        let orders = orders::load(&writer, clock.unix_ms()).map_err(failed.clone()("reading the orders"))?;
        let bounds = LogBounds {
            retention: config.retention,
            channels_max: config.channels_max,
            edits_max: config.edits_max,
            bytes_max: config.room.bytes_max,
        };
        let streams = Arc::new(OpenStreams::new(config.streams.clone()));
        let mut log = Log::new(config.data.join(FILE_NAME), writer, epoch, bounds, streams)
            .map_err(failed.clone()("reading the channels"))?;
        log.load_streams(clock.unix_ms())
            .map_err(|fault| failed("reading the streams")(fault.into_cause()))?;
        Ok(SqliteStore { config, clock, wal: WAL_BOUNDS, log, orders, lock })
    }

    /// The identity of the store's logs.
    pub fn epoch(&self) -> Epoch {
        self.log.epoch()
    }

    /// Starts `store-append`, `store-read-N` and `store-checkpoint`.
    pub fn start(self, ends: StoreEnds) -> io::Result<RunningSqlite> {
        let StoreEnds { mailboxes, callers, appends, reads, streams, relay, counters, orders, .. } = ends;
        self.orders.give(&orders.board);
        orders.board.see_no_others();
        let path = self.config.data.join(FILE_NAME);
        let epoch = self.log.epoch();
        let answers = Answers::new(mailboxes, callers, None, relay.watch(), Arc::clone(&counters));
        let signals = Arc::new(WalSignals::new());
        let (grown, looks) = bounded(1);
        let (wal_orders, cells) = (Arc::clone(&signals), Arc::clone(&counters));
        let watch = RoomWatch::new(&self.config.data, self.config.room.free_bytes_min);
        let checkpointer = Checkpointer::new(path.clone(), self.wal, looks, wal_orders, (watch, cells));
        let checkpointer = spawn("store-checkpoint".into(), move || checkpointer.run())?;
        let readers = (0..self.config.readers.max(1))
            .map(|number| {
                let (answers, cells) = (answers.clone(), Arc::clone(&counters));
                let log = LogReader::new(path.clone(), epoch);
                let of_streams = (Arc::clone(self.log.open_streams()), Arc::clone(&streams.counters));
                let worker = SqliteReader::new(log, reads.clone(), answers, cells, of_streams);
                spawn(format!("store-read-{number}"), move || worker.run())
            })
            .collect::<io::Result<Vec<_>>>()?;
        let checkpoints = Checkpoints::new(grown, signals);
        let memory_bytes = self.config.streams.memory_bytes as u64;
        streams.counters.memory_bytes_max.store(memory_bytes, Ordering::Relaxed);
        let inputs = WriterInputs { appends, orders, streams, relay };
        let appender = SqliteAppender::new(self.log, self.clock, inputs, answers, counters, checkpoints);
        // The lock moves into the thread that writes, so that the folder is unlocked only when that thread has ended.
        let lock = self.lock;
        let appender = spawn("store-append".into(), move || (appender.run(), lock))?;
        Ok(RunningSqlite { appender, readers, checkpointer })
    }
}

/// A store whose threads run.
#[derive(Debug)]
pub struct RunningSqlite {
    appender: JoinHandle<(Log, FolderLock)>,
    readers: Vec<JoinHandle<()>>,
    checkpointer: JoinHandle<()>,
}

impl RunningSqlite {
    /// Waits until all senders are gone and all they sent is committed and answered, then truncates the write-ahead log, so
    /// that the file is complete.
    pub fn join(self) {
        let log = self.appender.join();
        for reader in self.readers {
            warn_of_panic(reader.join());
        }
        warn_of_panic(self.checkpointer.join());
        match log {
            Ok((mut log, _lock)) => {
                if let Err(error) = log.checkpoint(Checkpoint::Truncate) {
                    tracing::warn!(%error, "last checkpoint failed; the next start repeats it");
                }
            }
            Err(panic) => warn_of_panic(Err(panic)),
        }
    }
}

/// Gives the store in `data` another epoch, for use after a restore or an asynchronous failover, when logs may have lost what
/// clients have seen. Returns the old and the new one. The gateway must be stopped.
pub fn new_epoch(data: &Path) -> Result<(Epoch, Epoch), SqliteOpenError> {
    let path = data.join(FILE_NAME);
    if !path.is_file() {
        return Err(SqliteOpenError::Missing { path });
    }
    let _lock = FolderLock::take(data)?;
    let file = open_file(&path)?;
    let failed = |source| SqliteOpenError::Sqlite { path: path.clone(), doing: "changing the epoch", source };
    let old = schema::epoch(&file, random_epoch()?).map_err(failed)?;
    let new = loop {
        let fresh = random_epoch()?;
        if fresh != old {
            break fresh;
        }
    };
    schema::replace_epoch(&file, new).map_err(failed)?;
    connection::checkpoint(&file, Checkpoint::Truncate).map_err(failed)?;
    Ok((old, new))
}

/// Reads the versions that the store in `data` notes; `None` if there is no store. Changes nothing, takes no lock, and works
/// while a gateway runs.
pub fn noted_schema(data: &Path) -> Result<Option<StoreSchema>, SqliteOpenError> {
    let path = data.join(FILE_NAME);
    if !path.is_file() {
        return Ok(None);
    }
    let failed = |source| sqlite_fault(&path, "reading the schema version", source);
    let file = connection::reader(&path).map_err(failed)?;
    schema::noted(&file).map(Some).map_err(|fault| schema_fault(&path, fault))
}

/// Creates the folder and makes its name durable: a power cut must not lose the folder with everything acknowledged in it.
/// Parent folders that cannot be opened were not created here.
pub(super) fn make_folder(data: &Path) -> io::Result<()> {
    if data.is_dir() {
        return Ok(());
    }
    // Only the gateway's user may read it: messages are private.
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data)?;
    for above in data.canonicalize()?.ancestors().skip(1) {
        // Some file systems cannot sync folders; there is nothing more to do then.
        let _ = File::open(above).and_then(|folder| folder.sync_all());
    }
    Ok(())
}

fn log_newer(path: &Path, file: &Connection) -> Result<(), SqliteOpenError> {
    let found = schema::noted(file).map_err(|fault| schema_fault(path, fault))?;
    if found.version > schema::VERSION {
        let (known, oldest) = (schema::VERSION, found.oldest);
        tracing::info!(found = found.version, known, oldest, "store schema newer and compatible");
    }
    Ok(())
}

/// Warns if other users of the machine can read or write the messages.
fn warn_of_access(path: &Path) {
    let mode = |path: &Path| path.metadata().map_or(0, |metadata| metadata.mode() & 0o7777);
    let (file, folder) = (mode(path), path.parent().map_or(0, mode));
    if file & 0o066 != 0 && folder & 0o011 != 0 {
        let advice = format!("run chmod 700 on the folder and chmod 600 {}", path.display());
        tracing::warn!(
            file = format!("{file:04o}"),
            folder = format!("{folder:04o}"),
            advice,
            "store open to other users"
        );
    }
}

/// Opens the file for writing, checks whose it is, and migrates it.
pub(super) fn open_file(path: &Path) -> Result<Connection, SqliteOpenError> {
    let failed = |doing| move |source| sqlite_fault(path, doing, source);
    let mut writer = connection::writer(path).map_err(failed("opening"))?;
    schema::check(&writer).map_err(|fault| schema_fault(path, fault))?;
    connection::prepare_writer(&writer).map_err(failed("preparing"))?;
    schema::migrate(&mut writer).map_err(|fault| schema_fault(path, fault))?;
    Ok(writer)
}

pub(super) fn schema_fault(path: &Path, fault: SchemaFault) -> SqliteOpenError {
    let path = path.to_owned();
    match fault {
        SchemaFault::Newer { found } => SqliteOpenError::Newer { path, found, known: schema::VERSION },
        SchemaFault::NotOurs => SqliteOpenError::NotOurs { path },
        SchemaFault::Sqlite(source) => sqlite_fault(&path, "reading or migrating the schema", source),
    }
}

pub(super) fn sqlite_fault(path: &Path, doing: &'static str, source: rusqlite::Error) -> SqliteOpenError {
    let path = path.to_owned();
    let free = path.parent().and_then(|folder| space::of(folder).ok()).map(|space| space.free);
    match (source.sqlite_error_code(), free) {
        (Some(ErrorCode::NotADatabase), _) => SqliteOpenError::NotADatabase { path },
        // Where SQLite cannot extend its index, it reports an I/O error.
        (Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure), Some(free)) if free < ROOM_TO_OPEN => {
            SqliteOpenError::NoRoom { path, free, doing, source }
        }
        (Some(_) | None, _) => SqliteOpenError::Sqlite { path, doing, source },
    }
}

pub(super) fn random_epoch() -> Result<Epoch, SqliteOpenError> {
    getrandom::u32().map(Epoch).map_err(|_| SqliteOpenError::Randomness)
}
