//! The text of `/metrics`, in the OpenMetrics format. The cells of all reactors are summed when it is requested.

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
use super::reactor::ReactorCounters;
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
    pub store: Arc<StoreCounters>,
    pub auth: Arc<AuthCounters>,
    pub watch: Arc<WatchCounters>,
    pub admin: Arc<AdminCounters>,
    /// The TLS values that all reactors share.
    pub tls: Arc<TlsCounters>,
    pub reloads: Arc<ReloadCounters>,
    bus: Option<Arc<BusCounters>>,
    log_dropped: fn() -> u64,
    instance: Arc<str>,
}

impl Metrics {
    /// Creates the counters for `reactors` reactors. `log_dropped` returns the number of dropped log lines.
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

    /// The cells of one reactor. An unknown reactor gets cells that no scrape reads.
    pub fn reactor(&self, id: ReactorId) -> Arc<ReactorCounters> {
        self.reactors.get(usize::from(id.0)).cloned().unwrap_or_default()
    }

    /// The commands that all reactors received so far, and how many of them failed because of the gateway or a
    /// dependency.
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

    /// Encodes all metrics.
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
    /// Commands that were answered `unavailable`, `overloaded` or `unconfirmed`.
    pub failed: u64,
    /// Commands received, including the failed ones.
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
        sheet.labelled("build_info", "Always 1; the labels identify the version and the instance", MetricType::Gauge, [(&labels[..], 1)])?;
        sheet.gauge("memory_bytes", "Resident memory at the last measurement, in bytes", self.vitals.memory_bytes())?;
        sheet.gauge("memory_bytes_max", "Bound on resident memory in bytes (limits.memory_bytes)", self.vitals.memory_bytes_max())?;
        sheet.gauge("descriptors", "File descriptors in use", self.vitals.descriptors())?;
        sheet.gauge("descriptors_max", "File descriptors the process may open", self.vitals.descriptors_max)?;
        sheet.counter("turns", "Turns of all reactor loops", self.sum(|r| &r.turns))?;
        sheet.counter("slow_turns", "Reactor turns longer than 10 ms", self.sum(|r| &r.slow_turns))?;
        sheet.counter("log_lines_dropped", "Log lines dropped because the queue was full or the line too long", self.log_dropped)
    }

    fn traffic(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        sheet.counter(
            "messages_received",
            "WebSocket messages and control frames received",
            self.sum(|r| &r.messages_received),
        )?;
        sheet.counter("commands", "Commands received from clients", self.sum(|r| &r.commands))?;
        sheet.counter("received_bytes", "Bytes received from clients", self.sum(|r| &r.bytes_received))?;
        sheet.counter("sent_bytes", "Bytes sent to clients", self.sum(|r| &r.bytes_sent))?;
        sheet.counter("publishes", "Publications queued for the store", self.sum(|r| &r.publishes))?;
        sheet.counter("published", "Publications acknowledged with published", self.sum(|r| &r.published))?;
        sheet.counter("deliveries", "Publications delivered, counted once for each subscriber", self.sum(|r| &r.deliveries))?;
        sheet.counter("runs", "Batches of frames delivered, at most one for each subscriber, channel and turn", self.sum(|r| &r.runs))?;
        sheet.counter("lagged", "Times a subscriber fell behind", self.sum(|r| &r.lagged))?;
        sheet.counter("replay_pages", "Pages read from the store for replays", self.sum(|r| &r.replay_pages))?;
        sheet.counter(
            "recovery_reads",
            "Store reads made for recovering clients",
            self.sum(|r| &r.recovery_reads),
        )?;
        sheet.counter(
            "recoveries_refused",
            "Store reads for recovering clients that were refused because too many were waiting",
            self.sum(|r| &r.recoveries_refused),
        )?;
        sheet.counter("signals", "Signals accepted", self.sum(|r| &r.signals))?;
        sheet.counter("pings", "WebSocket pings sent", self.sum(|r| &r.pings))?;
        sheet.counter("beats", "Beats (heartbeat messages) sent", self.sum(|r| &r.beats))?;
        sheet.counter("statuses", "Status messages sent to connections after a change", self.sum(|r| &r.statuses))?;
        sheet.counter(
            "live_missed",
            "Times a reactor had to catch up from the store because its live lane had been full",
            self.sum(|r| &r.live_missed),
        )?;
        sheet.counter("late_answers", "Requests answered at their deadline because no worker had answered", self.sum(|r| &r.late))?;
        let labels = ErrorCode::ALL.map(|code| [("code", code.as_str())]);
        let errors = labels.iter().enumerate().map(|(index, label)| {
            let total = self.reactors.iter().filter_map(|r| r.errors.get(index)).map(Cell::read).sum();
            (&label[..], total)
        });
        sheet.labelled("errors", "Error replies sent, by error code", MetricType::Counter, errors)
    }

    fn bounds(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        sheet.gauge("pending", "Requests waiting for a worker", self.sum(|r| &r.pending))?;
        sheet.gauge(
            "recoveries_waiting",
            "Store reads for recovering clients that are waiting",
            self.sum(|r| &r.recoveries_waiting),
        )?;
        sheet.gauge("outbox_bytes", "Bytes waiting to be written to sockets", self.sum(|r| &r.outbox_bytes))?;
        sheet.gauge("tail_bytes", "Bytes of recent publications kept in memory", self.sum(|r| &r.tail_bytes))?;
        sheet.gauge("channels", "Channels with subscribers, counted once for each reactor", self.sum(|r| &r.channels))?;
        sheet.gauge("subscriptions", "Active subscriptions", self.sum(|r| &r.subscriptions))
    }

    fn store(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let store = &self.store;
        sheet.counter("store_appends", "Publications committed", read(&store.appends))?;
        sheet.counter("store_duplicates", "Appends that repeated a known idempotency key", read(&store.duplicates))?;
        sheet.counter("store_batches", "Batches attempted, committed or not", read(&store.batches))?;
        sheet.counter("store_unavailable", "Appends answered unavailable", read(&store.unavailable))?;
        sheet.counter("store_unconfirmed", "Appends answered unconfirmed", read(&store.unconfirmed))?;
        let refused = [
            ([("reason", "key_conflict")], read(&store.refused_key_conflict)),
            ([("reason", "not_found")], read(&store.refused_not_found)),
            ([("reason", "not_author")], read(&store.refused_not_author)),
            ([("reason", "too_many_channels")], read(&store.refused_too_many_channels)),
        ];
        let refused = refused.iter().map(|(label, total)| (&label[..], *total));
        sheet.labelled("store_refused", "Appends refused, by reason", MetricType::Counter, refused)?;
        sheet.counter("store_batched", "Appends in all attempted batches", read(&store.batched))?;
        sheet.counter("store_keys_forgotten", "Expired idempotency keys deleted", read(&store.keys_forgotten))?;
        sheet.counter(
            "store_retention_failures",
            "Retention passes that failed; they are retried",
            read(&store.retention_failures),
        )?;
        sheet.counter(
            "store_live_missed",
            "Batches that did not fit into a reactor's live lane",
            read(&store.live_missed),
        )?;
        sheet.counter("store_reads", "Pages and channel heads read", read(&store.reads))?;
        sheet.counter("store_read_failures", "Store reads that failed", read(&store.read_failures))?;
        sheet.counter(
            "store_retention_deletes",
            "Publications deleted by retention",
            read(&store.retention_deletes),
        )?;
        sheet.counter("store_checkpoints", "Checkpoints of the write-ahead log that ran", read(&store.checkpoints))?;
        sheet.counter(
            "store_checkpoint_failures",
            "Checkpoints that failed or could not finish",
            read(&store.checkpoint_failures),
        )?;
        sheet.gauge("store_wal_bytes", "Size of the write-ahead log in bytes at the last check", read(&store.wal_bytes))?;
        sheet.counter(
            "store_reconnects",
            "Lost connections to the store that were restored",
            read(&store.reconnects),
        )?;
        sheet.counter(
            "store_connections_abandoned",
            "Connections abandoned because the store did not answer in time",
            read(&store.connections_abandoned),
        )?;
        sheet.gauge("store_failing", "1 if the last write failed, else 0", read(&store.failing))?;
        let buckets: Vec<u64> = store.commit_latency.buckets.iter().map(read).collect();
        let sum_s = read(&store.commit_latency.sum_us) as f64 / 1e6;
        sheet.histogram(
            "store_commit_seconds",
            "Time from the first statement of a batch to the end of its commit, in seconds",
            &buckets,
            sum_s,
        )
    }

    fn auth_service(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let service = &self.auth.service;
        let made = read(&service.introspections);
        sheet.counter("introspections", "Token introspection calls made to the auth service", made)?;
        let failed = read(&service.introspections_failed);
        sheet.counter("introspections_failed", "Introspection calls that got no usable answer", failed)?;
        let us = read(&service.introspection_us);
        sheet.counter("introspection_microseconds", "Total duration of introspection calls, in microseconds", us)?;
        let joined = read(&service.joined);
        sheet.counter("introspections_joined", "Tokens that shared an introspection call of another connection", joined)?;
        let found = [
            ([("found", "fresh")], read(&service.cache_hits)),
            ([("found", "stale_used")], read(&service.cache_stale)),
            ([("found", "nothing")], read(&service.cache_misses)),
        ];
        let help = "Lookups in the cache of introspection results, by result";
        let found = found.iter().map(|(labels, total)| (&labels[..], *total));
        sheet.labelled("introspection_cache", help, MetricType::Counter, found)?;
        sheet.counter("tokens_unjudged", "Tokens that could not be verified because the auth service was unavailable", read(&service.unjudged))?;
        let over = read(&service.too_many_waiting);
        sheet.counter("tokens_too_many_waiting", "Tokens refused because auth.waiting was reached", over)?;
        sheet.gauge("tokens_waiting", "Tokens waiting for the auth service", read(&service.waiting))?;
        let entries = read(&service.cache_entries);
        sheet.gauge("introspection_cache_entries", "Introspection results in the cache", entries)?;
        let bytes = read(&service.cache_bytes);
        sheet.gauge("introspection_cache_bytes", "Approximate size of the cached positive results, in bytes", bytes)?;
        let fetches = read(&service.key_set_fetches);
        sheet.counter("key_set_fetches", "Attempts to fetch the issuer's key set", fetches)?;
        let failures = read(&service.key_set_failures);
        sheet.counter("key_set_failures", "Attempts to fetch the key set that failed", failures)?;
        sheet.gauge("key_set_keys", "Keys in the issuer's key set in use", read(&service.key_set_keys))?;
        let fetched = read(&service.key_set_unix_ms) / 1_000;
        sheet.gauge("key_set_timestamp_seconds", "Unix time of the last successful key set fetch, in seconds; 0 if never", fetched)
    }

    fn auth(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let auth = &self.auth;
        sheet.counter("tokens_checked", "Tokens checked, valid or not", read(&auth.tokens_checked))?;
        let faults: Vec<_> =
            auth.token_faults().map(|(fault, total)| ([("fault", fault.word())], total)).collect();
        let faults = faults.iter().map(|(label, total)| (&label[..], *total));
        sheet.labelled("tokens_refused", "Tokens refused, by fault", MetricType::Counter, faults)?;
        sheet.counter("tokens_other_user", "Token refreshes refused because the token belongs to another user", read(&auth.other_user))?;
        sheet.counter(
            "users_too_many",
            "Connections refused because the user has too many",
            read(&auth.too_many_of_user),
        )?;
        sheet.counter("addresses_checked", "Client addresses checked against the bounds for one address", read(&auth.addresses_checked))?;
        let turned_away = [
            ([("reason", "too_many")], read(&auth.addresses_too_many)),
            ([("reason", "too_fast")], read(&auth.addresses_too_fast)),
        ];
        let turned_away = turned_away.iter().map(|(label, total)| (&label[..], *total));
        sheet.labelled("addresses_refused", "Connections refused because of their address, by reason", MetricType::Counter, turned_away)?;
        sheet.counter("auth_panics", "Token checks that panicked (each is also counted as malformed)", read(&auth.panics))?;
        sheet.gauge("users", "Users with open connections", read(&auth.users))?;
        sheet.gauge("addresses", "Client addresses tracked", read(&auth.addresses))
    }
}

fn read(cell: &AtomicU64) -> u64 {
    cell.load(Ordering::Relaxed)
}
