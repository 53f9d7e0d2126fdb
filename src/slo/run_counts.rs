//! The counts of one run of a process, by minute and by quarter of an hour, as they are stored.
//!
//! A stored row has the totals of its minute so far, so writing it again is harmless. Minutes are those of the wall clock. If that is set
//! back a little, the minute goes on until the time has caught up; if it is set back far, another run begins, because no row may
//! change its meaning.

use super::part::SloPart;
use super::scoreboard::PartCounts;

/// The counts of all parts.
pub type AllCounts = [PartCounts; SloPart::ALL.len()];

/// Minutes that the wall clock may be set back without another run.
const BACK_MINUTES_MAX: u64 = 10;
pub const MINUTES_PER_QUARTER: u64 = 15;

/// The effect of adding counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advance {
    Added,
    /// The clock was set back: they begin another run.
    OtherRun,
}

/// The minute and the quarter that are being counted.
#[derive(Clone, Debug)]
pub struct RunCounts {
    /// Minutes since 1970.
    minute: u64,
    of_minute: AllCounts,
    of_quarter: AllCounts,
}

impl RunCounts {
    pub fn new(minute: u64) -> RunCounts {
        RunCounts { minute, of_minute: AllCounts::default(), of_quarter: AllCounts::default() }
    }

    pub fn minute(&self) -> u64 {
        self.minute
    }

    /// Quarters of an hour since 1970.
    pub fn quarter(&self) -> u64 {
        self.minute / MINUTES_PER_QUARTER
    }

    /// The totals of the minute.
    pub fn of_minute(&self) -> &AllCounts {
        &self.of_minute
    }

    /// The totals of the quarter.
    pub fn of_quarter(&self) -> &AllCounts {
        &self.of_quarter
    }

    /// Adds the counts of a slot that ended in this minute of the wall clock.
    pub fn add(&mut self, minute: u64, counts: &AllCounts) -> Advance {
        let mut advance = Advance::Added;
        if minute + BACK_MINUTES_MAX < self.minute {
            *self = RunCounts::new(minute);
            advance = Advance::OtherRun;
        } else if minute > self.minute {
            if minute / MINUTES_PER_QUARTER != self.quarter() {
                self.of_quarter = AllCounts::default();
            }
            (self.minute, self.of_minute) = (minute, AllCounts::default());
        }
        for sums in [&mut self.of_minute, &mut self.of_quarter] {
            add_all(sums, counts);
        }
        advance
    }
}

/// Adds the counts of each part.
pub fn add_all(sums: &mut AllCounts, counts: &AllCounts) {
    sums.iter_mut().zip(counts).for_each(|(sum, counts)| sum.add(counts));
}

#[cfg(test)]
mod tests {
    use super::super::part::PartTotals;
    use super::*;

    fn good(count: u64) -> AllCounts {
        let totals = PartTotals { good: count, ..PartTotals::default() };
        AllCounts::default().map(|_| PartCounts::of_slot(totals))
    }

    fn totals(counts: &AllCounts) -> u64 {
        counts[0].totals.good
    }

    #[test]
    fn row_has_the_totals_of_its_minute_and_quarter() {
        let mut run = RunCounts::new(29);
        for (minute, of_minute, of_quarter) in [(29, 1, 1), (29, 2, 2), (30, 1, 1), (44, 1, 2), (45, 1, 1)] {
            assert_eq!(run.add(minute, &good(1)), Advance::Added);
            assert_eq!((totals(run.of_minute()), totals(run.of_quarter())), (of_minute, of_quarter));
        }
        run.add(46, &good(0));
        assert_eq!((totals(run.of_minute()), totals(run.of_quarter())), (0, 1));
    }

    #[test]
    fn minute_goes_on_while_the_clock_is_a_little_behind_and_another_run_begins_if_it_is_far() {
        let mut run = RunCounts::new(100);
        run.add(100, &good(1));
        assert_eq!(run.add(91, &good(1)), Advance::Added);
        assert_eq!((run.minute(), totals(run.of_minute())), (100, 2));
        assert_eq!(run.add(89, &good(1)), Advance::OtherRun);
        assert_eq!((run.minute(), totals(run.of_minute())), (89, 1));
    }
}
