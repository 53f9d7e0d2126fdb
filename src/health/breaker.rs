//! Whether a use of a dependency may be called now, from what its last calls met.
//!
//! A queue in front of something that does not answer only fills up. So a breaker opens when calls fail, and
//! whoever asks meanwhile is told at once when to come back; then it lets through one call at a time until
//! enough of them went well. The delay grows with each opening and shrinks only after a healthy minute:
//! what flaps is left alone for longer.
//!
//! The order of calls: [`Breaker::admit`] before a call, [`Breaker::record`] with its ticket after it. What
//! a ticket of an earlier state brings is not counted: it speaks of another time. [`Breaker::tick`] when
//! [`Breaker::due`] comes, since time opens as well.

use super::window::{Tally, WINDOW, Window};
use crate::backoff::{Backoff, Steps, spread};
use crate::clock::Moment;
use std::time::Duration;

/// Calls in the window below which a rate says nothing.
const CALLS_MIN: u32 = 20;
/// Failures of a hundred calls that open it.
const FAILURE_PERCENT: u32 = 50;
/// Calls slower than [`SLOW`], of a hundred, that open it.
const SLOW_PERCENT: u32 = 80;
/// From here a call is slow.
const SLOW: Duration = Duration::from_secs(1);
/// Connection errors and timeouts in a row that open it, however few the calls.
const UNREACHED_MAX: u8 = 5;
/// Trials that must go well before it closes.
const TRIALS: u8 = 3;
/// A trial without a result for so long has failed: who made it may be gone.
const TRIAL_MAX: Duration = Duration::from_secs(10);
/// Half-open for so long without a failure, what flapped is believed to be there.
pub(crate) const QUIET: Duration = Duration::from_secs(1);
/// What is told to come back while another's trial is out.
const TRIAL_RETRY: Duration = Duration::from_millis(500);
/// resilience4j's and gobreaker's cap of 60 s would make a recovery within 30 s impossible.
const DELAYS: Steps = Steps {
    first: Duration::from_secs(2),
    max: Duration::from_secs(15),
    spread_percent: 20,
    healthy: Duration::from_secs(60),
};
/// Told to come back at the earliest and the latest, in milliseconds.
const RETRY_MS: std::ops::RangeInclusive<u128> = 100..=30_000;

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered.
    Answered,
    /// The dependency did not do it: read-only, memory full, an error of its own.
    Failed,
    /// It did not do it, for a reason that a probe may not see: a full disk still takes a probe's small row.
    Unseen,
    /// It was not reached, or did not answer in time.
    Unreached,
    /// A client caused it, by what it sent or by going away: says nothing of the dependency.
    ByClient,
}

/// What [`Breaker::admit`] allows; comes back with the call's outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    term: u32,
    trial: u32,
}

/// Not now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// When to come back: from the breaker's own delay, spread.
    pub retry_ms: u32,
}

/// What it lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Position {
    /// All calls.
    Closed,
    /// None.
    Open,
    /// One at a time.
    HalfOpen,
}

impl Position {
    /// As reports and metrics say it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Position::Closed => "closed",
            Position::Open => "open",
            Position::HalfOpen => "half_open",
        }
    }
}

/// What an operator may hold a breaker at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forced {
    /// No call passes.
    Open,
    /// Every call passes, whatever they meet.
    Closed,
}

impl Forced {
    /// As requests and reports say it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Forced::Open => "open",
            Forced::Closed => "closed",
        }
    }
}

/// Whether it may be told that the dependency is there again, although the trials are not done. Where nobody
/// calls, no trial ever ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Vouched {
    No,
    /// By a probe's success after it half-opened; or, where probes are not believed, by [`QUIET`] without a
    /// failed trial.
    Yes,
}

/// What moves it. `Open` ends at `until`; a trial is out exactly while `since` is `Some`.
#[derive(Clone, Copy, Debug)]
enum State {
    Closed,
    Open { until: Moment },
    HalfOpen { well: u8, since: Option<Moment>, opened: By, entered: Moment, vouched: Vouched },
    Forced { to: Forced, until: Moment },
}

/// Who half-opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Delay,
    Probe,
}

/// Whether a probe's success may half-open it before its delay is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    Probes,
    /// It flapped, a probe's word was wrong before, or what opened it is nothing that probes see: only the delay counts.
    DelayOnly,
}

/// See the module. A fixed size; every call costs the same.
#[derive(Clone, Debug)]
pub struct Breaker {
    state: State,
    window: Window,
    /// Connection errors and timeouts in a row, and the last of them.
    unreached: (u8, Moment),
    backoff: Backoff,
    trust: Trust,
    /// Grows with every change of state, so that what an older state allowed is known for it.
    term: u32,
    trials: u32,
}

impl Default for Breaker {
    fn default() -> Breaker {
        Breaker {
            state: State::Closed,
            window: Window::default(),
            unreached: (0, Moment::ZERO),
            backoff: Backoff::new(DELAYS),
            trust: Trust::Probes,
            term: 0,
            trials: 0,
        }
    }
}

impl Breaker {
    /// Asks for a call. `random` is in `0.0 .. 1.0`.
    pub fn admit(&mut self, now: Moment, random: f32) -> Result<Ticket, Open> {
        self.tick(now, random);
        match &mut self.state {
            State::Closed | State::Forced { to: Forced::Closed, .. } => {
                Ok(Ticket { term: self.term, trial: 0 })
            }
            State::HalfOpen { since: since @ None, .. } => {
                *since = Some(now);
                // 0 is no trial.
                self.trials = self.trials.checked_add(1).unwrap_or(1);
                Ok(Ticket { term: self.term, trial: self.trials })
            }
            State::HalfOpen { since: Some(_), .. }
            | State::Open { .. }
            | State::Forced { to: Forced::Open, .. } => Err(Open { retry_ms: self.retry_ms(now, random) }),
        }
    }

    /// Takes what a call met, and how long it took.
    pub fn record(&mut self, ticket: Ticket, outcome: Outcome, took: Duration, now: Moment, random: f32) {
        if ticket.term != self.term {
            return;
        }
        match self.state {
            State::Closed => self.count(outcome, took, now, random),
            State::HalfOpen { .. } if ticket.trial == self.trials => self.tried(outcome, now, random),
            State::HalfOpen { .. } | State::Open { .. } | State::Forced { .. } => {}
        }
    }

    /// Lets time pass: a delay ends, a trial is given up, an operator's word expires.
    pub fn tick(&mut self, now: Moment, random: f32) {
        match self.state {
            State::Open { until } if now >= until => self.half_open(By::Delay, now),
            State::HalfOpen { since: None, entered, vouched: Vouched::No, .. }
                if self.trust == Trust::DelayOnly && now.since(entered) >= QUIET =>
            {
                self.vouch();
            }
            State::HalfOpen { since: Some(since), .. } if now.since(since) >= TRIAL_MAX => {
                self.tried(Outcome::Unreached, now, random);
            }
            State::Forced { to, until } if now >= until => match to {
                Forced::Open => self.half_open(By::Delay, now),
                Forced::Closed => self.close(now),
            },
            State::Closed | State::Open { .. } | State::HalfOpen { .. } | State::Forced { .. } => {}
        }
    }

    /// When [`Breaker::tick`] changes something, if nothing else does before.
    pub fn due(&self) -> Option<Moment> {
        match self.state {
            State::HalfOpen { since: None, entered, vouched: Vouched::No, .. }
                if self.trust == Trust::DelayOnly =>
            {
                Some(entered + QUIET)
            }
            State::Closed | State::HalfOpen { since: None, .. } => None,
            State::Open { until } | State::Forced { until, .. } => Some(until),
            State::HalfOpen { since: Some(since), .. } => Some(since + TRIAL_MAX),
        }
    }

    /// Takes a probe's success: trials may begin at once, unless it flapped within the last minute; and what
    /// is half-open is believed to be there.
    pub fn probed_well(&mut self, now: Moment) {
        match (self.state, self.trust) {
            (State::Open { .. }, Trust::Probes) => self.half_open(By::Probe, now),
            (State::HalfOpen { .. }, Trust::Probes) => self.vouch(),
            (State::Open { .. } | State::HalfOpen { .. }, Trust::DelayOnly)
            | (State::Closed | State::Forced { .. }, _) => {}
        }
    }

    /// True exactly while what it guards counts as down: open, or half-open and nobody vouches for it yet.
    pub fn bars(&self) -> bool {
        match self.state {
            State::Open { .. } | State::Forced { to: Forced::Open, .. } => true,
            State::HalfOpen { vouched, .. } => vouched == Vouched::No,
            State::Closed | State::Forced { to: Forced::Closed, .. } => false,
        }
    }

    /// Holds it open or closed until then.
    pub fn force(&mut self, to: Forced, until: Moment) {
        self.enter(State::Forced { to, until });
    }

    /// Ends what an operator forced: trials decide.
    pub fn release(&mut self, now: Moment) {
        if let State::Forced { .. } = self.state {
            self.half_open(By::Delay, now);
        }
    }

    /// What it lets through.
    pub fn position(&self) -> Position {
        match self.state {
            State::Closed | State::Forced { to: Forced::Closed, .. } => Position::Closed,
            State::Open { .. } | State::Forced { to: Forced::Open, .. } => Position::Open,
            State::HalfOpen { .. } => Position::HalfOpen,
        }
    }

    /// When to come back. Only for a call that was not let through; spread, so that not all come at once.
    pub fn retry_ms(&self, now: Moment, random: f32) -> u32 {
        let wait = match self.state {
            State::Closed | State::HalfOpen { .. } => TRIAL_RETRY,
            State::Open { until } | State::Forced { until, .. } => until.since(now),
        };
        // Never before the delay is over: only later.
        let late = spread(wait.max(TRIAL_RETRY) / 2, 100, random);
        let ms = (wait + late).as_millis().clamp(*RETRY_MS.start(), *RETRY_MS.end());
        u32::try_from(ms).unwrap_or(u32::MAX)
    }

    fn count(&mut self, outcome: Outcome, took: Duration, now: Moment, random: f32) {
        let failures = match outcome {
            Outcome::ByClient => return,
            Outcome::Answered => 0,
            Outcome::Failed | Outcome::Unseen | Outcome::Unreached => 1,
        };
        let (run, last) = self.unreached;
        let run = if now.since(last) >= WINDOW { 0 } else { run };
        self.unreached = match outcome {
            Outcome::Unreached => (run.saturating_add(1), now),
            Outcome::Answered | Outcome::Failed | Outcome::Unseen | Outcome::ByClient => (0, last),
        };
        self.window.count(Tally { calls: 1, failures, slow: u32::from(took > SLOW) }, now);
        let total = self.window.total(now);
        let rates = total.calls >= CALLS_MIN
            && (total.reaches(total.failures, FAILURE_PERCENT) || total.reaches(total.slow, SLOW_PERCENT));
        if rates || self.unreached.0 >= UNREACHED_MAX {
            self.trust = match outcome {
                Outcome::Unseen => Trust::DelayOnly,
                _ if self.backoff.rested(now) => Trust::Probes,
                _ => Trust::DelayOnly,
            };
            self.open(now, random);
        }
    }

    fn tried(&mut self, outcome: Outcome, now: Moment, random: f32) {
        let State::HalfOpen { well, since, opened, .. } = &mut self.state else { return };
        *since = None;
        match outcome {
            Outcome::ByClient => {}
            Outcome::Answered => {
                *well += 1;
                if *well >= TRIALS {
                    self.close(now);
                }
            }
            Outcome::Failed | Outcome::Unseen | Outcome::Unreached => {
                if *opened == By::Probe || outcome == Outcome::Unseen {
                    self.trust = Trust::DelayOnly;
                }
                self.open(now, random);
            }
        }
    }

    fn open(&mut self, now: Moment, random: f32) {
        let until = now + self.backoff.fail(now, random);
        self.enter(State::Open { until });
    }

    fn half_open(&mut self, opened: By, entered: Moment) {
        self.enter(State::HalfOpen { well: 0, since: None, opened, entered, vouched: Vouched::No });
    }

    fn vouch(&mut self) {
        if let State::HalfOpen { vouched, .. } = &mut self.state {
            *vouched = Vouched::Yes;
        }
    }

    fn close(&mut self, now: Moment) {
        self.backoff.succeed(now);
        self.window = Window::default();
        self.unreached = (0, now);
        self.enter(State::Closed);
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.term = self.term.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests;
