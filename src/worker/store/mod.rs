//! The store: the durable log of every channel, kept in SQLite inside the data folder.
//!
//! One thread appends, a few read, one copies the write-ahead log into the file. They share the file and
//! nothing else: an append never waits for a page, a page never for an append.
//!
//! A publication is acknowledged after its transaction is committed and synced, and announced after that.
//! While the disk refuses writes, appends are answered `unavailable` and pages are still served; the next
//! batch tries again, so nobody has to restart anything.

mod append;
mod body;
mod checkpoint;
mod fault;
mod lock;
pub mod postgres;
mod read;
mod sqlite;
mod tell;
#[cfg(test)]
mod tests;
mod wall;

pub use fault::OpenError;
pub use sqlite::log::Retention;

use crate::id::Epoch;
use crate::job::{Append, Mailbox, Read};
use crate::metrics::store::StoreCounters;
use append::{AppendWorker, Checkpoints};
use checkpoint::{Checkpointer, WAL_BOUNDS, WalBounds};
use crossbeam_channel::{Receiver, bounded};
use lock::FolderLock;
use read::ReadWorker;
use rusqlite::{Connection, ErrorCode};
use sqlite::connection::{self, Checkpoint, FILE_NAME};
use sqlite::log::{Bounds, Log};
use sqlite::schema::{self, SchemaFault};
use std::fs::File;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{self, JoinHandle};
use tell::Voice;
use wall::WallClock;

/// What the store needs to know.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The data folder; it is made when it is not there.
    pub data: PathBuf,
    /// What is kept, and for how long.
    pub retention: Retention,
    /// `limits.channels`: channels that may exist; at most 16,777,215 do.
    pub channels_max: u64,
    /// Threads that read pages; at least 1.
    pub readers: usize,
}

/// An open store whose threads do not run yet. It owns the data folder.
#[derive(Debug)]
pub struct Store {
    config: StoreConfig,
    clock: WallClock,
    wal: WalBounds,
    log: Log,
    /// Last, since fields are dropped in order: the file is closed before the folder is free.
    lock: FolderLock,
}

impl Store {
    /// Takes the folder, brings the file forward to this version and reads the epoch.
    pub fn open(config: StoreConfig) -> Result<Store, OpenError> {
        Store::open_with(config, WallClock::System)
    }

    fn open_with(config: StoreConfig, clock: WallClock) -> Result<Store, OpenError> {
        make_folder(&config.data)
            .map_err(|source| OpenError::Folder { path: config.data.clone(), source })?;
        let lock = FolderLock::take(&config.data)?;
        let path = config.data.join(FILE_NAME);
        let writer = open_file(&path)?;
        let failed = |doing| move |source| OpenError::Sqlite { path: path.clone(), doing, source };
        let epoch = schema::epoch(&writer, random_epoch()?).map_err(failed.clone()("reading the epoch"))?;
        let bounds = Bounds { retention: config.retention, channels_max: config.channels_max };
        let log = Log::new(config.data.join(FILE_NAME), writer, epoch, bounds)
            .map_err(failed("reading the channels"))?;
        Ok(Store { config, clock, wal: WAL_BOUNDS, log, lock })
    }

    /// The identity of the store's logs.
    pub fn epoch(&self) -> Epoch {
        self.log.epoch()
    }

    /// Starts the threads: `store-append`, `store-read-N`, `store-checkpoint`. They end when all senders of
    /// their queues are gone; mailboxes are indexed by reactor.
    pub fn start(
        self,
        mailboxes: Arc<[Mailbox]>,
        append: Receiver<Append>,
        reads: Receiver<Read>,
        counters: Arc<StoreCounters>,
    ) -> io::Result<Running> {
        let path = self.config.data.join(FILE_NAME);
        let epoch = self.log.epoch();
        let voice = Voice::new(mailboxes, None, Arc::clone(&counters));
        let restart_wanted = Arc::new(AtomicBool::new(false));
        let (grown, looks) = bounded(1);
        let (wanted, cells) = (Arc::clone(&restart_wanted), Arc::clone(&counters));
        let checkpointer = Checkpointer::new(path.clone(), self.wal, looks, wanted, cells);
        let checkpointer = spawn("store-checkpoint".into(), move || checkpointer.run())?;
        let readers = (0..self.config.readers.max(1))
            .map(|number| {
                let (voice, cells) = (voice.clone(), Arc::clone(&counters));
                let worker = ReadWorker::new(path.clone(), epoch, reads.clone(), voice, cells);
                spawn(format!("store-read-{number}"), move || worker.run())
            })
            .collect::<io::Result<Vec<_>>>()?;
        let checkpoints = Checkpoints { grown, restart_wanted };
        let appender = AppendWorker::new(self.log, self.clock, append, voice, counters, checkpoints);
        // The lock goes with the thread that writes, so that the folder is free only when it has ended.
        let lock = self.lock;
        let appender = spawn("store-append".into(), move || (appender.run(), lock))?;
        Ok(Running { appender, readers, checkpointer })
    }
}

/// A store whose threads run.
#[derive(Debug)]
pub struct Running {
    appender: JoinHandle<(Log, FolderLock)>,
    readers: Vec<JoinHandle<()>>,
    checkpointer: JoinHandle<()>,
}

impl Running {
    /// Waits until all senders are gone and what they sent is committed and answered, then leaves the file
    /// whole: with an empty write-ahead log.
    pub fn join(self) {
        let log = self.appender.join();
        for reader in self.readers {
            warn_of_panic(reader.join());
        }
        warn_of_panic(self.checkpointer.join());
        match log {
            Ok((mut log, _lock)) => {
                if let Err(error) = log.checkpoint(Checkpoint::Truncate) {
                    tracing::warn!(%error, "the last checkpoint failed; the next start catches up");
                }
            }
            Err(panic) => warn_of_panic(Err(panic)),
        }
    }
}

fn warn_of_panic(ended: thread::Result<()>) {
    if ended.is_err() {
        tracing::error!("a store thread panicked");
    }
}

/// Gives the store in `data` another epoch: for after a restore or an asynchronous failover, when logs may
/// have lost what clients have seen. Answers the old and the new one. The gateway must be stopped.
pub fn new_epoch(data: &Path) -> Result<(Epoch, Epoch), OpenError> {
    let path = data.join(FILE_NAME);
    if !path.is_file() {
        return Err(OpenError::Missing { path });
    }
    let _lock = FolderLock::take(data)?;
    let file = open_file(&path)?;
    let failed = |source| OpenError::Sqlite { path: path.clone(), doing: "changing the epoch", source };
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

/// Makes the folder, and its name durable: a power cut must not take the folder with all that was
/// acknowledged in it. Folders above it that may not be opened are not of our making.
fn make_folder(data: &Path) -> io::Result<()> {
    if data.is_dir() {
        return Ok(());
    }
    // Readable by its user alone: what people write to each other is nobody else's.
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data)?;
    for above in data.canonicalize()?.ancestors().skip(1) {
        // Some file systems sync no folders; there is nothing more to be done there.
        let _ = File::open(above).and_then(|folder| folder.sync_all());
    }
    Ok(())
}

/// Opens the file for writing, checks whose it is, and brings it forward.
fn open_file(path: &Path) -> Result<Connection, OpenError> {
    let failed = |doing| move |source| sqlite_fault(path, doing, source);
    let mut writer = connection::writer(path).map_err(failed("opening"))?;
    schema::check(&writer).map_err(|fault| schema_fault(path, fault))?;
    connection::prepare_writer(&writer).map_err(failed("preparing"))?;
    schema::migrate(&mut writer).map_err(|fault| schema_fault(path, fault))?;
    Ok(writer)
}

fn schema_fault(path: &Path, fault: SchemaFault) -> OpenError {
    let path = path.to_owned();
    match fault {
        SchemaFault::Newer { found } => OpenError::Newer { path, found, known: schema::VERSION },
        SchemaFault::NotOurs => OpenError::NotOurs { path },
        SchemaFault::Sqlite(source) => sqlite_fault(&path, "reading or migrating the schema", source),
    }
}

fn sqlite_fault(path: &Path, doing: &'static str, source: rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::NotADatabase { path },
        Some(_) | None => OpenError::Sqlite { path, doing, source },
    }
}

fn random_epoch() -> Result<Epoch, OpenError> {
    getrandom::u32().map(Epoch).map_err(|_| OpenError::Randomness)
}

fn spawn<T: Send + 'static>(
    name: String,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    thread::Builder::new().name(name).spawn(work)
}
