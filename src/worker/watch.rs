//! Watches the dependencies: probes each on its own clock, takes what the workers meet, and publishes what follows.
//!
//! One thread owns the board. Each dependency has a thread of its own that waits for its probe, so that one that hangs holds up
//! no other; the board's schedule sees to it that each has one look at a time.

use super::probe::Probe;
use super::probe::doctor::broken;
use crate::clock::Now;
use crate::health::board::{Board, Changes, DependencyId, Due, Event, What};
use crate::health::dependency::Work;
use crate::health::finding::{Cause, Evidence, Fault, Finding};
use crate::health::judge::Look;
use crate::health::report::dependencies::{Form, all};
use crate::job::{Mailbox, Outlook};
use crate::limits::WATCH_QUEUE;
use crate::metrics::watch::WatchCounters;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, never, select};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// The longest wait of the watch thread, when no dependency has anything due.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// What the watch thread is told.
#[derive(Debug)]
enum News {
    /// A probe came back.
    Found(Due, Finding),
    /// The process ends.
    Stop,
}

/// What the watch thread works with.
pub struct Watch<C> {
    /// All dependencies.
    pub board: Board,
    /// What looks at each, by its place on the board.
    pub probes: Vec<Probe>,
    /// What workers met: it is seen without waiting for the next probe.
    pub evidence: Receiver<(DependencyId, Evidence)>,
    /// Reads the process's clock.
    pub clock: C,
    /// Where the snapshot is published.
    pub outlook: Arc<Outlook>,
    /// Who is told that there is a new one.
    pub mailboxes: Arc<[Mailbox]>,
    /// What is counted.
    pub counters: Arc<WatchCounters>,
}

/// A watch whose threads run.
#[derive(Debug)]
pub struct Running {
    news: Sender<News>,
    watch: JoinHandle<()>,
}

impl Running {
    /// Ends the watch thread. A look under way ends by its own deadline and finds nobody to tell.
    pub fn stop(self) -> std::thread::Result<()> {
        // Full of news: the thread is at work and takes this as soon as there is room.
        let _ = self.news.send(News::Stop);
        self.watch.join()
    }
}

impl<C: Fn() -> Now + Send + 'static> Watch<C> {
    /// Starts `watch` and a `probe-NAME` for each dependency.
    pub fn start(mut self) -> io::Result<Running> {
        let (news, inbox) = bounded(WATCH_QUEUE);
        let names: Vec<Arc<str>> =
            self.board.dependencies().map(|dependency| Arc::clone(&dependency.definition().name)).collect();
        let lookers = std::mem::take(&mut self.probes)
            .into_iter()
            .zip(names)
            .map(|(probe, name)| looker(probe, &name, news.clone()))
            .collect::<io::Result<Vec<_>>>()?;
        let watch = Builder::new().name("watch".into()).spawn(move || self.run(&inbox, &lookers))?;
        Ok(Running { news, watch })
    }

    fn run(mut self, inbox: &Receiver<News>, lookers: &[Sender<Due>]) {
        let mut random = fastrand::Rng::new();
        let mut evidence = std::mem::replace(&mut self.evidence, never());
        loop {
            let now = (self.clock)();
            let changes = self.board.tick(now, random.u64(..));
            self.apply(changes);
            while let Some(due) = self.board.due(now.at) {
                self.send(lookers, due, now, random.u64(..));
            }
            let wait = self.board.next_due().map_or(WAIT_MAX, |due| due.since(now.at).min(WAIT_MAX));
            select! {
                recv(inbox) -> news => match news {
                    Ok(News::Found(due, finding)) => {
                        let changes = self.observe(&due, finding, random.u64(..));
                        self.apply(changes);
                        self.report();
                    }
                    Ok(News::Stop) | Err(_) => return,
                },
                recv(evidence) -> heard => match heard {
                    Ok((dependency, heard)) => {
                        let changes = self.hear(dependency, heard, random.u64(..));
                        self.apply(changes);
                    }
                    // The workers are gone. The probes go on.
                    Err(_) => evidence = never(),
                },
                default(wait) => {}
            }
        }
    }

    /// A fault of a connection makes one immediate look; a connection that was made says that a look is worth while again. Calls
    /// move their breaker.
    fn hear(&mut self, dependency: DependencyId, heard: Evidence, random: u64) -> Changes {
        let now = (self.clock)();
        match heard {
            Evidence::Connection(Finding { result: Err(cause), .. }) => {
                self.board.suspect(dependency, cause, now, random)
            }
            Evidence::Connection(Finding { result: Ok(_), .. }) => {
                self.board.ask(dependency, now);
                Changes::default()
            }
            Evidence::Call(of, result, took) => {
                let work = result.map_or_else(Work::Failed, |()| Work::Answered);
                // The call was made: a breaker that is open meanwhile has nothing to learn from it.
                match self.board.admit(dependency, of, now, random) {
                    Ok(ticket) => self.board.record((dependency, of, ticket), (work, took), now, random),
                    Err(_) => Changes::default(),
                }
            }
        }
    }

    /// Hands a look to its thread. A thread that is still busy with the one before has lost its time: the board has given it up.
    fn send(&mut self, lookers: &[Sender<Due>], due: Due, now: Now, random: u64) {
        let Some(looker) = lookers.get(due.dependency.place()) else { return };
        if let Err(TrySendError::Full(due) | TrySendError::Disconnected(due)) = looker.try_send(due) {
            let cause = Cause::new(
                Fault::Timeout,
                "the probe before has not come back",
                "whether name resolution hangs: it is what a probe cannot bound",
            );
            let finding = Finding { latency: due.definition.timeout, result: Err(cause) };
            let changes = self.board.observe(&due, finding, now, random);
            self.apply(changes);
        }
    }

    fn observe(&mut self, due: &Due, finding: Finding, random: u64) -> Changes {
        if let Some(cells) = self.counters.of(&due.definition.name) {
            cells.probes.fetch_add(1, Ordering::Relaxed);
            cells.probe_failures.fetch_add(u64::from(finding.result.is_err()), Ordering::Relaxed);
        }
        self.board.observe(due, finding, (self.clock)(), random)
    }

    fn report(&self) {
        self.outlook.publish_report(all(&self.board, (self.clock)(), Form::Public));
    }

    /// Logs, counts and publishes.
    fn apply(&self, changes: Changes) {
        for event in &changes.events {
            log(event);
            if let Some(cells) = self.counters.of(&event.dependency)
                && is_change_of_state(&event.what)
            {
                cells.changes.fetch_add(1, Ordering::Relaxed);
                if let Some(dependency) = self.board.dependency(&event.dependency) {
                    cells.became(dependency.state());
                }
            }
        }
        let Some(snapshot) = changes.snapshot else { return };
        self.counters.stands(snapshot.level, snapshot.revision);
        // In this order: who reads that all is well is let in.
        self.outlook.publish(snapshot);
        self.report();
        for mailbox in self.mailboxes.iter() {
            if let Err(error) = mailbox.ring() {
                tracing::warn!(%error, "cannot wake a reactor; it sees the change with its next turn");
            }
        }
    }
}

fn is_change_of_state(what: &What) -> bool {
    match what {
        What::Down { .. } | What::Recovered { .. } | What::Became { .. } => true,
        What::Breaker { .. } | What::Forced(_) | What::Released => false,
    }
}

/// A thread that looks when it is told to.
fn looker(mut probe: Probe, name: &str, news: Sender<News>) -> io::Result<Sender<Due>> {
    let (dues, inbox) = bounded::<Due>(1);
    let look = move || {
        for due in inbox {
            if due.look == Look::Reconnect {
                probe.forget();
            }
            let looked = catch_unwind(AssertUnwindSafe(|| probe.look(due.definition.timeout)));
            let finding = looked.unwrap_or_else(|_| {
                probe.forget();
                broken()
            });
            if news.send(News::Found(due, finding)).is_err() {
                return;
            }
        }
    };
    Builder::new().name(format!("probe-{name}")).spawn(look)?;
    Ok(dues)
}

/// One line for each change, with all that is known: refusals name the outage, and this is where it is explained.
fn log(event: &Event) {
    let Event { dependency, criticality, what } = event;
    let criticality = criticality.as_str();
    match what {
        What::Down { reference, cause } => tracing::error!(
            %dependency, criticality, %reference, fault = cause.fault.as_str(), cause = %cause.text, look_at = cause.look_at,
            "a dependency is down"
        ),
        What::Recovered { reference, lasted, to } => tracing::info!(
            %dependency, criticality, %reference, lasted_ms = lasted.as_millis() as u64, state = to.as_str(),
            "a dependency is back"
        ),
        What::Became { from, to } => {
            tracing::info!(%dependency, criticality, from = from.as_str(), state = to.as_str(), "a dependency changed");
        }
        What::Breaker { of, from, to } => {
            tracing::info!(%dependency, of = of.as_str(), ?from, ?to, "a breaker moved");
        }
        What::Forced(to) => tracing::warn!(%dependency, ?to, "an operator holds a dependency"),
        What::Released => tracing::info!(%dependency, "an operator's hold on a dependency ended"),
    }
}
