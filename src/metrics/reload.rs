//! What is counted of reloads. The reload thread writes; a scrape reads.

use std::sync::atomic::{AtomicU64, Ordering};

/// How a reload may end, in the order of [`ReloadCounters::outcomes`].
pub const OUTCOMES: [Outcome; 4] =
    [Outcome::Applied, Outcome::Unchanged, Outcome::Refused, Outcome::Incomplete];

/// How a reload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What changed holds.
    Applied,
    /// Nothing that a reload takes had changed.
    Unchanged,
    /// Something was wrong, or the process was leaving: nothing changed.
    Refused,
    /// Some threads took their part and one did not answer: a mixture holds until a reload is applied.
    Incomplete,
}

impl Outcome {
    /// As the metric and the log say it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Applied => "applied",
            Outcome::Unchanged => "unchanged",
            Outcome::Refused => "refused",
            Outcome::Incomplete => "incomplete",
        }
    }
}

/// Totals since the start.
#[derive(Debug, Default)]
pub struct ReloadCounters {
    /// By [`OUTCOMES`].
    pub outcomes: [AtomicU64; OUTCOMES.len()],
    /// When the configuration that holds was read, Unix milliseconds: the start, or the last good reload.
    pub good_unix_ms: AtomicU64,
    /// 1: one configuration holds as a whole. 0: an incomplete reload left a mixture.
    pub whole: AtomicU64,
}

impl ReloadCounters {
    /// The configuration of the start was read.
    pub fn began(&self, unix_ms: u64) {
        self.holds(unix_ms);
    }

    /// Counts one that ended.
    pub fn ended(&self, outcome: Outcome, unix_ms: u64) {
        if let Some(cell) = OUTCOMES.iter().position(|it| *it == outcome).and_then(|it| self.outcomes.get(it))
        {
            cell.fetch_add(1, Ordering::Relaxed);
        }
        match outcome {
            Outcome::Applied | Outcome::Unchanged => self.holds(unix_ms),
            Outcome::Refused => {}
            Outcome::Incomplete => self.whole.store(0, Ordering::Relaxed),
        }
    }

    fn holds(&self, unix_ms: u64) {
        self.good_unix_ms.store(unix_ms, Ordering::Relaxed);
        self.whole.store(1, Ordering::Relaxed);
    }
}
