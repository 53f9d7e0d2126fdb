//! The text of `/metrics`, in the OpenMetrics format. The cells of all reactors are summed when it is requested.

mod alerts;
mod api;
mod auth;
mod bus;
mod client_errors;
mod clients;
mod cluster;
mod connections;
mod drain;
mod latency;
mod orders;
mod presence;
mod registry;
mod relay;
mod reload;
mod sheet;
mod slo;
mod store;
mod streams;
mod text_format;
mod tls;
mod traffic;
mod values;
mod watch;

use super::Cell;
use super::admin::AdminCounters;
use super::alerts::AlertBoard;
use super::api::ApiCounters;
use super::auth::AuthCounters;
use super::bus::BusCounters;
use super::client_errors::ErrorBoard;
use super::clients::ClientCells;
use super::cluster::ClusterCounters;
use super::presence::PresenceCounters;
use super::reactor::{CLOSE_CODES, ReactorCounters};
use super::registry::RegistryCounters;
use super::relay::RelayMeters;
use super::reload::ReloadCounters;
use super::slo::{SloBoard, SloCells};
use super::store::StoreCounters;
use super::streams::StreamCounters;
use super::tls::TlsCounters;
use super::vitals::Vitals;
use super::watch::WatchCounters;
use crate::cluster::order_counts::OrderCounters;
use crate::id::ReactorId;
use crate::slo::SloPart;
use crate::slo::part::PartTotals;
use crate::wire::push::ErrorCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text::encode};
use prometheus_client::registry::Registry;
use sheet::Sheet;
use std::fmt;
use std::sync::Arc;
pub use text_format::MetricsFormat;
use values::{Scrape, ScrapedObjectives};

/// All counters of the process.
#[derive(Debug)]
pub struct Metrics {
    reactors: Vec<Arc<ReactorCounters>>,
    pub store: Arc<StoreCounters>,
    pub streams: Arc<StreamCounters>,
    pub auth: Arc<AuthCounters>,
    pub watch: Arc<WatchCounters>,
    pub admin: Arc<AdminCounters>,
    /// The TLS values that all reactors share.
    pub tls: Arc<TlsCounters>,
    pub reloads: Arc<ReloadCounters>,
    pub presence: Arc<PresenceCounters>,
    pub registry: Arc<RegistryCounters>,
    pub relay: Arc<RelayMeters>,
    pub orders: Arc<OrderCounters>,
    pub slo: Arc<SloBoard>,
    /// The parts of objectives that the canary counts.
    pub canary: Arc<SloCells>,
    pub alerts: Arc<AlertBoard>,
    pub clients: Arc<ClientCells>,
    /// Which the thread `client-errors` fills.
    pub client_errors: ErrorBoard,
    bus: Option<Arc<BusCounters>>,
    cluster: Arc<ClusterCounters>,
    api: Option<Arc<ApiCounters>>,
    log_dropped: fn() -> u64,
    instance: Arc<str>,
}

/// Values that exist before [`Metrics`] does.
#[derive(Clone, Debug)]
pub struct MetricSources {
    pub watch: Arc<WatchCounters>,
    /// Absent without a bus.
    pub bus: Option<Arc<BusCounters>>,
    pub cluster: Arc<ClusterCounters>,
    /// Absent without the server API.
    pub api: Option<Arc<ApiCounters>>,
    /// Returns the number of dropped log lines.
    pub log_dropped: fn() -> u64,
}

impl Metrics {
    /// Creates the counters for `reactors` reactors.
    pub fn new(reactors: usize, instance: Arc<str>, sources: MetricSources) -> Metrics {
        let MetricSources { watch, bus, cluster, api, log_dropped } = sources;
        Metrics {
            reactors: (0..reactors).map(|_| Arc::default()).collect(),
            store: Arc::default(),
            streams: Arc::default(),
            auth: Arc::default(),
            watch,
            admin: Arc::default(),
            tls: Arc::default(),
            reloads: Arc::default(),
            presence: Arc::default(),
            registry: Arc::default(),
            relay: Arc::default(),
            orders: Arc::default(),
            slo: Arc::default(),
            canary: Arc::default(),
            alerts: Arc::default(),
            clients: Arc::default(),
            client_errors: ErrorBoard::default(),
            bus,
            cluster,
            api,
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

    /// The events of the parts of objectives, as reactors, the canary, `clients` and the writers of the store counted them.
    pub fn slo_totals(&self) -> [PartTotals; SloPart::ALL.len()] {
        let mut totals = <[PartTotals; SloPart::ALL.len()]>::default();
        for counted in self.reactors.iter().map(|reactor| &reactor.slo).chain([&*self.canary]) {
            for (sum, cells) in totals.iter_mut().zip(&counted.parts) {
                sum.add(cells.totals());
            }
        }
        for (part, sum) in SloPart::ALL.into_iter().zip(&mut totals) {
            let others = [self.clients.part(part), self.streams.answers.part(part)];
            others.into_iter().flatten().for_each(|cells| sum.add(cells.totals()));
        }
        totals
    }

    /// Sessions that are `connected`.
    pub fn sessions_open(&self) -> u64 {
        self.reactors.iter().map(|reactor| reactor.slo.sessions.read()).sum()
    }

    /// The sum of a cell over all reactors.
    pub fn sum(&self, cell: fn(&ReactorCounters) -> &Cell) -> u64 {
        self.reactors.iter().map(|reactor| cell(reactor).read()).sum()
    }

    /// The totals that the load of this instance is computed from.
    pub fn load(&self) -> LoadTotals {
        let sum = |cell| self.sum(cell);
        LoadTotals {
            connected: sum(|reactor| &reactor.connected),
            closes: self.closes(),
            delivered: sum(|reactor| &reactor.deliveries),
            subscriptions: sum(|reactor| &reactor.subscriptions),
            published: values::read(&self.store.appends),
        }
    }

    /// The ends of sessions so far.
    fn closes(&self) -> CloseTotals {
        let of = |code: u16| -> u64 {
            let index = CLOSE_CODES.iter().position(|known| *known == code);
            let cells = self.reactors.iter().filter_map(|reactor| reactor.closes.get(index?));
            cells.map(Cell::read).sum()
        };
        let all: u64 = self.reactors.iter().flat_map(|reactor| &reactor.closes).map(Cell::read).sum();
        let (unavailable, restart, over_capacity, silent) = (of(1011), of(1012), of(1013), of(4408));
        CloseTotals {
            lost: self.reactors.iter().map(|reactor| reactor.lost.read()).sum(),
            unavailable,
            restart,
            over_capacity,
            silent,
            other: all.saturating_sub(unavailable + restart + over_capacity + silent),
        }
    }

    /// The text of all metrics at a time, in Unix milliseconds.
    pub fn text(&self, vitals: &Arc<Vitals>, now_ms: u64, format: MetricsFormat) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(ProcessScrape(Arc::clone(vitals))));
        registry.sub_registry_with_prefix("seawall").register_collector(Box::new(Scrape {
            reactors: self.reactors.clone(),
            store: Arc::clone(&self.store),
            streams: Arc::clone(&self.streams),
            auth: Arc::clone(&self.auth),
            watch: Arc::clone(&self.watch),
            admin: Arc::clone(&self.admin),
            tls: Arc::clone(&self.tls),
            reloads: Arc::clone(&self.reloads),
            presence: Arc::clone(&self.presence),
            registry: Arc::clone(&self.registry),
            relay: Arc::clone(&self.relay),
            orders: Arc::clone(&self.orders),
            slo: ScrapedObjectives { report: self.slo.report(), canary: Arc::clone(&self.canary) },
            alerts: Arc::clone(&self.alerts),
            clients: Arc::clone(&self.clients),
            client_errors: self.client_errors.clone(),
            bus: self.bus.clone(),
            cluster: Arc::clone(&self.cluster),
            api: self.api.clone(),
            vitals: Arc::clone(vitals),
            log_dropped: (self.log_dropped)(),
            instance: Arc::clone(&self.instance),
            now_ms,
        }));
        let mut text = String::with_capacity(16 << 10);
        // Writing to a String fails only if a metric's own encoding does; ours cannot.
        let _ = encode(&mut text, &registry);
        match format {
            MetricsFormat::OpenMetrics => text,
            MetricsFormat::Text => text_format::text_format(&text),
        }
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

/// Ends of sessions since the start, as in [`CloseRates`](crate::wire::stats::CloseRates).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CloseTotals {
    pub lost: u64,
    pub unavailable: u64,
    pub restart: u64,
    pub over_capacity: u64,
    pub silent: u64,
    pub other: u64,
}

/// Totals since the start, except `subscriptions`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadTotals {
    /// Sessions that became `connected`.
    pub connected: u64,
    pub closes: CloseTotals,
    /// Publications delivered, counted once for each subscriber.
    pub delivered: u64,
    /// Publications stored, those of the server API included.
    pub published: u64,
    /// The present number of subscriptions.
    pub subscriptions: u64,
}

/// The metrics that every program has, named as in the client libraries of Prometheus.
#[derive(Debug)]
struct ProcessScrape(Arc<Vitals>);

impl Collector for ProcessScrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (mut sheet, vitals) = (Sheet(encoder), &self.0);
        sheet.seconds(
            "process_start_time_seconds",
            "Unix time of the start of the process, in seconds",
            vitals.started(),
        )?;
        sheet.counter_seconds(
            "process_cpu_seconds",
            "Processor time of all threads, in seconds",
            vitals.cpu(),
        )?;
        sheet.gauge("process_resident_memory_bytes", "Resident memory in bytes", vitals.memory_bytes())?;
        sheet.gauge("process_open_fds", "File descriptors in use", vitals.descriptors())?;
        sheet.gauge("process_max_fds", "File descriptors the process may open", vitals.descriptors_max)
    }
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
        self.latencies(&mut sheet)?;
        self.bounds(&mut sheet)?;
        self.slo(&mut sheet)?;
        self.alerts(&mut sheet)?;
        self.clients(&mut sheet)?;
        client_errors::encode(&self.client_errors, &mut sheet)?;
        self.store(&mut sheet)?;
        streams::encode(&self.streams, &mut sheet)?;
        relay::encode(&self.relay, &self.streams.answers, self.now_ms, &mut sheet)?;
        self.auth(&mut sheet)?;
        self.auth_service(&mut sheet)?;
        self.bus(&mut sheet)?;
        presence::encode(&self.presence, &mut sheet)?;
        registry::encode(&self.registry, &mut sheet)?;
        cluster::encode(&self.cluster, &mut sheet)?;
        orders::encode(&self.orders, &mut sheet)?;
        if let Some(counters) = &self.api {
            api::encode(counters, &mut sheet)?;
        }
        self.watch(&mut sheet)
    }
}
