//! The threads of the process: started in order, supervised, and joined in order.

use super::api::{ApiParts, ApiSide, PreparedApi, callers};
use super::backing::{Backing, RunningStore};
use super::bus::PreparedBus;
use super::config::Config;
use super::drain::{self, AwaitedThread, DrainNotice, FatalFault, JoinStep, Leader};
use super::relay::{PreparedRelay, RelayReload, RelayWays};
use super::{alerts, auth, canary, judge, presence, reactors, tls};
use crate::api::RunningApi;
use crate::canary::RunningCanary;
use crate::clients::{self, ClientParts, RunningClients};
use crate::drain::DrainCause;
use crate::engine::Setup;
use crate::introspect::{self, AuthEnds, AuthRenewal, TokenTrust};
use crate::job;
use crate::job::alerts::{AlertLinks, AlertPlan, AlertRequests};
use crate::job::callers::Callers;
use crate::job::client_errors::ReportJob;
use crate::job::clients::ClientEvent;
use crate::job::directory::UserDirectory;
use crate::job::mailbox::ThreadMailboxes;
use crate::job::orders::OrderBoard;
use crate::job::presence::PresenceInbox;
use crate::job::registry::RegistrySender;
use crate::job::segments::SegmentQueue;
use crate::job::shared_counts::{CountsEnds, SharedWays, shared_counts};
use crate::job::slo::SloRequests;
use crate::job::stream::{StreamQueue, StreamWork};
use crate::job::{Append, AuthJob, Mailbox, Queues, Read};
use crate::limits::{APPEND_QUEUE, AUTH_QUEUE, READ_QUEUE, STREAM_QUEUE};
use crate::metrics::vitals::Vitals;
use crate::objectives::RunningObjectives;
use crate::presence::{PresenceParts, RunningPresence, SharingParts};
use crate::reactor::{Clock, Prepared, Setups, ShellSetup};
use crate::rebalance::{self, RebalanceParts, RunningRebalance};
use crate::registry::{self, RegistryParts, RegistryRedis, RunningRegistry};
use crate::store::{OrderEnds, StoreEnds, StreamEnds};
use crate::wire::envelope::Origin;
use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::JoinHandle;

/// More steps than a join has.
const STEPS: usize = 16;

/// All threads of the process except the main one.
pub(super) struct Threads {
    notices: Receiver<DrainNotice>,
    waker: Arc<dyn Fn() + Send + Sync>,
    /// Orders about incidents, and their settings.
    alerts: (AlertRequests, Arc<ArcSwap<AlertPlan>>),
    slo_requests: SloRequests,
    reminder: tls::Reminder,
    relay: RelayReload,
    workers: Workers,
}

/// The threads that are joined at the end.
struct Workers {
    reactors: Vec<JoinHandle<()>>,
    api: ApiSide,
    /// It ends with the process as well.
    presence: RunningPresence,
    store: RunningStore,
    bus: Option<crate::bus::RunningBus>,
    orders: Arc<OrderBoard>,
    watch: crate::watch::RunningWatch,
    registry: RunningRegistry,
    rebalance: RunningRebalance,
    auth: introspect::RunningAuth,
    slo: ObjectiveThreads,
}

/// The threads of objectives; `None` for one that is off.
struct ObjectiveThreads {
    clients: RunningClients,
    judge: Option<RunningObjectives>,
    canary: Option<RunningCanary>,
}

impl ObjectiveThreads {
    /// Ends the threads. Two count for the last, which writes what was counted last.
    fn stop(self) {
        if let Some(canary) = self.canary {
            canary.stop();
        }
        self.clients.stop();
        if let Some(judge) = self.judge {
            judge.stop();
        }
    }
}

/// The prepared parts that [`Threads::start`] turns into threads.
pub(super) struct ThreadParts {
    pub(super) store: Backing,
    pub(super) bus: Option<PreparedBus>,
    /// The watch runs already, because the admin listener needs it.
    pub(super) watch: crate::watch::RunningWatch,
    pub(super) registry: RegistryParts,
    /// Of the rosters; `None` if they are not shared.
    pub(super) segments: Option<SegmentQueue>,
    pub(super) trust: Option<TokenTrust>,
    pub(super) prepared: Vec<Prepared>,
    pub(super) queues: (Queues, Jobs),
    pub(super) api: PreparedApi,
    pub(super) orders: OrderEnds,
    pub(super) relay: PreparedRelay,
}

/// The ways of operators to threads.
pub(super) struct OperatorLinks {
    /// Wakes the main thread after a drain was begun.
    pub(super) wake_main: Arc<dyn Fn() + Send + Sync>,
    pub(super) alerts: AlertRequests,
    pub(super) slo_requests: SloRequests,
    /// Producers of streams.
    pub(super) producers: Arc<ThreadMailboxes>,
}

/// The ways of reloads to threads.
pub(super) struct ReloadLinks {
    /// Changes the auth worker.
    pub(super) renewals: Sender<AuthRenewal>,
    pub(super) api: Option<RunningApi>,
    pub(super) presence: RunningPresence,
    /// Read by the thread `slo`.
    pub(super) alerts: Arc<ArcSwap<AlertPlan>>,
    pub(super) relay: RelayReload,
}

impl Threads {
    /// Starts them all. The reactors listen at `address`.
    pub(super) fn start(
        config: &Config,
        setups: &Setups,
        mailboxes: &Arc<[Mailbox]>,
        address: SocketAddr,
        parts: ThreadParts,
    ) -> std::io::Result<Threads> {
        let ThreadParts {
            store,
            bus,
            watch,
            registry,
            segments,
            trust,
            prepared,
            queues,
            api,
            orders,
            relay,
        } = parts;
        let (queues, jobs) = queues;
        let (board, setup) = (Arc::clone(&orders.board), setups.load());
        let (callers, producers) = callers(&api, config, &queues, &setup.engine.metrics.streams);
        let api_parts = api_parts(&setup, &queues, &callers, mailboxes, &registry, &board);
        let (shared, shared_counts) = ways_to_share(config);
        let store = store.start(StoreEnds {
            shared_counts,
            mailboxes: Arc::clone(mailboxes),
            callers,
            appends: jobs.append,
            reads: jobs.read,
            relay: relay.ends(),
            streams: StreamEnds::new(jobs.streams, jobs.stream_bytes, &setup.engine.metrics.streams),
            counters: Arc::clone(&setup.engine.metrics.store),
            orders,
        })?;
        let ways = RelayWays { producers: Arc::clone(&producers), appends: queues.append.clone() };
        let (relay, relay_reload) = relay.start(config, &setup.engine, ways, setup.clock)?;
        let sharing = bus.as_ref().zip(segments).map(|(bus, segments)| sharing(bus, &registry, segments));
        let bus = bus
            .map(|prepared| prepared.start(Arc::clone(mailboxes), &queues, Arc::clone(&board)))
            .transpose()?;
        let clock = setup.clock;
        let auth_jobs = (jobs.admit, registry.reports());
        let auth = start_auth(config, &setup.engine, trust, auth_jobs, (mailboxes, &board), clock)?;
        let (notices_in, notices) = bounded(setup.engine.reactors + 8);
        let presence =
            start_rosters(config, &setup.engine, (sharing, &registry), jobs.presence, mailboxes, clock)?;
        let reactors = reactors::start(config, setups, &queues, &board, prepared, &notices_in)?;
        let waker = drain::waker(&notices_in);
        watch_signals(notices_in)?;
        let reminder = tls::Reminder::new(&setup.engine.metrics, setup.clock);
        let rebalance = start_rebalance(&setup.engine, &registry, mailboxes, clock)?;
        let AlertLinks { requests, plan, ends, threads } = job::alerts::links(alerts::plan(config));
        let clients = start_clients(&setup.engine, (jobs.clients, jobs.reports), mailboxes, clock)?;
        let (slo_requests, asks) = job::slo::questions();
        let judge = judge::start(config, &setup.engine, &registry, (ends, threads, shared, asks), clock)?;
        let registry = registry::start(registry, move || clock.read())?;
        let api = ApiSide { api: api.start(config, api_parts, move || clock.read())?, producers, relay };
        let canary = canary::start(config, &setup.engine, address, clock)?;
        let (orders, slo) = (board, ObjectiveThreads { clients, judge, canary });
        let workers =
            Workers { reactors, api, presence, store, bus, orders, watch, registry, rebalance, auth, slo };
        Ok(Threads {
            notices,
            waker,
            alerts: (requests, plan),
            slo_requests,
            reminder,
            relay: relay_reload,
            workers,
        })
    }

    /// The ways of the admin listener.
    pub(super) fn for_operators(&self) -> OperatorLinks {
        OperatorLinks {
            wake_main: Arc::clone(&self.waker),
            alerts: self.alerts.0.clone(),
            slo_requests: self.slo_requests.clone(),
            producers: Arc::clone(&self.workers.api.producers),
        }
    }

    /// The ways of reloads.
    pub(super) fn for_reloads(&self) -> ReloadLinks {
        ReloadLinks {
            renewals: self.workers.auth.renewals(),
            api: self.workers.api.api.clone(),
            presence: self.workers.presence.clone(),
            alerts: Arc::clone(&self.alerts.1),
            relay: self.relay.clone(),
        }
    }

    /// Waits for the end of the process and leads it. Another thread joins the workers, so that the main one can observe the
    /// deadline.
    pub(super) fn serve(self, clock: Clock, vitals: &Vitals, mailboxes: &[Mailbox]) -> Result<(), String> {
        let Threads { notices, waker: _, alerts: _, slo_requests: _, mut reminder, relay: _, workers } = self;
        let mut leader = Leader::new(clock, vitals, mailboxes, notices);
        let replaced = || workers.store.replaced_epoch();
        let fault = leader.lead(|| {
            reminder.look();
            replaced().map(|(known, found)| FatalFault::EpochReplaced { known, found })
        });
        let (steps_in, steps) = bounded(STEPS);
        let end = move || {
            let failed = workers.join(|awaited| {
                // If the main thread is gone, the process is about to exit.
                let _ = steps_in.send(JoinStep::Awaits(awaited));
            });
            let _ = steps_in.send(JoinStep::Ended(failed));
        };
        std::thread::Builder::new()
            .name("ending".into())
            .spawn(end)
            .map_err(|error| format!("cannot start a thread: {error}"))?;
        leader.finish(&steps, fault)
    }
}

impl Workers {
    /// Joins the threads in order: the reactors, the server API and the watch, which hold the senders of the queues, then the workers, which
    /// end when those are dropped.
    fn join(self, awaits: impl Fn(AwaitedThread)) -> Option<String> {
        let mut failed = None;
        awaits(AwaitedThread::Reactors);
        for reactor in self.reactors {
            if reactor.join().is_err() {
                failed.get_or_insert_with(|| "a reactor panicked: see the log".into());
            }
        }
        self.slo.stop();
        self.api.stop();
        self.rebalance.stop();
        awaits(AwaitedThread::Registry);
        self.registry.stop();
        awaits(AwaitedThread::Watch);
        if self.watch.stop().is_err() {
            failed.get_or_insert_with(|| "the watch thread panicked: see the log".into());
        }
        // `bus-receive` holds a sender to the store's readers and the store holds one to `bus-send`, so they stop in that order.
        awaits(AwaitedThread::BusReceive);
        let bus = self.bus.map(crate::bus::RunningBus::stop_listening);
        awaits(AwaitedThread::Store);
        self.store.join();
        self.orders.leave_bus();
        awaits(AwaitedThread::BusSend);
        if let Some(bus) = bus {
            bus.join();
        }
        awaits(AwaitedThread::Auth);
        if self.auth.join().is_err() {
            failed.get_or_insert_with(|| "the auth worker panicked: see the log".into());
        }
        failed
    }
}

/// The links of the server API.
fn api_parts(
    setup: &ShellSetup,
    queues: &Queues,
    callers: &Arc<Callers>,
    mailboxes: &Arc<[Mailbox]>,
    registry: &RegistryParts,
    orders: &Arc<OrderBoard>,
) -> ApiParts {
    ApiParts {
        queues: queues.clone(),
        callers: Arc::clone(callers),
        mailboxes: Arc::clone(mailboxes),
        outlook: Arc::clone(&setup.engine.outlook),
        secured: setup.tls.clone(),
        cluster: Arc::clone(&registry.board),
        users: UserDirectory::new(registry.sender.clone()),
        orders: Arc::clone(orders),
        vitals: Arc::clone(&setup.engine.vitals),
    }
}

fn start_auth(
    config: &Config,
    setup: &Setup,
    trust: Option<TokenTrust>,
    (jobs, registry): (Receiver<AuthJob>, Option<RegistrySender>),
    (mailboxes, orders): (&Arc<[Mailbox]>, &Arc<OrderBoard>),
    clock: Clock,
) -> std::io::Result<introspect::RunningAuth> {
    let ends = AuthEnds {
        mailboxes: Arc::clone(mailboxes),
        jobs,
        counters: Arc::clone(&setup.metrics.auth),
        orders: Arc::clone(orders),
        registry,
        canary: setup.policy.canary.clone(),
    };
    introspect::start(trust, auth::census(config), Arc::new(move || clock.read()), ends)
}

fn start_rosters(
    config: &Config,
    setup: &Setup,
    (sharing, registry): (Option<SharingParts>, &RegistryParts),
    inbox: PresenceInbox,
    mailboxes: &Arc<[Mailbox]>,
    clock: Clock,
) -> std::io::Result<RunningPresence> {
    let rosters = PresenceParts {
        rules: presence::rules(config),
        sharing,
        cluster: config.store.postgres().map(|_| Arc::clone(&registry.board)),
        inbox,
        mailboxes: Arc::clone(mailboxes),
        counters: Arc::clone(&setup.metrics.presence),
        clock: move || clock.read(),
    };
    rosters.start()
}

fn start_rebalance(
    setup: &Setup,
    registry: &RegistryParts,
    mailboxes: &Arc<[Mailbox]>,
    clock: Clock,
) -> std::io::Result<RunningRebalance> {
    let parts = RebalanceParts {
        name: Arc::clone(&setup.policy.instance.0),
        board: Arc::clone(&registry.board),
        vitals: Arc::clone(&setup.vitals),
        mailboxes: Arc::clone(mailboxes),
    };
    rebalance::start(parts, move || clock.read())
}

/// Starts the thread that counts clients, and the one that groups their errors. The latter ends with the reactors, which have the
/// senders of its queue.
fn start_clients(
    setup: &Setup,
    (events, reports): (Receiver<ClientEvent>, Receiver<Box<ReportJob>>),
    mailboxes: &Arc<[Mailbox]>,
    clock: Clock,
) -> std::io::Result<RunningClients> {
    let (metrics, vitals) = (Arc::clone(&setup.metrics), Arc::clone(&setup.vitals));
    let errors = metrics.client_errors.clone();
    clients::start_errors(reports, errors, Arc::clone(mailboxes), move || clock.read())?;
    clients::start(ClientParts { events, metrics, vitals }, move || clock.read())
}

/// Both ends of these ways; none if there can be no other instance, or nothing is judged.
fn ways_to_share(config: &Config) -> (Option<SharedWays>, Option<CountsEnds>) {
    let shares = config.slo.enabled && config.store.postgres().is_some();
    let ways = shares.then(shared_counts);
    ways.map(|(counts, alerts, ends)| ((counts, alerts), ends)).unzip()
}

/// The ways of the rosters to the other instances.
fn sharing(bus: &PreparedBus, registry: &RegistryParts, segments: SegmentQueue) -> SharingParts {
    let RegistryRedis { target, prefix, .. } = bus.redis();
    let (origin, key, slots) = (Origin(registry.signs.origin), bus.key(), bus.slots());
    SharingParts { target, prefix, origin, key, slots, segments }
}

/// The receiving ends of the queues.
pub(super) struct Jobs {
    append: Receiver<Append>,
    read: Receiver<Read>,
    streams: Receiver<StreamWork>,
    stream_bytes: Arc<AtomicUsize>,
    admit: Receiver<AuthJob>,
    presence: PresenceInbox,
    clients: Receiver<ClientEvent>,
    reports: Receiver<Box<ReportJob>>,
}

/// Creates the queues. The auth worker always has one, because a reload may turn its bounds on.
pub(super) fn queues(bus: Option<&PreparedBus>, reactors: usize) -> (Queues, Jobs) {
    let (append, append_jobs) = bounded(APPEND_QUEUE);
    let (read, read_jobs) = bounded(READ_QUEUE);
    let (work, stream_work) = bounded(STREAM_QUEUE);
    let streams = StreamQueue { work, bytes: Arc::default() };
    let (admit, admit_jobs) = bounded(AUTH_QUEUE);
    let (presence, presence_jobs) = job::presence::presence(reactors);
    let (clients, client_jobs) = job::clients::client_events();
    let (reports, report_jobs) = job::client_errors::reports();
    let jobs = Jobs {
        append: append_jobs,
        read: read_jobs,
        streams: stream_work,
        stream_bytes: Arc::clone(&streams.bytes),
        admit: admit_jobs,
        presence: presence_jobs,
        clients: client_jobs,
        reports: report_jobs,
    };
    let bus = bus.map(|prepared| prepared.bus.clone());
    (Queues { append, read, streams, bus, admit, presence, clients, reports }, jobs)
}

fn watch_signals(notices: Sender<DrainNotice>) -> std::io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    let watch = move || {
        for signal in signals.forever() {
            let cause = if signal == SIGINT { DrainCause::Interrupt } else { DrainCause::Terminate };
            // A full queue means that the process is ending already.
            let _ = notices.try_send(DrainNotice::Signal(cause));
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(watch).map(|_| ())
}
