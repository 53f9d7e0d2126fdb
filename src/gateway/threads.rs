//! The threads of the process: started in order, watched, and ended in order.

use super::backing::{self, Backing};
use super::bus::Line;
use super::config::Config;
use super::{auth, capacity, tls};
use crate::id::{Epoch, ReactorId};
use crate::job::{Admit, Append, Mailbox, Queues, Read};
use crate::limits::{APPEND_QUEUE, AUTH_QUEUE, READ_QUEUE};
use crate::metrics::vitals::Vitals;
use crate::reactor::{Prepared, Reactor, Setups};
use crate::worker;
use crate::worker::auth::{Renewal, Trust};
use crossbeam_channel::{Receiver, Sender, bounded};
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

/// All threads of the process but the main one.
pub(super) struct Threads {
    endings: Receiver<Ending>,
    reactors: Vec<JoinHandle<()>>,
    store: backing::Running,
    bus: Option<worker::bus::Running>,
    watch: worker::watch::Running,
    auth: worker::auth::Running,
    reminder: tls::Reminder,
}

impl Threads {
    pub(super) fn start(
        config: &Config,
        setups: &Setups,
        (store, bus, watch): (Backing, Option<Line>, worker::watch::Running),
        trust: Option<Trust>,
        mailboxes: &Arc<[Mailbox]>,
        (prepared, queues, jobs): (Vec<Prepared>, Queues, Jobs),
    ) -> std::io::Result<Threads> {
        let setup = setups.load();
        let counters = Arc::clone(&setup.metrics.store);
        let store = store.start(Arc::clone(mailboxes), jobs.append, jobs.read, counters)?;
        let bus = bus.map(|line| line.start(Arc::clone(mailboxes), queues.read.clone())).transpose()?;
        let start = |admits| {
            let counters = Arc::clone(&setup.metrics.auth);
            let clock = setup.clock;
            let clock = Arc::new(move || clock.read());
            worker::auth::start(trust, auth::census(config), Arc::clone(mailboxes), admits, counters, clock)
        };
        let auth = start(jobs.admit)?;
        let (endings_in, endings) = bounded(setup.reactors + 8);
        let reactors = start_reactors(config, setups, &queues, mailboxes, prepared, &endings_in)?;
        watch_signals(endings_in)?;
        let reminder = tls::Reminder::new(&setup.metrics, setup.clock);
        Ok(Threads { endings, reactors, store, bus, watch, auth, reminder })
    }

    /// A way to tell the auth worker of a change.
    pub(super) fn renewals(&self) -> Sender<Renewal> {
        self.auth.renewals()
    }

    /// Waits for the end, looking at memory meanwhile, and then ends the threads in order: reactors and the
    /// watch, which hold the queues' senders, then the workers, which end when these are gone.
    pub(super) fn serve(mut self, vitals: &Vitals, mailboxes: &[Mailbox]) -> Result<(), String> {
        let ending = loop {
            vitals.set_memory_bytes(capacity::resident_bytes());
            self.reminder.look();
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
        if self.auth.join().is_err() {
            failed.get_or_insert_with(|| "the auth worker panicked; see the log".into());
        }
        tracing::info!("stopped");
        failed.map_or(Ok(()), Err)
    }
}

/// What the workers take from the queues.
pub(super) struct Jobs {
    append: Receiver<Append>,
    read: Receiver<Read>,
    admit: Receiver<Admit>,
}

/// The queues, and their other ends. The auth worker has its own whether or not it has work: a reload may give it some.
pub(super) fn queues(bus: Option<&Line>) -> (Queues, Jobs) {
    let (append, append_jobs) = bounded(APPEND_QUEUE);
    let (read, read_jobs) = bounded(READ_QUEUE);
    let (admit, admit_jobs) = bounded(AUTH_QUEUE);
    let jobs = Jobs { append: append_jobs, read: read_jobs, admit: admit_jobs };
    let bus = bus.map(|line| line.name.bus.clone());
    (Queues { append, read, bus, admit: Some(admit) }, jobs)
}

fn start_reactors(
    config: &Config,
    setups: &Setups,
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
        let (setups, queues, mailboxes) = (setups.clone(), queues.clone(), Arc::clone(mailboxes));
        let endings = endings.clone();
        let core = cores.get(index % cores.len().max(1)).copied();
        std::thread::Builder::new().name(format!("reactor-{index}")).spawn(move || {
            if let Some(core) = core
                && !core_affinity::set_for_current(core)
            {
                tracing::warn!(reactor = index, "cannot pin this reactor to its core");
            }
            let guard = EndGuard { id, endings };
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
