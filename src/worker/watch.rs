//! Watches the dependencies: probes each on its own clock, takes what the workers meet, and publishes what follows.
//!
//! One thread owns the board. Each dependency has a thread of its own that waits for its probe, so that one that hangs holds up
//! no other; the board's schedule sees to it that each has one look at a time.

mod desk;
mod own;
mod revise;

pub use desk::{Action, Answer, Ask, Desk};
pub use own::{Sources, board as own_board};
pub use revise::{Revised, Reviser, Revision, Unrevised};

use super::probe::Probe;
use super::probe::doctor::broken;
use crate::clock::Now;
use crate::health::board::{Board, Changes, DependencyId, Due, Event, PermittedCall, What};
use crate::health::dependency::{CallResult, Work};
use crate::health::finding::{Cause, Evidence, Fault, Finding};
use crate::health::judge::Look;
use crate::health::report::dependencies::{Form, all};
use crate::job::{Mailbox, Outlook};
use crate::limits::WATCH_QUEUE;
use crate::metrics::watch::WatchCounters;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, never, select};
use own::Own;
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
    /// An operator asks.
    Asked(desk::Asked),
    /// The configuration changed.
    Revised(Box<revise::Asked>),
    /// The process ends.
    Stop,
}

/// What the watch is made of.
pub struct Setup<C> {
    /// All dependencies.
    pub board: Board,
    /// What looks at each, by its place on the board.
    pub probes: Vec<Probe>,
    /// The gateway itself: see [`own_board`].
    pub own: Board,
    /// Where its own numbers are; the reactors behind its mailboxes are told of a new snapshot.
    pub sources: Sources,
    /// What workers met: it is seen without waiting for the next probe.
    pub evidence: Receiver<(DependencyId, Evidence)>,
    /// Reads the process's clock.
    pub clock: C,
    /// Where the snapshot is published.
    pub outlook: Arc<Outlook>,
}

/// What the watch thread works with.
struct Watch<C> {
    board: Board,
    lookers: Vec<(DependencyId, Sender<Due>)>,
    own: Own,
    evidence: Receiver<(DependencyId, Evidence)>,
    clock: C,
    outlook: Arc<Outlook>,
    mailboxes: Arc<[Mailbox]>,
    counters: Arc<WatchCounters>,
}

/// A watch whose threads run.
#[derive(Debug)]
pub struct Running {
    news: Sender<News>,
    watch: JoinHandle<()>,
}

impl Running {
    /// A way for operators to ask the watch thread.
    pub fn desk(&self) -> Desk {
        Desk::new(self.news.clone())
    }

    /// A way to tell the watch thread that the configuration changed.
    pub fn reviser(&self) -> Reviser {
        Reviser::new(self.news.clone())
    }

    /// Ends the watch thread. A look under way ends by its own deadline and finds nobody to tell.
    pub fn stop(self) -> std::thread::Result<()> {
        // Full of news: the thread is at work and takes this as soon as there is room.
        let _ = self.news.send(News::Stop);
        self.watch.join()
    }
}

impl<C: Fn() -> Now + Send + 'static> Setup<C> {
    /// Starts `watch` and a `probe-NAME` for each dependency.
    pub fn start(self) -> io::Result<Running> {
        let Setup { board, probes, own, sources, evidence, clock, outlook } = self;
        let (news, inbox) = bounded(WATCH_QUEUE);
        let mut lookers = Vec::new();
        for (probe, dependency) in probes.into_iter().zip(board.dependencies()) {
            let name = &dependency.definition().name;
            let looker = looker(probe, name, news.clone())?;
            lookers.extend(board.id(name).map(|id| (id, looker)));
        }
        let watch = Watch {
            board,
            lookers,
            evidence,
            clock,
            outlook,
            mailboxes: Arc::clone(&sources.mailboxes),
            counters: Arc::clone(&sources.metrics.watch),
            own: Own::new(own, sources),
        };
        let watch = Builder::new().name("watch".into()).spawn(move || watch.run(&inbox))?;
        Ok(Running { news, watch })
    }
}

impl<C: Fn() -> Now + Send + 'static> Watch<C> {
    fn run(mut self, inbox: &Receiver<News>) {
        let mut random = fastrand::Rng::new();
        let mut evidence = std::mem::replace(&mut self.evidence, never());
        loop {
            let now = (self.clock)();
            let changes = self.board.tick(now, random.u64(..));
            self.apply(changes);
            while let Some(due) = self.board.due(now.at) {
                self.send(due, now, random.u64(..));
            }
            if let Some(changes) = self.own.look(&self.clock, random.u64(..)) {
                self.tell_own(&changes);
                self.report();
            }
            let dues = self.board.next_due().into_iter().chain(self.own.board().next_due());
            let wait = dues.map(|due| due.since(now.at)).fold(WAIT_MAX, Duration::min);
            select! {
                recv(inbox) -> news => match news {
                    Ok(News::Found(due, finding)) => {
                        let changes = self.observe(&due, finding, random.u64(..));
                        self.apply(changes);
                        self.show();
                        self.report();
                    }
                    Ok(News::Asked(asked)) => self.serve(asked, random.u64(..)),
                    Ok(News::Revised(asked)) => self.revise(*asked),
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
                    Ok(ticket) => {
                        let call = PermittedCall { dependency, of, ticket };
                        self.board.record(call, CallResult { work, took }, now, random)
                    }
                    Err(_) => Changes::default(),
                }
            }
        }
    }

    /// Hands a look to its thread. A thread that is still busy with the one before has lost its time: the board has given it up.
    fn send(&mut self, due: Due, now: Now, random: u64) {
        let Some((_, looker)) = self.lookers.iter().find(|(id, _)| *id == due.dependency) else { return };
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
        self.outlook.publish_report(all(&self.board, self.own.board(), (self.clock)(), Form::Public));
    }

    /// Shows in the metrics how each dependency stands.
    fn show(&self) {
        for (cells, dependency) in self.counters.dependencies().iter().zip(self.board.dependencies()) {
            cells.show(dependency);
        }
    }

    /// Logs and counts what the gateway found of itself.
    fn tell_own(&self, changes: &Changes) {
        let cells = &self.counters.own;
        for event in &changes.events {
            log_own(event);
            cells.changes.fetch_add(u64::from(is_change_of_state(&event.what)), Ordering::Relaxed);
        }
        if let Some(own) = self.own.board().dependencies().next() {
            cells.became(own);
        }
    }

    /// Logs, counts and publishes.
    fn apply(&self, changes: Changes) {
        for event in &changes.events {
            log(event);
            if let Some(cells) = self.counters.of(&event.dependency)
                && is_change_of_state(&event.what)
            {
                cells.changes.fetch_add(1, Ordering::Relaxed);
            }
        }
        if !changes.events.is_empty() {
            self.show();
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

/// The same of the gateway itself. That it is well is worth a line only after a time when it was not.
fn log_own(event: &Event) {
    match &event.what {
        What::Down { reference, cause } => tracing::error!(
            %reference, fault = cause.fault.as_str(), cause = %cause.text, look_at = cause.look_at,
            "the gateway itself is in need"
        ),
        What::Recovered { reference, lasted, to: _ } => {
            tracing::info!(%reference, lasted_ms = lasted.as_millis() as u64, "the gateway itself is well again");
        }
        What::Became { .. } | What::Breaker { .. } | What::Forced(_) | What::Released => {}
    }
}
