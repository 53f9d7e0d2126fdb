//! One dependency: all that is known of it.
//!
//! **The one verdict rule.** It is down when its probes say so or the breaker of a use that decides is open.
//! A connection that fails work starts one immediate reconnect, whose failure is `down`; any other error
//! only feeds the breaker. So what work meets is seen without waiting for the next probe, and one reset
//! connection refuses nobody.

use super::breaker::{Breaker, Forced, Open, Outcome, Position, Ticket};
use super::definition::{Definition, Suspicion, Use};
use super::draw::Draw;
use super::finding::{Cause, Fault, Finding};
use super::judge::{Health, Judge, Look};
use super::latency::Latency;
use super::outage::{Outage, retry_ms};
use super::schedule::{DOWN_INTERVAL, Place, Schedule};
use crate::clock::{Moment, Now};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Looks that are kept for the drill-down.
pub const PAST_MAX: usize = 50;

/// A dependency's state, in the words of `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Nobody has looked yet.
    Unknown,
    /// It does what it is asked.
    Ok,
    /// A part of it is not there.
    Degraded,
    /// It does not do what it is asked.
    Down,
}

impl State {
    /// As `status`, reports and metrics say it.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Unknown => "unknown",
            State::Ok => "ok",
            State::Degraded => "degraded",
            State::Down => "down",
        }
    }
}

/// A look of the past.
#[derive(Clone, Debug)]
pub struct Past {
    /// When it ended, Unix milliseconds.
    pub unix_ms: u64,
    /// What it found.
    pub finding: Finding,
}

/// What a call met.
#[derive(Clone, Debug)]
pub enum Work {
    /// It was answered.
    Answered,
    /// The dependency failed it.
    Failed(Cause),
    /// A client caused the failure, by what it sent or by going away.
    ByClient,
}

/// What an operator forced, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// `Open`: it counts as down. `Closed`: it counts as there.
    pub to: Forced,
    /// Its end.
    pub until: Moment,
}

/// See the module. Its memory is bounded: [`PAST_MAX`] looks, each of bounded text.
#[derive(Clone, Debug)]
pub struct Dependency {
    definition: Arc<Definition>,
    judge: Judge,
    /// One for each use of its kind.
    breakers: Vec<(Use, Breaker)>,
    pub(super) schedule: Schedule,
    latency: Latency,
    past: VecDeque<Past>,
    last_success_unix_ms: Option<u64>,
    /// What failed last, by a probe or by work.
    cause: Option<Cause>,
    warning: Option<String>,
    order: Option<Order>,
    /// The state that was last told, since when, and its outage: `Some` exactly while it is down.
    state: State,
    since: Now,
    outage: Option<Outage>,
}

/// What [`Dependency::settle`] found changed.
#[derive(Clone, Debug)]
pub struct Settled {
    /// What it was.
    pub from: State,
    /// What it is.
    pub to: State,
    /// The outage that began, or the one that ended.
    pub outage: Option<Outage>,
}

impl Dependency {
    /// Nothing is known of it; its first probe is due.
    pub fn new(definition: Arc<Definition>, now: Now) -> Dependency {
        Dependency {
            judge: Judge::new(definition.failures, definition.successes, now),
            breakers: definition.kind.uses().iter().map(|of| (*of, Breaker::default())).collect(),
            schedule: Schedule::new(definition.timeout, now.at),
            latency: Latency::default(),
            past: VecDeque::with_capacity(PAST_MAX),
            last_success_unix_ms: None,
            cause: None,
            warning: None,
            order: None,
            state: State::Unknown,
            since: now,
            outage: None,
            definition,
        }
    }

    /// An operator says other things of it, which hold from here on. What is known of it stays: its state, its outage,
    /// its breakers, its past. It is looked at soon.
    pub fn revise(&mut self, definition: Arc<Definition>, place: Place, now: Now) {
        debug_assert_eq!(definition.kind, self.definition.kind, "another kind is another dependency");
        self.judge.weigh(definition.failures, definition.successes);
        self.schedule.revise(definition.timeout, place, now.at);
        self.definition = definition;
    }

    /// Takes the result of the look of this number.
    pub fn observe(&mut self, number: u32, finding: Finding, now: Now, draw: &mut Draw) {
        let Some(look) = self.schedule.end(number) else { return };
        self.latency.take(finding.latency, now.at);
        match &finding.result {
            Ok(warning) => {
                self.warning.clone_from(warning);
                self.last_success_unix_ms = Some(now.unix_ms);
                self.judge.success(now);
                self.breakers.iter_mut().for_each(|(_, breaker)| breaker.probed_well(now.at));
            }
            Err(cause) => {
                self.cause = Some(cause.clone());
                self.judge.miss(look, now, draw.fraction());
            }
        }
        if self.past.len() >= PAST_MAX {
            self.past.pop_front();
        }
        self.past.push_back(Past { unix_ms: now.unix_ms, finding });
        let pause = match self.judge.undecided(now.at) {
            true => None,
            false if self.condition() == State::Down => Some(DOWN_INTERVAL.min(self.definition.interval)),
            false => Some(self.definition.interval),
        };
        self.schedule.plan(pause, now.at, draw.fraction());
    }

    /// Asks for a call. `None`: it has no such use, so nothing stands in the way.
    pub fn admit(&mut self, of: Use, now: Now, draw: &mut Draw) -> Result<Option<Ticket>, Open> {
        let down = self.judge.health() == Health::Down && self.order.is_none();
        if down && let Some(outage) = &self.outage {
            return Err(Open { retry_ms: retry_ms(now.at.since(outage.began.at), draw.fraction()) });
        }
        let Some((_, breaker)) = self.breakers.iter_mut().find(|(own, _)| *own == of) else {
            return Ok(None);
        };
        breaker.admit(now.at, draw.fraction()).map(Some)
    }

    /// Takes what a call met, with its ticket if it had one.
    pub fn record(
        &mut self,
        of: Use,
        ticket: Option<Ticket>,
        met: (Work, Duration),
        now: Now,
        draw: &mut Draw,
    ) {
        let (work, took) = met;
        let outcome = match &work {
            Work::Answered => Outcome::Answered,
            Work::ByClient => Outcome::ByClient,
            Work::Failed(cause) => cause.fault.outcome(),
        };
        if let (Some((_, breaker)), Some(ticket)) =
            (self.breakers.iter_mut().find(|(own, _)| *own == of), ticket)
        {
            breaker.record(ticket, outcome, took, now.at, draw.fraction());
        }
        match work {
            Work::Answered => self.last_success_unix_ms = Some(now.unix_ms),
            Work::ByClient => {}
            Work::Failed(cause) => self.suspect(cause, now),
        }
    }

    /// Takes a fault that work met outside of a call: a connection that was lost while it rested.
    pub fn suspect(&mut self, cause: Cause, now: Now) {
        match (cause.fault.suspicion(), self.judge.health()) {
            (_, Health::Down) => {}
            (Suspicion::Connection, Health::Up | Health::Unknown) => {
                self.schedule.want(Look::Reconnect, now.at);
            }
            (Suspicion::Other, Health::Up | Health::Unknown) => self.schedule.want(Look::Probe, now.at),
        }
        self.cause = Some(cause);
    }

    /// Lets time pass: breakers move, an order ends, a look is given up.
    pub fn tick(&mut self, now: Now, draw: &mut Draw) {
        for (_, breaker) in &mut self.breakers {
            breaker.tick(now.at, draw.fraction());
        }
        self.order = self.order.filter(|order| now.at < order.until);
        if let Some(number) = self.schedule.lost(now.at) {
            let cause = Cause::new(
                Fault::Timeout,
                "the probe did not come back",
                "whether Seawall's own probe threads run",
            );
            self.observe(number, Finding { latency: self.definition.timeout, result: Err(cause) }, now, draw);
        }
    }

    /// When the next look is due or time alone changes something.
    pub fn due(&self) -> Moment {
        let breakers = self.breakers.iter().filter_map(|(_, breaker)| breaker.due());
        let order = self.order.map(|order| order.until);
        breakers.chain(order).fold(self.schedule.due(), Moment::min)
    }

    /// Holds it at what an operator says, or ends that.
    pub fn order(&mut self, order: Option<Order>, now: Now) {
        self.order = order;
        for (_, breaker) in &mut self.breakers {
            match order {
                Some(Order { to, until }) => breaker.force(to, until),
                None => breaker.release(now.at),
            }
        }
        self.schedule.want(Look::Probe, now.at);
    }

    /// Compares what is known with what was last told; `None` when that is the same.
    pub fn settle(&mut self, now: Now, draw: &mut Draw) -> Option<Settled> {
        let (from, to) = (self.state, self.condition());
        if from == to {
            return None;
        }
        (self.state, self.since) = (to, now);
        let ended = self.outage.take();
        if to == State::Down {
            self.outage = Some(Outage::begin(self.outage_cause(), now, draw));
        }
        Some(Settled { from, to, outage: self.outage.clone().or(ended) })
    }

    fn outage_cause(&self) -> Cause {
        match (self.order, &self.cause) {
            (Some(_), _) => {
                Cause::new(Fault::Internal, "an operator holds it open", "who forced it, and until when")
            }
            (None, Some(cause)) => cause.clone(),
            (None, None) => {
                Cause::new(Fault::Timeout, "its calls are slow", "its load, and the network between")
            }
        }
    }

    /// The one verdict rule.
    fn condition(&self) -> State {
        match self.order {
            Some(Order { to: Forced::Open, .. }) => return State::Down,
            Some(Order { to: Forced::Closed, .. }) => return State::Ok,
            None => {}
        }
        let barred =
            |decides| self.breakers.iter().any(|(of, breaker)| of.decides() == decides && breaker.bars());
        match self.judge.health() {
            Health::Down => State::Down,
            Health::Up | Health::Unknown if barred(true) => State::Down,
            Health::Unknown => State::Unknown,
            Health::Up if barred(false) => State::Degraded,
            Health::Up => State::Ok,
        }
    }

    /// What it is, by whom and why: for reports.
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// The same, to be kept.
    pub fn shared_definition(&self) -> Arc<Definition> {
        Arc::clone(&self.definition)
    }

    /// The state that was last told.
    pub fn state(&self) -> State {
        self.state
    }

    /// Since when.
    pub fn since(&self) -> Now {
        self.since
    }

    /// Its outage, while it is down.
    pub fn outage(&self) -> Option<&Outage> {
        self.outage.as_ref()
    }

    /// When it last did what it was asked, Unix milliseconds.
    pub fn last_success_unix_ms(&self) -> Option<u64> {
        self.last_success_unix_ms
    }

    /// How long its probes take.
    pub fn latency(&self) -> &Latency {
        &self.latency
    }

    /// The last looks, oldest first.
    pub fn past(&self) -> impl ExactSizeIterator<Item = &Past> {
        self.past.iter()
    }

    /// What its last successful probe warned of.
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// What an operator forced.
    pub fn forced(&self) -> Option<Order> {
        self.order
    }

    /// Its breakers.
    pub fn breakers(&self) -> impl Iterator<Item = (Use, Position)> {
        self.breakers.iter().map(|(of, breaker)| (*of, breaker.position()))
    }
}
