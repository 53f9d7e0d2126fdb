//! The watch thread: schedules probes, judges their results and publishes the snapshot.

use super::log::{log, log_own};
use super::news::WatchNews;
use super::own::Own;
use crate::clock::Now;
use crate::health::board::{Board, Changes, DependencyId, DueProbe, HealthEventKind, PermittedCall};
use crate::health::dependency::{CallResult, Work};
use crate::health::finding::{Cause, Evidence, Fault, Finding};
use crate::health::report::dependencies::{ReportAudience, all};
use crate::job::admin::AdminRequest;
use crate::job::wake::wake;
use crate::job::{Mailbox, Outlook};
use crate::metrics::watch::WatchCounters;
use crossbeam_channel::{Receiver, Sender, TrySendError, never, select};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The longest wait, when no dependency has anything due.
const WAIT_MAX: Duration = Duration::from_secs(60);

pub(super) struct Watch<C> {
    pub(super) board: Board,
    pub(super) lookers: Vec<(DependencyId, Sender<DueProbe>)>,
    pub(super) own: Own,
    pub(super) requests: Receiver<AdminRequest>,
    pub(super) evidence: Receiver<(DependencyId, Evidence)>,
    pub(super) clock: C,
    pub(super) outlook: Arc<Outlook>,
    pub(super) mailboxes: Arc<[Mailbox]>,
    pub(super) counters: Arc<WatchCounters>,
}

impl<C: Fn() -> Now + Send + 'static> Watch<C> {
    pub(super) fn run(mut self, inbox: &Receiver<WatchNews>) {
        let mut random = fastrand::Rng::new();
        let mut requests = std::mem::replace(&mut self.requests, never());
        let mut evidence = std::mem::replace(&mut self.evidence, never());
        loop {
            let now = (self.clock)();
            let changes = self.board.tick(now, random.u64(..));
            self.apply(changes);
            while let Some(due) = self.board.due(now.at) {
                self.send(due, now, random.u64(..));
            }
            self.outlook.publish_trials(self.board.trials());
            if let Some(changes) = self.own.look(&self.clock, random.u64(..)) {
                self.tell_own(&changes);
                self.report();
            }
            let dues = self.board.next_due().into_iter().chain(self.own.board().next_due());
            let wait = dues.map(|due| due.since(now.at)).fold(WAIT_MAX, Duration::min);
            select! {
                recv(inbox) -> news => match news {
                    Ok(WatchNews::Found(due, finding)) => {
                        let changes = self.observe(&due, finding, random.u64(..));
                        self.apply(changes);
                        self.show();
                        self.report();
                    }
                    Ok(WatchNews::Revised(asked)) => self.revise(*asked),
                    Ok(WatchNews::Stop) | Err(_) => return,
                },
                recv(requests) -> request => match request {
                    Ok(request) => self.serve(request, random.u64(..)),
                    // No operator can ask any more.
                    Err(_) => requests = never(),
                },
                recv(evidence) -> heard => match heard {
                    Ok((dependency, heard)) => {
                        let changes = self.hear(dependency, heard, random.u64(..));
                        self.apply(changes);
                    }
                    // The workers are gone. Probes continue.
                    Err(_) => evidence = never(),
                },
                default(wait) => {}
            }
        }
    }

    /// A connection fault causes one immediate look; a new connection shows that a look is worthwhile again. Calls move their
    /// breaker.
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
            Evidence::Part(part) => self.board.note_part(dependency, part, now, random),
            Evidence::Call(of, result, took) => {
                let work = result.map_or_else(Work::Failed, |()| Work::Answered);
                // The call was made: a breaker opened meanwhile learns nothing from it.
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

    /// Passes a look to its thread. If that thread is still busy with the one before, the board has already given that one up.
    fn send(&mut self, due: DueProbe, now: Now, random: u64) {
        let Some((_, looker)) = self.lookers.iter().find(|(id, _)| *id == due.dependency) else { return };
        if let Err(TrySendError::Full(due) | TrySendError::Disconnected(due)) = looker.try_send(due) {
            let cause = Cause::new(
                Fault::Timeout,
                "the previous probe has not returned",
                "whether name resolution hangs: it is what a probe cannot bound",
            );
            let finding = Finding { latency: due.definition.timeout, result: Err(cause) };
            let changes = self.board.observe(&due, finding, now, random);
            self.apply(changes);
        }
    }

    fn observe(&mut self, due: &DueProbe, finding: Finding, random: u64) -> Changes {
        if let Some(cells) = self.counters.of(&due.definition.name) {
            cells.probes.fetch_add(1, Ordering::Relaxed);
            cells.probe_failures.fetch_add(u64::from(finding.result.is_err()), Ordering::Relaxed);
            cells.probe_durations.record(finding.latency);
        }
        self.board.observe(due, finding, (self.clock)(), random)
    }

    pub(super) fn report(&self) {
        self.outlook.publish_report(all(
            &self.board,
            self.own.board(),
            (self.clock)(),
            ReportAudience::Public,
        ));
    }

    /// Updates the state of each dependency in the metrics.
    pub(super) fn show(&self) {
        for (cells, dependency) in self.counters.dependencies().iter().zip(self.board.dependencies()) {
            cells.show(dependency);
        }
    }

    /// Logs and counts changes of the gateway's own state.
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
    pub(super) fn apply(&self, changes: Changes) {
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
        self.counters.record_snapshot(snapshot.level, snapshot.revision);
        // In this order: a client that reads that all is well must be admitted.
        self.outlook.publish(snapshot);
        self.report();
        for mailbox in self.mailboxes.iter() {
            wake(mailbox);
        }
    }
}

fn is_change_of_state(what: &HealthEventKind) -> bool {
    match what {
        HealthEventKind::Down { .. } | HealthEventKind::Recovered { .. } | HealthEventKind::Became { .. } => {
            true
        }
        HealthEventKind::Breaker { .. } | HealthEventKind::Forced(_) | HealthEventKind::Released => false,
    }
}
