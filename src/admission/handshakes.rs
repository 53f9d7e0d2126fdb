//! How many handshakes one reactor lets in, and when those come back that it does not.
//!
//! After a crash everybody returns at once. A reactor that took all of them in would be silent to those it has for as long
//! as that takes. So it measures what a handshake costs it, from the accept until `connected`, and lets in as many as fit
//! into the time that nobody else needs, and into half of it at the least. This is the token bucket: what it may let in at
//! once is what it can finish within [`BACKLOG`].
//!
//! Whoever finds it empty is told when to come back. Those places are given out one after the other, a little further apart
//! than the handshakes that the bucket takes: so the n-th who was refused is the n-th to return and finds a token, and a
//! storm needs each client twice at most. Telling that costs an upgrade, so it is bounded as well: past that bound a refusal
//! is HTTP 503, and past another the reactor accepts nobody for a while and the kernel keeps who waits.

use crate::clock::Moment;
use crate::rate::{Meter, Rate};
use std::time::Duration;

/// What may be let in at once is what can be finished in this time.
pub const BACKLOG: Duration = Duration::from_secs(2);
/// So many may be let in at once, however slow the reactor is.
pub const BACKLOG_LEAST: u32 = 256;
/// The first place is so far away: a client that comes a little early still finds a token.
pub const FIRST_PLACE: Duration = Duration::from_millis(500);
/// Places are given out for so long ahead; who finds none is told a random time after that.
pub const PLACES: Duration = Duration::from_secs(60);
/// Added to each place at random, so that no two clients that were told in one turn come in one turn.
const JITTER: Duration = Duration::from_millis(250);
/// Places are so much further apart than tokens: the rest is for those who come for the first time.
const PLACE_STRETCH: f64 = 8.0 / 7.0;

/// What a handshake is taken to cost before any was measured.
const COST_AT_FIRST: Duration = Duration::from_micros(250);
/// The share of a reactor's time that handshakes may have when others need all of it.
const SHARE_LEAST: f64 = 0.5;
/// While people publish, handshakes rest for so many times what they took: what is published passes other threads and
/// processes, which want the core.
const RESTS: std::ops::RangeInclusive<f64> = 1.0..=6.0;
/// Dear handshakes rest less, or a storm of them would take minutes: with one that costs this they rest as long as they took.
const DEAR: Duration = Duration::from_micros(600);
/// The rate is so much above what was measured: a reactor that has nothing else to do refuses nobody that it could serve.
const HEADROOM: f64 = 1.125;
/// Handshakes a second that one reactor lets in, however dear they are, and however cheap.
pub const RATE: std::ops::RangeInclusive<f64> = 50.0..=100_000.0;
/// How long is measured before the rate is worked out again.
const WINDOW: Duration = Duration::from_millis(250);
/// Handshakes that make a measure, unless fewer took a quarter of the time.
const SAMPLE: f64 = 32.0;
/// One measure may move the cost so many times up or down: a process that stood still for a moment says little.
const LEAP: f64 = 4.0;

/// What becomes of one who wants in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It is let in.
    Admit,
    /// The upgrade is completed to tell it when to come back.
    Later {
        /// When.
        retry_ms: u32,
    },
    /// Not even that.
    Refuse {
        /// When to come back.
        retry_ms: u32,
    },
}

/// Whether handshakes rest between slices of turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rests {
    /// Nobody publishes.
    No,
    /// People publish.
    Yes,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Handshakes {
    /// What was let in is worked off then, at the rate of the bucket.
    paid: Moment,
    /// The last place that was given out.
    place: Moment,
    told: Meter,
    refused: Meter,
    /// Nobody is accepted until then.
    rests_until: Moment,
    /// Microseconds.
    cost_us: f64,
    /// The share of the time that all else takes.
    others: f64,
    /// Handshakes a second that were measured to be possible.
    rate: f64,
    window: Window,
    /// What handshakes took in this turn.
    spent: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    began: Moment,
    spent: Duration,
    busy: Duration,
    /// Handshakes, in quarters.
    quarters: u32,
}

/// A part of the work that handshakes make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// An upgrade was completed for one who is let in.
    Upgraded,
    /// Somebody is `connected`.
    Connected,
    /// An upgrade was completed to tell somebody when to come back.
    Told,
    /// A head was answered otherwise.
    Answered,
    /// A TLS handshake failed: at its end, for all that is known.
    Failed,
}

impl Handshakes {
    /// Nothing is known yet.
    pub fn new(now: Moment) -> Handshakes {
        let window = Window { began: now, spent: Duration::ZERO, busy: Duration::ZERO, quarters: 0 };
        let mut handshakes = Handshakes {
            paid: now,
            place: now,
            told: Meter::default(),
            refused: Meter::default(),
            rests_until: now,
            cost_us: COST_AT_FIRST.as_micros() as f64,
            others: 0.0,
            rate: *RATE.start(),
            window,
            spent: Duration::ZERO,
        };
        handshakes.work_out_rate(Rests::No);
        handshakes
    }

    /// Judges one who wants in. `per_s` is the operator's bound for this reactor, which holds instead of what was measured;
    /// `random` is in `0.0 .. 1.0`.
    pub fn admit(&mut self, now: Moment, per_s: Option<f64>, random: f32) -> Passage {
        let rate = per_s.unwrap_or(self.rate).max(f64::MIN_POSITIVE);
        let period = Duration::from_secs_f64((1.0 / rate).min(PLACES.as_secs_f64()));
        let backlog = BACKLOG.max(period.saturating_mul(BACKLOG_LEAST));
        // What was let in under a slower rate is no debt under a faster one.
        self.paid = self.paid.min(now + backlog);
        let paid = self.paid.max(now) + period;
        if paid.since(now) <= backlog {
            self.paid = paid;
            return Passage::Admit;
        }
        let retry_ms = self.next_place(now, period, random);
        let Some(telling) = self.telling() else { return Passage::Later { retry_ms } };
        // Nor is what was told.
        self.told.cap(telling, now);
        self.refused.cap(telling, now);
        if self.told.admit(telling, now).is_ok() {
            return Passage::Later { retry_ms };
        }
        if let Err(rest) = self.refused.admit(telling, now) {
            self.rests_until = now + rest;
        }
        Passage::Refuse { retry_ms }
    }

    /// A place in the order of returns, from now.
    fn next_place(&mut self, now: Moment, period: Duration, random: f32) -> u32 {
        let random = random.clamp(0.0, 1.0);
        let place = self.place.max(now + FIRST_PLACE) + period.mul_f64(PLACE_STRETCH);
        let wait = if place.since(now) <= PLACES {
            self.place = place;
            place.since(now) + JITTER.mul_f32(random)
        } else {
            PLACES + (PLACES / 4).mul_f32(random)
        };
        wait.as_millis() as u32
    }

    /// Upgrades that are completed to say no, and refusals without one: each half as many as could be let in, so that they
    /// take a quarter of the time of handshakes or less.
    fn telling(&self) -> Option<Rate> {
        let per_s = (self.rate / 2.0) as u32;
        Rate::new(per_s, per_s.max(2 * BACKLOG_LEAST))
    }

    /// True exactly when refusals alone take more than their share: the kernel keeps who waits.
    pub fn rests(&self, now: Moment) -> bool {
        self.rests_until > now
    }

    /// Time went into handshakes in this turn, whatever for.
    pub fn spent(&mut self, time: Duration) {
        self.spent += time;
    }

    /// A part of a handshake is done.
    pub fn done(&mut self, what: Done) {
        self.window.quarters += match what {
            Done::Upgraded | Done::Connected | Done::Told => 2,
            Done::Answered => 1,
            Done::Failed => 4,
        };
    }

    /// How long handshakes rest that took `spent`, while people publish.
    pub fn rest(&self, spent: Duration) -> Duration {
        spent.mul_f64(self.rest_factor())
    }

    fn rest_factor(&self) -> f64 {
        (DEAR.as_micros() as f64 / self.cost_us.max(1.0)).clamp(*RESTS.start(), *RESTS.end())
    }

    /// A turn ends that took `busy`. True exactly when the rate was worked out again.
    pub fn turned(&mut self, now: Moment, busy: Duration, rests: Rests) -> bool {
        self.window.spent += std::mem::take(&mut self.spent);
        self.window.busy += busy;
        let length = now.since(self.window.began);
        if length < WINDOW {
            return false;
        }
        let Window { spent, busy, quarters, .. } = self.window;
        let (length, spent, busy) = (length.as_secs_f64(), spent.as_secs_f64(), busy.as_secs_f64());
        let others = ((busy - spent) / length).clamp(0.0, 1.0);
        self.others += (others - self.others) / 4.0;
        let done = f64::from(quarters) / 4.0;
        if done >= SAMPLE || (done >= 1.0 && spent >= length / 4.0) {
            let cost_us = (spent * 1e6 / done).clamp(self.cost_us / LEAP, self.cost_us * LEAP);
            self.cost_us += (cost_us - self.cost_us) / 2.0;
        }
        self.window = Window { began: now, spent: Duration::ZERO, busy: Duration::ZERO, quarters: 0 };
        self.work_out_rate(rests);
        true
    }

    fn work_out_rate(&mut self, rests: Rests) {
        let share_max = match rests {
            Rests::No => 1.0,
            Rests::Yes => 1.0 / (1.0 + self.rest_factor()),
        };
        let share = (1.0 - self.others).max(SHARE_LEAST).min(share_max);
        let rate = HEADROOM * share * 1e6 / self.cost_us.max(1.0);
        self.rate = rate.clamp(*RATE.start(), *RATE.end());
    }

    /// Handshakes a second that were measured to be possible.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// What one costs.
    pub fn cost(&self) -> Duration {
        Duration::from_secs_f64(self.cost_us / 1e6)
    }
}

#[cfg(test)]
mod tests;
