//! A circuit breaker for one use of a dependency, driven by the results of recent calls.
//!
//! A queue in front of a dependency that does not answer only fills up. So the breaker opens when calls fail, and
//! callers get a retry time at once. After a delay it lets through one trial call at a time, until enough of them
//! succeed. The delay grows with each opening and shrinks only after a healthy minute, so a flapping dependency is
//! left alone for longer. The success of a probe shortens the delay.
//!
//! If workers make trial calls ([`EndedBy::Calls`]), only those end an outage: a probe that succeeds does not prove that
//! calls do. Without trial calls, a probe has to vouch for the dependency.
//!
//! Call [`Breaker::admit`] before a call and [`Breaker::record`] with its ticket after it. A result with a ticket
//! from an earlier state is ignored, because it says nothing about the current one. Call [`Breaker::tick`] at
//! [`Breaker::due`], because states also change with time.

use super::definition::EndedBy;
use super::window::{CallCounts, WINDOW, Window};
use crate::backoff::{Backoff, Steps, spread};
use crate::clock::Moment;
use std::time::Duration;

/// With fewer calls in the window, a failure rate means nothing.
const CALLS_MIN: u32 = 20;
/// The percentage of failed calls that opens the breaker.
const FAILURE_PERCENT: u32 = 50;
/// The percentage of calls slower than [`SLOW`] that opens the breaker.
const SLOW_PERCENT: u32 = 80;
/// Calls that take longer count as slow.
const SLOW: Duration = Duration::from_secs(1);
/// The number of consecutive connection errors and timeouts that opens the breaker, even with few calls.
const UNREACHED_MAX: u8 = 5;
/// The number of successful trials that closes the breaker.
const TRIALS: u8 = 3;
/// A trial without a result for this time counts as failed, because its caller may be gone.
const TRIAL_MAX: Duration = Duration::from_secs(10);
/// After this time half-open without a failed trial, a dependency that flapped counts as up.
const QUIET: Duration = Duration::from_secs(1);
/// The retry time while another caller's trial is in progress.
const TRIAL_RETRY: Duration = Duration::from_millis(500);
/// Shorter than the cap of 60 s in resilience4j and gobreaker, with which a recovery within 30 s would be impossible.
const DELAYS: Steps = Steps {
    first: Duration::from_secs(2),
    max: Duration::from_secs(15),
    spread_percent: 20,
    healthy: Duration::from_secs(60),
};
/// The bounds on retry times, in milliseconds.
const RETRY_MS: std::ops::RangeInclusive<u128> = 100..=30_000;

/// The outcome of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    Answered,
    /// The dependency failed the call: it is read-only, its memory is full, or it had an error of its own.
    Failed,
    /// The dependency failed the call for a reason that a probe may not notice: a full disk still accepts the small
    /// row of a probe.
    Unseen,
    /// The dependency could not be reached or did not answer in time.
    Unreached,
    /// A client caused the failure, by its request or by disconnecting. It says nothing about the dependency.
    ByClient,
}

/// The permission for a call by [`Breaker::admit`], returned with the outcome of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerTicket {
    term: u32,
    trial: u32,
}

/// The refusal of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// The retry time: the remaining delay of the breaker, spread.
    pub retry_ms: u32,
}

/// The position of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BreakerPosition {
    /// All calls pass.
    Closed,
    /// No calls pass.
    Open,
    /// One call passes at a time.
    HalfOpen,
}

impl BreakerPosition {
    /// The name in reports and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            BreakerPosition::Closed => "closed",
            BreakerPosition::Open => "open",
            BreakerPosition::HalfOpen => "half_open",
        }
    }
}

/// The position that an operator forces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forced {
    Open,
    /// All calls pass, whatever their outcomes.
    Closed,
}

impl Forced {
    /// The name in requests and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Forced::Open => "open",
            Forced::Closed => "closed",
        }
    }
}

/// Tells whether the dependency counts as up again before the trials are done. Without callers, no trial ever ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Confirmation {
    No,
    /// A probe succeeded after the breaker half-opened, or, if probes are not trusted, [`QUIET`] passed without a
    /// failed trial. Never if workers make trial calls.
    Yes,
}

/// The internal state. A trial is in progress exactly while `since` is `Some`.
#[derive(Clone, Copy, Debug)]
enum BreakerState {
    Closed,
    Open { until: Moment },
    HalfOpen { well: u8, since: Option<Moment>, opened: OpenedBy, entered: Moment, confirmed: Confirmation },
    Forced { to: Forced, until: Moment },
}

/// The reason why the breaker half-opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OpenedBy {
    Delay,
    Probe,
}

/// Tells whether the success of a probe may half-open the breaker before its delay is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProbeTrust {
    Probes,
    /// It flapped, a probe was wrong before, or the fault is one that probes do not notice. Only the delay counts.
    DelayOnly,
}

/// The breaker. Its size is fixed, and every call has the same cost.
#[derive(Clone, Debug)]
pub struct Breaker {
    state: BreakerState,
    window: Window,
    /// The number of consecutive connection errors and timeouts, and the time of the last one.
    unreached: (u8, Moment),
    backoff: Backoff,
    ended_by: EndedBy,
    trust: ProbeTrust,
    /// Grows with every change of state, so that tickets of an earlier state are recognised.
    term: u32,
    trials: u32,
}

impl Breaker {
    /// A closed breaker.
    pub fn new(ended_by: EndedBy) -> Breaker {
        Breaker {
            state: BreakerState::Closed,
            window: Window::default(),
            unreached: (0, Moment::ZERO),
            backoff: Backoff::new(DELAYS),
            ended_by,
            trust: ProbeTrust::Probes,
            term: 0,
            trials: 0,
        }
    }

    /// Asks for permission to call. `random` is in `0.0 .. 1.0`.
    pub fn admit(&mut self, now: Moment, random: f32) -> Result<BreakerTicket, Open> {
        self.tick(now, random);
        match &mut self.state {
            BreakerState::Closed | BreakerState::Forced { to: Forced::Closed, .. } => {
                Ok(BreakerTicket { term: self.term, trial: 0 })
            }
            BreakerState::HalfOpen { since: since @ None, .. } => {
                *since = Some(now);
                // 0 means "no trial".
                self.trials = self.trials.checked_add(1).unwrap_or(1);
                Ok(BreakerTicket { term: self.term, trial: self.trials })
            }
            BreakerState::HalfOpen { since: Some(_), .. }
            | BreakerState::Open { .. }
            | BreakerState::Forced { to: Forced::Open, .. } => {
                Err(Open { retry_ms: self.retry_ms(now, random) })
            }
        }
    }

    /// Records the outcome and the duration of a call.
    pub fn record(
        &mut self,
        ticket: BreakerTicket,
        outcome: CallOutcome,
        took: Duration,
        now: Moment,
        random: f32,
    ) {
        if ticket.term != self.term {
            return;
        }
        match &mut self.state {
            BreakerState::Closed => self.count(outcome, took, now, random),
            BreakerState::HalfOpen { since, entered, .. } if ticket.trial == self.trials => {
                // A failure that began before the breaker half-opened says nothing of the time since.
                let is_old = outcome != CallOutcome::Answered && took > now.since(*entered);
                if is_old { *since = None } else { self.tried(outcome, now, random) }
            }
            BreakerState::HalfOpen { .. } | BreakerState::Open { .. } | BreakerState::Forced { .. } => {}
        }
    }

    /// Advances time: ends delays, gives up trials, expires forced positions.
    pub fn tick(&mut self, now: Moment, random: f32) {
        match self.state {
            BreakerState::Open { until } if now >= until => self.half_open(OpenedBy::Delay, now),
            BreakerState::HalfOpen { since: None, entered, confirmed: Confirmation::No, .. }
                if self.silence_confirms() && now.since(entered) >= QUIET =>
            {
                self.confirm();
            }
            BreakerState::HalfOpen { since: Some(since), .. } if now.since(since) >= TRIAL_MAX => {
                self.tried(CallOutcome::Unreached, now, random);
            }
            BreakerState::Forced { to, until } if now >= until => match to {
                Forced::Open => self.half_open(OpenedBy::Delay, now),
                Forced::Closed => self.close(now),
            },
            BreakerState::Closed
            | BreakerState::Open { .. }
            | BreakerState::HalfOpen { .. }
            | BreakerState::Forced { .. } => {}
        }
    }

    /// The time at which [`Breaker::tick`] changes something, if nothing else does before.
    pub fn due(&self) -> Option<Moment> {
        match self.state {
            BreakerState::HalfOpen { since: None, entered, confirmed: Confirmation::No, .. }
                if self.silence_confirms() =>
            {
                Some(entered + QUIET)
            }
            BreakerState::Closed | BreakerState::HalfOpen { since: None, .. } => None,
            BreakerState::Open { until } | BreakerState::Forced { until, .. } => Some(until),
            BreakerState::HalfOpen { since: Some(since), .. } => Some(since + TRIAL_MAX),
        }
    }

    /// Records the success of a probe. Trials may begin at once unless the dependency flapped within the last minute,
    /// and a half-open breaker counts the dependency as up unless workers make trial calls.
    pub fn probe_succeeded(&mut self, now: Moment) {
        match (self.state, self.trust) {
            (BreakerState::Open { .. }, ProbeTrust::Probes) => self.half_open(OpenedBy::Probe, now),
            (BreakerState::HalfOpen { .. }, ProbeTrust::Probes) => match self.ended_by {
                EndedBy::Probes => self.confirm(),
                EndedBy::Calls => {}
            },
            (BreakerState::Open { .. } | BreakerState::HalfOpen { .. }, ProbeTrust::DelayOnly)
            | (BreakerState::Closed | BreakerState::Forced { .. }, _) => {}
        }
    }

    /// Demands trials of a closed breaker, because the dependency was down for another reason.
    pub fn demand_trials(&mut self, now: Moment) {
        match self.state {
            BreakerState::Closed => self.half_open(OpenedBy::Delay, now),
            BreakerState::Open { .. } | BreakerState::HalfOpen { .. } | BreakerState::Forced { .. } => {}
        }
    }

    /// True exactly while the dependency counts as down: the breaker is open, or half-open without confirmation.
    pub fn counts_as_down(&self) -> bool {
        match self.state {
            BreakerState::Open { .. } | BreakerState::Forced { to: Forced::Open, .. } => true,
            BreakerState::HalfOpen { confirmed, .. } => confirmed == Confirmation::No,
            BreakerState::Closed | BreakerState::Forced { to: Forced::Closed, .. } => false,
        }
    }

    /// Forces the position until the given time.
    pub fn force(&mut self, to: Forced, until: Moment) {
        self.enter(BreakerState::Forced { to, until });
    }

    /// Ends a forced position. Trials decide what follows.
    pub fn release(&mut self, now: Moment) {
        if let BreakerState::Forced { .. } = self.state {
            self.half_open(OpenedBy::Delay, now);
        }
    }

    pub fn position(&self) -> BreakerPosition {
        match self.state {
            BreakerState::Closed | BreakerState::Forced { to: Forced::Closed, .. } => BreakerPosition::Closed,
            BreakerState::Open { .. } | BreakerState::Forced { to: Forced::Open, .. } => {
                BreakerPosition::Open
            }
            BreakerState::HalfOpen { .. } => BreakerPosition::HalfOpen,
        }
    }

    /// The retry time of a refused call, spread so that callers do not return at once.
    pub fn retry_ms(&self, now: Moment, random: f32) -> u32 {
        let wait = match self.state {
            BreakerState::Closed | BreakerState::HalfOpen { .. } => TRIAL_RETRY,
            BreakerState::Open { until } | BreakerState::Forced { until, .. } => until.since(now),
        };
        // The spread only adds: no caller returns before the delay is over.
        let late = spread(wait.max(TRIAL_RETRY) / 2, 100, random);
        let ms = (wait + late).as_millis().clamp(*RETRY_MS.start(), *RETRY_MS.end());
        u32::try_from(ms).unwrap_or(u32::MAX)
    }

    /// True if a quiet time half-open replaces trials, which no worker makes.
    fn silence_confirms(&self) -> bool {
        match (self.ended_by, self.trust) {
            (EndedBy::Probes, ProbeTrust::DelayOnly) => true,
            (EndedBy::Probes, ProbeTrust::Probes) | (EndedBy::Calls, _) => false,
        }
    }

    fn count(&mut self, outcome: CallOutcome, took: Duration, now: Moment, random: f32) {
        let failures = match outcome {
            CallOutcome::ByClient => return,
            CallOutcome::Answered => 0,
            CallOutcome::Failed | CallOutcome::Unseen | CallOutcome::Unreached => 1,
        };
        let (run, last) = self.unreached;
        let run = if now.since(last) >= WINDOW { 0 } else { run };
        self.unreached = match outcome {
            CallOutcome::Unreached => (run.saturating_add(1), now),
            CallOutcome::Answered | CallOutcome::Failed | CallOutcome::Unseen | CallOutcome::ByClient => {
                (0, last)
            }
        };
        self.window.count(CallCounts { calls: 1, failures, slow: u32::from(took > SLOW) }, now);
        let total = self.window.total(now);
        let rates = total.calls >= CALLS_MIN
            && (total.reaches(total.failures, FAILURE_PERCENT) || total.reaches(total.slow, SLOW_PERCENT));
        if rates || self.unreached.0 >= UNREACHED_MAX {
            self.trust = match outcome {
                CallOutcome::Answered
                | CallOutcome::Failed
                | CallOutcome::Unreached
                | CallOutcome::ByClient
                    if self.backoff.rested(now) =>
                {
                    ProbeTrust::Probes
                }
                CallOutcome::Answered
                | CallOutcome::Failed
                | CallOutcome::Unseen
                | CallOutcome::Unreached
                | CallOutcome::ByClient => ProbeTrust::DelayOnly,
            };
            self.open(now, random);
        }
    }

    fn tried(&mut self, outcome: CallOutcome, now: Moment, random: f32) {
        let BreakerState::HalfOpen { well, since, opened, .. } = &mut self.state else { return };
        *since = None;
        match outcome {
            CallOutcome::ByClient => {}
            CallOutcome::Answered => {
                *well += 1;
                if *well >= TRIALS {
                    self.close(now);
                }
            }
            CallOutcome::Failed | CallOutcome::Unseen | CallOutcome::Unreached => {
                if *opened == OpenedBy::Probe || outcome == CallOutcome::Unseen {
                    self.trust = ProbeTrust::DelayOnly;
                }
                self.open(now, random);
            }
        }
    }

    fn open(&mut self, now: Moment, random: f32) {
        let until = now + self.backoff.fail(now, random);
        self.enter(BreakerState::Open { until });
    }

    fn half_open(&mut self, opened: OpenedBy, entered: Moment) {
        self.enter(BreakerState::HalfOpen {
            well: 0,
            since: None,
            opened,
            entered,
            confirmed: Confirmation::No,
        });
    }

    fn confirm(&mut self) {
        if let BreakerState::HalfOpen { confirmed, .. } = &mut self.state {
            *confirmed = Confirmation::Yes;
        }
    }

    fn close(&mut self, now: Moment) {
        self.backoff.succeed(now);
        self.window = Window::default();
        self.unreached = (0, now);
        self.enter(BreakerState::Closed);
    }

    fn enter(&mut self, state: BreakerState) {
        self.state = state;
        self.term = self.term.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests;
