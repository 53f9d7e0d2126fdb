//! The measured window: load runs before it opens, and what counts is what happens inside.

use crate::process::Process;
use std::time::{Duration, Instant};

/// As good as forever.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Opens after the warm-up, shuts after the duration.
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

/// What a moment brought.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Edge {
    /// Nothing.
    None,
    /// Counting begins.
    Opened,
    /// Counting has ended, with this.
    Shut(Measured),
}

/// What the window measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Measured {
    /// How long it was open.
    pub(crate) elapsed: Duration,
    /// What the server used meanwhile; `None` when nobody looked.
    pub(crate) cpu_us: Option<f64>,
}

impl Window {
    /// A window that waits for [`Window::start`].
    pub(crate) fn new(process: Option<Process>, warmup: Duration, duration: Duration) -> Window {
        Window { process, warmup, duration, state: State::Idle }
    }

    /// The warm-up begins.
    pub(crate) fn start(&mut self, now: Instant) {
        self.state = State::Warming(now + self.warmup);
    }

    /// Opens at once.
    pub(crate) fn open(&mut self, now: Instant) {
        self.state = State::Open {
            from: now,
            until: now.checked_add(self.duration).unwrap_or(now + YEAR),
            cpu_us: self.cpu_us(),
        };
    }

    /// Shuts at once; nothing if it was not open.
    pub(crate) fn shut(&mut self, now: Instant) -> Measured {
        let State::Open { from, cpu_us: before, .. } = std::mem::replace(&mut self.state, State::Shut) else {
            return Measured::default();
        };
        let cpu_us = self.cpu_us().zip(before).map(|(after, before)| after - before);
        Measured { elapsed: now.saturating_duration_since(from), cpu_us }
    }

    /// What the moment brings.
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

    /// True exactly while what happens counts.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// True exactly until it was started.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    fn cpu_us(&self) -> Option<f64> {
        self.process.as_ref().and_then(Process::cpu_us)
    }
}
