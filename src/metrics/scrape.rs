//! `/metrics`: everything that is counted, as OpenMetrics text, summed over the reactors when it is asked for.

mod bus;
mod connections;
mod drain;
mod reload;
mod sheet;
mod tls;
mod watch;

use super::Cell;
use super::admin::AdminCounters;
use super::auth::AuthCounters;
use super::bus::BusCounters;
use super::reactor::{CLOSE_CODES, ReactorCounters};
use super::reload::ReloadCounters;
use super::store::StoreCounters;
use super::tls::TlsCounters;
use super::vitals::Vitals;
use super::watch::WatchCounters;
use crate::id::ReactorId;
use crate::wire::push::ErrorCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text::encode};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use sheet::Sheet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// All counters of the process.
#[derive(Debug)]
pub struct Metrics {
    reactors: Vec<Arc<ReactorCounters>>,
    /// The store's.
    pub store: Arc<StoreCounters>,
    /// The auth worker's.
    pub auth: Arc<AuthCounters>,
    /// The watch worker's.
    pub watch: Arc<WatchCounters>,
    /// The admin listener's.
    pub admin: Arc<AdminCounters>,
    /// What all reactors have in common of TLS.
    pub tls: Arc<TlsCounters>,
    /// The reload thread's.
    pub reloads: Arc<ReloadCounters>,
    bus: Option<Arc<BusCounters>>,
    log_dropped: fn() -> u64,
    instance: Arc<str>,
}

impl Metrics {
    /// For so many reactors; `log_dropped` reads how many log lines were dropped.
    pub fn new(
        reactors: usize,
        instance: Arc<str>,
        (watch, bus): (Arc<WatchCounters>, Option<Arc<BusCounters>>),
        log_dropped: fn() -> u64,
    ) -> Metrics {
        Metrics {
            reactors: (0..reactors).map(|_| Arc::default()).collect(),
            store: Arc::default(),
            auth: Arc::default(),
            watch,
            admin: Arc::default(),
            tls: Arc::default(),
            reloads: Arc::default(),
            bus,
            log_dropped,
            instance,
        }
    }

    /// One reactor's cells; a reactor that was not planned for counts into cells nobody reads.
    pub fn reactor(&self, id: ReactorId) -> Arc<ReactorCounters> {
        self.reactors.get(usize::from(id.0)).cloned().unwrap_or_default()
    }

    /// Commands of all reactors so far, and those that failed through our fault or a dependency's.
    pub fn commands(&self) -> Commands {
        let ours = [ErrorCode::Unavailable, ErrorCode::Overloaded, ErrorCode::Unconfirmed];
        let failed = |reactor: &ReactorCounters| -> u64 {
            ours.iter().filter_map(|code| reactor.errors.get(code.index())).map(Cell::read).sum()
        };
        Commands {
            failed: self.reactors.iter().map(|reactor| failed(reactor)).sum(),
            all: self.reactors.iter().map(|reactor| reactor.commands.read()).sum(),
        }
    }

    /// The text of a scrape.
    pub fn text(&self, vitals: &Arc<Vitals>) -> String {
        let mut registry = Registry::with_prefix("seawall");
        registry.register_collector(Box::new(Scrape {
            reactors: self.reactors.clone(),
            store: Arc::clone(&self.store),
            auth: Arc::clone(&self.auth),
            watch: Arc::clone(&self.watch),
            admin: Arc::clone(&self.admin),
            tls: Arc::clone(&self.tls),
            reloads: Arc::clone(&self.reloads),
            bus: self.bus.clone(),
            vitals: Arc::clone(vitals),
            log_dropped: (self.log_dropped)(),
            instance: Arc::clone(&self.instance),
        }));
        let mut text = String::with_capacity(16 << 10);
        // Writing to a String fails only if a metric's own encoding does; ours cannot.
        let _ = encode(&mut text, &registry);
        text
    }
}

/// Totals since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Commands {
    /// Answered `unavailable`, `overloaded` or `unconfirmed`.
    pub failed: u64,
    /// Received.
    pub all: u64,
}

#[derive(Debug)]
struct Scrape {
    reactors: Vec<Arc<ReactorCounters>>,
    store: Arc<StoreCounters>,
    auth: Arc<AuthCounters>,
    watch: Arc<WatchCounters>,
    admin: Arc<AdminCounters>,
    tls: Arc<TlsCounters>,
    reloads: Arc<ReloadCounters>,
    bus: Option<Arc<BusCounters>>,
    vitals: Arc<Vitals>,
    log_dropped: u64,
    instance: Arc<str>,
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut sheet = Sheet(encoder);
        self.process(&mut sheet)?;
        self.reloads.encode(&mut sheet)?;
        self.connections(&mut sheet)?;
        self.tls(&mut sheet)?;
        self.drain(&mut sheet)?;
        self.traffic(&mut sheet)?;
        self.bounds(&mut sheet)?;
        self.store(&mut sheet)?;
        self.auth(&mut sheet)?;
        self.auth_service(&mut sheet)?;
        self.bus(&mut sheet)?;
        self.watch(&mut sheet)
    }
}

impl Scrape {
    fn sum(&self, cell: impl Fn(&ReactorCounters) -> &Cell) -> u64 {
        self.reactors.iter().map(|reactor| cell(reactor).read()).sum()
    }

    fn process(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let labels = [("version", env!("CARGO_PKG_VERSION")), ("instance_name", &self.instance)];
        sheet.labelled("build_info", "What runs here", MetricType::Gauge, [(&labels[..], 1)])?;
        sheet.gauge("memory_bytes", "Resident memory when last looked at", self.vitals.memory_bytes())?;
        sheet.gauge("memory_bytes_max", "limits.memory_bytes", self.vitals.memory_bytes_max())?;
        sheet.gauge("descriptors", "Descriptors in use", self.vitals.descriptors())?;
        sheet.gauge("descriptors_max", "Descriptors the process may have", self.vitals.descriptors_max)?;
        sheet.counter("turns", "Turns of the reactors", self.sum(|r| &r.turns))?;
        sheet.counter("slow_turns", "Turns longer than 10 ms", self.sum(|r| &r.slow_turns))?;
        sheet.counter("log_lines_dropped", "Log lines that found no room in the queue", self.log_dropped)
    }

    fn traffic(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        sheet.counter(
            "messages_received",
            "Messages and control frames received",
            self.sum(|r| &r.messages_received),
        )?;
        sheet.counter("commands", "Commands received", self.sum(|r| &r.commands))?;
        sheet.counter("received_bytes", "Bytes received", self.sum(|r| &r.bytes_received))?;
        sheet.counter("sent_bytes", "Bytes sent", self.sum(|r| &r.bytes_sent))?;
        sheet.counter("publishes", "Publications handed to the store", self.sum(|r| &r.publishes))?;
        sheet.counter("published", "Publications answered with published", self.sum(|r| &r.published))?;
        sheet.counter("deliveries", "Publications given to subscribers", self.sum(|r| &r.deliveries))?;
        sheet.counter("runs", "Runs of frames given to subscribers", self.sum(|r| &r.runs))?;
        sheet.counter("lagged", "Subscribers that fell behind", self.sum(|r| &r.lagged))?;
        sheet.counter("replay_pages", "Pages read for replays", self.sum(|r| &r.replay_pages))?;
        sheet.counter(
            "recovery_reads",
            "Reads of the store for who comes back",
            self.sum(|r| &r.recovery_reads),
        )?;
        sheet.counter(
            "recoveries_refused",
            "Reads for who comes back that found no room",
            self.sum(|r| &r.recoveries_refused),
        )?;
        sheet.counter("signals", "Signals taken", self.sum(|r| &r.signals))?;
        sheet.counter("pings", "Pings sent", self.sum(|r| &r.pings))?;
        sheet.counter("beats", "Beats sent", self.sum(|r| &r.beats))?;
        sheet.counter("statuses", "Changes of status told to a connection", self.sum(|r| &r.statuses))?;
        sheet.counter(
            "live_missed",
            "Times a reactor's lane of publications was full",
            self.sum(|r| &r.live_missed),
        )?;
        sheet.counter("late_answers", "Requests answered at their deadline", self.sum(|r| &r.late))?;
        let labels = ErrorCode::ALL.map(|code| [("code", code.as_str())]);
        let errors = labels.iter().enumerate().map(|(index, label)| {
            let total = self.reactors.iter().filter_map(|r| r.errors.get(index)).map(Cell::read).sum();
            (&label[..], total)
        });
        sheet.labelled("errors", "Commands refused, by code", MetricType::Counter, errors)
    }

    fn bounds(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        sheet.gauge("pending", "Requests that wait for a worker", self.sum(|r| &r.pending))?;
        sheet.gauge(
            "recoveries_waiting",
            "Reads for who comes back that wait for their turn",
            self.sum(|r| &r.recoveries_waiting),
        )?;
        sheet.gauge("outbox_bytes", "Bytes that wait for sockets", self.sum(|r| &r.outbox_bytes))?;
        sheet.gauge("tail_bytes", "Bytes of recent publications", self.sum(|r| &r.tail_bytes))?;
        sheet.gauge("channels", "Channels followed, summed over reactors", self.sum(|r| &r.channels))?;
        sheet.gauge("subscriptions", "Subscriptions", self.sum(|r| &r.subscriptions))
    }

    fn store(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let store = &self.store;
        sheet.counter("store_appends", "Publications committed", read(&store.appends))?;
        sheet.counter("store_duplicates", "Appends under a key that was known", read(&store.duplicates))?;
        sheet.counter("store_batches", "Batches tried", read(&store.batches))?;
        sheet.counter("store_unavailable", "Appends answered unavailable", read(&store.unavailable))?;
        sheet.counter("store_unconfirmed", "Appends answered unconfirmed", read(&store.unconfirmed))?;
        let refused = [
            ([("reason", "key_conflict")], read(&store.refused_key_conflict)),
            ([("reason", "not_found")], read(&store.refused_not_found)),
            ([("reason", "not_author")], read(&store.refused_not_author)),
            ([("reason", "too_many_channels")], read(&store.refused_too_many_channels)),
        ];
        let refused = refused.iter().map(|(label, total)| (&label[..], *total));
        sheet.labelled("store_refused", "Appends refused", MetricType::Counter, refused)?;
        sheet.counter("store_batched", "Appends in those batches", read(&store.batched))?;
        sheet.counter("store_keys_forgotten", "Idempotency keys forgotten", read(&store.keys_forgotten))?;
        sheet.counter(
            "store_retention_failures",
            "Slices of retention that failed",
            read(&store.retention_failures),
        )?;
        sheet.counter(
            "store_live_missed",
            "Batches that did not fit a reactor's lane",
            read(&store.live_missed),
        )?;
        sheet.counter("store_reads", "Pages and heads read", read(&store.reads))?;
        sheet.counter("store_read_failures", "Reads that failed", read(&store.read_failures))?;
        sheet.counter(
            "store_retention_deletes",
            "Publications retention deleted",
            read(&store.retention_deletes),
        )?;
        sheet.counter("store_checkpoints", "Checkpoints of the write-ahead log", read(&store.checkpoints))?;
        sheet.counter(
            "store_checkpoint_failures",
            "Checkpoints that failed",
            read(&store.checkpoint_failures),
        )?;
        sheet.gauge("store_wal_bytes", "Bytes of the write-ahead log", read(&store.wal_bytes))?;
        sheet.counter(
            "store_reconnects",
            "Connections to the store that came back",
            read(&store.reconnects),
        )?;
        sheet.counter(
            "store_connections_abandoned",
            "Connections given up because the store did not answer",
            read(&store.connections_abandoned),
        )?;
        sheet.gauge("store_failing", "1 while the last write failed", read(&store.failing))?;
        let buckets: Vec<u64> = store.commit_latency.buckets.iter().map(read).collect();
        let sum_s = read(&store.commit_latency.sum_us) as f64 / 1e6;
        sheet.histogram(
            "store_commit_seconds",
            "From a batch's first statement to its commit",
            &buckets,
            sum_s,
        )
    }

    fn auth_service(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let service = &self.auth.service;
        let made = read(&service.introspections);
        sheet.counter("introspections", "Calls to the auth service about a token", made)?;
        let failed = read(&service.introspections_failed);
        sheet.counter("introspections_failed", "Those without a usable answer", failed)?;
        let us = read(&service.introspection_us);
        sheet.counter("introspection_microseconds", "Time of all of them together", us)?;
        let joined = read(&service.joined);
        sheet.counter("introspections_joined", "Tokens that joined another connection's call", joined)?;
        let found = [
            ([("found", "fresh")], read(&service.cache_hits)),
            ([("found", "stale_used")], read(&service.cache_stale)),
            ([("found", "nothing")], read(&service.cache_misses)),
        ];
        let help = "Tokens looked up among the answers that are remembered";
        let found = found.iter().map(|(labels, total)| (&labels[..], *total));
        sheet.labelled("introspection_cache", help, MetricType::Counter, found)?;
        sheet.counter("tokens_unjudged", "Tokens that nobody could judge", read(&service.unjudged))?;
        let over = read(&service.too_many_waiting);
        sheet.counter("tokens_too_many_waiting", "Tokens that found auth.waiting reached", over)?;
        sheet.gauge("tokens_waiting", "Tokens that wait for the auth service", read(&service.waiting))?;
        let entries = read(&service.cache_entries);
        sheet.gauge("introspection_cache_entries", "Answers that are remembered", entries)?;
        let bytes = read(&service.cache_bytes);
        sheet.gauge("introspection_cache_bytes", "Bytes of the good ones, about", bytes)?;
        let fetches = read(&service.key_set_fetches);
        sheet.counter("key_set_fetches", "Fetches of the issuer's key set", fetches)?;
        let failures = read(&service.key_set_failures);
        sheet.counter("key_set_failures", "Those that brought none", failures)?;
        sheet.gauge("key_set_keys", "Keys of the issuer in use", read(&service.key_set_keys))?;
        let fetched = read(&service.key_set_unix_ms) / 1_000;
        sheet.gauge("key_set_timestamp_seconds", "When they were fetched, since 1970; 0: never", fetched)
    }

    fn auth(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let auth = &self.auth;
        sheet.counter("tokens_checked", "Tokens checked", read(&auth.tokens_checked))?;
        let faults: Vec<_> =
            auth.token_faults().map(|(fault, total)| ([("fault", fault.word())], total)).collect();
        let faults = faults.iter().map(|(label, total)| (&label[..], *total));
        sheet.labelled("tokens_refused", "Tokens refused", MetricType::Counter, faults)?;
        sheet.counter("tokens_other_user", "Refreshes with another user's token", read(&auth.other_user))?;
        sheet.counter(
            "users_too_many",
            "Connections of a user with too many",
            read(&auth.too_many_of_user),
        )?;
        sheet.counter("addresses_checked", "Addresses checked", read(&auth.addresses_checked))?;
        let turned_away = [
            ([("reason", "too_many")], read(&auth.addresses_too_many)),
            ([("reason", "too_fast")], read(&auth.addresses_too_fast)),
        ];
        let turned_away = turned_away.iter().map(|(label, total)| (&label[..], *total));
        sheet.labelled("addresses_refused", "Addresses turned away", MetricType::Counter, turned_away)?;
        sheet.counter("auth_panics", "Token checks that panicked", read(&auth.panics))?;
        sheet.gauge("users", "Users that are counted", read(&auth.users))?;
        sheet.gauge("addresses", "Addresses that are remembered", read(&auth.addresses))
    }
}

fn read(cell: &AtomicU64) -> u64 {
    cell.load(Ordering::Relaxed)
}
