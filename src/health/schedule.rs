//! The schedule of a dependency's probes.
//!
//! One probe runs at a time, for all requests: a hundred failed calls in a second cause one probe. A request during a
//! probe causes another one after it, because the running probe may have begun before the fault.

use super::judge::ProbeReason;
use crate::backoff::spread;
use crate::clock::Moment;
use std::time::Duration;

/// The time between the starts of two requested probes.
const GAP: Duration = Duration::from_millis(100);
/// The time between two probes of a dependency that is down.
pub const DOWN_INTERVAL: Duration = Duration::from_millis(500);
/// The percentage by which an interval is spread in both directions.
const SPREAD_PERCENT: u8 = 20;
/// A probe without a result for this long after its timeout is lost, together with its thread.
const LOST: Duration = Duration::from_secs(3);

/// A probe in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PendingProbe {
    number: u32,
    look: ProbeReason,
    began: Moment,
}

/// Tells whether the address of a dependency is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Results of probes in progress count.
    Same,
    /// Results of probes in progress are dropped.
    Other,
}

/// The schedule; see the module.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    timeout: Duration,
    next: Moment,
    pending: Option<PendingProbe>,
    /// The requested kind of the next probe; `None` for an ordinary one.
    wanted: Option<ProbeReason>,
    number: u32,
    last_began: Option<Moment>,
}

impl Schedule {
    pub(super) fn new(timeout: Duration, now: Moment) -> Schedule {
        Schedule { timeout, next: now, pending: None, wanted: None, number: 0, last_began: None }
    }

    /// The time at which [`Schedule::start`] or [`Schedule::lost`] returns something.
    pub(super) fn due(&self) -> Moment {
        match self.pending {
            Some(pending) => pending.began + self.timeout + LOST,
            None => self.next,
        }
    }

    /// Starts the probe that is due, if there is one.
    pub(super) fn start(&mut self, now: Moment) -> Option<(u32, ProbeReason)> {
        if self.pending.is_some() || now < self.next {
            return None;
        }
        let look = self.wanted.take().unwrap_or(ProbeReason::Probe);
        self.number = self.number.wrapping_add(1);
        self.last_began = Some(now);
        self.pending = Some(PendingProbe { number: self.number, look, began: now });
        Some((self.number, look))
    }

    /// Ends the probe with this number; `None` if it was given up before.
    pub(super) fn end(&mut self, number: u32) -> Option<ProbeReason> {
        self.pending.take_if(|pending| pending.number == number).map(|pending| pending.look)
    }

    /// Gives up a probe whose result is overdue.
    pub(super) fn lost(&mut self, now: Moment) -> Option<u32> {
        let overdue = now >= self.due();
        self.pending.filter(|_| overdue).map(|pending| pending.number)
    }

    /// Changes the timeout of future probes. A probe in progress is given up if it uses another address.
    pub(super) fn revise(&mut self, timeout: Duration, place: Place, now: Moment) {
        self.timeout = timeout;
        match place {
            Place::Same => {}
            Place::Other => self.pending = None,
        }
        self.request(ProbeReason::Probe, now);
    }

    /// Requests a probe as soon as possible.
    pub(super) fn request(&mut self, look: ProbeReason, now: Moment) {
        self.wanted = match (self.wanted, look) {
            (Some(ProbeReason::Reconnect), _) | (_, ProbeReason::Reconnect) => Some(ProbeReason::Reconnect),
            (Some(ProbeReason::Probe) | None, ProbeReason::Probe) => Some(ProbeReason::Probe),
        };
        let earliest = self.last_began.map_or(now, |began| began + GAP).max(now);
        self.next = self.next.min(earliest);
    }

    /// Schedules the probe after one that ended: at once, or after the interval.
    pub(super) fn plan(&mut self, pause: Option<Duration>, now: Moment, random: f32) {
        self.next = match pause {
            None => now,
            Some(interval) => now + spread(interval, SPREAD_PERCENT, random),
        };
        if let Some(look) = self.wanted {
            self.request(look, now);
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
    fn many_requests_during_a_probe_cause_one_more_probe() {
        let mut schedule = Schedule::new(Duration::from_secs(1), ms(0));
        let (first, look) = schedule.start(ms(0)).expect("due");
        assert_eq!(look, ProbeReason::Probe);
        (0..1_000).for_each(|_| schedule.request(ProbeReason::Reconnect, ms(1)));
        schedule.request(ProbeReason::Probe, ms(1));
        assert_eq!(schedule.start(ms(50)), None);
        assert_eq!(schedule.end(first), Some(ProbeReason::Probe));
        schedule.plan(Some(Duration::from_secs(2)), ms(60), 0.5);
        assert_eq!(schedule.start(ms(99)), None);
        let (second, look) = schedule.start(ms(100)).expect("due again");
        assert_eq!(look, ProbeReason::Reconnect);
        assert_eq!(schedule.end(first), None);
        assert_eq!(schedule.end(second), Some(ProbeReason::Reconnect));
        schedule.plan(Some(Duration::from_secs(2)), ms(110), 0.5);
        assert_eq!(schedule.due(), ms(2_110));
    }

    #[test]
    fn probe_without_a_result_is_given_up() {
        let mut schedule = Schedule::new(Duration::from_secs(1), ms(0));
        let (number, _) = schedule.start(ms(0)).expect("due");
        assert_eq!(schedule.lost(ms(3_999)), None);
        assert_eq!(schedule.due(), ms(4_000));
        assert_eq!(schedule.lost(ms(4_000)), Some(number));
    }
}
