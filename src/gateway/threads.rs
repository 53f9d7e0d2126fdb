//! The threads of the process: started in order, watched, and ended in order.

use super::backing::{self, Backing};
use super::config::Config;
use super::drain::{self, Awaited, Fault, Leader, Notice, Step};
use super::{auth, bus, tls};
use crate::drain::Cause;
use crate::id::ReactorId;
use crate::job::{Admit, Append, Mailbox, Queues, Read};
use crate::limits::{APPEND_QUEUE, AUTH_QUEUE, READ_QUEUE};
use crate::metrics::vitals::Vitals;
use crate::reactor::{Clock, Prepared, Reactor, Setups};
use crate::worker;
use crate::worker::auth::{Renewal, Trust};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::Arc;
use std::thread::JoinHandle;

/// More than there are to end.
const STEPS: usize = 16;

/// All threads of the process but the main one.
pub(super) struct Threads {
    notices: Receiver<Notice>,
    bell: Arc<dyn Fn() + Send + Sync>,
    reminder: tls::Reminder,
    workers: Workers,
}

/// Those that end when the process does.
struct Workers {
    reactors: Vec<JoinHandle<()>>,
    store: backing::Running,
    bus: Option<worker::bus::Running>,
    watch: worker::watch::Running,
    auth: worker::auth::Running,
}

impl Threads {
    pub(super) fn start(
        config: &Config,
        setups: &Setups,
        (store, bus, watch): (Backing, Option<bus::Prepared>, worker::watch::Running),
        trust: Option<Trust>,
        mailboxes: &Arc<[Mailbox]>,
        (prepared, queues, jobs): (Vec<Prepared>, Queues, Jobs),
    ) -> std::io::Result<Threads> {
        let setup = setups.load();
        let counters = Arc::clone(&setup.engine.metrics.store);
        let store = store.start(Arc::clone(mailboxes), jobs.append, jobs.read, counters)?;
        let bus =
            bus.map(|prepared| prepared.start(Arc::clone(mailboxes), queues.read.clone())).transpose()?;
        let start = |admits| {
            let counters = Arc::clone(&setup.engine.metrics.auth);
            let clock = setup.clock;
            let clock = Arc::new(move || clock.read());
            worker::auth::start(trust, auth::census(config), Arc::clone(mailboxes), admits, counters, clock)
        };
        let auth = start(jobs.admit)?;
        let (notices_in, notices) = bounded(setup.engine.reactors + 8);
        let reactors = start_reactors(config, setups, &queues, mailboxes, prepared, &notices_in)?;
        let bell = drain::bell(&notices_in);
        watch_signals(notices_in)?;
        let reminder = tls::Reminder::new(&setup.engine.metrics, setup.clock);
        Ok(Threads { notices, bell, reminder, workers: Workers { reactors, store, bus, watch, auth } })
    }

    /// Wakes the main thread after somebody began a drain.
    pub(super) fn bell(&self) -> Arc<dyn Fn() + Send + Sync> {
        Arc::clone(&self.bell)
    }

    /// A way to tell the auth worker of a change.
    pub(super) fn renewals(&self) -> Sender<Renewal> {
        self.workers.auth.renewals()
    }

    /// Waits for the end, and brings it about. The threads end beside the main one, which thus sees its deadline.
    pub(super) fn serve(self, clock: Clock, vitals: &Vitals, mailboxes: &[Mailbox]) -> Result<(), String> {
        let Threads { notices, bell: _, mut reminder, workers } = self;
        let mut leader = Leader::new(clock, vitals, mailboxes, notices);
        let replaced = || workers.store.replaced_epoch();
        let fault = leader.lead(|| {
            reminder.look();
            replaced().map(|(known, found)| Fault::EpochReplaced(known, found))
        });
        let (steps_in, steps) = bounded(STEPS);
        let end = move || {
            let failed = workers.join(|awaited| {
                // The main thread has left: the process is about to end.
                let _ = steps_in.send(Step::Awaits(awaited));
            });
            let _ = steps_in.send(Step::Ended(failed));
        };
        std::thread::Builder::new()
            .name("ending".into())
            .spawn(end)
            .map_err(|error| format!("cannot start a thread: {error}"))?;
        leader.finish(&steps, fault)
    }
}

impl Workers {
    /// Ends the threads in order: reactors and the watch, which hold the queues' senders, then the workers, which end when
    /// these are gone.
    fn join(self, awaits: impl Fn(Awaited)) -> Option<String> {
        let mut failed = None;
        awaits(Awaited::Reactors);
        for reactor in self.reactors {
            if reactor.join().is_err() {
                failed.get_or_insert_with(|| "a reactor panicked; see the log".into());
            }
        }
        awaits(Awaited::Watch);
        if self.watch.stop().is_err() {
            failed.get_or_insert_with(|| "the watch panicked; see the log".into());
        }
        // The bus's ear holds a way to the store's readers, and the store one to the bus's mouth.
        awaits(Awaited::BusEar);
        let bus = self.bus.map(worker::bus::Running::stop_listening);
        awaits(Awaited::Store);
        self.store.join();
        awaits(Awaited::BusMouth);
        if let Some(bus) = bus {
            bus.join();
        }
        awaits(Awaited::Auth);
        if self.auth.join().is_err() {
            failed.get_or_insert_with(|| "the auth worker panicked; see the log".into());
        }
        failed
    }
}

/// What the workers take from the queues.
pub(super) struct Jobs {
    append: Receiver<Append>,
    read: Receiver<Read>,
    admit: Receiver<Admit>,
}

/// The queues, and their other ends. The auth worker has its own whether or not it has work: a reload may give it some.
pub(super) fn queues(bus: Option<&bus::Prepared>) -> (Queues, Jobs) {
    let (append, append_jobs) = bounded(APPEND_QUEUE);
    let (read, read_jobs) = bounded(READ_QUEUE);
    let (admit, admit_jobs) = bounded(AUTH_QUEUE);
    let jobs = Jobs { append: append_jobs, read: read_jobs, admit: admit_jobs };
    let bus = bus.map(|prepared| prepared.member.bus.clone());
    (Queues { append, read, bus, admit }, jobs)
}

fn start_reactors(
    config: &Config,
    setups: &Setups,
    queues: &Queues,
    mailboxes: &Arc<[Mailbox]>,
    prepared: Vec<Prepared>,
    notices: &Sender<Notice>,
) -> std::io::Result<Vec<JoinHandle<()>>> {
    let cores = match config.server.pin_reactors {
        true => core_affinity::get_core_ids().unwrap_or_default(),
        false => Vec::new(),
    };
    let start = |(index, prepared): (usize, Prepared)| {
        let id = ReactorId(index as u16);
        let (setups, queues, mailboxes) = (setups.clone(), queues.clone(), Arc::clone(mailboxes));
        let notices = notices.clone();
        let core = cores.get(index % cores.len().max(1)).copied();
        std::thread::Builder::new().name(format!("reactor-{index}")).spawn(move || {
            if let Some(core) = core
                && !core_affinity::set_for_current(core)
            {
                tracing::warn!(reactor = index, "cannot pin this reactor to its core");
            }
            let guard = EndGuard { id, notices };
            let reactor = Reactor::new(id, prepared, &setups, queues, mailboxes);
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
    notices: Sender<Notice>,
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        // When the process stops, nobody listens any more.
        let _ = self.notices.try_send(Notice::ReactorEnded(self.id));
    }
}

fn watch_signals(notices: Sender<Notice>) -> std::io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    let watch = move || {
        for signal in signals.forever() {
            let cause = if signal == SIGINT { Cause::Interrupt } else { Cause::Terminate };
            // Full: an ending is on its way already.
            let _ = notices.try_send(Notice::Signal(cause));
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(watch).map(|_| ())
}
