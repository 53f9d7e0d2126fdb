//! The rows that a weekly report is made of: counts by quarter of an hour, runs, outages and notices.

use super::calendar::QuarterSpan;
use super::exclusion::ExclusionList;
use super::run_counts::{AllCounts, add_all};
use serde::Serialize;
use std::collections::BTreeMap;

/// The counts of each quarter of an hour with events, of all runs.
pub type QuarterRows = BTreeMap<u64, AllCounts>;

/// The time that one process ran, in Unix milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunSpan {
    pub began_ms: u64,
    /// The last time at which it counted.
    pub last_ms: u64,
    pub ending: RunEnding,
}

/// The end of a run, as far as its rows tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunEnding {
    /// It was asked to end, and did.
    Stopped,
    /// It ended without a word, or still runs.
    Killed,
}

/// An outage of a dependency, in Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutageSpan {
    pub dependency: String,
    pub reference: Option<String>,
    pub from_ms: u64,
    pub until_ms: u64,
}

/// The notices of a week.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NoticeTally {
    /// Begins of critical incidents, of warnings and of tests that channels accepted.
    pub critical: u64,
    pub warning: u64,
    pub test: u64,
    /// Notices that were given up.
    pub dead: u64,
    /// Incidents that ended within ten minutes, and that no operator acknowledged.
    pub brief: u64,
    /// The alert with most accepted begins, and their number.
    pub noisiest: Option<(String, u64)>,
}

/// All rows of a report.
#[derive(Clone, Debug, Default)]
pub struct WeekRows {
    pub quarters: QuarterRows,
    /// In the order of their begins.
    pub runs: Vec<RunSpan>,
    pub outages: Vec<OutageSpan>,
    pub notices: NoticeTally,
    pub exclusions: ExclusionList,
}

/// Time without a run, in Unix milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RunGap {
    pub from: u64,
    pub until: u64,
    /// The end of the run before it.
    pub after: RunEnding,
}

/// A shorter time between two runs is no gap, in milliseconds: a run counts every ten seconds.
const GAP_MS_MIN: u64 = 10_000;

/// The sums of these quarters.
pub fn sum_of(quarters: &QuarterRows, span: QuarterSpan) -> AllCounts {
    let mut sums = AllCounts::default();
    quarters.range(span.from..span.until).for_each(|(_, counts)| add_all(&mut sums, counts));
    sums
}

impl WeekRows {
    /// The counts of the quarters without the ones that exclusions keep out.
    pub fn judged(&self) -> QuarterRows {
        let judged =
            |(quarter, counts): (&u64, &AllCounts)| (*quarter, self.exclusions.judged(*quarter, counts));
        self.quarters.iter().map(judged).collect()
    }

    /// The times without a run from the first one on, between these times.
    pub fn gaps(&self, from_ms: u64, until_ms: u64) -> Vec<RunGap> {
        let mut gaps = Vec::new();
        let mut covered: Option<(u64, RunEnding)> = None;
        let mut add = |from: u64, until: u64, after| {
            let (from, until) = (from.max(from_ms), until.min(until_ms));
            if until >= from.saturating_add(GAP_MS_MIN) {
                gaps.push(RunGap { from, until, after });
            }
        };
        for run in &self.runs {
            match covered {
                Some((until, after)) if run.began_ms > until => add(until, run.began_ms, after),
                Some(_) | None => {}
            }
            if covered.is_none_or(|(until, _)| run.last_ms >= until) {
                covered = Some((run.last_ms, run.ending));
            }
        }
        if let Some((until, after)) = covered {
            add(until, until_ms, after);
        }
        gaps
    }

    /// The share of the known time between these times in which a process ran, in parts per million; `None` if none ran yet.
    pub fn measured_ppm(&self, from_ms: u64, until_ms: u64) -> Option<u32> {
        let first_ms = self.runs.iter().map(|run| run.began_ms).min()?;
        let known_ms = until_ms.checked_sub(first_ms.max(from_ms)).filter(|known| *known > 0)?;
        let missing: u64 = self.gaps(from_ms, until_ms).iter().map(|gap| gap.until - gap.from).sum();
        let share = u128::from(known_ms.saturating_sub(missing)) * 1_000_000 / u128::from(known_ms);
        Some(u32::try_from(share).unwrap_or(1_000_000))
    }

    /// The outage that overlaps most with a quarter of an hour. Its bad events may be counted up to `late_ms` after it.
    pub fn outage_in(&self, quarter: u64, late_ms: u64) -> Option<&OutageSpan> {
        let span = QuarterSpan { from: quarter, until: quarter + 1 };
        let overlap = |outage: &OutageSpan| {
            let until = outage.until_ms.saturating_add(late_ms).min(span.until_ms());
            until.saturating_sub(outage.from_ms.max(span.from_ms()))
        };
        let outages = self.outages.iter().rev().filter(|outage| overlap(outage) > 0);
        outages.max_by_key(|outage| overlap(outage))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(began_ms: u64, last_ms: u64, ending: RunEnding) -> RunSpan {
        RunSpan { began_ms, last_ms, ending }
    }

    #[test]
    fn time_between_runs_is_a_gap_and_overlapping_runs_have_none() {
        let runs = vec![
            run(100_000, 200_000, RunEnding::Killed),
            run(150_000, 170_000, RunEnding::Stopped),
            run(205_000, 300_000, RunEnding::Stopped),
            run(340_000, 400_000, RunEnding::Killed),
        ];
        let rows = WeekRows { runs, ..WeekRows::default() };
        let stopped = RunGap { from: 300_000, until: 340_000, after: RunEnding::Stopped };
        let killed = RunGap { from: 400_000, until: 500_000, after: RunEnding::Killed };
        assert_eq!(rows.gaps(0, 500_000), [stopped, killed], "five seconds are none");
        assert_eq!(rows.gaps(320_000, 405_000), [RunGap { from: 320_000, ..stopped }]);
        assert_eq!(rows.measured_ppm(0, 500_000), Some(650_000), "of the time since the first run");
        assert_eq!(rows.measured_ppm(0, 100_000), None);
        assert_eq!(WeekRows::default().gaps(0, 500_000), []);
    }

    #[test]
    fn bad_events_belong_to_the_longest_outage_of_their_quarter() {
        let outage = |dependency: &str, from_ms, until_ms| OutageSpan {
            dependency: dependency.into(),
            reference: None,
            from_ms,
            until_ms,
        };
        let rows = WeekRows {
            outages: vec![outage("store", 0, 890_000), outage("bus", 880_000, 1_000_000)],
            ..WeekRows::default()
        };
        let name = |quarter, late_ms| rows.outage_in(quarter, late_ms).map(|outage| &*outage.dependency);
        assert_eq!([name(0, 0), name(1, 0), name(2, 0)], [Some("store"), Some("bus"), None]);
        assert_eq!(name(2, 800_001), Some("bus"), "it is counted late");
    }
}
