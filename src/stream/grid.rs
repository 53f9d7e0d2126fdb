//! The times of flushes.
//!
//! While anything waits there is one flush in each window, for all streams together, so that the number of commits is bounded by
//! the clock. The first token after a silence goes earlier, but no sooner than a quarter of a window after the last flush. If
//! flushes are slow the window grows, and frames get longer.

use super::settings::WINDOW_MAX;
use crate::clock::Moment;
use std::time::Duration;

/// The most urgent thing that waits for a flush.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FlushUrgency {
    #[default]
    Nothing,
    /// It waits for the end of the window.
    Window,
    /// A first token, an order, or an end.
    Early,
}

/// The grid.
#[derive(Debug)]
pub(super) struct Grid {
    shortest: Duration,
    window: Duration,
    /// The window before the last flush.
    before: Duration,
    /// The last flush.
    cut_at: Option<Moment>,
}

impl Grid {
    pub(super) fn new(rollup: Duration) -> Grid {
        Grid { shortest: rollup, window: rollup, before: rollup, cut_at: None }
    }

    pub(super) fn window(&self) -> Duration {
        self.window
    }

    /// The time of the next flush.
    pub(super) fn next(&self, urgency: FlushUrgency) -> Option<Moment> {
        let pause = match urgency {
            FlushUrgency::Nothing => return None,
            FlushUrgency::Window => self.window,
            FlushUrgency::Early => self.window / 4,
        };
        Some(self.cut_at.map_or(Moment::ZERO, |cut_at| cut_at + pause))
    }

    /// The time of the last flush.
    pub(super) fn last_cut(&self) -> Moment {
        self.cut_at.unwrap_or(Moment::ZERO)
    }

    pub(super) fn cut(&mut self, now: Moment) {
        self.cut_at = Some(now);
        self.before = self.window;
    }

    /// A flush longer than half a window doubles it; one shorter than an eighth halves it. Of the parts of a flush the last counts.
    pub(super) fn settled(&mut self, took: Duration) {
        if took > self.before / 2 {
            self.stretch();
        } else if took < self.before / 8 {
            self.window = (self.before / 2).max(self.shortest);
        }
    }

    /// Nothing was stored: the next attempt waits longer.
    pub(super) fn stretch(&mut self) {
        self.window = (self.before * 2).min(WINDOW_MAX).max(self.shortest);
    }

    /// The time from the last flush until now.
    pub(super) fn since_cut(&self, now: Moment) -> Duration {
        self.cut_at.map_or(Duration::ZERO, |cut_at| now.since(cut_at))
    }
}
