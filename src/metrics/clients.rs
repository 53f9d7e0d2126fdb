//! Counters of clients: their returns, and their versions.

use super::Cell;
use super::slo::PartCells;
use crate::session::ClientText;
use crate::slo::SloPart;
use crate::slo::returns::ReturnCause;
use crate::wire::command::FailedAttempt;
use arc_swap::ArcSwap;
use std::sync::Arc;

/// Bounds of the times away, in milliseconds.
pub const RETURN_BOUNDS_MS: [u64; 8] = [500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000];
/// Bounds of the numbers of attempts.
pub const ATTEMPT_BOUNDS: [u64; 5] = [1, 2, 3, 6, 12];
/// Versions that are counted by name; further ones count as others.
pub const VERSIONS_MAX: usize = 32;

/// The counters of the thread `clients`, which alone writes them.
#[derive(Debug)]
pub struct ClientCells {
    /// Returns of clients whose last connection this instance knows, indexed by [`ReturnCause`].
    pub returns: [Cell; ReturnCause::ALL.len()],
    /// Returns that nothing but their clients' word proves.
    pub unproven: Cell,
    /// The times away of proven returns, in milliseconds.
    pub away: BoundHistogram,
    /// The attempts of proven returns.
    pub attempts: BoundHistogram,
    /// Failed attempts of proven returns, indexed by [`FailedAttempt`].
    pub failed: [Cell; FailedAttempt::ALL.len()],
    /// Lost connections whose clients have not returned here in time.
    pub not_returned: Cell,
    recovery: PartCells,
    session: PartCells,
}

impl Default for ClientCells {
    fn default() -> ClientCells {
        ClientCells {
            returns: Default::default(),
            unproven: Cell::default(),
            away: BoundHistogram::new(&RETURN_BOUNDS_MS),
            attempts: BoundHistogram::new(&ATTEMPT_BOUNDS),
            failed: Default::default(),
            not_returned: Cell::default(),
            recovery: PartCells::default(),
            session: PartCells::default(),
        }
    }
}

impl ClientCells {
    /// The events of a part that this thread counts; `None` if it counts none.
    pub fn part(&self, part: SloPart) -> Option<&PartCells> {
        match part {
            SloPart::Returns => Some(&self.recovery),
            SloPart::Session => Some(&self.session),
            _ => None,
        }
    }
}

/// Whole numbers by bounds.
#[derive(Debug)]
pub struct BoundHistogram {
    bounds: &'static [u64],
    /// One more than bounds: the last takes the rest.
    buckets: Vec<Cell>,
    sum: Cell,
}

impl BoundHistogram {
    pub fn new(bounds: &'static [u64]) -> BoundHistogram {
        let buckets = (0..=bounds.len()).map(|_| Cell::default()).collect();
        BoundHistogram { bounds, buckets, sum: Cell::default() }
    }

    /// Counts a number. Only the single writer may call it.
    pub fn record(&self, value: u64) {
        self.bucket(value).into_iter().for_each(|bucket| bucket.add(1));
        self.sum.add(value);
    }

    /// Counts a number, from any of several writers.
    pub fn record_shared(&self, value: u64) {
        self.bucket(value).into_iter().for_each(|bucket| bucket.add_shared(1));
        self.sum.add_shared(value);
    }

    fn bucket(&self, value: u64) -> Option<&Cell> {
        self.buckets.get(self.bounds.partition_point(|bound| *bound < value))
    }

    /// The bounds with their counts; the last has none.
    pub fn read(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bounds = self.bounds.iter().copied().map(Some).chain([None]);
        bounds.zip(self.buckets.iter().map(Cell::read))
    }

    pub fn sum(&self) -> u64 {
        self.sum.read()
    }
}

/// A version and its clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VersionCount {
    pub version: ClientText,
    pub clients: u64,
}

/// The clients of one reactor by version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionCounts {
    pub kept: Vec<VersionCount>,
    /// Clients of versions for which there was no room.
    pub others: u64,
}

/// The newest counts of a reactor, which it publishes about once a second.
#[derive(Debug, Default)]
pub struct VersionBoard(ArcSwap<VersionCounts>);

impl VersionBoard {
    pub fn publish(&self, counts: VersionCounts) {
        self.0.store(Arc::new(counts));
    }

    pub fn read(&self) -> Arc<VersionCounts> {
        self.0.load_full()
    }
}

/// The clients of all reactors by version, the most frequent first, [`VERSIONS_MAX`] of them and the others.
pub fn merge<'a>(boards: impl Iterator<Item = &'a VersionBoard>) -> VersionCounts {
    let mut merged = VersionCounts::default();
    for board in boards {
        let counts = board.read();
        merged.others += counts.others;
        for one in &counts.kept {
            match merged.kept.iter_mut().find(|known| known.version == one.version) {
                Some(known) => known.clients += one.clients,
                None => merged.kept.push(*one),
            }
        }
    }
    merged.kept.sort_by_key(|one| std::cmp::Reverse(one.clients));
    let over = merged.kept.split_off(merged.kept.len().min(VERSIONS_MAX));
    merged.others += over.iter().map(|one| one.clients).sum::<u64>();
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_is_counted_in_the_first_bucket_whose_bound_holds_it() {
        let histogram = BoundHistogram::new(&ATTEMPT_BOUNDS);
        [1, 2, 4, 13].iter().for_each(|value| histogram.record(*value));
        let counts: Vec<u64> = histogram.read().map(|(_, count)| count).collect();
        assert_eq!((counts, histogram.sum()), (vec![1, 1, 0, 1, 0, 1], 20));
    }

    #[test]
    fn versions_of_all_reactors_are_merged_and_bounded() {
        let boards = [VersionBoard::default(), VersionBoard::default()];
        let count = |version: &str, clients| VersionCount { version: ClientText::of(version), clients };
        let many = (0..VERSIONS_MAX as u64).map(|number| count(&format!("v{number}"), number + 1));
        boards[0].publish(VersionCounts { kept: many.collect(), others: 1 });
        boards[1].publish(VersionCounts { kept: vec![count("v0", 5), count("new", 3)], others: 2 });
        let merged = merge(boards.iter());
        assert_eq!(merged.kept[0], count("v31", 32));
        assert!(merged.kept.contains(&count("v0", 6)));
        assert_eq!((merged.kept.len(), merged.others), (VERSIONS_MAX, 1 + 2 + 2), "v1 had the fewest");
    }
}
