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
mod watch;

use crate::id::{Epoch, InstanceName, ReactorId};
use crate::job::{Admit, Append, Mailbox, Outlook, Queues, Read};
use crate::limits::{APPEND_QUEUE, AUTH_QUEUE, READ_QUEUE};
use crate::log;
use crate::metrics::scrape::Metrics;
use crate::metrics::vitals::Vitals;
use crate::reactor::{self, Addresses, Clock, Echo, Hosts, Prepared, ProxyHeader, Reactor, Setup};
use crate::session::{AuthMode, Policy};
use crate::worker;
use crate::worker::auth::Trust;
use crate::worker::auth::service::AUTH;
use crate::worker::watch::Sources;
use backing::Backing;
use bus::Line;
use capacity::Capacity;
use config::{Config, ProxyProtocol};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// How often resident memory is looked at.
const MEMORY_PERIOD: Duration = Duration::from_secs(1);

/// What ends the wait of the main thread.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// SIGTERM or SIGINT, by number.
    Signal(i32),
    /// A reactor ended although nobody asked it to.
    ReactorFailed(ReactorId),
    /// Somebody gave the store another epoch: from the one we know to this one.
    EpochReplaced(Epoch, Epoch),
}

/// Serves until a signal ends it.
pub fn run(config: Config) -> ExitCode {
    let log = log::start(config.log.format, config.log.level);
    let outcome = serve(config);
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

fn serve(config: Config) -> Result<(), String> {
    let clock = Clock::start();
    let reactors = reactor_count(&config);
    let capacity = Capacity::settle(&config.limits, reactors)?;
    let instance = InstanceName(Arc::from(instance_name(&config)));
    let watched = watch::Prepared::new(&config, &instance.0, reactors, clock.read())?;
    let trust = auth::trust(&config, watched.outlook(), watched.witness(AUTH))?;
    let bus = Line::prepare(&config, &watched, &instance)?;
    let named = bus.as_ref().map(|line| line.name.clone());
    let store = Backing::open(&config, named, watched.witness(watch::STORE))?;
    let (listeners, address) = listen(config.server.listen, reactors)?;
    let admin = admin::Prepared::new(&config)?;
    let watch_counters = Arc::clone(watched.counters());
    let bus_counters = bus.as_ref().map(|line| Arc::clone(line.counters()));
    let metrics = Arc::new(Metrics::new(
        reactors,
        Arc::clone(&instance.0),
        (watch_counters, bus_counters),
        log::dropped,
    ));
    let vitals = Arc::new(Vitals::new(
        reactors,
        capacity.connections,
        capacity.descriptors,
        capacity.memory_bytes,
        clock.read().at,
    ));
    let auth = if trust.is_some() { AuthMode::Required } else { AuthMode::Off };
    let policy = Policy::new(&config.limits, auth, instance.clone());
    let setup = Arc::new(setup(&config, reactors, clock, policy, watched.outlook(), (&vitals, &metrics)));
    let prepared: Vec<(Mailbox, Prepared)> = listeners
        .into_iter()
        .map(Prepared::new)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("cannot set a reactor up: {error}"))?;
    let (mailboxes, prepared): (Vec<Mailbox>, Vec<Prepared>) = prepared.into_iter().unzip();
    let mailboxes: Arc<[Mailbox]> = Arc::from(mailboxes);

    let epoch = store.epoch().map(|epoch| epoch.to_string());
    let cannot_start = |error| format!("cannot start a thread: {error}");
    let (queues, jobs) = queues(auth, setup.addresses, bus.as_ref());
    let sources = Sources {
        vitals: Arc::clone(&vitals),
        metrics: Arc::clone(&metrics),
        queues: queues.clone(),
        mailboxes: Arc::clone(&mailboxes),
    };
    let watch = watched.start(move || clock.read(), sources).map_err(cannot_start)?;
    let (desk, admin_told) = (watch.desk(), admin.describe());
    let threads =
        Threads::start(&config, &setup, (store, bus, watch), trust, &mailboxes, (prepared, queues, jobs))
            .map_err(cannot_start)?;
    admin
        .start(&config, desk, move || clock.read(), &setup.outlook, (&vitals, &metrics, &instance.0))
        .map_err(cannot_start)?;
    vitals.set_descriptors_base(capacity::open_descriptors());
    greet(&config, address, reactors, &capacity, &admin_told);
    tracing::info!(%address, reactors, epoch, version = env!("CARGO_PKG_VERSION"), "serving");
    threads.serve(&vitals, &mailboxes)
}

/// All threads of the process but the main one.
struct Threads {
    endings: Receiver<Ending>,
    reactors: Vec<JoinHandle<()>>,
    store: backing::Running,
    bus: Option<worker::bus::Running>,
    watch: worker::watch::Running,
    auth: Option<worker::auth::Running>,
}

impl Threads {
    fn start(
        config: &Config,
        setup: &Arc<Setup>,
        (store, bus, watch): (Backing, Option<Line>, worker::watch::Running),
        trust: Option<Trust>,
        mailboxes: &Arc<[Mailbox]>,
        (prepared, queues, jobs): (Vec<Prepared>, Queues, Jobs),
    ) -> std::io::Result<Threads> {
        let counters = Arc::clone(&setup.metrics.store);
        let store = store.start(Arc::clone(mailboxes), jobs.append, jobs.read, counters)?;
        let bus = bus.map(|line| line.start(Arc::clone(mailboxes), queues.read.clone())).transpose()?;
        let start = |admits| {
            let counters = Arc::clone(&setup.metrics.auth);
            let clock = setup.clock;
            let clock = Arc::new(move || clock.read());
            worker::auth::start(trust, auth::census(config), Arc::clone(mailboxes), admits, counters, clock)
        };
        let auth = jobs.admit.map(start).transpose()?;
        let (endings_in, endings) = bounded(setup.reactors + 8);
        let reactors = start_reactors(config, setup, &queues, mailboxes, prepared, &endings_in)?;
        watch_signals(endings_in)?;
        Ok(Threads { endings, reactors, store, bus, watch, auth })
    }

    /// Waits for the end, looking at memory meanwhile, and then ends the threads in order: reactors and the
    /// watch, which hold the queues' senders, then the workers, which end when these are gone.
    fn serve(self, vitals: &Vitals, mailboxes: &[Mailbox]) -> Result<(), String> {
        let ending = loop {
            vitals.set_memory_bytes(capacity::resident_bytes());
            match self.endings.recv_timeout(MEMORY_PERIOD) {
                Ok(ending) => break ending,
                Err(crossbeam_channel::RecvTimeoutError::Timeout) => {
                    if let Some((known, found)) = self.store.replaced_epoch() {
                        break Ending::EpochReplaced(known, found);
                    }
                }
                Err(crossbeam_channel::RecvTimeoutError::Disconnected) => break Ending::Signal(0),
            }
        };
        match ending {
            Ending::Signal(signal) => {
                let signal = signal_hook::low_level::signal_name(signal).unwrap_or("a signal");
                tracing::info!(signal, "stopping");
            }
            Ending::ReactorFailed(id) => tracing::error!(reactor = id.0, "a reactor ended; stopping"),
            Ending::EpochReplaced(..) => tracing::error!("the store has another epoch; stopping"),
        }
        vitals.stop();
        for mailbox in mailboxes {
            if let Err(error) = mailbox.ring() {
                tracing::warn!(%error, "cannot wake a reactor");
            }
        }
        let mut failed = match ending {
            Ending::Signal(_) => None,
            Ending::ReactorFailed(id) => Some(format!("reactor {} failed; see the log", id.0)),
            Ending::EpochReplaced(known, found) => Some(format!(
                "the store has epoch {found} in place of {known} (`seawall store new-epoch`): what this process knows is of the old logs; start it again"
            )),
        };
        for reactor in self.reactors {
            if reactor.join().is_err() {
                failed.get_or_insert_with(|| "a reactor panicked; see the log".into());
            }
        }
        if self.watch.stop().is_err() {
            failed.get_or_insert_with(|| "the watch panicked; see the log".into());
        }
        // The bus's ear holds a way to the store's readers, and the store one to the bus's mouth.
        let bus = self.bus.map(worker::bus::Running::stop_listening);
        self.store.join();
        if let Some(bus) = bus {
            bus.join();
        }
        if let Some(auth) = self.auth
            && auth.join().is_err()
        {
            failed.get_or_insert_with(|| "the auth worker panicked; see the log".into());
        }
        tracing::info!("stopped");
        failed.map_or(Ok(()), Err)
    }
}

/// What the workers take from the queues.
struct Jobs {
    append: Receiver<Append>,
    read: Receiver<Read>,
    admit: Option<Receiver<Admit>>,
}

/// Tokens, or addresses that are counted, need the auth worker.
fn queues(auth: AuthMode, addresses: Addresses, bus: Option<&Line>) -> (Queues, Jobs) {
    let (append, append_jobs) = bounded(APPEND_QUEUE);
    let (read, read_jobs) = bounded(READ_QUEUE);
    let (admit, admit_jobs) = match (auth, addresses) {
        (AuthMode::Off, Addresses::Uncounted) => (None, None),
        (AuthMode::Required, Addresses::Uncounted | Addresses::Counted)
        | (AuthMode::Off, Addresses::Counted) => {
            let (admit, jobs) = bounded(AUTH_QUEUE);
            (Some(admit), Some(jobs))
        }
    };
    let jobs = Jobs { append: append_jobs, read: read_jobs, admit: admit_jobs };
    let bus = bus.map(|line| line.name.bus.clone());
    (Queues { append, read, bus, admit }, jobs)
}

fn start_reactors(
    config: &Config,
    setup: &Arc<Setup>,
    queues: &Queues,
    mailboxes: &Arc<[Mailbox]>,
    prepared: Vec<Prepared>,
    endings: &Sender<Ending>,
) -> std::io::Result<Vec<JoinHandle<()>>> {
    let cores = match config.server.pin_reactors {
        true => core_affinity::get_core_ids().unwrap_or_default(),
        false => Vec::new(),
    };
    let start = |(index, prepared): (usize, Prepared)| {
        let id = ReactorId(index as u16);
        let (setup, queues, mailboxes) = (Arc::clone(setup), queues.clone(), Arc::clone(mailboxes));
        let endings = endings.clone();
        let core = cores.get(index % cores.len().max(1)).copied();
        std::thread::Builder::new().name(format!("reactor-{index}")).spawn(move || {
            if let Some(core) = core
                && !core_affinity::set_for_current(core)
            {
                tracing::warn!(reactor = index, "cannot pin this reactor to its core");
            }
            let guard = EndGuard { id, endings };
            let reactor = Reactor::new(id, prepared, setup, queues, mailboxes);
            if let Err(error) = reactor.run() {
                tracing::error!(reactor = index, %error, "the poll failed");
            }
            drop(guard);
        })
    };
    prepared.into_iter().enumerate().map(start).collect()
}

/// Tells the main thread of a reactor's end, also when that is a panic.
struct EndGuard {
    id: ReactorId,
    endings: Sender<Ending>,
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        // When the process stops, nobody listens any more.
        let _ = self.endings.try_send(Ending::ReactorFailed(self.id));
    }
}

fn watch_signals(endings: Sender<Ending>) -> std::io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    let watch = move || {
        for signal in signals.forever() {
            // Full: an ending is on its way already.
            let _ = endings.try_send(Ending::Signal(signal));
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(watch).map(|_| ())
}

fn reactor_count(config: &Config) -> usize {
    match config.server.reactors {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        count => count as usize,
    }
}

/// Opens a listener for each reactor, all on one address; port 0 becomes the port the first one got.
fn listen(address: SocketAddr, reactors: usize) -> Result<(Vec<mio::net::TcpListener>, SocketAddr), String> {
    // With SO_REUSEPORT a second process of the same user would share the port silently; a bind without it
    // tells.
    let failed = |error| format!("cannot listen on {address} (server.listen): {error}");
    drop(std::net::TcpListener::bind(address).map_err(failed)?);
    let first = reactor::listen(address).map_err(failed)?;
    let bound = first.local_addr().map_err(failed)?;
    let mut listeners = vec![first];
    for _ in 1..reactors {
        listeners.push(reactor::listen(bound).map_err(failed)?);
    }
    Ok((listeners, bound))
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
    Setup {
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
        clock,
        outlook: Arc::clone(outlook),
        vitals: Arc::clone(vitals),
        metrics: Arc::clone(metrics),
    }
}

/// The few lines a person sees first. The first is for programs as well.
fn greet(config: &Config, address: SocketAddr, reactors: usize, capacity: &Capacity, admin: &str) {
    let plural = if reactors == 1 { "" } else { "s" };
    println!("listening on ws://{address}/ws");
    println!("  chat in a browser    http://{address}/ (open it in two tabs)");
    println!("  store                {}", backing::describe(config));
    if let Some(url) = &config.bus.url {
        println!("  bus                  {url} (Redis)");
    }
    println!(
        "  room for             {} connections ({} descriptors, raised to the hard limit), {reactors} reactor{plural}",
        capacity.connections, capacity.descriptors
    );
    println!("  auth                 {}", auth::describe(config));
    if config.server.echo {
        println!("  echo                 ws://{address}/echo");
    }
    println!("  health, metrics      http://{address}/health  http://{address}/metrics");
    println!("  admin                {admin}");
    println!("  stop                 Ctrl-C");
}
