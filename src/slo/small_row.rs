//! Counts in half of their memory: those of a hundred days are kept.

use super::minute_row::{AttemptSlot, MinuteRow, SLOTS_PER_MINUTE};
use super::part::{PartTotals, SloPart};
use super::run_counts::AllCounts;
use super::scoreboard::PartCounts;

/// The counts of a part. A number of more than 4,294,967,295 is kept as that, apart from good events: 4.7 million bad events a second for a
/// quarter of an hour.
#[derive(Clone, Copy, Debug, Default)]
struct SmallCounts {
    good: u64,
    bad: u32,
    excluded: u32,
    looks: u32,
    bad_looks_ppm: u32,
}

/// The counts of all parts.
#[derive(Clone, Copy, Debug, Default)]
pub struct SmallRow([SmallCounts; SloPart::ALL.len()]);

/// A minute of all runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct SmallMinute {
    counts: SmallRow,
    /// Good and bad attempts of each slot.
    attempts: [[u32; 2]; SLOTS_PER_MINUTE],
}

impl SmallRow {
    pub fn add(&mut self, counts: &AllCounts) {
        for (small, counts) in self.0.iter_mut().zip(counts) {
            let PartCounts { totals: PartTotals { good, bad, excluded }, looks, bad_looks_ppm } = *counts;
            small.good = small.good.saturating_add(good);
            add(&mut small.bad, bad);
            add(&mut small.excluded, excluded);
            add(&mut small.looks, looks);
            add(&mut small.bad_looks_ppm, bad_looks_ppm);
        }
    }

    /// The same in full size.
    pub fn counts(&self) -> AllCounts {
        self.0.map(|SmallCounts { good, bad, excluded, looks, bad_looks_ppm }| PartCounts {
            totals: PartTotals { good, bad: bad.into(), excluded: excluded.into() },
            looks: looks.into(),
            bad_looks_ppm: bad_looks_ppm.into(),
        })
    }
}

impl SmallMinute {
    /// Adds the row of a run.
    pub fn add(&mut self, row: &MinuteRow) {
        self.counts.add(&row.counts);
        for ([good, bad], slot) in self.attempts.iter_mut().zip(&row.attempts) {
            add(good, slot.good);
            add(bad, slot.bad);
        }
    }

    /// The same in full size.
    pub fn row(&self) -> MinuteRow {
        let attempts = self.attempts.map(|[good, bad]| AttemptSlot { good: good.into(), bad: bad.into() });
        MinuteRow { counts: self.counts.counts(), attempts }
    }
}

fn add(cell: &mut u32, by: u64) {
    *cell = cell.saturating_add(u32::try_from(by).unwrap_or(u32::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_full_rows_until_a_number_is_too_great() {
        let mut row = MinuteRow::default();
        for (index, counts) in row.counts.iter_mut().enumerate() {
            let totals = PartTotals { good: index as u64, bad: 2, excluded: 3 };
            *counts = PartCounts { totals, looks: 4, bad_looks_ppm: 5 };
        }
        row.attempts[1] = AttemptSlot { good: 6, bad: 7 };
        let (mut small, mut full) = (SmallMinute::default(), MinuteRow::default());
        for _ in 0..3 {
            small.add(&row);
            full.add(&row);
        }
        assert_eq!(small.row(), full);
        row.counts[0].totals.bad = u64::MAX;
        small.add(&row);
        assert_eq!(small.row().counts[0].totals.bad, u64::from(u32::MAX));
    }
}
