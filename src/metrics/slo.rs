//! Events of the parts of objectives, as one reactor counts them, and the report that is made of them.

use super::Cell;
use crate::slo::part::PartTotals;
use crate::slo::report::SloReport;
use crate::slo::{BadCause, Exclusion, SloOutcome, SloPart};
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Totals since the start, except `sessions`.
#[derive(Debug, Default)]
pub struct SloCells {
    /// Well-formed upgrades of `/ws`, with and without an outcome.
    pub attempts: Cell,
    /// Sessions that are `connected` now.
    pub sessions: Cell,
    /// Messages that were counted as bad at their first failure, because too many had failed.
    pub messages_full: Cell,
    /// Indexed by [`SloPart`].
    pub parts: [PartCells; SloPart::ALL.len()],
}

/// The events of a part; milliseconds in [`SloPart::Session`].
#[derive(Debug, Default)]
pub struct PartCells {
    pub good: Cell,
    /// Indexed by [`BadCause`].
    pub bad: [Cell; BadCause::ALL.len()],
    /// Indexed by [`Exclusion`].
    pub excluded: [Cell; Exclusion::ALL.len()],
}

impl PartCells {
    /// Counts events; milliseconds in [`SloPart::Session`]. Only the single writer may call it.
    pub fn count(&self, outcome: SloOutcome, by: u64) {
        self.cell(outcome).into_iter().for_each(|cell| cell.add(by));
    }

    /// Counts an event, from any of several writers.
    pub fn count_shared(&self, outcome: SloOutcome) {
        self.cell(outcome).into_iter().for_each(|cell| cell.add_shared(1));
    }

    fn cell(&self, outcome: SloOutcome) -> Option<&Cell> {
        match outcome {
            SloOutcome::Good => Some(&self.good),
            SloOutcome::Bad(cause) => self.bad.get(cause.index()),
            SloOutcome::Excluded(reason) => self.excluded.get(reason.index()),
        }
    }

    /// The totals.
    pub fn totals(&self) -> PartTotals {
        PartTotals {
            good: self.good.read(),
            bad: self.bad.iter().map(Cell::read).sum(),
            excluded: self.excluded.iter().map(Cell::read).sum(),
        }
    }
}

/// The newest report, which one thread writes and any thread reads.
#[derive(Debug, Default)]
pub struct SloBoard {
    report: ArcSwap<SloReport>,
    /// The time between two rounds of the canary, in milliseconds; 0: there is none.
    canary_ms: AtomicU64,
}

impl SloBoard {
    pub fn publish(&self, report: SloReport) {
        self.report.store(Arc::new(report));
    }

    pub fn report(&self) -> Arc<SloReport> {
        self.report.load_full()
    }

    /// Says that there is a canary, with this time between two rounds.
    pub fn expect_canary(&self, period: Duration) {
        let ms = u64::try_from(period.as_millis()).unwrap_or(u64::MAX);
        self.canary_ms.store(ms, Ordering::Relaxed);
    }

    /// The time between two rounds of the canary; `None` if there is none.
    pub fn canary_period(&self) -> Option<Duration> {
        let ms = self.canary_ms.load(Ordering::Relaxed);
        (ms > 0).then(|| Duration::from_millis(ms))
    }
}
