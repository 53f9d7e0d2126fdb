//! Counters of configuration reloads. The reload thread writes them.

use std::sync::atomic::{AtomicU64, Ordering};

/// The outcomes, in the order of [`ReloadCounters::outcomes`].
pub const OUTCOMES: [ReloadOutcome; 4] =
    [ReloadOutcome::Applied, ReloadOutcome::Unchanged, ReloadOutcome::Refused, ReloadOutcome::Incomplete];

/// The outcome of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadOutcome {
    /// The changes are in force.
    Applied,
    /// No reloadable setting had changed.
    Unchanged,
    /// The configuration was invalid or the process was shutting down. Nothing changed.
    Refused,
    /// Some threads took their part and one did not answer. They use different configurations until a reload is
    /// applied.
    Incomplete,
}

impl ReloadOutcome {
    /// The value in the metric and in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            ReloadOutcome::Applied => "applied",
            ReloadOutcome::Unchanged => "unchanged",
            ReloadOutcome::Refused => "refused",
            ReloadOutcome::Incomplete => "incomplete",
        }
    }
}

/// Totals since the start.
#[derive(Debug, Default)]
pub struct ReloadCounters {
    /// Indexed like [`OUTCOMES`].
    pub outcomes: [AtomicU64; OUTCOMES.len()],
    /// The time at which the current configuration was read, in Unix milliseconds.
    pub good_unix_ms: AtomicU64,
    /// 1 if all threads use the same configuration; 0 after an incomplete reload.
    pub whole: AtomicU64,
}

impl ReloadCounters {
    /// Records that the configuration was read at the start.
    pub fn began(&self, unix_ms: u64) {
        self.holds(unix_ms);
    }

    pub fn ended(&self, outcome: ReloadOutcome, unix_ms: u64) {
        match outcome {
            ReloadOutcome::Applied | ReloadOutcome::Unchanged => self.holds(unix_ms),
            ReloadOutcome::Refused => {}
            ReloadOutcome::Incomplete => self.whole.store(0, Ordering::Relaxed),
        }
        // Last: a reload that is counted shows in the rest.
        if let Some(cell) = OUTCOMES.iter().position(|it| *it == outcome).and_then(|it| self.outcomes.get(it))
        {
            cell.fetch_add(1, Ordering::Release);
        }
    }

    fn holds(&self, unix_ms: u64) {
        self.good_unix_ms.store(unix_ms, Ordering::Relaxed);
        self.whole.store(1, Ordering::Relaxed);
    }
}
