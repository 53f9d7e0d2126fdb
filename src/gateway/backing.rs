//! Which store the configuration asks for, behind the one set of queues that both serve.

use super::config::Config;
use crate::id::Epoch;
use crate::job::{Append, Mailbox, Read, Witness};
use crate::metrics::store::StoreCounters;
use crate::worker::store::postgres::{self, BusMember, PostgresConfig, PostgresStore};
use crate::worker::store::{self, Retention, Store, StoreConfig};
use crossbeam_channel::Receiver;
use std::io;
use std::sync::Arc;

/// Threads that read pages: a long page must not hold up the short ones.
const READERS: usize = 2;
/// Threads that append to PostgreSQL: while one waits for its commit, the other's batch is on its way. More of
/// them would cost a database of many instances its connections and make batches smaller.
const WRITERS: usize = 2;

/// A store whose threads do not run yet.
pub(super) enum Backing {
    /// A file in the data folder.
    Sqlite(Box<Store>),
    /// A database, perhaps of several instances.
    Postgres(Box<PostgresStore>),
}

/// A store whose threads run.
pub(super) enum Running {
    /// A file in the data folder.
    Sqlite(store::Running),
    /// A database, perhaps of several instances.
    Postgres(postgres::Running),
}

impl Backing {
    /// Opens what `store.url` and `store.data` name.
    /// What it commits goes to `bus`, what its workers meet to `witness`.
    pub(super) fn open(
        config: &Config,
        bus: Option<BusMember>,
        witness: Option<Witness>,
    ) -> Result<Backing, String> {
        match config.store.postgres() {
            None => Store::open(embedded(config))
                .map(Box::new)
                .map(Backing::Sqlite)
                .map_err(|error| error.to_string()),
            Some(url) => PostgresStore::open(PostgresConfig {
                url: url.whole().to_owned(),
                retention: retention(config),
                channels_max: u64::from(config.limits.channels),
                writers: WRITERS,
                readers: READERS,
                source: config.server.source_address,
                bus,
                witness,
            })
            .map(Box::new)
            .map(Backing::Postgres)
            .map_err(|error| error.to_string()),
        }
    }

    /// The identity of its logs, where it is known before the first answer.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        match self {
            Backing::Sqlite(store) => Some(store.epoch()),
            Backing::Postgres(_) => None,
        }
    }

    /// Starts its threads; they end when all senders of their queues are gone.
    pub(super) fn start(
        self,
        mailboxes: Arc<[Mailbox]>,
        append: Receiver<Append>,
        reads: Receiver<Read>,
        counters: Arc<StoreCounters>,
    ) -> io::Result<Running> {
        match self {
            Backing::Sqlite(store) => store.start(mailboxes, append, reads, counters).map(Running::Sqlite),
            Backing::Postgres(store) => {
                store.start(mailboxes, append, reads, counters).map(Running::Postgres)
            }
        }
    }
}

impl Running {
    /// The epoch that this process knows and the one that took its place, when somebody replaced it.
    pub(super) fn replaced_epoch(&self) -> Option<(Epoch, Epoch)> {
        match self {
            // Its folder has one owner: nobody else replaces anything while we run.
            Running::Sqlite(_) => None,
            Running::Postgres(running) => running.replaced_epoch(),
        }
    }

    /// Waits until what was sent is answered.
    pub(super) fn join(self) {
        match self {
            Running::Sqlite(running) => running.join(),
            Running::Postgres(running) => running.join(),
        }
    }
}

/// Gives the store another epoch; answers the old and the new one.
pub(super) fn new_epoch(config: &Config) -> Result<(Epoch, Epoch), String> {
    match config.store.postgres() {
        None => store::new_epoch(&config.store.data).map_err(|error| error.to_string()),
        Some(url) => {
            postgres::new_epoch(url.whole(), config.server.source_address).map_err(|error| error.to_string())
        }
    }
}

/// What a person is told of where the store is.
pub(super) fn describe(config: &Config) -> String {
    match config.store.postgres() {
        None => format!("{} (SQLite)", config.store.data.display()),
        Some(url) => format!("{url} (PostgreSQL)"),
    }
}

fn embedded(config: &Config) -> StoreConfig {
    StoreConfig {
        data: config.store.data.clone(),
        retention: retention(config),
        channels_max: u64::from(config.limits.channels),
        readers: READERS,
    }
}

fn retention(config: &Config) -> Retention {
    let age = config.retention.age;
    Retention { publications: config.retention.publications, age: (!age.is_zero()).then_some(age) }
}
