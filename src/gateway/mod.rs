//! Composition: configuration becomes threads, signals end them.
//!
//! Everything that can fail for an operator's reason, an address in use or a folder without rights, is done
//! before the first thread starts, and is told in one sentence.

mod admin;
mod auth;
mod backing;
mod bus;
mod capacity;
pub mod cli;
pub mod config;
mod drain;
mod reload;
mod systemd;
mod threads;
mod tls;
mod watch;

use crate::engine::{self, Addresses, Echo, Hosts, ProxyHeader};
use crate::id::InstanceName;
use crate::job::{Mailbox, Outlook};
use crate::log;
use crate::metrics::scrape::{MetricSources, Metrics};
use crate::metrics::vitals::Vitals;
use crate::reactor::{self, Clock, Port, Prepared, Setup, Setups};
use crate::session::{AuthMode, Policy};
use crate::worker::auth::service::AUTH;
use crate::worker::watch::Sources;
use backing::Backing;
use capacity::Capacity;
use config::certificate::date;
use config::source::Sources as ConfigSources;
use config::{Config, ProxyProtocol};
use reload::{Known, Reloader};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use systemd::Notifier;
use threads::Threads;

/// Serves until a signal ends it. A reload reads `sources` again.
pub fn run(config: Config, sources: ConfigSources) -> ExitCode {
    let log = log::start(config.log.format, config.log.level);
    let outcome = serve(config, sources);
    drop(log);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("seawall: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Looks at every dependency once and prints a table; 0: all answer, 1: an optional one does not, 2: a critical one.
pub fn doctor(config: Config) -> ExitCode {
    match watch::doctor(&config, &instance_name(&config)) {
        Ok(diagnosis) => {
            let _unheard = cli::say(&diagnosis.text);
            ExitCode::from(diagnosis.exit_code)
        }
        Err(error) => {
            eprintln!("seawall: {error}");
            ExitCode::from(cli::WRONG_CONFIGURATION)
        }
    }
}

/// Gives every log of the store a new epoch: for after a restore.
pub fn new_epoch(config: Config) -> ExitCode {
    match backing::new_epoch(&config) {
        Ok((old, new)) => {
            println!("epoch {old} is now {new}: clients with a cursor of before read the logs anew");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("seawall: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(config: Config, sources: ConfigSources) -> Result<(), String> {
    let hangups = reload::signals()?;
    let notifier = Notifier::from_environment();
    let clock = Clock::start();
    let reactors = reactor_count(&config);
    let capacity = Capacity::settle(&config.limits, reactors)?;
    capacity::make_room(capacity.descriptors);
    let instance = InstanceName(Arc::from(instance_name(&config)));
    let watched = watch::Prepared::new(&config, &instance.0, reactors, clock.read())?;
    let trust = auth::trust(&config, watched.outlook(), watched.witness(AUTH))?;
    let bus = bus::Prepared::new(&config, &watched, &instance)?;
    let member = bus.as_ref().map(|bus| bus.member.clone());
    let store = Backing::open(&config, member, watched.witness(watch::STORE))?;
    let admin = admin::Prepared::new(&config)?;
    let bus_counters = bus.as_ref().map(|bus| Arc::clone(bus.counters()));
    let metric_sources =
        MetricSources { watch: Arc::clone(watched.counters()), bus: bus_counters, log_dropped: log::dropped };
    let metrics = Arc::new(Metrics::new(reactors, Arc::clone(&instance.0), metric_sources));
    metrics.reloads.began(clock.read().unix_ms);
    let vitals = vitals(&config, &capacity, reactors, clock);
    let auth = if trust.is_some() { AuthMode::Required } else { AuthMode::Off };
    let policy = Policy::new(&config.limits, auth, instance.clone());
    let (outlook, told, monitor) =
        (Arc::clone(watched.outlook()), watched.told(), Arc::clone(watched.monitor()));
    let secured = tls::secured(config.tls.identity.as_ref(), None)?;
    let setup = setup(&config, reactors, clock, policy, &outlook, (&vitals, &metrics)).with_tls(secured);
    let setups = Setups::new(setup);
    // Late: from here on people may wait in the kernel, and a start that fails would reset them.
    let (mailboxes, prepared, address) = prepare_reactors(&config, reactors)?;

    let epoch = store.epoch().map(|epoch| epoch.to_string());
    let cannot_start = |error| format!("cannot start a thread: {error}");
    let (queues, jobs) = threads::queues(bus.as_ref());
    let watch_sources = Sources {
        vitals: Arc::clone(&vitals),
        metrics: Arc::clone(&metrics),
        queues: queues.clone(),
        mailboxes: Arc::clone(&mailboxes),
    };
    let watch = watched.start(move || clock.read(), watch_sources).map_err(cannot_start)?;
    let (desk, reviser, admin_told) = (watch.desk(), watch.reviser(), admin.describe());
    let threads =
        Threads::start(&config, &setups, (store, bus, watch), trust, &mailboxes, (prepared, queues, jobs))
            .map_err(cannot_start)?;
    let (doors, shown) = ((desk, threads.bell()), (&vitals, &metrics, &instance.0));
    admin.start(&config, doors, move || clock.read(), &outlook, shown).map_err(cannot_start)?;
    vitals.set_descriptors_base(capacity::open_descriptors());
    if let Some(identity) = &config.tls.identity {
        tls::announce(identity, &metrics, clock.read().unix_ms / 1_000);
    }
    greet(&config, address, reactors, &capacity, &admin_told);
    tracing::info!(%address, reactors, epoch, version = env!("CARGO_PKG_VERSION"), "serving");
    let reloader = Reloader {
        sources,
        config,
        known: Known::Whole,
        setups,
        mailboxes: Arc::clone(&mailboxes),
        reviser,
        told,
        monitor,
        renewals: threads.renewals(),
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

fn vitals(config: &Config, capacity: &Capacity, reactors: usize, clock: Clock) -> Arc<Vitals> {
    let Capacity { connections, descriptors, memory_bytes, .. } = *capacity;
    let vitals = Vitals::new(reactors, connections, descriptors, memory_bytes, clock.read().at);
    vitals.drain.revise(config.drain);
    Arc::new(vitals)
}

/// Reactors before their threads, the ways to them, and where they listen.
type Reactors = (Arc<[Mailbox]>, Vec<Prepared>, SocketAddr);

/// Listens, and makes of each listener a reactor without a thread.
fn prepare_reactors(config: &Config, reactors: usize) -> Result<Reactors, String> {
    let (listeners, address) = listen(config.server.listen, port(config), reactors)?;
    let prepared: Vec<(Mailbox, Prepared)> = listeners
        .into_iter()
        .map(Prepared::new)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("cannot set a reactor up: {error}"))?;
    let (mailboxes, prepared): (Vec<Mailbox>, Vec<Prepared>) = prepared.into_iter().unzip();
    Ok((Arc::from(mailboxes), prepared, address))
}

fn reactor_count(config: &Config) -> usize {
    match config.server.reactors {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        count => count as usize,
    }
}

/// Opens a listener for each reactor, all on one address; port 0 becomes the port the first one got.
fn listen(
    address: SocketAddr,
    port: Port,
    reactors: usize,
) -> Result<(Vec<mio::net::TcpListener>, SocketAddr), String> {
    let failed = |error| format!("cannot listen on {address} (server.listen): {error}");
    match port {
        // With SO_REUSEPORT a second process of the same user would share the port silently; a bind without it tells.
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

fn port(config: &Config) -> Port {
    if config.server.takeover { Port::Shared } else { Port::Own }
}

fn instance_name(config: &Config) -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    config.server.instance.clone().unwrap_or_else(|| format!("{host}-{}", std::process::id()))
}

fn setup(
    config: &Config,
    reactors: usize,
    clock: Clock,
    policy: Policy,
    outlook: &Arc<Outlook>,
    (vitals, metrics): (&Arc<Vitals>, &Arc<Metrics>),
) -> Setup {
    let limits = &config.limits;
    let server = &config.server;
    let counts = limits.connections_per_address > 0 || limits.handshakes_per_s > 0;
    let engine = engine::Setup {
        hosts: match policy.auth {
            AuthMode::Required => Hosts::Any,
            AuthMode::Off => Hosts::LoopbackOr(server.hosts.clone()),
        },
        policy,
        origins: server.origins.clone(),
        trusted_proxies: server.trusted_proxies.clone(),
        proxy_header: match server.proxy_protocol {
            ProxyProtocol::Off => ProxyHeader::Off,
            ProxyProtocol::Required => ProxyHeader::Required,
        },
        echo: if server.echo { Echo::On } else { Echo::Off },
        addresses: if counts { Addresses::Counted } else { Addresses::Uncounted },
        reactors,
        outlook: Arc::clone(outlook),
        vitals: Arc::clone(vitals),
        metrics: Arc::clone(metrics),
    };
    Setup { engine: Arc::new(engine), port: port(config), clock, tls: None }
}

/// The few lines a person sees first. The first is for programs as well.
fn greet(config: &Config, address: SocketAddr, reactors: usize, capacity: &Capacity, admin: &str) {
    let plural = if reactors == 1 { "" } else { "s" };
    let (ws, http) = match &config.tls.identity {
        Some(_) => ("wss", "https"),
        None => ("ws", "http"),
    };
    println!("listening on {ws}://{address}/ws");
    println!("  chat in a browser    {http}://{address}/ (open it in two tabs)");
    println!("  store                {}", backing::describe(config));
    if let Some(url) = &config.bus.url {
        println!("  bus                  {url} (Redis)");
    }
    println!(
        "  room for             {} connections ({} descriptors, raised to the hard limit), {reactors} reactor{plural}",
        capacity.connections, capacity.descriptors
    );
    println!("  auth                 {}", auth::describe(config));
    if let Some(identity) = &config.tls.identity {
        println!(
            "  TLS                  1.3 and 1.2; the certificate ends on {}",
            date(identity.validity.not_after)
        );
    }
    if config.server.echo {
        println!("  echo                 {ws}://{address}/echo");
    }
    println!("  health, metrics      {http}://{address}/health  {http}://{address}/metrics");
    println!("  admin                {admin}");
    println!("  stop                 {}", drain::describe(config));
}
