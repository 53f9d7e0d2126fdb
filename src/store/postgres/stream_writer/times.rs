//! The times of looks and sweeps.

use super::super::timing::{jittered, monotonic};
use crate::store::retention::Rest;
use std::time::{Duration, Instant};

/// The time between two looks: the longest until a cancel, a restart or an end at another instance is noticed without the bus.
const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// The time between two sweeps, varied by ±20 %. It is the longest until a stream is watched.
const SWEEP_PERIOD: Duration = Duration::from_secs(10);

/// The time between two slices of the search for answers whose question is gone.
const SLICE_PERIOD: Duration = Duration::from_millis(250);

/// The duty to end the streams that no instance has open. One worker of an instance has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store::postgres) enum Sweeps {
    Yes,
    No,
}

/// The times of looks and sweeps.
pub(super) struct LookTimes {
    look: Instant,
    /// `None`: another worker sweeps.
    sweep: Option<Instant>,
    /// `None`: the next sweep begins the search.
    slice: Option<Instant>,
    /// The time since which there is a connection and no commit of streams failed.
    works_since: Option<Instant>,
}

impl LookTimes {
    pub(super) fn new(sweeps: Sweeps) -> LookTimes {
        let now = monotonic();
        let sweep = match sweeps {
            Sweeps::Yes => Some(now + jittered(SWEEP_PERIOD)),
            Sweeps::No => None,
        };
        LookTimes { look: now, sweep, slice: None, works_since: None }
    }

    pub(super) fn until_look(&self) -> Duration {
        self.look.saturating_duration_since(monotonic())
    }

    pub(super) fn until_sweep(&self) -> Duration {
        self.sweep.map_or(Duration::MAX, |at| at.saturating_duration_since(monotonic()))
    }

    pub(super) fn until_slice(&self) -> Duration {
        self.slice.map_or(Duration::MAX, |at| at.saturating_duration_since(monotonic()))
    }

    pub(super) fn looked(&mut self) {
        self.look = monotonic() + LOOK_PERIOD;
    }

    pub(super) fn swept(&mut self) {
        self.sweep = self.sweep.map(|_| monotonic() + jittered(SWEEP_PERIOD));
    }

    /// The search is to have a slice now.
    pub(super) fn search(&mut self) {
        self.slice = Some(monotonic());
    }

    /// The search had a slice. It goes on with another one, or with the next sweep.
    pub(super) fn searched(&mut self, rest: Rest) {
        self.slice = match rest {
            Rest::Some => Some(monotonic() + SLICE_PERIOD),
            Rest::None => None,
        };
    }

    /// True if nothing spoke against commits for this long.
    pub(super) fn have_worked_for(&self, time: Duration) -> bool {
        self.works_since.is_some_and(|since| since.elapsed() >= time)
    }

    pub(super) fn writes_work(&mut self) {
        self.works_since.get_or_insert_with(monotonic);
    }

    pub(super) fn writes_failed(&mut self) {
        self.works_since = None;
    }
}
