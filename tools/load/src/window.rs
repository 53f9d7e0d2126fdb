//! The measurement window: load runs before it opens, and only what happens inside it counts.

use crate::process::Process;
use std::time::{Duration, Instant};

/// A duration as good as infinite.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Opens after the warm-up and closes after the duration.
#[derive(Debug)]
pub(crate) struct Window {
    process: Option<Process>,
    warmup: Duration,
    duration: Duration,
    state: State,
}

#[derive(Debug)]
enum State {
    Idle,
    Warming(Instant),
    Open { from: Instant, until: Instant, cpu_us: Option<f64> },
    Shut,
}

/// A change of the window's state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Edge {
    None,
    /// The window opened.
    Opened,
    /// The window closed, with these results.
    Shut(Measured),
}

/// The results of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Measured {
    /// The time it was open.
    pub(crate) elapsed: Duration,
    /// The server's CPU time in the window; `None` without `--pid`.
    pub(crate) cpu_us: Option<f64>,
}

impl Window {
    /// Creates a window that waits for [`Window::start`].
    pub(crate) fn new(process: Option<Process>, warmup: Duration, duration: Duration) -> Window {
        Window { process, warmup, duration, state: State::Idle }
    }

    /// Starts the warm-up.
    pub(crate) fn start(&mut self, now: Instant) {
        self.state = State::Warming(now + self.warmup);
    }

    /// Opens the window now.
    pub(crate) fn open(&mut self, now: Instant) {
        self.state = State::Open {
            from: now,
            until: now.checked_add(self.duration).unwrap_or(now + YEAR),
            cpu_us: self.cpu_us(),
        };
    }

    /// Closes the window now; empty results if it was not open.
    pub(crate) fn shut(&mut self, now: Instant) -> Measured {
        let State::Open { from, cpu_us: before, .. } = std::mem::replace(&mut self.state, State::Shut) else {
            return Measured::default();
        };
        let cpu_us = self.cpu_us().zip(before).map(|(after, before)| after - before);
        Measured { elapsed: now.saturating_duration_since(from), cpu_us }
    }

    /// Opens or closes the window if that is due.
    pub(crate) fn turn(&mut self, now: Instant) -> Edge {
        match self.state {
            State::Warming(until) if until <= now => {
                self.open(now);
                Edge::Opened
            }
            State::Open { until, .. } if until <= now => Edge::Shut(self.shut(now)),
            State::Idle | State::Warming(_) | State::Open { .. } | State::Shut => Edge::None,
        }
    }

    /// True exactly while the window is open.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// True exactly until [`Window::start`].
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    fn cpu_us(&self) -> Option<f64> {
        self.process.as_ref().and_then(Process::cpu_us)
    }
}
