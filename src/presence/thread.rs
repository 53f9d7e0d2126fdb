//! The loop: events, then what is due, then recounts.

use super::parts::PresenceParts;
use crate::clock::{Moment, Now};
use crate::id::ReactorId;
use crate::job::presence::{PageReply, PresenceInbox, PresenceJob};
use crate::job::registry::ClusterBoard;
use crate::job::wake::wake;
use crate::job::{Broadcast, Completion, Mailbox, Offered};
use crate::metrics::presence::PresenceCounters;
use crate::roster::{ReactorSet, RosterEvent, RosterPush, RosterRules, Rosters};
use crate::wire::presence::RosterKnowledge;
use arc_swap::ArcSwap;
use crossbeam_channel::RecvTimeoutError;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// Jobs taken before what is due is looked at.
const JOBS_MAX: usize = 1_024;
/// The longest wait, so that a lost event is noticed soon.
const WAIT_MAX: Duration = Duration::from_secs(1);

pub(super) struct PresenceThread<C> {
    rosters: Rosters,
    rules: Arc<ArcSwap<RosterRules>>,
    cluster: Option<Arc<ClusterBoard>>,
    inbox: PresenceInbox,
    mailboxes: Arc<[Mailbox]>,
    counters: Arc<PresenceCounters>,
    /// Reactors that are to repeat everything, because the rosters were lost.
    repeating: ReactorSet,
    clock: C,
}

/// The queue's senders, which are gone once the process ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Senders {
    Left,
    Gone,
}

fn empty_rosters(rules: &ArcSwap<RosterRules>) -> Rosters {
    let random = || fastrand::u64(..);
    let hasher = ahash::RandomState::with_seeds(random(), random(), random(), random());
    Rosters::new(**rules.load(), hasher)
}

impl<C: Fn() -> Now> PresenceThread<C> {
    pub(super) fn new(parts: PresenceParts<C>, rules: Arc<ArcSwap<RosterRules>>) -> PresenceThread<C> {
        let PresenceParts { rules: _, cluster, inbox, mailboxes, counters, clock } = parts;
        let (rosters, repeating) = (empty_rosters(&rules), ReactorSet::default());
        PresenceThread { rosters, rules, cluster, inbox, mailboxes, counters, repeating, clock }
    }

    /// Runs until the process ends. A panic costs the rosters, which the reactors then repeat, and not the process.
    pub(super) fn run(mut self) {
        loop {
            match catch_unwind(AssertUnwindSafe(|| self.work())) {
                Ok(Senders::Gone) => return,
                Ok(Senders::Left) => {}
                Err(_) => {
                    tracing::error!(hint = "this is a fault of seawall: report it", "presence restarted");
                    self.rosters = empty_rosters(&self.rules);
                    for reactor in 0..self.mailboxes.len() {
                        self.repeating.insert(ReactorId(reactor as u16));
                    }
                }
            }
        }
    }

    fn work(&mut self) -> Senders {
        let (first, senders) = self.wait();
        let now = (self.clock)();
        let rules = RosterRules { knowledge: self.knowledge(), ..**self.rules.load() };
        self.rosters.revise(rules, now.at);
        let jobs = first.into_iter().chain(self.inbox.jobs.try_iter().take(JOBS_MAX)).collect::<Vec<_>>();
        for job in jobs {
            self.take(job, now);
        }
        self.push((self.clock)());
        self.have_repeated();
        self.counters.report(self.rosters.sizes());
        senders
    }

    /// Rosters are complete while no other instance has clients of the same store.
    fn knowledge(&self) -> RosterKnowledge {
        match &self.cluster {
            Some(board) if !board.report().is_alone() => RosterKnowledge::OwnConnections,
            Some(_) | None => RosterKnowledge::Complete,
        }
    }

    /// Waits for a job, or until something is due.
    fn wait(&self) -> (Option<PresenceJob>, Senders) {
        let now: Moment = (self.clock)().at;
        let rest = self.rosters.due().map_or(WAIT_MAX, |due| due.since(now).min(WAIT_MAX));
        match self.inbox.jobs.recv_timeout(rest) {
            Ok(job) => (Some(job), Senders::Left),
            Err(RecvTimeoutError::Timeout) => (None, Senders::Left),
            Err(RecvTimeoutError::Disconnected) => (None, Senders::Gone),
        }
    }

    fn take(&mut self, job: PresenceJob, now: Now) {
        match job {
            PresenceJob::Event(event) => {
                self.counters.events.add(1);
                if let RosterEvent::Recounting { .. } = event {
                    self.counters.recounts.add(1);
                }
                self.rosters.handle(event, now);
            }
            PresenceJob::Page { wish, reply } => {
                self.counters.pages.add(1);
                let page = Arc::from(self.rosters.page(&wish));
                match reply {
                    PageReply::Reactor(ticket) => {
                        if let Some(mailbox) = self.mailboxes.get(usize::from(ticket.reactor.0)) {
                            mailbox.answer(Completion::Presence { ticket, page });
                            wake(mailbox);
                        }
                    }
                    // It may have given up.
                    PageReply::Thread(reply) => drop(reply.try_send(page)),
                }
            }
        }
    }

    /// Sends the frames that are due to the reactors that have watchers for them.
    fn push(&mut self, now: Now) {
        let pushes = self.rosters.advance(now.at);
        if pushes.is_empty() {
            return;
        }
        self.counters.pushes.add(pushes.len() as u64);
        for (index, mailbox) in self.mailboxes.iter().enumerate() {
            let reactor = ReactorId(index as u16);
            let own = pushes.iter().filter(|push| push.reactors.contains(reactor)).cloned();
            let own: Arc<[RosterPush]> = own.collect();
            if own.is_empty() {
                continue;
            }
            if mailbox.offer(Broadcast::Rosters(own)) == Offered::Missed {
                self.counters.missed.add(1);
            }
            wake(mailbox);
        }
    }

    /// Asks reactors for everything that they have, after the rosters were lost. One whose lane is full is asked later.
    fn have_repeated(&mut self) {
        if self.repeating.is_empty() {
            return;
        }
        for (index, mailbox) in self.mailboxes.iter().enumerate() {
            let reactor = ReactorId(index as u16);
            if self.repeating.contains(reactor) && mailbox.offer(Broadcast::Recount) == Offered::Taken {
                self.repeating.remove(reactor);
                wake(mailbox);
            }
        }
    }
}
