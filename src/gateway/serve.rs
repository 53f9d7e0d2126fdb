//! The start: everything that a configuration mistake can make fail happens before the first thread starts, and such a
//! failure is reported in one sentence.

use super::admin::{AdminShared, PreparedAdmin};
use super::api::PreparedApi;
use super::backing::Backing;
use super::bus::PreparedBus;
use super::capacity::{self, ProcessBounds};
use super::config::Config;
use super::config::error::ConfigError;
use super::config::show::settings;
use super::config::sources::ConfigSources;
use super::greeting::{Greeting, OtherListeners};
use super::registry::{PreparedRegistry, PreparedThread};
use super::relay::PreparedRelay;
use super::reload::{self, Handover, Reloader};
use super::setup::{Fixed, port, setup};
use super::systemd::Notifier;
use super::threads::{self, ThreadParts, Threads};
use super::watch::{self, PreparedWatch};
use super::{auth, canary, output, running, tls};
use crate::auth::trust::TrustEdition;
use crate::id::InstanceName;
use crate::introspect::TokenTrust;
use crate::job::orders::{OrderBoard, OrderParts};
use crate::job::{Mailbox, Queues};
use crate::limits::REACTORS_MAX;
use crate::log;
use crate::metrics::scrape::{MetricSources, Metrics};
use crate::metrics::vitals::Vitals;
use crate::reactor::{self, Clock, Port, Prepared, Setups};
use crate::session::AuthMode;
use crate::store::OrderEnds;
use crate::store::postgres::ClusterMember;
use crate::watch::OwnSources;
use rustix::fs::Mode;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

/// Serves until a signal ends the process. A reload reads `sources` again.
pub(super) fn run(config: Config, sources: ConfigSources) -> ExitCode {
    // Messages are private: no file that the gateway or a library creates is for other users.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let format = config.log.format;
    let instance = InstanceName(Arc::from(instance_name(&config)));
    let log = log::start(format, config.log.level, Some(&instance.0));
    log_warnings(&config);
    let outcome = serve(config, sources, instance);
    if let (Err(cause), log::Format::Json) = (&outcome, format) {
        tracing::error!(%cause, "gateway failed");
    }
    drop(log);
    match (outcome, format) {
        (Ok(()), _) => ExitCode::SUCCESS,
        (Err(_), log::Format::Json) => ExitCode::FAILURE,
        (Err(cause), log::Format::Text) => {
            output::fail(&cause);
            ExitCode::FAILURE
        }
    }
}

/// Reports the configuration with which it does not start: to people, or to the readers of a log in JSON.
pub(super) fn refuse(error: &ConfigError) -> ExitCode {
    match error.log_format {
        log::Format::Text => output::refuse(error),
        log::Format::Json => {
            let _log = log::start(log::Format::Json, log::LogLevel::default(), None);
            for problem in &error.problems {
                tracing::error!(cause = %problem, "configuration rejected");
            }
            ExitCode::from(output::WRONG_CONFIGURATION)
        }
    }
}

fn serve(config: Config, sources: ConfigSources, instance: InstanceName) -> Result<(), String> {
    let (hangups, notifier) = (reload::signals()?, Notifier::from_environment());
    let (clock, reactors) = (Clock::start(), reactor_count(&config));
    let bounds = ProcessBounds::settle(&config.limits, reactors)?;
    capacity::make_room(bounds.descriptors);
    let watched = PreparedWatch::new(&config, &instance.0, reactors, clock.read())?;
    let trust = auth::trust(&config, watched.auth_links(), TrustEdition::default())?;
    let registry = PreparedRegistry::new(&config, &instance)?;
    let bus = PreparedBus::new(&config, &watched, registry.origin())?;
    let store = open_store(&config, &instance, registry.member(bus.as_ref()), &watched)?;
    let (admin, api) = (PreparedAdmin::new(&config)?, PreparedApi::new(&config, watched.shared())?);
    let metrics =
        metrics(reactors, &instance, metric_sources(&watched, bus.as_ref(), &registry, &api), clock);
    let (vitals, evidence) = (vitals(&config, &bounds, reactors, clock), watched.evidence());
    let (outlook, probe_shares) = (Arc::clone(watched.outlook()), watched.shared().clone());
    let relay = PreparedRelay::new(&config, &metrics.relay, |name| watched.reporter(name));
    let fixed = Fixed { reactors, clock, outlook: &outlook, vitals: &vitals, metrics: &metrics };
    let setups = first_setups(&config, &fixed, trust.as_ref(), &instance)?;
    // Clients may wait in the kernel as soon as the listeners exist, and a start that fails would reset them.
    let Reactors { mailboxes, prepared, address } = prepare_reactors(&config, reactors)?;

    let (epoch, relay_links) = (store.epoch().map(|epoch| epoch.to_string()), relay.for_operators());
    let (queues, jobs) = threads::queues(bus.as_ref(), reactors);
    let (orders, board) = orders(&instance, &mailboxes, &queues, &metrics, clock);
    let own = own_sources(&vitals, &metrics, &queues, &mailboxes);
    let watch = watched.start(move || clock.read(), own).map_err(cannot_start)?;
    let (requests, reviser, rosters) = (watch.requests(), watch.reviser(), queues.presence.clone());
    let others = OtherListeners { admin: admin.describe(), api: api.describe() };
    // Removed at the end of this function.
    let _announcement = running::announce(&config, &instance.0, &admin);
    let PreparedThread { registry, cluster, directory: users, segments } =
        registry.parts(bus.as_ref(), &queues.admit, &metrics, &vitals, &outlook);
    let queues = (queues, jobs);
    let parts =
        ThreadParts { store, bus, watch, registry, segments, trust, prepared, queues, api, orders, relay };
    let threads = Threads::start(&config, &setups, &mailboxes, address, parts).map_err(cannot_start)?;
    let shared = AdminShared {
        requests,
        threads: threads.for_operators(),
        relay: relay_links,
        outlook: Arc::clone(&outlook),
        vitals: Arc::clone(&vitals),
        metrics: Arc::clone(&metrics),
        instance: Arc::clone(&instance.0),
        mailboxes: Arc::clone(&mailboxes),
        monitor: Arc::clone(&probe_shares.monitor),
        presence: rosters,
        cluster,
        users,
        orders: board,
    };
    admin.start(&config, move || clock.read(), shared).map_err(cannot_start)?;
    vitals.set_descriptors_base(capacity::open_descriptors());
    tls::announce(&config.tls, &metrics, clock.read().unix_ms / 1_000);
    Greeting { config: &config, address, reactors, bounds: &bounds, others: &others }.announce(epoch);
    let reloader = Reloader {
        sources,
        config,
        handover: Handover::Complete,
        setups,
        mailboxes: Arc::clone(&mailboxes),
        reviser,
        evidence,
        shared: probe_shares,
        threads: threads.for_reloads(),
        instance,
        notifier: notifier.clone(),
    };
    reloader.start(hangups).map_err(cannot_start)?;
    notifier.ready();
    notifier.watch(move || clock.read(), &vitals, &outlook).map_err(cannot_start)?;
    let outcome = threads.serve(clock, &vitals, &mailboxes);
    notifier.stopping();
    outcome
}

/// The setups of the reactors before the first reload.
fn first_setups(
    config: &Config,
    fixed: &Fixed<'_>,
    trust: Option<&TokenTrust>,
    instance: &InstanceName,
) -> Result<Setups, String> {
    let auth = if trust.is_some() { AuthMode::Required } else { AuthMode::Off };
    let policy = auth::policy(config, auth, instance.clone(), TrustEdition::default());
    let policy = policy.with_canary(canary::pass(config)?);
    let tls = tls::secured(config.tls.identity.as_ref(), None)?;
    Ok(Setups::new(setup(config, fixed, policy, tls)))
}

/// Logs the values that are accepted, but probably not meant.
pub(super) fn log_warnings(config: &Config) {
    for warning in &config.warnings {
        tracing::warn!(%warning, "setting accepted with a warning");
    }
}

/// The parts by which the gateway judges itself.
fn own_sources(
    vitals: &Arc<Vitals>,
    metrics: &Arc<Metrics>,
    queues: &Queues,
    mailboxes: &Arc<[Mailbox]>,
) -> OwnSources {
    OwnSources {
        vitals: Arc::clone(vitals),
        metrics: Arc::clone(metrics),
        queues: queues.clone(),
        mailboxes: Arc::clone(mailboxes),
    }
}

/// The orders of this process, for the threads and for the admin listener.
fn orders(
    instance: &InstanceName,
    mailboxes: &Arc<[Mailbox]>,
    queues: &Queues,
    metrics: &Metrics,
    clock: Clock,
) -> (OrderEnds, Arc<OrderBoard>) {
    let (board, requests) = OrderBoard::new(OrderParts {
        instance: Arc::clone(&instance.0),
        mailboxes: Arc::clone(mailboxes),
        bus: queues.bus.clone(),
        counters: Arc::clone(&metrics.orders),
        clock: Arc::new(move || clock.read()),
    });
    (OrderEnds { board: Arc::clone(&board), requests }, board)
}

fn open_store(
    config: &Config,
    instance: &InstanceName,
    member: ClusterMember,
    watched: &PreparedWatch,
) -> Result<Backing, String> {
    Backing::open(config, &instance.0, member, watched.reporter(watch::STORE), watched.outlook())
}

fn metrics(reactors: usize, instance: &InstanceName, sources: MetricSources, clock: Clock) -> Arc<Metrics> {
    let metrics = Metrics::new(reactors, Arc::clone(&instance.0), sources);
    metrics.reloads.began(clock.read().unix_ms);
    Arc::new(metrics)
}

fn cannot_start(error: io::Error) -> String {
    format!("cannot start a thread: {error}")
}

/// The counters that exist before the threads that write them.
fn metric_sources(
    watched: &PreparedWatch,
    bus: Option<&PreparedBus>,
    registry: &PreparedRegistry,
    api: &PreparedApi,
) -> MetricSources {
    MetricSources {
        watch: Arc::clone(watched.counters()),
        bus: bus.map(|bus| Arc::clone(bus.counters())),
        cluster: registry.counters(),
        api: api.counters(),
        log_dropped: log::dropped,
    }
}

fn vitals(config: &Config, bounds: &ProcessBounds, reactors: usize, clock: Clock) -> Arc<Vitals> {
    let ProcessBounds { connections, descriptors, memory_bytes } = *bounds;
    let now = clock.read();
    let vitals = Vitals::new(reactors, connections, descriptors, memory_bytes, now.at);
    vitals.set_started(now.unix_ms);
    vitals.drain.revise(config.drain);
    vitals.rebalance.revise(config.cluster);
    vitals.flags.revise(&reload::flags(config));
    vitals.settings.publish(settings(config));
    Arc::new(vitals)
}

/// Reactors whose threads have not started.
struct Reactors {
    mailboxes: Arc<[Mailbox]>,
    prepared: Vec<Prepared>,
    /// The address that all of them listen at.
    address: SocketAddr,
}

/// Opens the listeners, and prepares a reactor for each.
fn prepare_reactors(config: &Config, reactors: usize) -> Result<Reactors, String> {
    let (listeners, address) = listen(config.server.listen, port(config), reactors)?;
    let prepared: Vec<(Mailbox, Prepared)> = listeners
        .into_iter()
        .map(Prepared::new)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("cannot set up a reactor: {error}"))?;
    let (mailboxes, prepared): (Vec<Mailbox>, Vec<Prepared>) = prepared.into_iter().unzip();
    Ok(Reactors { mailboxes: Arc::from(mailboxes), prepared, address })
}

fn reactor_count(config: &Config) -> usize {
    match config.server.reactors {
        0 => reactors_for(std::thread::available_parallelism().map_or(1, usize::from)),
        count => count as usize,
    }
}

/// One reactor for each core, at most [`REACTORS_MAX`].
fn reactors_for(cores: usize) -> usize {
    cores.min(REACTORS_MAX)
}

/// Opens a listener for each reactor, all at one address. Port 0 becomes the port that the first listener got.
fn listen(
    address: SocketAddr,
    port: Port,
    reactors: usize,
) -> Result<(Vec<mio::net::TcpListener>, SocketAddr), String> {
    let failed = |error: io::Error| {
        let remedy = listen_remedy(error.kind());
        format!("cannot listen on {address} (server.listen): {error}; {remedy}")
    };
    match port {
        // With SO_REUSEPORT, a second process of the same user would share the port silently. A bind without it fails.
        Port::Own => drop(std::net::TcpListener::bind(address).map_err(failed)?),
        Port::Shared => {}
    }
    let first = reactor::listen(address).map_err(failed)?;
    let bound = first.local_addr().map_err(failed)?;
    let mut listeners = vec![first];
    for _ in 1..reactors {
        listeners.push(reactor::listen(bound).map_err(failed)?);
    }
    Ok((listeners, bound))
}

/// The remedy for an address that cannot be listened on.
fn listen_remedy(fault: io::ErrorKind) -> &'static str {
    match fault {
        io::ErrorKind::PermissionDenied => {
            "use a port from 1024 on, or give the process CAP_NET_BIND_SERVICE (with systemd: the drop-in tls.conf)"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address: set one of its own, 0.0.0.0 or [::] with --listen"
        }
        _ => "set another with --listen, or stop the process that has it",
    }
}

/// `server.instance`, or a random name.
pub(super) fn instance_name(config: &Config) -> String {
    // Random, because everybody who can ask for a health report reads it.
    let random = || format!("gateway-{:08x}", getrandom::u32().unwrap_or_else(|_| std::process::id()));
    config.server.instance.clone().unwrap_or_else(random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_with_many_cores_gets_as_many_reactors_as_a_set_of_them_holds() {
        assert_eq!([1, 8, 256, 257, 1_024].map(reactors_for), [1, 8, 256, 256, 256]);
    }
}
