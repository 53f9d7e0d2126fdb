//! The counts of the parts of objectives, as plain numbers.

use super::count::Count;
use crate::metrics::slo::SloCells;
use crate::slo::part::{REACTOR_CAUSES, REACTOR_PARTS};
use crate::slo::{Exclusion, SloOutcome, SloPart, fan_out};
use std::cell::Cell;

const PARTS: usize = REACTOR_PARTS;

/// Totals since the start. [`SloCells`] documents each one.
#[derive(Debug, Default)]
pub struct SloTally {
    attempts: Count,
    pub(super) sessions: Count,
    pub(super) messages_full: Count,
    good: [Count; PARTS],
    bad: [[Count; REACTOR_CAUSES]; PARTS],
    excluded: [[Count; Exclusion::ALL.len()]; PARTS],
    /// Set when `good` has changed since it was published: most turns leave it as it is.
    good_changed: Cell<bool>,
    /// The same of all others.
    rare_changed: Cell<bool>,
}

impl SloTally {
    pub(super) fn begin_attempt(&self) {
        self.attempts.add(1);
        self.rare_changed.set(true);
    }

    /// Counts events; milliseconds in [`SloPart::Session`].
    #[inline]
    pub(super) fn count(&self, part: SloPart, outcome: SloOutcome, by: u64) {
        let count = match outcome {
            SloOutcome::Good => {
                self.good_changed.set(true);
                self.good.get(part.index())
            }
            SloOutcome::Bad(cause) => {
                self.rare_changed.set(true);
                self.bad.get(part.index()).and_then(|bad| bad.get(cause.index()))
            }
            SloOutcome::Excluded(reason) => {
                self.rare_changed.set(true);
                self.excluded.get(part.index()).and_then(|excluded| excluded.get(reason.index()))
            }
        };
        if let Some(count) = count {
            count.add(by);
        }
    }

    /// Counts publications for live subscribers: `taken` of them are in outboxes now, and `refused` found no room. They were committed
    /// `age_ms` ago, if that is known.
    #[inline]
    pub(super) fn count_fan_out(&self, age_ms: Option<u64>, taken: u64, refused: u64) {
        if refused == 0 && age_ms.is_some_and(|age_ms| age_ms <= fan_out::SOON_MS) {
            self.count(SloPart::DeliveryFanout, SloOutcome::Good, taken);
            return self.count(SloPart::LatencyFanout, SloOutcome::Good, taken);
        }
        self.count_bad_fan_out(age_ms, taken, refused);
    }

    #[cold]
    fn count_bad_fan_out(&self, age_ms: Option<u64>, taken: u64, refused: u64) {
        let bounds =
            [(SloPart::DeliveryFanout, fan_out::DELIVERED_MS), (SloPart::LatencyFanout, fan_out::SOON_MS)];
        for (part, within_ms) in bounds {
            self.count(part, fan_out::outcome(age_ms, within_ms), taken);
            self.count(part, SloOutcome::Excluded(Exclusion::SlowReader), refused);
        }
    }

    /// Sets the time that sessions were open, in milliseconds.
    pub(super) fn set_session_ms(&self, ms: u64) {
        if let Some(count) = self.good.get(SloPart::Session.index()) {
            count.set(ms);
        }
        self.good_changed.set(true);
        self.rare_changed.set(true);
    }

    /// Attempts that have an outcome.
    pub(super) fn decided_attempts(&self) -> u64 {
        let part = SloPart::Attempt.index();
        let bad = self.bad.get(part).into_iter().flatten();
        let excluded = self.excluded.get(part).into_iter().flatten();
        self.good.get(part).into_iter().chain(bad).chain(excluded).map(Count::read).sum()
    }

    /// All attempts.
    pub(super) fn attempts(&self) -> u64 {
        self.attempts.read()
    }

    /// Publishes every number that changed to the cells that scrapes read.
    pub(super) fn publish(&self, cells: &SloCells) {
        if self.good_changed.take() {
            for (count, cells) in self.good.iter().zip(&cells.parts) {
                cells.good.set(count.read());
            }
        }
        if self.rare_changed.take() {
            cells.attempts.set(self.attempts.read());
            cells.sessions.set(self.sessions.read());
            cells.messages_full.set(self.messages_full.read());
            for ((bad, excluded), cells) in self.bad.iter().zip(&self.excluded).zip(&cells.parts) {
                let pairs = bad.iter().zip(&cells.bad).chain(excluded.iter().zip(&cells.excluded));
                pairs.for_each(|(count, cell)| cell.set(count.read()));
            }
        }
    }
}

#[cfg(test)]
impl SloTally {
    /// The count of an outcome.
    pub(super) fn of(&self, part: SloPart, outcome: SloOutcome) -> u64 {
        match outcome {
            SloOutcome::Good => self.good[part.index()].read(),
            SloOutcome::Bad(cause) => self.bad[part.index()][cause.index()].read(),
            SloOutcome::Excluded(reason) => self.excluded[part.index()][reason.index()].read(),
        }
    }
}
