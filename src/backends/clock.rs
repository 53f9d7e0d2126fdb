//! The thread `relay`: it decides which channel is claimed next, and never waits for a backend or the store.

use super::cancelled::AnswerCancel;
use super::routes::RouteSeat;
use super::sender::{self, AskedClaim, NextStep, SenderJob, SenderReport};
use super::shared::{Mode, RelayShared};
use crate::clock::Moment;
use crate::drain::DrainPhase;
use crate::health::snapshot::AdmissionMode;
use crate::id::{ChannelName, UserName};
use crate::job::SnapshotReader;
use crate::job::relay::{
    RELAY_ROWS_MAX, RelayAnswer, RelayDue, RelayNotice, RelayOutcome, RelayStatus, RelayWork,
};
use crate::relay::route::RouteTable;
use crate::relay::schedule::{AfterSettling, RelaySchedule, RoutePlace, later};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, never, select};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often the store is asked which channels wait: it finds what notices have lost.
const POLL: Duration = Duration::from_secs(1);
/// The least time from an answer of the store to the next question, however soon the next channel is due: a backend that fails at
/// once makes one due all the time.
const POLL_LEAST: Duration = Duration::from_millis(250);
/// How often claims are prolonged.
const RENEW: Duration = Duration::from_secs(10);
/// How often the store is asked for its counts.
const COUNT: Duration = Duration::from_secs(10);
/// Notices and reports that are taken before channels are claimed.
const BATCH: usize = 1_024;
/// The bound on reports that wait for this thread: senders wait, and they are few.
const REPORTS: usize = 1_024;
/// Senders of a route without work end after this time.
const IDLE: Duration = Duration::from_secs(30);
/// The wait of a relay without routes and senders.
const QUIET: Duration = Duration::from_secs(60);
/// How long the end waits for requests in progress. A request that ends later may have arrived, and is sent again.
const END_TIMEOUT: Duration = Duration::from_secs(3);

/// An order of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClockOrder {
    Renew,
    Stop,
}

pub(super) struct RelayClock {
    shared: Arc<RelayShared>,
    notices: Receiver<RelayNotice>,
    orders: Receiver<ClockOrder>,
    reports: (Sender<SenderReport>, Receiver<SenderReport>),
    snapshot: SnapshotReader,
    table: RouteTable,
    seats: Vec<RouteSeat>,
    schedule: RelaySchedule,
    /// The answers that are awaited. Nothing is asked twice, so a store that is slow does not get more to do.
    due: Option<Receiver<RelayAnswer>>,
    counts: Option<Receiver<RelayAnswer>>,
    polls: Moment,
    renews: Moment,
    counts_again: Moment,
}

impl RelayClock {
    pub(super) fn new(
        shared: Arc<RelayShared>,
        notices: Receiver<RelayNotice>,
        orders: Receiver<ClockOrder>,
    ) -> RelayClock {
        let snapshot = shared.outlook.reader();
        let mut clock = RelayClock {
            shared,
            notices,
            orders,
            reports: bounded(REPORTS),
            snapshot,
            table: RouteTable::default(),
            seats: Vec::new(),
            schedule: RelaySchedule::default(),
            due: None,
            counts: None,
            polls: Moment::ZERO,
            renews: Moment::ZERO,
            counts_again: Moment::ZERO,
        };
        clock.renew();
        clock
    }

    pub(super) fn run(mut self) {
        loop {
            let now = self.now();
            self.look(now);
            self.begin(now);
            let wait = self.wait(now);
            // Copies, so that the arms may change `self`.
            let (notices, orders, reports) =
                (self.notices.clone(), self.orders.clone(), self.reports.1.clone());
            let awaited = |answer: &Option<Receiver<RelayAnswer>>| answer.clone().unwrap_or_else(never);
            let (due, counts) = (awaited(&self.due), awaited(&self.counts));
            select! {
                recv(orders) -> order => match order {
                    Ok(ClockOrder::Renew) => self.renew(),
                    Ok(ClockOrder::Stop) | Err(_) => return self.stop(),
                },
                recv(reports) -> report => if let Ok(report) = report {
                    self.reported(report);
                },
                recv(notices) -> notice => match notice {
                    Ok(notice) => self.noticed(notice),
                    // The store has ended.
                    Err(_) => self.notices = never(),
                },
                recv(due) -> answer => {
                    self.due = None;
                    if let Ok(RelayAnswer::Due(due)) = answer {
                        self.found(due);
                    }
                },
                recv(counts) -> answer => {
                    self.counts = None;
                    if let Ok(RelayAnswer::Status(status)) = answer {
                        self.counted(&status);
                    }
                },
                default(wait) => {},
            }
            self.take_all();
        }
    }

    fn now(&self) -> Moment {
        self.shared.now().at
    }

    /// Takes what came at the same time, so that one turn serves all of it.
    fn take_all(&mut self) {
        for _ in 0..BATCH {
            let (notice, report) = (self.notices.try_recv(), self.reports.1.try_recv());
            if notice.is_err() && report.is_err() {
                return;
            }
            if let Ok(report) = report {
                self.reported(report);
            }
            if let Ok(notice) = notice {
                self.noticed(notice);
            }
        }
    }

    /// The time until there is something to do without news.
    fn wait(&self, now: Moment) -> Duration {
        if self.table.is_empty() {
            // Nothing is asked, and senders that are left have their time to end.
            let is_quiet = self.seats.iter().all(|seat| seat.senders == 0);
            return if is_quiet { QUIET } else { POLL };
        }
        let wakes = self.schedule.wakes().filter(|_| !self.shared.is(Mode::Draining));
        let next = wakes.map_or(self.polls, |wakes| wakes.min(self.polls));
        next.since(now).clamp(Duration::from_millis(1), POLL)
    }

    /// Asks the store what is due, prolongs claims, and ends senders without work.
    fn look(&mut self, now: Moment) {
        if self.shared.vitals.drain.phase() != DrainPhase::Serving {
            self.shared.enter(Mode::Draining);
        }
        if self.table.is_empty() {
            return self.rest(now);
        }
        let links = self.shared.links.load_full();
        let Some(queue) = links.as_ref().map(|links| &links.queue) else { return };
        if now >= self.polls {
            self.polls = now + POLL;
            if !self.shared.is(Mode::Draining) && self.due.is_none() {
                self.due = queue.ask(RelayWork::Due { limit: RELAY_ROWS_MAX });
            }
        }
        if now >= self.renews {
            self.renews = now + RENEW;
            let claims: Vec<_> =
                self.shared.claims.lock().iter().map(|(name, fence)| (name.clone(), *fence)).collect();
            if !claims.is_empty() {
                // A claim that is lost shows when it is settled.
                let _ = queue.ask(RelayWork::Renew { claims });
            }
        }
        if now >= self.counts_again {
            self.counts_again = now + COUNT;
            if self.counts.is_none() {
                self.counts = queue.ask(RelayWork::Status);
            }
        }
        self.rest(now);
    }

    /// Ends the senders of routes that have had no work for a while.
    fn rest(&mut self, now: Moment) {
        for (place, seat) in self.seats.iter_mut().enumerate() {
            if self.schedule.taken(RoutePlace(place)) > 0 {
                seat.used = now;
            } else if seat.senders > 0 && now.since(seat.used) >= IDLE {
                for _ in 0..std::mem::take(&mut seat.senders) {
                    let _ = seat.jobs.0.try_send(None);
                }
            }
        }
    }

    /// Gives channels to senders as long as there are seats.
    fn begin(&mut self, now: Moment) {
        if self.shared.is(Mode::Draining) {
            return;
        }
        let snapshot = Arc::clone(self.snapshot.load());
        loop {
            let seats = &self.seats;
            let is_open = |place: RoutePlace| {
                let Some(seat) = seats.get(place.0) else { return false };
                let Some(route) = &seat.route else { return false };
                let is_down = snapshot.mode == AdmissionMode::Enforce
                    && route.dependency.as_ref().is_some_and(|name| snapshot.outage_of(name).is_some());
                !is_down && !seat.meter.is_paused()
            };
            let Some((place, channel)) = self.schedule.next(now, is_open) else { return };
            self.send(place, channel, None);
        }
    }

    /// Gives a channel, for which a seat was taken, to a sender.
    fn send(&mut self, place: RoutePlace, channel: ChannelName, claim: Option<AskedClaim>) {
        let taken = self.schedule.taken(place);
        let Some(seat) = self.seats.get_mut(place.0) else { return };
        let Some(route) = seat.route.clone() else {
            self.settled(&channel, AfterSettling::Rest);
            return self.schedule.freed(place);
        };
        if seat.senders < taken {
            match sender::start(&self.shared, &seat.name, seat.jobs.1.clone(), self.reports.0.clone()) {
                Ok(()) => seat.senders += 1,
                Err(error) if seat.senders == 0 => {
                    tracing::error!(%error, "relay thread not started");
                    self.settled(&channel, later(self.now(), POLL));
                    return self.schedule.freed(place);
                }
                // The channel waits for a sender that is busy.
                Err(_) => {}
            }
        }
        let (meter, shares) = (Arc::clone(&seat.meter), Arc::clone(&seat.shares));
        let job = SenderJob { place, route, meter, shares, channel, claim };
        if let Err(TrySendError::Full(Some(job)) | TrySendError::Disconnected(Some(job))) =
            seat.jobs.0.try_send(Some(job))
        {
            self.settled(&job.channel, AfterSettling::Rest);
            self.schedule.freed(place);
        }
    }

    fn place_of(&self, channel: &ChannelName) -> Option<RoutePlace> {
        let name = &self.table.of(channel)?.name;
        self.seats.iter().position(|seat| seat.name == *name).map(RoutePlace)
    }

    /// The channel is with no sender any more. It waits under the route that it has now.
    fn settled(&mut self, channel: &ChannelName, after: AfterSettling) {
        let route = self.place_of(channel);
        self.schedule.settled(channel, after, route);
    }

    fn noticed(&mut self, notice: RelayNotice) {
        match notice {
            RelayNotice::Waiting { channel } => {
                if let Some(place) = self.place_of(&channel) {
                    self.schedule.noticed(channel, place);
                }
            }
            RelayNotice::Cancelled { id, question, generation, epoch } => {
                self.shared.readings.end(&id);
                let place = self.place_of(&id.channel);
                let Some(seat) = place.and_then(|place| self.seats.get_mut(place.0)) else {
                    // No route, and so no counter of one.
                    return tracing::debug!(channel = %id.channel, "cancel without a route dropped");
                };
                let (meter, at) = (Arc::clone(&seat.meter), self.shared.now().at);
                seat.cancels.send(&self.shared, AnswerCancel { id, question, generation, epoch, at, meter });
            }
            RelayNotice::Over { id } => self.shared.readings.end(&id),
        }
    }

    fn found(&mut self, due: RelayDue) {
        let now = self.now();
        if let Some(next) = due.next {
            self.polls = self.polls.min(now + next.max(POLL_LEAST));
        }
        for row in due.channels {
            if let Some(place) = self.place_of(&row.channel) {
                self.schedule.due(row.channel, place);
            }
        }
    }

    fn counted(&self, status: &RelayStatus) {
        for route in &status.routes {
            let Some(seat) = self.seats.iter().find(|seat| seat.name == route.route) else { continue };
            seat.meter.waiting.store(route.waiting, Ordering::Relaxed);
            seat.meter.oldest_ms.store(route.oldest_ms.unwrap_or(0), Ordering::Relaxed);
            seat.meter.dead_letters.store(route.dead, Ordering::Relaxed);
        }
    }

    fn reported(&mut self, report: SenderReport) {
        match report {
            SenderReport::Settled { channel, next } => {
                let after = match next {
                    NextStep::Rest => AfterSettling::Rest,
                    NextStep::Ready => AfterSettling::Ready,
                    NextStep::After(delay) => later(self.now(), delay),
                    NextStep::Hold(user) => return self.hold(&channel, user),
                };
                self.settled(&channel, after);
            }
            SenderReport::Freed { place } => {
                self.schedule.freed(place);
                self.let_go(place);
            }
            SenderReport::Next { claim, place } => self.take_over(claim, place),
        }
    }

    /// Holds a channel back, and lets the one go whose turn it is: a seat may have been given back since the claim.
    fn hold(&mut self, channel: &ChannelName, user: UserName) {
        let route = self.place_of(channel);
        self.schedule.hold(channel, user, route);
        if let Some(place) = route {
            self.let_go(place);
        }
    }

    fn let_go(&mut self, place: RoutePlace) {
        if let Some(seat) = self.seats.get(place.0) {
            let shares = seat.shares.lock();
            self.schedule.let_go(place, |user| shares.has_room(user));
        }
    }

    /// Gives the next publication of a channel, whose sender reads a response, to another sender. Without one the claim is released.
    fn take_over(&mut self, claim: AskedClaim, place: RoutePlace) {
        let channel = claim.claimed.channel.clone();
        if !self.shared.is(Mode::Draining) && self.schedule.take_over(&channel) {
            return self.send(place, channel, Some(claim));
        }
        let work = RelayWork::Settle {
            channel: channel.clone(),
            fence: claim.claimed.fence,
            outcome: RelayOutcome::Release,
        };
        if let Some(links) = self.shared.links.load_full() {
            // If it is lost, the claim ends by itself.
            let _ = links.queue.ask(work);
        }
        self.settled(&channel, AfterSettling::Ready);
    }

    /// Takes the routes in force. Channels that wait are found again by the poll, under the routes that they have now.
    fn renew(&mut self) {
        self.table = self.shared.routes.current();
        self.shared.calls.clear();
        for (place, seat) in self.seats.iter_mut().enumerate() {
            let all = seat.renew(&self.table, &self.shared.meters);
            self.schedule.seat(RoutePlace(place), all);
            self.schedule.forget(RoutePlace(place));
        }
        for route in self.table.iter() {
            if self.seats.iter().any(|seat| seat.name == route.name) {
                continue;
            }
            let Some(meter) = self.shared.meters.of(&route.name) else { continue };
            let (seat, place) = (RouteSeat::new(route, meter), self.free_place());
            self.schedule.seat(RoutePlace(place), route.concurrency);
            match self.seats.get_mut(place) {
                Some(old) => *old = seat,
                None => self.seats.push(seat),
            }
        }
        self.polls = Moment::ZERO;
        self.counts_again = Moment::ZERO;
    }

    /// The place of a route that is gone, or a new one.
    fn free_place(&self) -> usize {
        let is_free = |place: &usize| {
            let is_gone = self.seats.get(*place).is_none_or(|seat| seat.route.is_none());
            is_gone && self.schedule.taken(RoutePlace(*place)) == 0
        };
        (0..self.seats.len()).find(is_free).unwrap_or(self.seats.len())
    }

    /// Ends what is in progress, and releases the claims.
    fn stop(mut self) {
        self.shared.enter(Mode::Stopping);
        self.shared.readings.end_all();
        let until = self.now() + END_TIMEOUT;
        let places = self.seats.len();
        while (0..places).any(|place| self.schedule.taken(RoutePlace(place)) > 0) && self.now() < until {
            if let Ok(report) = self.reports.1.recv_timeout(until.since(self.now())) {
                self.reported(report);
            }
        }
        if !self.table.is_empty() {
            self.shared.ask(RelayWork::ReleaseAll, Duration::from_secs(1));
        }
        self.shared.links.store(None);
    }
}
