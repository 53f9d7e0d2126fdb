//! The configured store, SQLite or PostgreSQL. Both serve the same queues.

use super::config::Config;
use super::config::sections::StreamsSection;
use crate::id::Epoch;
use crate::job::{EvidenceSender, Outlook};
use crate::store::postgres::{self, ClusterMember, PostgresConfig, PostgresStore};
use crate::store::sqlite::{self, Backup, Restored, RunningSqlite, SqliteConfig, SqliteRoom, SqliteStore};
use crate::store::{Dropped, Retention, Selection, StoreEnds, StoreSchema};
use crate::stream::StreamSettings;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Threads that read pages; more than one, so that a long page does not delay short ones.
const READERS: usize = 2;
/// Threads that append to PostgreSQL: while one waits for its commit, the other sends its batch. More would take connections
/// that other instances need, and make batches smaller.
const WRITERS: usize = 2;

/// The folder of backups in the data folder, unless an operator names another.
const BACKUP_FOLDER: &str = "backup";

/// A store whose threads have not started.
pub(super) enum Backing {
    Sqlite(Box<SqliteStore>),
    Postgres(Box<PostgresStore>),
}

/// A store whose threads run.
pub(super) enum RunningStore {
    Sqlite(RunningSqlite),
    Postgres(postgres::RunningPostgres),
}

impl Backing {
    /// Opens the store of `store.url` or `store.data`. `member` is this instance of all that share it; `reporter` reports the
    /// failures and successes of its workers, and `outlook` asks them for trial calls.
    pub(super) fn open(
        config: &Config,
        instance: &Arc<str>,
        member: ClusterMember,
        reporter: Option<EvidenceSender>,
        outlook: &Arc<Outlook>,
    ) -> Result<Backing, String> {
        match config.store.postgres() {
            None => SqliteStore::open(embedded(config))
                .map(Box::new)
                .map(Backing::Sqlite)
                .map_err(|error| error.to_string()),
            Some(url) => PostgresStore::open(PostgresConfig {
                url: url.whole().to_owned(),
                retention: retention(config),
                bytes_max: config.retention.bytes,
                channels_max: u64::from(config.limits.channels),
                edits_max: config.limits.edits,
                writers: WRITERS,
                readers: READERS,
                source: config.server.source_address,
                member: Some(member),
                instance: Arc::clone(instance),
                streams: stream_settings(config),
                evidence: reporter,
                outlook: Some(Arc::clone(outlook)),
            })
            .map(Box::new)
            .map(Backing::Postgres)
            .map_err(|error| error.to_string()),
        }
    }

    /// The epoch of the store, if it is known before the first response of the database.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        match self {
            Backing::Sqlite(store) => Some(store.epoch()),
            Backing::Postgres(_) => None,
        }
    }

    /// Starts the threads. They end when all senders of their queues are dropped.
    pub(super) fn start(self, ends: StoreEnds) -> io::Result<RunningStore> {
        match self {
            Backing::Sqlite(store) => store.start(ends).map(RunningStore::Sqlite),
            Backing::Postgres(store) => store.start(ends).map(RunningStore::Postgres),
        }
    }
}

impl RunningStore {
    /// The epoch that this process knows and the one that replaced it, if it was replaced.
    pub(super) fn replaced_epoch(&self) -> Option<(Epoch, Epoch)> {
        match self {
            // The folder has one owner, so its epoch cannot change while this process runs.
            RunningStore::Sqlite(_) => None,
            RunningStore::Postgres(running) => running.replaced_epoch(),
        }
    }

    /// Waits until every request has its reply.
    pub(super) fn join(self) {
        match self {
            RunningStore::Sqlite(running) => running.join(),
            RunningStore::Postgres(running) => running.join(),
        }
    }
}

/// Gives the store a new epoch; returns the old and the new one.
pub(super) fn new_epoch(config: &Config) -> Result<(Epoch, Epoch), String> {
    match config.store.postgres() {
        None => sqlite::new_epoch(&config.store.data).map_err(|error| error.to_string()),
        Some(url) => {
            postgres::new_epoch(url.whole(), config.server.source_address).map_err(|error| error.to_string())
        }
    }
}

/// Deletes channels with everything in them.
pub(super) fn drop_channels(config: &Config, selection: &Selection) -> Result<Dropped, String> {
    match config.store.postgres() {
        None => sqlite::drop_channels(&config.store.data, selection).map_err(|error| error.to_string()),
        Some(url) => postgres::drop_channels(url.whole(), config.server.source_address, selection)
            .map_err(|error| error.to_string()),
    }
}

/// Why a command does not back up or restore the store.
pub(super) enum Unsupported {
    /// It is in PostgreSQL. The address without its password.
    Postgres(String),
    Failed(String),
}

/// Copies the SQLite store into `folder`, and keeps only the newest `keep` copies there.
pub(super) fn backup(
    config: &Config,
    folder: Option<PathBuf>,
    keep: Option<u16>,
) -> Result<Backup, Unsupported> {
    let data = embedded_data(config)?;
    let folder = folder.unwrap_or_else(|| data.join(BACKUP_FOLDER));
    sqlite::backup(data, &folder, keep.map(usize::from))
        .map_err(|error| Unsupported::Failed(error.to_string()))
}

/// Replaces the SQLite store by a backup.
pub(super) fn restore(config: &Config, file: &Path) -> Result<Restored, Unsupported> {
    sqlite::restore(embedded_data(config)?, file).map_err(|error| Unsupported::Failed(error.to_string()))
}

fn embedded_data(config: &Config) -> Result<&Path, Unsupported> {
    match config.store.postgres() {
        None => Ok(&config.store.data),
        Some(url) => Err(Unsupported::Postgres(url.to_string())),
    }
}

/// The schema versions that the store notes, `None` if there is no store, and the version of this program.
pub(super) fn schema(config: &Config) -> Result<(Option<StoreSchema>, u32), String> {
    match config.store.postgres() {
        None => sqlite::noted_schema(&config.store.data)
            .map(|found| (found, sqlite::VERSION))
            .map_err(|error| error.to_string()),
        Some(url) => postgres::noted_schema(url.whole(), config.server.source_address)
            .map(|found| (found, postgres::VERSION))
            .map_err(|error| error.to_string()),
    }
}

/// The store, for the start banner.
pub(super) fn describe(config: &Config) -> String {
    match config.store.postgres() {
        None => format!("{} (SQLite)", config.store.data.display()),
        Some(url) => format!("{url} (PostgreSQL)"),
    }
}

fn embedded(config: &Config) -> SqliteConfig {
    SqliteConfig {
        data: config.store.data.clone(),
        retention: retention(config),
        channels_max: u64::from(config.limits.channels),
        edits_max: config.limits.edits,
        room: SqliteRoom { bytes_max: config.retention.bytes, free_bytes_min: config.store.free_bytes_min },
        readers: READERS,
        streams: stream_settings(config),
    }
}

fn stream_settings(config: &Config) -> StreamSettings {
    let StreamsSection { rollup, idle, orphan, cancel, life, .. } = config.streams;
    let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    StreamSettings {
        rollup,
        idle,
        orphan,
        cancel,
        life,
        open_per_channel: config.streams.open_per_channel as usize,
        events_per_stream: config.streams.events_per_stream as usize,
        window_bytes: config.streams.window_bytes as usize,
        pending_bytes: bytes(config.streams.pending_bytes),
        memory_bytes: bytes(config.streams.memory_bytes),
        message_bytes: config.limits.message_bytes as usize,
    }
}

fn retention(config: &Config) -> Retention {
    let age = config.retention.age;
    Retention { publications: config.retention.publications, age: (!age.is_zero()).then_some(age) }
}
