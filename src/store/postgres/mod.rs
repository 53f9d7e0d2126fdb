//! The store in PostgreSQL: the same log as in SQLite, for many instances on one database.
//!
//! `store-route` passes each append to the worker of its channel and `store-streams` each command about a stream, `store-append-N`
//! commit batches, each in one statement, and streams,
//! `store-read-N` read pages, `store-retention` deletes, `store-relay` does the requests of the relay, and `store-slo` shares what objectives counted. Each has one connection, which reconnects by itself: a gateway
//! starts while its database is down and refuses publications until it is up.

mod alerts;
pub(crate) mod append;
mod batch;
mod bus_key;
mod canary;
mod connection;
mod counts;
mod drop_channels;
mod due_channels;
mod epoch;
mod erase_users;
mod exclusions;
mod failed_writes;
mod fault;
mod known_heads;
mod known_logs;
mod link;
mod member;
mod orders;
mod past;
mod presence;
mod probe;
mod probe_channel;
mod read;
mod read_streams;
mod relay;
mod retention;
mod route;
mod route_streams;
mod schema;
mod stream_writer;
mod streams;
mod suspicion;
mod timing;
mod trial;
mod weight;

pub use crate::net::postgres::AddressError;
pub use fault::{MissingRight, Unfit};
pub use member::ClusterMember;
pub use probe::{StoreProbe, Unmigrated};
pub use read::page_of;
pub use schema::VERSION;

use crate::id::Epoch;
use crate::job::shared_counts::CountsEnds;
use crate::job::stream::StreamWork;
use crate::job::{EvidenceSender, Outlook, Read};
use crate::limits::{APPEND_QUEUE, STREAM_QUEUE};
use crate::metrics::store::StoreCounters;
use crate::metrics::streams::StreamCounters;
use crate::store::answers::Answers;
use crate::store::loaded_orders::LoadedOrders;
use crate::store::thread::{spawn, warn_of_panic};
use crate::store::wall_clock::WallClock;
use crate::store::{Dropped, Retention, Selection, StoreEnds, StoreSchema, StreamEnds};
use crate::stream::StreamSettings;
use append::PostgresAppender;
use batch::AppendBounds;
use canary::CanaryWorker;
use connection::{ConnectionRole, ServerTarget, StoreConnection};
use counts::CountsWorker;
use crossbeam_channel::{Receiver, Sender, bounded};
use epoch::KnownEpoch;
use failed_writes::FailedWrites;
use fault::CallFault;
use known_heads::KnownHeads;
use orders::PostgresOrders;
use presence::Presence;
use probe_channel::ProbeChannel;
use read::PostgresReader;
use retention::{RetainedBounds, RetentionWorker};
use schema::ConnectRefusal;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;
use stream_writer::{SharedStreamWriter, Sweeps};
use trial::TrialCalls;

/// Channels noted for retention and not yet handled.
const NOTES: usize = 4_096;

/// The settings of a store in PostgreSQL.
#[derive(Clone)]
pub struct PostgresConfig {
    /// The address: `postgres://user:password@host/database`. It holds a secret and is never shown.
    pub url: String,
    pub retention: Retention,
    /// `retention.bytes`: about the bytes of publications above which the oldest are deleted; 0: no bound.
    pub bytes_max: u64,
    /// `limits.channels`: the number of channels that may exist.
    pub channels_max: u64,
    /// `limits.edits`: the number of retained edits of one original.
    pub edits_max: u32,
    /// The number of threads that append, each with a connection; at least 1.
    pub writers: usize,
    /// The number of threads that read pages, each with a connection; at least 1.
    pub readers: usize,
    /// The address that connections leave from; `None`: the system chooses.
    pub source: Option<IpAddr>,
    /// This instance as one of all that share the store; `None` if the others need not know of it.
    pub member: Option<ClusterMember>,
    /// The name of this process, under which its trial calls publish.
    pub instance: Arc<str>,
    /// Where connections made, refused and lost are reported.
    pub evidence: Option<EvidenceSender>,
    /// Where the watch thread asks for trial calls; `None`: there are none.
    pub outlook: Option<Arc<Outlook>>,
    /// The bounds and deadlines of streams, of all writers together.
    pub streams: StreamSettings,
}

impl fmt::Debug for PostgresConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PostgresConfig").finish_non_exhaustive()
    }
}

/// The reason why a store in PostgreSQL cannot be opened.
#[derive(Debug)]
pub enum PostgresOpenError {
    /// The URL is not one of PostgreSQL, or contradicts itself.
    Url(AddressError),
    /// The database answers but cannot be our store.
    Unfit(Unfit),
    /// The database does not answer, and the command needs it.
    Unreachable(String),
    /// The system gave no thread or timer.
    System(io::Error),
}

impl fmt::Display for PostgresOpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PostgresOpenError::Url(error) => write!(f, "store.url: {error}"),
            PostgresOpenError::Unfit(unfit) => write!(f, "store.url: {unfit}"),
            PostgresOpenError::Unreachable(text) => write!(f, "the store cannot be reached: {text}"),
            PostgresOpenError::System(error) => write!(f, "cannot set the store's workers up: {error}"),
        }
    }
}

impl std::error::Error for PostgresOpenError {}

impl From<io::Error> for PostgresOpenError {
    fn from(error: io::Error) -> PostgresOpenError {
        PostgresOpenError::System(error)
    }
}

/// A store whose threads do not run yet.
#[derive(Debug)]
pub struct PostgresStore {
    config: PostgresConfig,
    target: ServerTarget,
    /// `None`: the database did not answer. The thread `store-canary` then reads them.
    orders: Option<LoadedOrders>,
}

impl PostgresStore {
    /// Reads the URL and connects once. A server that is down, or a standby that may be promoted, is only logged; a database
    /// written by a newer program is refused.
    pub fn open(config: PostgresConfig) -> Result<PostgresStore, PostgresOpenError> {
        let target = target(&config.url, config.source)?;
        let mut first = StoreConnection::new(&target, ConnectionRole::Append, Arc::default(), None);
        match first.advance(|| {}) {
            Err(ConnectRefusal::Unfit(unfit @ (Unfit::Newer { .. } | Unfit::Encoding { .. }))) => {
                Err(PostgresOpenError::Unfit(unfit))
            }
            Ok(()) => {
                let orders = orders::load(&mut first).ok();
                Ok(PostgresStore { config, target, orders })
            }
            Err(ConnectRefusal::Unfit(_) | ConnectRefusal::Call(_)) => {
                Ok(PostgresStore { config, target, orders: None })
            }
        }
    }

    /// Starts the threads.
    pub fn start(self, ends: StoreEnds) -> io::Result<RunningPostgres> {
        let StoreEnds { mailboxes, callers, appends, reads, streams, relay, counters, orders, shared_counts } =
            ends;
        let PostgresStore { config, target, orders: loaded } = self;
        if let Some(loaded) = loaded {
            loaded.give(&orders.board);
        }
        let bus = config.member.as_ref().and_then(|member| member.bus.clone());
        let answers = Answers::new(mailboxes, callers, bus, relay.watch(), Arc::clone(&counters));
        let connect =
            |role| StoreConnection::new(&target, role, Arc::clone(&counters), config.evidence.clone());
        let (overfull, notes) = bounded(NOTES);
        let epoch = Arc::new(KnownEpoch::default());
        let mut threads = Vec::new();
        let mut workers = Vec::new();
        let writers = config.writers.max(1);
        let (of_streams, stream_workers) = stream_writers(&config, &streams, &answers, (&epoch, &counters));
        let failed_writes = Arc::new(FailedWrites::default());
        let (channel, present) = (ProbeChannel::of(&config.instance), Presence::default());
        for (number, of_streams) in of_streams.into_iter().enumerate() {
            let (sender, jobs) = bounded(APPEND_QUEUE.div_ceil(writers));
            workers.push(sender);
            let worker = PostgresAppender {
                connection: connect(ConnectionRole::Append),
                clock: WallClock::System,
                jobs,
                answers: answers.clone(),
                counters: Arc::clone(&counters),
                bounds: append_bounds(&config),
                retention: config.retention,
                overfull: overfull.clone(),
                epoch: Arc::clone(&epoch),
                heads: KnownHeads::default(),
                doubt: Vec::new(),
                failed_writes: Arc::clone(&failed_writes),
                trials: TrialCalls::new(channel.clone(), config.outlook.clone(), Arc::clone(&counters)),
                presence: present.another(),
                writers,
                streams: of_streams,
                relay: relay.clone(),
            };
            threads.push(spawn(format!("store-append-{number}"), move || worker.run())?);
        }
        drop(overfull);
        let cells = (&counters, &streams.counters);
        let readers = readers(&config, &connect, &reads, &answers, cells, &epoch);
        for (number, worker) in readers.into_iter().enumerate() {
            threads.push(spawn(format!("store-read-{number}"), move || worker.run())?);
        }
        let (connection, bounds) = (connect(ConnectionRole::Retention), bounds(&config));
        let (cells, known) = ((Arc::clone(&counters), streams.counters), Arc::clone(&epoch));
        let worker = RetentionWorker::new(connection, WallClock::System, bounds, notes, cells, known);
        threads.push(spawn("store-retention".into(), move || worker.run())?);
        let (alive, over) = bounded(0);
        threads.push(relay::start(connect(ConnectionRole::Relay), relay, over.clone())?);
        if let Some(member) = config.member.clone() {
            let connection = connect(ConnectionRole::Canary);
            let orders = PostgresOrders::new(orders.board, orders.requests);
            let worker = CanaryWorker { connection, member, orders, over };
            threads.push(spawn("store-canary".into(), move || worker.run())?);
        }
        threads.extend(start_counts(shared_counts, connect(ConnectionRole::Counts), origin(&config))?);
        let route = move || {
            route::run(&appends, &workers, &answers);
            drop(alive);
        };
        threads.push(spawn("store-route".into(), route)?);
        let route = move || route_streams::run(&streams.work, &stream_workers);
        threads.push(spawn("store-streams".into(), route)?);
        Ok(RunningPostgres { threads, epoch })
    }
}

fn start_counts(
    ends: Option<CountsEnds>,
    connection: StoreConnection,
    origin: u64,
) -> io::Result<Option<JoinHandle<()>>> {
    let Some(ends) = ends else { return Ok(None) };
    let worker = CountsWorker { connection, ends, origin };
    spawn("store-slo".into(), move || worker.run()).map(Some)
}

fn append_bounds(config: &PostgresConfig) -> AppendBounds {
    let &PostgresConfig { channels_max, edits_max, .. } = config;
    AppendBounds { channels_max, edits_max, streams_max: config.streams.open_per_channel }
}

fn readers(
    config: &PostgresConfig,
    connect: &impl Fn(ConnectionRole) -> StoreConnection,
    reads: &Receiver<Read>,
    answers: &Answers,
    (counters, of_streams): (&Arc<StoreCounters>, &Arc<StreamCounters>),
    epoch: &Arc<KnownEpoch>,
) -> Vec<PostgresReader> {
    let presence = Presence::default();
    let reader = |_| PostgresReader {
        connection: connect(ConnectionRole::Read),
        jobs: reads.clone(),
        answers: answers.clone(),
        counters: Arc::clone(counters),
        of_streams: Arc::clone(of_streams),
        epoch: Arc::clone(epoch),
        streams_at_once: streams::loads_at_once(config.streams.message_bytes),
        presence: presence.another(),
    };
    (0..config.readers.max(1)).map(reader).collect()
}

/// This instance among the rows of all. Without a member nothing takes the duty of the leader.
fn origin(config: &PostgresConfig) -> u64 {
    config.member.as_ref().map_or(0, |member| member.signs.origin)
}

/// The streams of each append worker, and the way to them.
fn stream_writers(
    config: &PostgresConfig,
    ends: &StreamEnds,
    answers: &Answers,
    (epoch, counters): (&Arc<KnownEpoch>, &Arc<StoreCounters>),
) -> (Vec<SharedStreamWriter>, Vec<Sender<StreamWork>>) {
    let (settings, writers) = (&config.streams, config.writers.max(1));
    ends.counters.memory_bytes_max.store(settings.memory_bytes as u64, Ordering::Relaxed);
    let sweeps = std::iter::once(Sweeps::Yes).chain(std::iter::repeat(Sweeps::No));
    let writer = |sweeps| {
        let (sender, work) = bounded(STREAM_QUEUE.div_ceil(writers));
        let ends = StreamEnds::new(work, Arc::clone(&ends.queued_bytes), &ends.counters);
        let settings = share_of_streams(settings, writers);
        let logs = (Arc::clone(epoch), Arc::clone(counters));
        (SharedStreamWriter::new(settings, ends, answers.clone(), logs, sweeps), sender)
    };
    sweeps.take(writers).map(writer).unzip()
}

/// The bounds of one writer. Each has the streams of its channels, and its share of the memory for all.
fn share_of_streams(settings: &StreamSettings, writers: usize) -> StreamSettings {
    StreamSettings {
        pending_bytes: settings.pending_bytes / writers,
        memory_bytes: settings.memory_bytes / writers,
        ..settings.clone()
    }
}

fn bounds(config: &PostgresConfig) -> RetainedBounds {
    let &PostgresConfig { retention, bytes_max, channels_max, .. } = config;
    RetainedBounds { retention, bytes_max, channels_max }
}

/// A store whose threads run.
#[derive(Debug)]
pub struct RunningPostgres {
    threads: Vec<JoinHandle<()>>,
    epoch: Arc<KnownEpoch>,
}

impl RunningPostgres {
    /// The known epoch and the one that replaced it, if it was replaced: the process has to be restarted. Checked once a
    /// second.
    pub fn replaced_epoch(&self) -> Option<(Epoch, Epoch)> {
        self.epoch.replaced()
    }

    /// Waits until all senders are gone and what they sent is answered.
    pub fn join(self) {
        for thread in self.threads {
            warn_of_panic(thread.join());
        }
    }
}

/// Gives the store a new epoch, and returns the old and the new one. Needed after a restore or an asynchronous failover, which
/// may have lost publications that clients have seen. Running gateways notice it within two seconds and exit, because their
/// state belongs to the old logs.
pub fn new_epoch(url: &str, source: Option<IpAddr>) -> Result<(Epoch, Epoch), PostgresOpenError> {
    let mut connection =
        StoreConnection::new(&target(url, source)?, ConnectionRole::Append, Arc::default(), None);
    let fresh = Epoch(getrandom::u32().map_err(|_| io::Error::other("no random number"))?);
    let refused = |refusal| match refusal {
        ConnectRefusal::Unfit(unfit) => PostgresOpenError::Unfit(unfit),
        ConnectRefusal::Call(fault) => PostgresOpenError::Unreachable(fault.cause.text),
    };
    connection.advance(|| {}).map_err(refused)?;
    match connection.link() {
        Some(link) => schema::replace_epoch(link, fresh).map_err(refused),
        None => Err(PostgresOpenError::Unreachable("the connection was lost".into())),
    }
}

/// Deletes the selected channels with everything in them. Their offsets are not used again. Gateways may run.
pub fn drop_channels(
    url: &str,
    source: Option<IpAddr>,
    selection: &Selection,
) -> Result<Dropped, PostgresOpenError> {
    let mut connection =
        StoreConnection::new(&target(url, source)?, ConnectionRole::Append, Arc::default(), None);
    let unreachable = |fault: CallFault| PostgresOpenError::Unreachable(fault.cause.text);
    connection.advance(|| {}).map_err(|refusal| match refusal {
        ConnectRefusal::Unfit(unfit) => PostgresOpenError::Unfit(unfit),
        ConnectRefusal::Call(fault) => unreachable(fault),
    })?;
    match connection.link() {
        Some(link) => drop_channels::drop_all(link, selection).map_err(unreachable),
        None => Err(PostgresOpenError::Unreachable("the connection was lost".into())),
    }
}

/// Reads the versions that the store notes; `None` if the database has no tables of ours. Changes nothing and takes no lock.
pub fn noted_schema(url: &str, source: Option<IpAddr>) -> Result<Option<StoreSchema>, PostgresOpenError> {
    let mut connection =
        StoreConnection::new(&target(url, source)?, ConnectionRole::Read, Arc::default(), None);
    let failed = |fault: CallFault| PostgresOpenError::Unreachable(fault.cause.text);
    let mut link = connection.open(&mut || {}).map_err(failed)?;
    if schema::exists(&mut link).map_err(failed)? {
        schema::noted(&mut link).map(Some).map_err(failed)
    } else {
        Ok(None)
    }
}

fn target(url: &str, source: Option<IpAddr>) -> Result<ServerTarget, PostgresOpenError> {
    ServerTarget::parse(url, source).map_err(PostgresOpenError::Url)
}

/// The longest that an append waits for a silent server.
pub const SILENCE_MAX: Duration = link::CALL_TIMEOUT;
