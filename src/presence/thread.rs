//! The loop: news of other instances, events, what is due, then recounts.

use super::listen::RosterNews;
use super::pages::{WaitingPage, WaitingPages};
use super::parts::{PresenceParts, PresenceRules};
use super::side::SharedSide;
use crate::clock::{Moment, Now};
use crate::id::ReactorId;
use crate::job::presence::{PageReply, PresenceInbox, PresenceJob};
use crate::job::registry::ClusterBoard;
use crate::job::segments::SegmentNews;
use crate::job::wake::wake;
use crate::job::{Broadcast, Completion, Mailbox, Offered};
use crate::metrics::presence::PresenceCounters;
use crate::roster::{PageWish, ReactorSet, RosterEvent, RosterPush, Rosters};
use crate::wire::presence::RosterKnowledge;
use arc_swap::ArcSwap;
use crossbeam_channel::{never, select};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// Jobs taken before what is due is looked at.
const JOBS_MAX: usize = 1_024;
/// The longest wait, so that a lost event is noticed soon.
const WAIT_MAX: Duration = Duration::from_secs(1);

pub(super) struct PresenceThread<C> {
    rosters: Rosters,
    rules: Arc<ArcSwap<PresenceRules>>,
    /// `None`: rosters are not shared.
    side: Option<SharedSide>,
    pages: WaitingPages,
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

/// The end of a wait: at most one of these.
#[derive(Default)]
struct Woken {
    job: Option<PresenceJob>,
    segment: Option<SegmentNews>,
    roster: Option<RosterNews>,
}

fn empty_rosters(rules: &ArcSwap<PresenceRules>, side: Option<&SharedSide>) -> Rosters {
    let random = || fastrand::u64(..);
    let hasher = ahash::RandomState::with_seeds(random(), random(), random(), random());
    let rules = **rules.load();
    let mut rosters = Rosters::new(rules.rosters, RosterKnowledge::Complete, hasher);
    if let Some(side) = side {
        side.join(&mut rosters, rules.sharing);
    }
    rosters
}

impl<C: Fn() -> Now + Clone + Send + Sync + 'static> PresenceThread<C> {
    pub(super) fn new(
        parts: PresenceParts<C>,
        rules: Arc<ArcSwap<PresenceRules>>,
    ) -> io::Result<PresenceThread<C>> {
        let PresenceParts { rules: _, sharing, cluster, inbox, mailboxes, counters, clock } = parts;
        let of_listeners = clock.clone();
        let start = |parts| SharedSide::start(parts, Arc::new(move || of_listeners().at));
        let side = sharing.map(start).transpose()?;
        let rosters = empty_rosters(&rules, side.as_ref());
        let (pages, repeating) = (WaitingPages::default(), ReactorSet::default());
        Ok(PresenceThread {
            rosters,
            rules,
            side,
            pages,
            cluster,
            inbox,
            mailboxes,
            counters,
            repeating,
            clock,
        })
    }

    /// Runs until the process ends. A panic costs the rosters, which the reactors then repeat, and not the process.
    pub(super) fn run(mut self) {
        loop {
            match catch_unwind(AssertUnwindSafe(|| self.work())) {
                Ok(Senders::Gone) => return,
                Ok(Senders::Left) => {}
                Err(_) => {
                    tracing::error!(hint = "this is a fault of seawall: report it", "presence restarted");
                    if let Some(side) = &mut self.side {
                        side.restart();
                    }
                    self.rosters = empty_rosters(&self.rules, self.side.as_ref());
                    for reactor in 0..self.mailboxes.len() {
                        self.repeating.insert(ReactorId(reactor as u16));
                    }
                }
            }
        }
    }

    fn work(&mut self) -> Senders {
        let (woken, senders) = self.wait();
        let now = (self.clock)();
        let rules = **self.rules.load();
        self.rosters.revise(rules.rosters);
        self.rosters.bound(rules.sharing);
        self.rosters.set_knowledge(self.knowledge(), now.at);
        let Woken { job: first, segment, roster } = woken;
        if let Some(side) = &mut self.side {
            side.take((segment, roster), &mut self.rosters, &self.counters, now.at);
        }
        let jobs = first.into_iter().chain(self.inbox.jobs.try_iter().take(JOBS_MAX)).collect::<Vec<_>>();
        for job in jobs {
            self.take(job, now);
        }
        self.answer_pages(now.at);
        self.push((self.clock)());
        if let Some(side) = &mut self.side {
            side.send(&mut self.rosters, &self.counters, (self.clock)().at);
        }
        self.have_repeated();
        self.counters.report(self.rosters.sizes());
        senders
    }

    /// Rosters are complete while no other instance has clients of the same store.
    fn knowledge(&self) -> RosterKnowledge {
        match &self.cluster {
            Some(board) if !board.report().is_alone() => RosterKnowledge::Incomplete,
            Some(_) | None => RosterKnowledge::Complete,
        }
    }

    /// Waits for a job or news, or until something is due.
    fn wait(&self) -> (Woken, Senders) {
        let now: Moment = (self.clock)().at;
        let due = self.rosters.due().into_iter().chain(self.pages.due()).min();
        let rest = due.map_or(WAIT_MAX, |due| due.since(now).min(WAIT_MAX));
        let (no_segments, no_news) = (never(), never());
        let (segments, news) = self.side.as_ref().map_or((&no_segments, &no_news), SharedSide::wakers);
        let mut woken = Woken::default();
        select! {
            recv(self.inbox.jobs) -> job => match job {
                Ok(job) => woken.job = Some(job),
                Err(_) => return (woken, Senders::Gone),
            },
            // Their senders live as long as the process.
            recv(segments) -> segment => woken.segment = segment.ok(),
            recv(news) -> roster => woken.roster = roster.ok(),
            default(rest) => {}
        }
        (woken, Senders::Left)
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
                let late = match self.rosters.await_page(&wish.channel, now.at) {
                    None => return self.answer(&wish, reply),
                    Some(until) => self.pages.push(WaitingPage { wish, reply, until }, now.at),
                };
                if let Some(WaitingPage { wish, reply, .. }) = late {
                    self.answer(&wish, reply);
                }
            }
        }
    }

    /// Answers the pages whose roster was read, or that waited long enough.
    fn answer_pages(&mut self, now: Moment) {
        let rosters = &mut self.rosters;
        let ready = self.pages.take(now, |wish| rosters.await_page(&wish.channel, now).is_some());
        for WaitingPage { wish, reply, .. } in ready {
            self.answer(&wish, reply);
        }
    }

    fn answer(&mut self, wish: &PageWish, reply: PageReply) {
        let page = Arc::from(self.rosters.page(wish));
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

    /// Sends the frames that are due to the reactors that have watchers for them.
    fn push(&mut self, now: Now) {
        let pushes = self.rosters.advance(now);
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
