//! One dependency, with everything known of it.
//!
//! **The verdict.** A dependency is down if its probes say so, or if the breaker of a deciding use is open. A failed
//! connection of a worker triggers one immediate reconnect, and if that fails the dependency is down; any other error
//! only feeds the breaker. If calls end an outage ([`EndedBy::Calls`]), every outage ends with trial calls, however it
//! began: a probe's connection says nothing of the workers' connections. So faults that workers meet are detected without waiting for the next probe, and a single
//! reset connection refuses no client.

use super::breaker::{Breaker, BreakerPosition, BreakerTicket, CallOutcome, Forced, Open};
use super::definition::{Definition, EndedBy, Use};
use super::draw::Draw;
use super::finding::{Cause, Fault, Finding, Suspicion};
use super::judge::{Health, Judge, ProbeReason};
use super::latency::Latency;
use super::outage::{Outage, retry_ms};
use super::outages::Outages;
use super::schedule::{DOWN_INTERVAL, Place, Schedule};
use crate::clock::{Moment, Now};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// The number of past probes that are kept for reports.
pub const PAST_MAX: usize = 50;

/// The state of a dependency, as in `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// No probe has ended yet.
    Unknown,
    Ok,
    /// A use fails whose outage does not bring the dependency down, such as reads; or a part, such as one master of a cluster.
    Degraded,
    /// The dependency does not work.
    Down,
}

impl State {
    /// The name in `status`, reports and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Unknown => "unknown",
            State::Ok => "ok",
            State::Degraded => "degraded",
            State::Down => "down",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Past {
    /// The end of the probe, in Unix milliseconds.
    pub unix_ms: u64,
    pub finding: Finding,
}

/// The result of a call.
#[derive(Clone, Debug)]
pub enum Work {
    Answered,
    /// The dependency failed the call.
    Failed(Cause),
    /// A client caused the failure, by its request or by disconnecting.
    ByClient,
}

/// The result of a call, and its duration.
#[derive(Clone, Debug)]
pub struct CallResult {
    pub work: Work,
    pub took: Duration,
}

/// The trial calls that workers should make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trials {
    /// None: there is no outage, or calls do not end it.
    #[default]
    None,
    /// None yet: there is an outage, and its probes still fail or the delay of a breaker is not over.
    Later,
    /// Now: only their success ends the outage.
    Now,
}

/// An operator's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForcedOrder {
    /// `Open`: the dependency counts as down. `Closed`: it counts as up.
    pub to: Forced,
    pub until: Moment,
}

/// One dependency. Its memory is bounded: it keeps [`PAST_MAX`] probes and [`OUTAGES_MAX`](super::outages::OUTAGES_MAX) outages, each
/// with texts of bounded length.
#[derive(Clone, Debug)]
pub struct Dependency {
    definition: Arc<Definition>,
    judge: Judge,
    /// One breaker for each use of the kind.
    breakers: Vec<(Use, Breaker)>,
    pub(super) schedule: Schedule,
    latency: Latency,
    past: VecDeque<Past>,
    last_success_unix_ms: Option<u64>,
    /// The last failure, of a probe or of a call.
    cause: Option<Cause>,
    warning: Option<String>,
    /// The failure of a part, while it lasts.
    part: Option<Cause>,
    order: Option<ForcedOrder>,
    /// The state that was last published, its beginning, and its outage, which is `Some` exactly while the state is
    /// down.
    state: State,
    since: Now,
    outage: Option<Outage>,
    outages: Outages,
}

/// A change found by [`Dependency::settle`].
#[derive(Clone, Debug)]
pub struct StateChange {
    pub from: State,
    pub to: State,
    /// The outage that began or ended.
    pub outage: Option<Outage>,
}

impl Dependency {
    /// Creates a dependency of unknown state whose first probe is due.
    pub fn new(definition: Arc<Definition>, now: Now) -> Dependency {
        Dependency {
            judge: Judge::new(definition.failures, definition.successes, now),
            breakers: breakers(&definition),
            schedule: Schedule::new(definition.timeout, now.at),
            latency: Latency::default(),
            past: VecDeque::with_capacity(PAST_MAX),
            last_success_unix_ms: None,
            cause: None,
            warning: None,
            part: None,
            order: None,
            state: State::Unknown,
            since: now,
            outage: None,
            outages: Outages::default(),
            definition,
        }
    }

    /// Replaces the definition. The state, outage, breakers and past probes stay, and a probe is scheduled soon.
    pub fn revise(&mut self, definition: Arc<Definition>, place: Place, now: Now) {
        debug_assert_eq!(definition.kind, self.definition.kind, "a different kind is a different dependency");
        self.judge.set_counts(definition.failures, definition.successes);
        self.schedule.revise(definition.timeout, place, now.at);
        self.definition = definition;
    }

    /// Records the result of the probe with this number.
    pub fn observe(&mut self, number: u32, finding: Finding, now: Now, draw: &mut Draw) {
        let Some(look) = self.schedule.end(number) else { return };
        self.latency.take(finding.latency, now.at);
        match &finding.result {
            Ok(warning) => {
                self.warning.clone_from(warning);
                self.last_success_unix_ms = Some(now.unix_ms);
                self.judge.success(now);
                self.breakers.iter_mut().for_each(|(_, breaker)| breaker.probe_succeeded(now.at));
            }
            Err(cause) => {
                self.cause = Some(cause.clone());
                self.judge.failure(look, now, draw.fraction());
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

    /// Asks for permission to call. `None` means that no breaker guards this use.
    pub fn admit(&mut self, of: Use, now: Now, draw: &mut Draw) -> Result<Option<BreakerTicket>, Open> {
        let down = self.judge.health() == Health::Down && self.order.is_none();
        if down && let Some(outage) = &self.outage {
            return Err(Open { retry_ms: retry_ms(now.at.since(outage.began.at), draw.fraction()) });
        }
        let Some((_, breaker)) = self.breakers.iter_mut().find(|(own, _)| *own == of) else {
            return Ok(None);
        };
        breaker.admit(now.at, draw.fraction()).map(Some)
    }

    /// Records the result of a call, with its ticket if it had one.
    pub fn record(
        &mut self,
        of: Use,
        ticket: Option<BreakerTicket>,
        result: CallResult,
        now: Now,
        draw: &mut Draw,
    ) {
        let CallResult { work, took } = result;
        let outcome = match &work {
            Work::Answered => CallOutcome::Answered,
            Work::ByClient => CallOutcome::ByClient,
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

    /// Records a fault that occurred outside of a call, such as the loss of an idle connection.
    pub fn suspect(&mut self, cause: Cause, now: Now) {
        match (cause.fault.suspicion(), self.judge.health()) {
            (_, Health::Down) => {}
            (Suspicion::Connection, Health::Up | Health::Unknown) => {
                self.schedule.request(ProbeReason::Reconnect, now.at);
            }
            (Suspicion::Other, Health::Up | Health::Unknown) => {
                self.schedule.request(ProbeReason::Probe, now.at)
            }
        }
        self.cause = Some(cause);
    }

    /// Records that a part fails, or that none does.
    pub fn note_part(&mut self, part: Option<Cause>) {
        if let Some(cause) = &part
            && self.part.is_none()
        {
            self.cause = Some(cause.clone());
        }
        self.part = part;
    }

    /// Advances time: moves breakers, expires orders, gives up overdue probes.
    pub fn tick(&mut self, now: Now, draw: &mut Draw) {
        for (_, breaker) in &mut self.breakers {
            breaker.tick(now.at, draw.fraction());
        }
        self.order = self.order.filter(|order| now.at < order.until);
        if let Some(number) = self.schedule.lost(now.at) {
            let cause = Cause::new(
                Fault::Timeout,
                "the probe did not return a result",
                "Check whether Seawall's own probe threads are running.",
            );
            self.observe(number, Finding { latency: self.definition.timeout, result: Err(cause) }, now, draw);
        }
    }

    /// The time at which the next probe is due or time alone changes something.
    pub fn due(&self) -> Moment {
        let breakers = self.breakers.iter().filter_map(|(_, breaker)| breaker.due());
        let order = self.order.map(|order| order.until);
        breakers.chain(order).fold(self.schedule.due(), Moment::min)
    }

    /// Applies an operator's order, or ends it.
    pub fn order(&mut self, order: Option<ForcedOrder>, now: Now) {
        self.order = order;
        for (_, breaker) in &mut self.breakers {
            match order {
                Some(ForcedOrder { to, until }) => breaker.force(to, until),
                None => breaker.release(now.at),
            }
        }
        self.schedule.request(ProbeReason::Probe, now.at);
    }

    /// Compares the current state with the last published one; `None` if they are equal.
    pub fn settle(&mut self, now: Now, draw: &mut Draw) -> Option<StateChange> {
        let (from, to) = (self.state, self.condition());
        if from == to {
            return None;
        }
        (self.state, self.since) = (to, now);
        let ended = self.outage.take();
        if let Some(outage) = ended.clone() {
            self.outages.keep(outage, now);
        }
        if to == State::Down {
            self.demand_trials(now.at);
            self.outage = Some(Outage::begin(self.outage_cause(), now, draw));
        }
        Some(StateChange { from, to, outage: self.outage.clone().or(ended) })
    }

    /// Makes calls end the outage, if workers make trial calls.
    fn demand_trials(&mut self, now: Moment) {
        match self.definition.ended_by {
            EndedBy::Probes => {}
            EndedBy::Calls => {
                let deciding = self.breakers.iter_mut().filter(|(of, _)| of.decides());
                deciding.for_each(|(_, breaker)| breaker.demand_trials(now));
            }
        }
    }

    /// The trial calls that workers should make.
    pub fn trials(&self) -> Trials {
        let is_half_open =
            |(of, breaker): &(Use, Breaker)| of.decides() && breaker.position() == BreakerPosition::HalfOpen;
        match (self.definition.ended_by, self.state) {
            (EndedBy::Probes, _) | (EndedBy::Calls, State::Unknown | State::Ok | State::Degraded) => {
                Trials::None
            }
            (EndedBy::Calls, State::Down) => match self.judge.health() {
                Health::Up | Health::Unknown if self.breakers.iter().any(is_half_open) => Trials::Now,
                Health::Up | Health::Unknown | Health::Down => Trials::Later,
            },
        }
    }

    fn outage_cause(&self) -> Cause {
        match (self.order, &self.cause) {
            (Some(_), _) => Cause::new(
                Fault::Internal,
                "an operator forced the breakers open",
                "Find out who forced them, and until when.",
            ),
            (None, Some(cause)) => cause.clone(),
            (None, None) => Cause::new(
                Fault::Timeout,
                "calls are slow",
                "Check the load of the server and the network in between.",
            ),
        }
    }

    /// Applies the rule of the verdict in the module doc.
    fn condition(&self) -> State {
        match self.order {
            Some(ForcedOrder { to: Forced::Open, .. }) => return State::Down,
            Some(ForcedOrder { to: Forced::Closed, .. }) => return State::Ok,
            None => {}
        }
        let barred = |decides| {
            self.breakers.iter().any(|(of, breaker)| of.decides() == decides && breaker.counts_as_down())
        };
        match self.judge.health() {
            Health::Down => State::Down,
            Health::Up | Health::Unknown if barred(true) => State::Down,
            Health::Unknown => State::Unknown,
            Health::Up if barred(false) || self.part.is_some() => State::Degraded,
            Health::Up => State::Ok,
        }
    }

    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// The definition, shared.
    pub fn shared_definition(&self) -> Arc<Definition> {
        Arc::clone(&self.definition)
    }

    /// The state that was last published.
    pub fn state(&self) -> State {
        self.state
    }

    /// The beginning of the current state.
    pub fn since(&self) -> Now {
        self.since
    }

    /// The current outage, if the dependency is down.
    pub fn outage(&self) -> Option<&Outage> {
        self.outage.as_ref()
    }

    /// The outages that are over.
    pub fn outages(&self) -> &Outages {
        &self.outages
    }

    /// The time of the last success, in Unix milliseconds.
    pub fn last_success_unix_ms(&self) -> Option<u64> {
        self.last_success_unix_ms
    }

    /// The durations of recent probes.
    pub fn latency(&self) -> &Latency {
        &self.latency
    }

    /// The past probes, oldest first.
    pub fn past(&self) -> impl ExactSizeIterator<Item = &Past> {
        self.past.iter()
    }

    /// The failure of a part, or the warning of the last successful probe.
    pub fn warning(&self) -> Option<&str> {
        self.part.as_ref().map(|cause| cause.text.as_str()).or(self.warning.as_deref())
    }

    /// The operator's order in force.
    pub fn forced(&self) -> Option<ForcedOrder> {
        self.order
    }

    /// The position of each breaker.
    pub fn breakers(&self) -> impl Iterator<Item = (Use, BreakerPosition)> {
        self.breakers.iter().map(|(of, breaker)| (*of, breaker.position()))
    }
}

/// One breaker for each use. Only the uses that decide have trial calls.
fn breakers(definition: &Definition) -> Vec<(Use, Breaker)> {
    let ended_by = |of: Use| if of.decides() { definition.ended_by } else { EndedBy::Probes };
    definition.kind.uses().iter().map(|of| (*of, Breaker::new(ended_by(*of)))).collect()
}
