//! The rate at which one reactor admits handshakes, and the retry times of the clients that it defers.
//!
//! After a crash all clients return at once. A reactor that admitted all of them would not serve its established
//! connections for as long as that takes. So it measures the cost of a handshake, from the accept until `connected`,
//! and admits as many as fit into the time that other work does not need, but at least into half of its time. The
//! rate feeds a token bucket, which admits at once only what the reactor can finish within [`BACKLOG`].
//!
//! A client that finds the bucket empty is deferred: it is sent a retry time. Retry times are assigned one after the
//! other, a little further apart than the tokens. So the n-th deferred client is the n-th to return and finds a
//! token, and in a storm each client needs at most two attempts. Sending a retry time costs an upgrade, so deferrals
//! are bounded too. Above that bound the client is refused with HTTP 503, and above another bound the reactor stops
//! accepting for a while and connections wait in the kernel.
//!
//! A client whose address is over its share ([`ArrivalShare`]) finds each of these bounds an eighth earlier, and its retry time
//! comes from a series of its own. So a client of another address finds a token, however many one address asks for.

use super::address_shares::ArrivalShare;
use crate::clock::Moment;
use crate::rate::{Meter, Rate};
use std::time::Duration;

/// The reactor admits at once as much as it can finish in this time.
pub const BACKLOG: Duration = Duration::from_secs(2);
/// The number of handshakes that may be admitted at once, however slow the reactor is.
pub const BACKLOG_LEAST: u32 = 256;
/// The earliest retry time. It leaves room for clients that return a little early: they still find a token.
pub const RETRY_FIRST: Duration = Duration::from_millis(500);
/// How far ahead retry times are assigned in order. Beyond that, a client is sent a random time after this period.
pub const RETRY_HORIZON: Duration = Duration::from_secs(60);
/// A random addition to each retry time, so that clients deferred in one turn do not return in one turn.
const JITTER: Duration = Duration::from_millis(250);
/// The distance of retry times, relative to that of tokens. The remaining tokens are for clients that arrive for the
/// first time.
const RETRY_STRETCH: f64 = 8.0 / 7.0;

/// The part of each bound that is kept for addresses within their share.
const RESERVE: f64 = 1.0 / 8.0;
/// The distance of retry times of addresses over their share, relative to that of others while these have retry times as well.
const OVER_STRETCH: f64 = 2.0;

/// The assumed cost of a handshake before any was measured.
const COST_INITIAL: Duration = Duration::from_micros(250);
/// The share of a reactor's time that handshakes get even if other work needs all of it.
const SHARE_LEAST: f64 = 0.5;
/// While clients publish, handshakes back off for this multiple of the time they took, because a publication passes
/// through other threads and processes, which need the core.
const BACK_OFF: std::ops::RangeInclusive<f64> = 1.0..=6.0;
/// They back off for at most this much time and one handshake's cost: accepts and a short slice of a turn take no more. What took longer
/// was interrupted, and the others had the core meanwhile.
const BACK_OFF_AFTER: Duration = Duration::from_micros(500);
/// Expensive handshakes back off less; otherwise a storm of them would take minutes. At this cost they back off for
/// as long as they took.
const EXPENSIVE: Duration = Duration::from_micros(600);
/// The factor between the admitted and the measured rate, so that an otherwise idle reactor refuses no client that it
/// could serve.
const HEADROOM: f64 = 1.125;
/// The bounds on the rate of one reactor, in handshakes per second.
pub const RATE: std::ops::RangeInclusive<f64> = 50.0..=100_000.0;
/// The measuring period, after which the rate is recomputed.
const WINDOW: Duration = Duration::from_millis(250);
/// The number of handshakes that make a valid sample, unless fewer took a quarter of the time.
const SAMPLE: f64 = 32.0;
/// The largest factor by which one sample may change the cost, because a process that was stopped for a moment
/// measures nonsense.
const COST_FACTOR_MAX: f64 = 4.0;

/// The decision on one handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeDecision {
    Admit,
    /// Complete the upgrade only to send the retry time.
    Defer {
        retry_ms: u32,
    },
    /// Refuse without an upgrade.
    Refuse {
        retry_ms: u32,
    },
}

/// The publishing activity, which decides whether handshakes back off between their slices of the turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publishing {
    /// No client publishes.
    No,
    /// Clients publish.
    Yes,
}

/// The admission control of one reactor; see the module.
#[derive(Clone, Debug)]
pub struct Handshakes {
    /// The time at which all admitted handshakes are finished, at the rate of the bucket.
    finished_at: Moment,
    within: Series,
    over: Series,
    deferred: Meter,
    refused: Meter,
    cost_us: f64,
    /// The share of the time that other work takes.
    other_share: f64,
    /// The admitted rate, in handshakes per second.
    rate: f64,
    window: Sample,
    /// The time that handshakes took in this turn.
    spent: Duration,
}

/// The retry times of clients with the same share.
#[derive(Clone, Copy, Debug)]
struct Series {
    /// The last retry time that was assigned.
    last_retry: Moment,
    /// Accepting is paused until this time.
    paused_until: Moment,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    began: Moment,
    spent: Duration,
    busy: Duration,
    /// Handshakes done, in quarters.
    quarters: u32,
}

/// A part of a handshake's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// An upgrade was completed for an admitted client.
    Upgraded,
    /// A session reached `connected`.
    Connected,
    /// An upgrade was completed only to send a retry time.
    Deferred,
    /// A request was answered in another way.
    Answered,
    /// A TLS handshake failed. It is counted as a whole handshake, because it may have failed at its very end.
    Failed,
}

impl Handshakes {
    /// Creates the control with assumed costs.
    pub fn new(now: Moment) -> Handshakes {
        let window = Sample { began: now, spent: Duration::ZERO, busy: Duration::ZERO, quarters: 0 };
        let mut handshakes = Handshakes {
            finished_at: now,
            within: Series { last_retry: now, paused_until: now },
            over: Series { last_retry: now, paused_until: now },
            deferred: Meter::default(),
            refused: Meter::default(),
            cost_us: COST_INITIAL.as_micros() as f64,
            other_share: 0.0,
            rate: *RATE.start(),
            window,
            spent: Duration::ZERO,
        };
        handshakes.update_rate(Publishing::No);
        handshakes
    }

    /// Decides on one handshake. `per_s` is the operator's bound for this reactor and replaces the measured rate.
    /// `random` is in `0.0 .. 1.0`.
    pub fn admit(
        &mut self,
        now: Moment,
        per_s: Option<f64>,
        share: ArrivalShare,
        random: f32,
    ) -> HandshakeDecision {
        let rate = per_s.unwrap_or(self.rate).max(f64::MIN_POSITIVE);
        let period = Duration::from_secs_f64((1.0 / rate).min(RETRY_HORIZON.as_secs_f64()));
        let backlog = BACKLOG.max(period.saturating_mul(BACKLOG_LEAST));
        // An admission at a slower rate is no debt at a faster one.
        self.finished_at = self.finished_at.min(now + backlog);
        let finished_at = self.finished_at.max(now) + period;
        let most = match share {
            ArrivalShare::Within => backlog,
            ArrivalShare::Over => backlog.mul_f64(1.0 - RESERVE),
        };
        if finished_at.since(now) <= most {
            self.finished_at = finished_at;
            return HandshakeDecision::Admit;
        }
        let retry_ms = self.next_retry_ms(now, period, share, random);
        let (Some(all), Some(rejections)) = (self.rejections(ArrivalShare::Within), self.rejections(share))
        else {
            return HandshakeDecision::Defer { retry_ms };
        };
        // The same holds for deferrals and refusals.
        self.deferred.cap(all, now);
        self.refused.cap(all, now);
        if self.deferred.admit(rejections, now).is_ok() {
            return HandshakeDecision::Defer { retry_ms };
        }
        if let Err(rest) = self.refused.admit(rejections, now) {
            self.series(share).paused_until = now + rest;
        }
        HandshakeDecision::Refuse { retry_ms }
    }

    fn series(&mut self, share: ArrivalShare) -> &mut Series {
        match share {
            ArrivalShare::Within => &mut self.within,
            ArrivalShare::Over => &mut self.over,
        }
    }

    /// Assigns the next retry time, in milliseconds from now.
    fn next_retry_ms(&mut self, now: Moment, period: Duration, share: ArrivalShare, random: f32) -> u32 {
        let random = random.clamp(0.0, 1.0);
        let first = now + RETRY_FIRST;
        let stretch = match share {
            ArrivalShare::Over if self.within.last_retry > first => OVER_STRETCH * RETRY_STRETCH,
            ArrivalShare::Over | ArrivalShare::Within => RETRY_STRETCH,
        };
        let series = self.series(share);
        let retry = series.last_retry.max(first) + period.mul_f64(stretch);
        let wait = if retry.since(now) <= RETRY_HORIZON {
            series.last_retry = retry;
            retry.since(now) + JITTER.mul_f32(random)
        } else {
            RETRY_HORIZON + (RETRY_HORIZON / 4).mul_f32(random)
        };
        wait.as_millis() as u32
    }

    /// The rate of deferrals and, separately, of refusals: each half as many as could be admitted, so that they take
    /// at most a quarter of the time of handshakes.
    fn rejections(&self, share: ArrivalShare) -> Option<Rate> {
        let per_s = (self.rate / 2.0) as u32;
        let burst = per_s.max(2 * BACKLOG_LEAST);
        match share {
            ArrivalShare::Within => Rate::new(per_s, burst),
            ArrivalShare::Over => Rate::new(per_s, (f64::from(burst) * (1.0 - RESERVE)) as u32),
        }
    }

    /// True exactly while refusals of clients with this share exceed what is theirs. Accepting is then paused and
    /// connections wait in the kernel.
    pub fn rests(&self, now: Moment, share: ArrivalShare) -> bool {
        match share {
            ArrivalShare::Within => self.within.paused_until > now,
            ArrivalShare::Over => self.over.paused_until > now,
        }
    }

    /// True exactly when so much is admitted and not finished that tokens may become scarce.
    pub fn are_scarce(&self, now: Moment) -> bool {
        self.finished_at.since(now) > BACKLOG.mul_f64(RESERVE)
    }

    /// Adds time that handshakes took in this turn.
    pub fn spent(&mut self, time: Duration) {
        self.spent += time;
    }

    /// Records a finished part of a handshake.
    pub fn done(&mut self, what: Done) {
        self.window.quarters += match what {
            Done::Upgraded | Done::Connected | Done::Deferred => 2,
            Done::Answered => 1,
            Done::Failed => 4,
        };
    }

    /// How long handshakes back off after they took `spent`, while clients publish.
    pub fn rest(&self, spent: Duration) -> Duration {
        spent.min(BACK_OFF_AFTER + self.cost()).mul_f64(self.back_off_factor())
    }

    fn back_off_factor(&self) -> f64 {
        (EXPENSIVE.as_micros() as f64 / self.cost_us.max(1.0)).clamp(*BACK_OFF.start(), *BACK_OFF.end())
    }

    /// Ends a turn that took `busy`. Returns true exactly if the rate was recomputed.
    pub fn turned(&mut self, now: Moment, busy: Duration, rests: Publishing) -> bool {
        self.window.spent += std::mem::take(&mut self.spent);
        self.window.busy += busy;
        let length = now.since(self.window.began);
        if length < WINDOW {
            return false;
        }
        let Sample { spent, busy, quarters, .. } = self.window;
        let (length, spent, busy) = (length.as_secs_f64(), spent.as_secs_f64(), busy.as_secs_f64());
        let other_share = ((busy - spent) / length).clamp(0.0, 1.0);
        self.other_share += (other_share - self.other_share) / 4.0;
        let done = f64::from(quarters) / 4.0;
        if done >= SAMPLE || (done >= 1.0 && spent >= length / 4.0) {
            let cost_us =
                (spent * 1e6 / done).clamp(self.cost_us / COST_FACTOR_MAX, self.cost_us * COST_FACTOR_MAX);
            self.cost_us += (cost_us - self.cost_us) / 2.0;
        }
        self.window = Sample { began: now, spent: Duration::ZERO, busy: Duration::ZERO, quarters: 0 };
        self.update_rate(rests);
        true
    }

    fn update_rate(&mut self, rests: Publishing) {
        let share_max = match rests {
            Publishing::No => 1.0,
            Publishing::Yes => 1.0 / (1.0 + self.back_off_factor()),
        };
        let share = (1.0 - self.other_share).max(SHARE_LEAST).min(share_max);
        let rate = HEADROOM * share * 1e6 / self.cost_us.max(1.0);
        self.rate = rate.clamp(*RATE.start(), *RATE.end());
    }

    /// The measured rate, in handshakes per second.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// The measured cost of one handshake.
    pub fn cost(&self) -> Duration {
        Duration::from_secs_f64(self.cost_us / 1e6)
    }
}

#[cfg(test)]
mod tests;
