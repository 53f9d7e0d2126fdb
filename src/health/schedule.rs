//! When a dependency is looked at next.
//!
//! One look at a time, whatever asks for it: a hundred failed calls in a second are one question. What was
//! asked for during a look is asked again after it, since that look may have begun before the fault.

use super::judge::Look;
use crate::backoff::spread;
use crate::clock::Moment;
use std::time::Duration;

/// Between the starts of two looks that were asked for.
const GAP: Duration = Duration::from_millis(100);
/// Between two probes while it is down.
pub const DOWN_INTERVAL: Duration = Duration::from_millis(500);
/// Percent of an interval by which it is spread, both ways.
const SPREAD_PERCENT: u8 = 20;
/// A look without a result for so long after its timeout is lost, with whoever made it.
const LOST: Duration = Duration::from_secs(3);

/// A look that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Flight {
    number: u32,
    look: Look,
    began: Moment,
}

/// Whether a dependency is still where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Looks under way count.
    Same,
    /// They do not.
    Other,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    timeout: Duration,
    next: Moment,
    flight: Option<Flight>,
    /// What the next look is; `None` until somebody asks: an ordinary probe.
    wanted: Option<Look>,
    number: u32,
    last_began: Option<Moment>,
}

impl Schedule {
    pub(super) fn new(timeout: Duration, now: Moment) -> Schedule {
        Schedule { timeout, next: now, flight: None, wanted: None, number: 0, last_began: None }
    }

    /// When [`Schedule::start`] or [`Schedule::lost`] has something.
    pub(super) fn due(&self) -> Moment {
        match self.flight {
            Some(flight) => flight.began + self.timeout + LOST,
            None => self.next,
        }
    }

    /// Begins the look that is due, if one is.
    pub(super) fn start(&mut self, now: Moment) -> Option<(u32, Look)> {
        if self.flight.is_some() || now < self.next {
            return None;
        }
        let look = self.wanted.take().unwrap_or(Look::Probe);
        self.number = self.number.wrapping_add(1);
        self.last_began = Some(now);
        self.flight = Some(Flight { number: self.number, look, began: now });
        Some((self.number, look))
    }

    /// Ends the look of this number; `None` when it was given up long ago.
    pub(super) fn end(&mut self, number: u32) -> Option<Look> {
        self.flight.take_if(|flight| flight.number == number).map(|flight| flight.look)
    }

    /// Gives up a look whose result is overdue.
    pub(super) fn lost(&mut self, now: Moment) -> Option<u32> {
        let overdue = now >= self.due();
        self.flight.filter(|_| overdue).map(|flight| flight.number)
    }

    /// The looks from here on have this timeout. One under way is given up where it looks at another `place`.
    pub(super) fn revise(&mut self, timeout: Duration, place: Place, now: Moment) {
        self.timeout = timeout;
        match place {
            Place::Same => {}
            Place::Other => self.flight = None,
        }
        self.want(Look::Probe, now);
    }

    /// Asks for a look as soon as may be.
    pub(super) fn want(&mut self, look: Look, now: Moment) {
        self.wanted = match (self.wanted, look) {
            (Some(Look::Reconnect), _) | (_, Look::Reconnect) => Some(Look::Reconnect),
            (Some(Look::Probe) | None, Look::Probe) => Some(Look::Probe),
        };
        let earliest = self.last_began.map_or(now, |began| began + GAP).max(now);
        self.next = self.next.min(earliest);
    }

    /// Plans the look after one that ended: at once, or after the interval.
    pub(super) fn plan(&mut self, pause: Option<Duration>, now: Moment, random: f32) {
        self.next = match pause {
            None => now,
            Some(interval) => now + spread(interval, SPREAD_PERCENT, random),
        };
        if let Some(look) = self.wanted {
            self.want(look, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Moment {
        Moment::from_micros(n * 1_000)
    }

    #[test]
    fn a_thousand_questions_are_one_look_and_one_after_it() {
        let mut schedule = Schedule::new(Duration::from_secs(1), ms(0));
        let (first, look) = schedule.start(ms(0)).expect("due");
        assert_eq!(look, Look::Probe);
        (0..1_000).for_each(|_| schedule.want(Look::Reconnect, ms(1)));
        schedule.want(Look::Probe, ms(1));
        assert_eq!(schedule.start(ms(50)), None);
        assert_eq!(schedule.end(first), Some(Look::Probe));
        schedule.plan(Some(Duration::from_secs(2)), ms(60), 0.5);
        assert_eq!(schedule.start(ms(99)), None);
        let (second, look) = schedule.start(ms(100)).expect("due again");
        assert_eq!(look, Look::Reconnect);
        assert_eq!(schedule.end(first), None);
        assert_eq!(schedule.end(second), Some(Look::Reconnect));
        schedule.plan(Some(Duration::from_secs(2)), ms(110), 0.5);
        assert_eq!(schedule.due(), ms(2_110));
    }

    #[test]
    fn a_look_that_never_ends_is_given_up() {
        let mut schedule = Schedule::new(Duration::from_secs(1), ms(0));
        let (number, _) = schedule.start(ms(0)).expect("due");
        assert_eq!(schedule.lost(ms(3_999)), None);
        assert_eq!(schedule.due(), ms(4_000));
        assert_eq!(schedule.lost(ms(4_000)), Some(number));
    }
}
