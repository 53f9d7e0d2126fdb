//! The store in PostgreSQL: the same log as SQLite's, for many instances on one database.
//!
//! `store-route` hands each append to the worker of its channel, `store-append-N` commit batches, each in one
//! statement, `store-read-N` read pages, `store-retention` deletes. Each has one connection, which comes back
//! by itself: a gateway starts with its database down and refuses publications until it is there.

mod append;
mod batch;
mod canary;
mod connection;
mod dial;
mod epoch;
mod fault;
mod link;
mod presence;
mod read;
mod retention;
mod route;
mod schema;
mod secure;
mod trial;

pub use crate::worker::line::postgres::AddressError;
pub use fault::Unfit;

use super::Retention;
use super::tell::Voice;
use super::wall::WallClock;
use crate::id::Epoch;
use crate::job::bus::Bus;
use crate::job::{Append, Mailbox, Read, Witness};
use crate::limits::APPEND_QUEUE;
use crate::metrics::store::StoreCounters;
use crate::wire::envelope::Origin;
use append::AppendWorker;
use canary::CanaryWorker;
use connection::{Connection, Role, Target};
use crossbeam_channel::{Receiver, bounded};
use epoch::KnownEpoch;
use presence::Presence;
use read::ReadWorker;
use retention::RetentionWorker;
use schema::Refusal;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Channels noted for retention and not yet seen to.
const NOTES: usize = 4_096;

/// What the store needs to know.
#[derive(Clone)]
pub struct PostgresConfig {
    /// Where it is: `postgres://user:password@host/database`. It holds a secret and is never shown.
    pub url: String,
    /// What is kept, and for how long.
    pub retention: Retention,
    /// `limits.channels`: channels that may exist.
    pub channels_max: u64,
    /// Threads that append, each with a connection; at least 1.
    pub writers: usize,
    /// Threads that read pages, each with a connection; at least 1.
    pub readers: usize,
    /// Address that connections leave from; `None`: the system chooses.
    pub source: Option<IpAddr>,
    /// The way to the other instances, and how this one is known there; `None` when it is alone.
    pub bus: Option<BusMember>,
    /// Where to tell what work met: connections made, refused and lost.
    pub witness: Option<Witness>,
}

/// An instance on its bus.
#[derive(Clone, Debug)]
pub struct BusMember {
    /// The way there.
    pub bus: Bus,
    /// The process.
    pub origin: Origin,
    /// Its name, for people.
    pub instance: Arc<str>,
}

impl fmt::Debug for PostgresConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PostgresConfig").finish_non_exhaustive()
    }
}

/// Why a store in PostgreSQL cannot be used by this program, whatever happens to the server.
#[derive(Debug)]
pub enum OpenError {
    /// The URL is none of PostgreSQL, or contradicts itself.
    Url(AddressError),
    /// The database answers, and is no store of ours.
    Unfit(Unfit),
    /// The database does not answer, and without it there is nothing to do.
    Unreachable(String),
    /// The system gave no thread or timer.
    System(io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Url(error) => write!(f, "store.url: {error}"),
            OpenError::Unfit(unfit) => write!(f, "store.url: {unfit}"),
            OpenError::Unreachable(text) => write!(f, "the store cannot be reached: {text}"),
            OpenError::System(error) => write!(f, "cannot set the store's workers up: {error}"),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> OpenError {
        OpenError::System(error)
    }
}

/// A store whose threads do not run yet.
#[derive(Debug)]
pub struct PostgresStore {
    config: PostgresConfig,
    target: Target,
}

impl PostgresStore {
    /// Reads the URL and knocks once. A server that is down, or a standby that may be promoted, is only
    /// logged; a database that a newer program wrote is refused.
    pub fn open(config: PostgresConfig) -> Result<PostgresStore, OpenError> {
        let target = target(&config.url, config.source)?;
        let mut first = Connection::new(&target, Role::Append, Arc::default(), None)?;
        match first.advance(|| {}) {
            Err(Refusal::Unfit(unfit @ (Unfit::Newer { .. } | Unfit::Encoding { .. }))) => {
                Err(OpenError::Unfit(unfit))
            }
            Ok(()) | Err(Refusal::Unfit(_) | Refusal::Call(_)) => Ok(PostgresStore { config, target }),
        }
    }

    /// Starts the threads. They end when all senders of their queues are gone; mailboxes are indexed by
    /// reactor.
    pub fn start(
        self,
        mailboxes: Arc<[Mailbox]>,
        append: Receiver<Append>,
        reads: Receiver<Read>,
        counters: Arc<StoreCounters>,
    ) -> io::Result<Running> {
        let PostgresStore { config, target } = self;
        let voice =
            Voice::new(mailboxes, config.bus.as_ref().map(|named| named.bus.clone()), Arc::clone(&counters));
        let connect = |role| Connection::new(&target, role, Arc::clone(&counters), config.witness.clone());
        let (overfull, notes) = bounded(NOTES);
        let epoch = Arc::new(KnownEpoch::default());
        let mut threads = Vec::new();
        let mut workers = Vec::new();
        let writers = config.writers.max(1);
        for number in 0..writers {
            let (sender, jobs) = bounded(APPEND_QUEUE.div_ceil(writers));
            workers.push(sender);
            let worker = AppendWorker {
                connection: connect(Role::Append)?,
                clock: WallClock::System,
                jobs,
                voice: voice.clone(),
                counters: Arc::clone(&counters),
                channels_max: config.channels_max,
                publications: config.retention.publications,
                overfull: overfull.clone(),
                epoch: Arc::clone(&epoch),
                doubt: Vec::new(),
                trials: trial::Trials::default(),
            };
            threads.push(super::spawn(format!("store-append-{number}"), move || worker.run())?);
        }
        drop(overfull);
        let presence = Presence::default();
        for number in 0..config.readers.max(1) {
            let (connection, voice) = (connect(Role::Read)?, voice.clone());
            let (jobs, counters, epoch) = (reads.clone(), Arc::clone(&counters), Arc::clone(&epoch));
            let presence = presence.another();
            let worker = ReadWorker { connection, jobs, voice, counters, epoch, presence };
            threads.push(super::spawn(format!("store-read-{number}"), move || worker.run())?);
        }
        let connection = connect(Role::Retention)?;
        let cells = Arc::clone(&counters);
        let worker = RetentionWorker::new(
            connection,
            WallClock::System,
            config.retention,
            notes,
            cells,
            Arc::clone(&epoch),
        );
        threads.push(super::spawn("store-retention".into(), move || worker.run())?);
        let (alive, over) = bounded(0);
        if let Some(BusMember { bus, origin, instance }) = config.bus.clone() {
            let worker =
                CanaryWorker { connection: connect(Role::Canary)?, origin: origin.0, instance, bus, over };
            threads.push(super::spawn("store-canary".into(), move || worker.run())?);
        }
        let route = move || {
            route::run(&append, &workers, &voice);
            drop(alive);
        };
        threads.push(super::spawn("store-route".into(), route)?);
        Ok(Running { threads, epoch })
    }
}

/// A store whose threads run.
#[derive(Debug)]
pub struct Running {
    threads: Vec<JoinHandle<()>>,
    epoch: Arc<KnownEpoch>,
}

impl Running {
    /// The epoch that this process knows and the one that took its place: it has to be started again. Looked at once a second.
    pub fn replaced_epoch(&self) -> Option<(Epoch, Epoch)> {
        self.epoch.replaced()
    }

    /// Waits until all senders are gone and what they sent is answered.
    pub fn join(self) {
        for thread in self.threads {
            super::warn_of_panic(thread.join());
        }
    }
}

/// Gives the store another epoch: for after a restore or an asynchronous failover, when logs may have lost
/// what clients have seen. Answers the old and the new one. Gateways that run see it within a second or two and end, since what they
/// know is of the old logs.
pub fn new_epoch(url: &str, source: Option<IpAddr>) -> Result<(Epoch, Epoch), OpenError> {
    let mut connection = Connection::new(&target(url, source)?, Role::Append, Arc::default(), None)?;
    let fresh = Epoch(getrandom::u32().map_err(|_| io::Error::other("no random number"))?);
    let refused = |refusal| match refusal {
        Refusal::Unfit(unfit) => OpenError::Unfit(unfit),
        Refusal::Call(fault) => OpenError::Unreachable(fault.cause.text),
    };
    connection.advance(|| {}).map_err(refused)?;
    match connection.link() {
        Some(link) => schema::replace_epoch(link, fresh).map_err(refused),
        None => Err(OpenError::Unreachable("the connection was lost".into())),
    }
}

fn target(url: &str, source: Option<IpAddr>) -> Result<Target, OpenError> {
    Target::parse(url, source).map_err(OpenError::Url)
}

/// The longest that an append waits for a server that says nothing.
pub const SILENCE_MAX: Duration = link::CALL_TIMEOUT;
