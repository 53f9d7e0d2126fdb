//! The counts of a deployment: those of all runs of all instances, as their rows show them.
//!
//! Every instance reads the rows that changed, so all have the same counts. The rows of the last hour are kept one by one, because they may
//! come again with more in them; those of three days as sums of a minute; older ones as sums of a quarter of an hour, which no row
//! changes any more. Only quarters of the longest period are kept: reports and histories read earlier ones from the store.

use super::calendar::QUARTERS_PER_DAY;
use super::exclusion::ExclusionList;
use super::minute_row::MinuteRow;
use super::part::SloPart;
use super::run_counts::{AllCounts, MINUTES_PER_QUARTER, add_all};
use super::scoreboard::PartCounts;
use super::small_row::{SmallMinute, SmallRow};
use super::timeline::Timeline;
use super::weekly_rows::QuarterRows;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Rows of more minutes ago are refused: their quarter is closed.
pub const MINUTES_SHARED: u64 = 3 * 1_440;
/// Rows of the last minutes are kept one by one.
const RECENT_MINUTES: u64 = 60;
/// A row of an earlier minute is late: what it adds did not happen now.
const LATE_MINUTES: u64 = 2;
/// The quarters of an hour that the store keeps.
pub const QUARTERS_SHARED: u64 = 100 * QUARTERS_PER_DAY;
/// The greatest number of rows of earlier minutes.
const MINUTES_KEPT: usize = (MINUTES_SHARED + MINUTES_PER_QUARTER) as usize;
/// Days whose quarters are kept if the longest period is shorter: closed ones are in the store a day later at most.
const DAYS_KEPT_MIN: u32 = 7;
/// Quarters before the longest period, so that the one that leaves it is there until it has.
const QUARTERS_SPARE: u64 = 4;

/// The first closed quarter that an instance reads when it starts in the quarter `now`. `days` is the longest period.
pub fn first_quarter_read(now: u64, days: u32) -> u64 {
    now.saturating_sub((u64::from(days.max(DAYS_KEPT_MIN)) + 1) * QUARTERS_PER_DAY)
}

/// The knowledge of earlier rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RowsKnown {
    /// All rows are being read, each for the first time.
    Reading,
    Complete,
    /// A row came again that is not kept one by one: all have to be read again.
    InDoubt,
}

/// The counts of a deployment.
#[derive(Clone, Debug)]
pub struct DeploymentCounts {
    knowledge: RowsKnown,
    /// By minute and run.
    recent: BTreeMap<(u64, i64), MinuteRow>,
    /// Sums of all runs, in minutes before the recent ones.
    minutes: Timeline<SmallMinute>,
    quarters: Timeline<SmallRow>,
    /// The number of quarters that are kept.
    kept: u64,
    /// Rows of earlier minutes that were read: minutes and runs. Empty once all were.
    read: BTreeSet<(u64, i64)>,
    /// The counts that came since the last slot.
    slot: AllCounts,
    /// The same of each run.
    run_slots: BTreeMap<i64, AllCounts>,
    is_late: bool,
    /// The present minute.
    now: u64,
}

impl DeploymentCounts {
    /// Counts of which nothing is known, in a minute since 1970. `days` is the longest period, at most the 100 days of the store.
    pub fn new(now: u64, days: u32) -> DeploymentCounts {
        let kept =
            (u64::from(days.max(DAYS_KEPT_MIN)) * QUARTERS_PER_DAY).min(QUARTERS_SHARED) + QUARTERS_SPARE;
        DeploymentCounts {
            knowledge: RowsKnown::Reading,
            recent: BTreeMap::new(),
            minutes: Timeline::with_capacity(MINUTES_KEPT),
            // One more may come before the first one leaves.
            quarters: Timeline::with_capacity(kept as usize + 2),
            kept,
            read: BTreeSet::new(),
            slot: AllCounts::default(),
            run_slots: BTreeMap::new(),
            is_late: true,
            now,
        }
    }

    /// True exactly if all rows were read.
    pub fn is_complete(&self) -> bool {
        self.knowledge == RowsKnown::Complete
    }

    /// True exactly if all rows must be read again, into new counts, by this present minute.
    pub fn is_in_doubt(&self, now: u64) -> bool {
        self.knowledge == RowsKnown::InDoubt || now + RECENT_MINUTES / 2 < self.now
    }

    fn forget_old(&mut self) {
        let oldest = self.first_quarter();
        drop(self.quarters.take_before(oldest));
    }

    /// The first quarter that is kept.
    pub fn first_quarter(&self) -> u64 {
        (self.now / MINUTES_PER_QUARTER).saturating_sub(self.kept)
    }

    /// Takes the sums of closed quarters, as far as they are kept.
    pub fn restore_quarters(&mut self, quarters: impl IntoIterator<Item = (u64, AllCounts)>) {
        let first = self.first_quarter();
        for (quarter, counts) in quarters.into_iter().filter(|(quarter, _)| *quarter >= first) {
            if let Some(row) = self.quarters.row(quarter) {
                *row = SmallRow::default();
                row.add(&counts);
            }
        }
    }

    /// Adds a row to the sum of an earlier minute.
    fn sum_up(&mut self, minute: u64, row: &MinuteRow) {
        if let Some(sum) = self.minutes.row(minute) {
            sum.add(row);
        }
    }

    /// Takes that all rows were read.
    pub fn note_complete(&mut self) {
        self.read = BTreeSet::new();
        if self.knowledge == RowsKnown::Reading {
            self.knowledge = RowsKnown::Complete;
        }
    }

    /// Takes a version of a row. The same one, or an earlier one, changes nothing.
    pub fn take(&mut self, run: i64, minute: u64, row: &MinuteRow) {
        // Rows that no instance has closed, because none ran, are older.
        let is_old = minute < self.first() && self.knowledge != RowsKnown::Reading;
        if is_old || self.quarters.has(minute / MINUTES_PER_QUARTER) {
            return;
        }
        if minute + RECENT_MINUTES < self.now {
            // A row that is read twice changed between, and its earlier version is in the sums.
            if self.knowledge == RowsKnown::Reading && self.read.insert((minute, run)) {
                self.sum_up(minute, row);
            } else {
                self.knowledge = RowsKnown::InDoubt;
            }
            return;
        }
        let known = self.recent.entry((minute, run)).or_default();
        let before = *known;
        known.merge(row);
        if *known == before {
            return;
        }
        if minute + LATE_MINUTES < self.now {
            self.is_late = true;
            return;
        }
        let mut news = AllCounts::default();
        for ((sum, after), before) in news.iter_mut().zip(&known.counts).zip(&before.counts) {
            sum.totals.add(after.totals.since(before.totals));
        }
        add_all(&mut self.slot, &news);
        add_all(self.run_slots.entry(run).or_default(), &news);
    }

    /// The first minute of which rows are taken.
    fn first(&self) -> u64 {
        let minute = self.now.saturating_sub(MINUTES_SHARED);
        minute - minute % MINUTES_PER_QUARTER
    }

    /// Lets time pass. Returns the quarters that are closed now, with their sums.
    pub fn advance(&mut self, now: u64) -> Vec<(u64, AllCounts)> {
        self.now = self.now.max(now);
        let kept = self.recent.split_off(&(self.now.saturating_sub(RECENT_MINUTES), i64::MIN));
        for ((minute, _), row) in std::mem::replace(&mut self.recent, kept) {
            self.sum_up(minute, &row);
        }
        if self.knowledge != RowsKnown::Complete {
            return Vec::new();
        }
        let (first, mut closed) = (self.first(), BTreeMap::<u64, AllCounts>::new());
        for (minute, sum) in self.minutes.take_before(first) {
            add_all(closed.entry(minute / MINUTES_PER_QUARTER).or_default(), &sum.row().deployment());
        }
        self.restore_quarters(closed.iter().map(|(quarter, counts)| (*quarter, *counts)));
        self.forget_old();
        closed.into_iter().collect()
    }

    /// The counts that came since the last call, as ten seconds of the deployment. They are all that is new, unless
    /// [`DeploymentCounts::take_late`].
    pub fn take_slot(&mut self) -> AllCounts {
        std::mem::take(&mut self.slot).map(|counts| PartCounts::of_slot(counts.totals))
    }

    /// The counts of each run that came since the last call.
    pub fn take_run_slots(&mut self) -> BTreeMap<i64, AllCounts> {
        std::mem::take(&mut self.run_slots)
    }

    /// True exactly if rows of earlier minutes came since the last call: windows have to be filled again.
    pub fn take_late(&mut self) -> bool {
        std::mem::take(&mut self.is_late)
    }

    /// The minutes with events of the last three days, and their counts.
    pub fn minutes(&self) -> impl Iterator<Item = (u64, AllCounts)> + '_ {
        let mut recent: BTreeMap<u64, MinuteRow> = BTreeMap::new();
        for ((minute, _), row) in &self.recent {
            recent.entry(*minute).or_default().add(row);
        }
        // All of them are earlier than the recent ones.
        let earlier = self.minutes.iter().map(|(minute, sum)| (minute, sum.row()));
        earlier.chain(recent).map(|(minute, row)| (minute, row.deployment()))
    }

    /// The counts of these quarters of an hour, as far as they had events and are kept.
    pub fn quarters(&self, span: Range<u64>) -> QuarterRows {
        let mut quarters: QuarterRows =
            self.quarters.range(span.clone()).map(|(at, row)| (at, row.counts())).collect();
        for (minute, counts) in self.minutes() {
            let quarter = minute / MINUTES_PER_QUARTER;
            if span.contains(&quarter) {
                add_all(quarters.entry(quarter).or_default(), &counts);
            }
        }
        quarters
    }

    /// The counts of each part, in declaration order, from its quarter on, without the ones that exclusions keep out.
    pub fn sums(&self, from: &[u64; SloPart::ALL.len()], exclusions: &ExclusionList) -> AllCounts {
        let mut sums = AllCounts::default();
        let mut add = |quarter: u64, counts: &AllCounts| {
            let counts = exclusions.judged(quarter, counts);
            for ((sum, counts), from) in sums.iter_mut().zip(&counts).zip(from) {
                if quarter >= *from {
                    sum.add(counts);
                }
            }
        };
        self.quarters.iter().for_each(|(quarter, row)| add(quarter, &row.counts()));
        self.minutes().for_each(|(minute, counts)| add(minute / MINUTES_PER_QUARTER, &counts));
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::super::part::PartTotals;
    use super::*;
    use crate::random::Random;

    const START: u64 = 30_000_000;
    const DAY: u64 = 1_440;
    /// The longest usual period.
    const DAYS: u32 = 30;

    /// The rows of two runs over some minutes, each in three versions, with more in each.
    fn rows(minutes: u64) -> Vec<(i64, u64, MinuteRow)> {
        let mut rows = Vec::new();
        for minute in START..START + minutes {
            for run in [1, 2] {
                let mut row = MinuteRow::default();
                for slot in 0..3 {
                    let mut counts = AllCounts::default();
                    for part in [SloPart::Attempt, SloPart::Publish] {
                        let totals = PartTotals { good: 3, bad: minute % 2, excluded: 1 };
                        counts[part.index()] = PartCounts::of_slot(totals);
                    }
                    row.add_slot(slot, &counts);
                    rows.push((run, minute, row));
                }
            }
        }
        rows
    }

    fn read(rows: &[(i64, u64, MinuteRow)], now: u64) -> DeploymentCounts {
        let mut counts = DeploymentCounts::new(now, DAYS);
        rows.iter().for_each(|(run, minute, row)| counts.take(*run, *minute, row));
        counts
    }

    fn all(counts: &DeploymentCounts) -> [(u64, u64, u64); 2] {
        let sums = counts.sums(&[0; SloPart::ALL.len()], &ExclusionList::default());
        [SloPart::Attempt, SloPart::Publish].map(|part| {
            let PartCounts { totals, looks, .. } = sums[part.index()];
            (totals.good, totals.bad, looks)
        })
    }

    #[test]
    fn three_days_of_two_instances_replayed_twice_and_shuffled_count_once() {
        let random = &mut Random::seeded(20_261_128);
        let rows = rows(3 * DAY);
        let mut counts = DeploymentCounts::new(START, DAYS);
        counts.note_complete();
        // Each row comes up to half an hour late, three times, in any order.
        for hour in rows.chunks(30 * 2 * 3) {
            let now = hour.last().expect("rows").1;
            let mut replayed = [hour, hour, hour].concat();
            for at in (1..replayed.len()).rev() {
                replayed.swap(at, (random.u64() % (at as u64 + 1)) as usize);
            }
            counts.advance(now);
            replayed.iter().for_each(|(run, minute, row)| counts.take(*run, *minute, row));
        }
        assert!(counts.is_complete() && !counts.is_in_doubt(START + 3 * DAY));
        let minutes = 3 * DAY;
        // Both runs had the same three slots, so a minute has three looks.
        let expected = [(minutes * 18, minutes * 3, minutes * 3), (minutes * 18, minutes * 3, minutes * 6)];
        assert_eq!(all(&counts), expected);
        assert_eq!(counts.minutes().count() as u64, minutes, "no minute twice, and none is missing");

        // An instance that starts now reads the newest version of each, and has the same.
        let newest: Vec<_> = rows.chunks(3).map(|versions| versions[2]).collect();
        let mut other = read(&newest, START + minutes - 1);
        other.note_complete();
        assert_eq!(all(&other), expected);
        assert!(other.minutes().eq(counts.minutes()));
    }

    #[test]
    fn all_quarters_that_count_as_known_are_read_at_a_start() {
        for days in 1..=100 {
            let counts = DeploymentCounts::new(START, days);
            let read = first_quarter_read(START / MINUTES_PER_QUARTER, days);
            assert!(read <= counts.first_quarter(), "{days} days");
        }
    }

    #[test]
    fn memory_of_ten_instances_is_below_four_mebibytes() {
        let counts = DeploymentCounts::new(START, DAYS);
        let recent = 10 * RECENT_MINUTES as usize * size_of::<((u64, i64), MinuteRow)>();
        let bytes = counts.minutes.bytes() + counts.quarters.bytes() + 2 * recent;
        assert!(bytes < 4 << 20, "{bytes} bytes");
    }

    #[test]
    fn rows_of_now_are_a_slot_and_late_ones_are_not() {
        let mut counts = DeploymentCounts::new(START + 2, DAYS);
        counts.note_complete();
        assert!(counts.take_late(), "windows are empty at first");
        let rows = rows(3);
        let (good, bad) =
            (SloPart::Publish.index(), |slot: &AllCounts| slot[SloPart::Publish.index()].totals.bad);
        for (run, minute, row) in &rows[rows.len() - 3..] {
            counts.take(*run, *minute, row);
            let slot = counts.take_slot();
            assert_eq!((slot[good].totals.good, bad(&slot)), (3, minute % 2));
        }
        assert!(!counts.take_late());
        counts.advance(START + 6);
        let (run, minute, row) = rows[2];
        counts.take(run, minute, &row);
        assert!(counts.take_late());
        assert_eq!(counts.take_slot(), AllCounts::default());
        counts.advance(START + 6 + 61);
        counts.take(run, minute, &row);
        assert!(counts.is_in_doubt(START + 67), "it may have been counted");
        let mut counts = DeploymentCounts::new(START + 100, DAYS);
        counts.take(run, minute, &row);
        assert!(!counts.is_in_doubt(START + 100));
        counts.take(run, minute, &row);
        assert!(counts.is_in_doubt(START + 100), "it changed while all were read");
        let counts = DeploymentCounts::new(START + 100, DAYS);
        assert!(counts.is_in_doubt(START), "the clock was far ahead");
    }

    #[test]
    fn quarters_close_after_three_days_and_keep_their_counts() {
        let rows = rows(30);
        let mut counts = read(&rows, START);
        counts.note_complete();
        let before = all(&counts);
        assert_eq!(counts.advance(START + 30), []);
        let first = (START + 14) / MINUTES_PER_QUARTER;
        let closed = counts.advance(START + MINUTES_SHARED + 30);
        assert!(!closed.is_empty() && closed.iter().all(|(quarter, _)| *quarter <= first + 1), "{closed:?}");
        assert_eq!(all(&counts), before);
        let (run, minute, row) = rows[0];
        counts.take(run, minute, &row);
        assert_eq!(all(&counts), before, "its quarter is closed");
        // Another instance takes the closed quarters from the store, and no rows of them.
        let mut other = DeploymentCounts::new(START + MINUTES_SHARED + 30, DAYS);
        other.restore_quarters(closed);
        rows.iter().for_each(|(run, minute, row)| other.take(*run, *minute, row));
        other.note_complete();
        assert_eq!(all(&other), before);
        let eldest = START + u64::from(DAYS) * DAY;
        other.advance(eldest + MINUTES_PER_QUARTER);
        assert_eq!(all(&other), before);
        other.advance(eldest + 8 * MINUTES_PER_QUARTER);
        assert_eq!(all(&other), [(0, 0, 0); 2], "they are older than the longest period");
        other.restore_quarters([(first, AllCounts::default())]);
        assert_eq!(other.quarters(0..u64::MAX).len(), 0, "the store has them");
    }
}
