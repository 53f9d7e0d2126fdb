//! The history of an objective: its counts by week of the calendar of reports, as far back as weeks are kept.
//!
//! All events count, the ones of exclusions too. A week is the sum of its quarters of an hour, made while these are kept. Before the first
//! week of a time zone only days in UTC are known, so such a week is that of UTC.

use super::calendar::{IsoWeek, QUARTER_MS, QUARTERS_PER_DAY, QuarterSpan, ReportZone};
use super::objective::Objective;
use super::part::{PartTotals, SloPart};
use super::run_counts::{AllCounts, add_all};
use super::scoreboard::{PartCounts, weighed};
use super::weekly_rows::QuarterRows;
use serde::Serialize;
use std::collections::BTreeMap;

/// The weeks of 800 days.
pub const TREND_WEEKS_MAX: u16 = 114;
const DAYS_PER_WEEK: u64 = 7;
const MILLION: u128 = 1_000_000;

/// The counts of each day in UTC with events, by days since 1970.
pub type DayRows = BTreeMap<u64, AllCounts>;

/// The counts of each week with events, in a time zone.
pub type WeekSums = BTreeMap<IsoWeek, AllCounts>;

/// The rows of a history.
#[derive(Clone, Debug, Default)]
pub struct TrendRows {
    pub weeks: WeekSums,
    /// For the weeks before the first of these.
    pub days: DayRows,
}

/// The history of an objective.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ObjectiveTrend {
    pub name: &'static str,
    #[serde(flatten)]
    pub objective: Objective,
    /// The instance that made it.
    pub instance: String,
    pub timezone: String,
    /// The oldest first; a week without a row has no events.
    pub weeks: Vec<TrendWeek>,
}

/// A week of a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TrendWeek {
    pub week: IsoWeek,
    /// Its begin, in Unix milliseconds.
    pub from: u64,
    /// False for the week that is not over.
    pub complete: bool,
    /// True: a week of UTC, because none of the time zone is kept that old.
    pub utc: bool,
    pub parts: Vec<TrendPart>,
}

/// The counts of a part in a week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TrendPart {
    pub part: SloPart,
    pub good: u64,
    pub bad: u64,
    pub excluded: u64,
    /// The share of good events, in parts per million; `None` without events.
    pub good_ppm: Option<u32>,
    /// The bad events in parts per million of the ones that the objective allows in this week; `None` if it allows none.
    pub used_ppm: Option<u64>,
}

/// The sums of quarters of an hour by day.
pub fn days_of(quarters: &QuarterRows) -> DayRows {
    let mut days = DayRows::new();
    for (quarter, counts) in quarters {
        add_all(days.entry(quarter / QUARTERS_PER_DAY).or_default(), counts);
    }
    days
}

/// The sums of quarters of an hour by week.
pub fn weeks_of(quarters: &QuarterRows, zone: &ReportZone) -> WeekSums {
    let mut weeks = WeekSums::new();
    let mut current: Option<(IsoWeek, QuarterSpan)> = None;
    for (quarter, counts) in quarters {
        if current.is_none_or(|(_, span)| !(span.from..span.until).contains(quarter)) {
            let week = zone.week_of(quarter * QUARTER_MS);
            current = week.and_then(|week| Some((week, zone.week(week)?)));
        }
        if let Some((week, _)) = current {
            add_all(weeks.entry(week).or_default(), counts);
        }
    }
    weeks
}

/// Makes the history of the last `weeks` weeks, this one included; `None` if the time is out of the calendar.
pub fn objective_trend(
    (name, objective): (&'static str, Objective),
    rows: &TrendRows,
    zone: &ReportZone,
    instance: &str,
    weeks: u16,
    now_ms: u64,
) -> Option<ObjectiveTrend> {
    let this = zone.week_of(now_ms)?;
    let first = rows.weeks.keys().next();
    let week = |back: u16| {
        let week = this.before(back)?;
        let of_days = || week_of_days(week, &rows.days).filter(|_| first.is_none_or(|first| week < *first));
        let (counts, is_utc) = match (rows.weeks.get(&week), of_days()) {
            (Some(counts), _) => (*counts, false),
            (None, Some(counts)) => (counts, *zone != ReportZone::default()),
            (None, None) => (AllCounts::default(), false),
        };
        let span = if is_utc { ReportZone::default().week(week)? } else { zone.week(week)? };
        let parts = SloPart::ALL.into_iter().zip(counts).filter(|(part, _)| part.objective() == name);
        let parts = parts.map(|(part, counts)| part_of(part, &counts, &objective)).collect();
        Some(TrendWeek { week, from: span.from_ms(), complete: back > 0, utc: is_utc, parts })
    };
    let weeks = (0..weeks.min(TREND_WEEKS_MAX)).rev().filter_map(week).collect();
    let timezone = zone.name().to_owned();
    Some(ObjectiveTrend { name, objective, instance: instance.to_owned(), timezone, weeks })
}

/// The sum of the days of a week in UTC; `None` without a row.
fn week_of_days(week: IsoWeek, days: &DayRows) -> Option<AllCounts> {
    let first = ReportZone::default().week(week)?.from / QUARTERS_PER_DAY;
    let mut of_week = days.range(first..first + DAYS_PER_WEEK).peekable();
    of_week.peek()?;
    let mut counts = AllCounts::default();
    of_week.for_each(|(_, day)| add_all(&mut counts, day));
    Some(counts)
}

fn part_of(part: SloPart, counts: &PartCounts, objective: &Objective) -> TrendPart {
    let PartTotals { good, bad, excluded } = counts.totals;
    let (bad_units, valid) = weighed(part.counting(), counts);
    let share = (bad_units * MILLION).checked_div(valid);
    let used = (bad_units * MILLION * MILLION).checked_div(valid * u128::from(objective.allowed_ppm));
    TrendPart {
        part,
        good,
        bad,
        excluded,
        good_ppm: share.map(|bad| 1_000_000_u32.saturating_sub(u32::try_from(bad).unwrap_or(u32::MAX))),
        used_ppm: used.map(|used| u64::try_from(used).unwrap_or(u64::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slo::objective::USUAL;

    const DAY_MS: u64 = QUARTERS_PER_DAY * QUARTER_MS;
    /// Monday, 23 November 2026.
    const MONDAY: u64 = 20_780;

    fn day(good: u64, bad: u64) -> AllCounts {
        let mut all = AllCounts::default();
        all[SloPart::Publish.index()] = PartCounts::of_slot(PartTotals { good, bad, excluded: 1 });
        all
    }

    fn of_days(days: DayRows) -> TrendRows {
        TrendRows { days, ..TrendRows::default() }
    }

    #[test]
    fn week_is_the_sum_of_its_quarters_in_its_zone_and_before_the_first_one_of_its_days() {
        let zone = ReportZone::parse("Europe/Berlin").expect("a zone");
        // Monday, 00:00 in Berlin is the last hour of Sunday in UTC.
        let monday = MONDAY * QUARTERS_PER_DAY - 4;
        let quarters =
            QuarterRows::from([(monday - 1, day(10, 1)), (monday, day(20, 2)), (monday + 9, day(30, 3))]);
        let weeks = weeks_of(&quarters, &zone);
        let days = DayRows::from([(MONDAY - 9, day(7, 7)), (MONDAY - 3, day(99, 99))]);
        let now_ms = (MONDAY + 2) * DAY_MS;
        let trend = objective_trend(USUAL[1], &TrendRows { weeks, days }, &zone, "gw-1", 4, now_ms);
        let trend = trend.expect("a history");
        let of = |week: &TrendWeek| {
            let part = week.parts.iter().find(|part| part.part == SloPart::Publish).expect("a part");
            (week.week.to_string(), part.good, part.bad, week.utc)
        };
        assert_eq!(
            trend.weeks.iter().map(of).collect::<Vec<_>>(),
            [
                ("2026-W45".to_owned(), 0, 0, false),
                ("2026-W46".to_owned(), 7, 7, true),
                ("2026-W47".to_owned(), 10, 1, false),
                ("2026-W48".to_owned(), 50, 5, false),
            ]
        );
        assert_eq!((&*trend.timezone, trend.weeks[3].from), ("Europe/Berlin", monday * QUARTER_MS));
    }

    #[test]
    fn week_is_the_sum_of_its_days_and_days_of_no_week_shown_are_left_out() {
        let days = DayRows::from([
            (MONDAY - 8, day(9, 9)),
            (MONDAY - 7, day(900, 0)),
            (MONDAY - 1, day(99, 1)),
            (MONDAY, day(1_998, 2)),
        ]);
        let now_ms = (MONDAY + 2) * DAY_MS;
        let trend = objective_trend(USUAL[1], &of_days(days), &ReportZone::default(), "gw-1", 2, now_ms)
            .expect("a history");
        let of = |week: &TrendWeek| {
            let part = week.parts.iter().find(|part| part.part == SloPart::Publish).expect("a part");
            (
                week.week.to_string(),
                week.complete,
                part.good,
                part.bad,
                part.excluded,
                part.good_ppm,
                part.used_ppm,
            )
        };
        let weeks: Vec<_> = trend.weeks.iter().map(of).collect();
        assert_eq!(
            weeks,
            [
                ("2026-W47".to_owned(), true, 999, 1, 2, Some(999_000), Some(1_000_000)),
                ("2026-W48".to_owned(), false, 1_998, 2, 1, Some(999_000), Some(1_000_000)),
            ]
        );
        let parts: Vec<SloPart> = trend.weeks[0].parts.iter().map(|part| part.part).collect();
        assert!(parts.contains(&SloPart::DeliveryFanout) && !parts.contains(&SloPart::Attempt));
        assert_eq!(trend.weeks[0].parts[1].good_ppm, None, "no event of this part");
    }

    #[test]
    fn history_is_bounded() {
        let (rows, utc) = (TrendRows::default(), ReportZone::default());
        let trend = objective_trend(USUAL[1], &rows, &utc, "gw-1", u16::MAX, MONDAY * DAY_MS);
        assert_eq!(trend.expect("a history").weeks.len(), usize::from(TREND_WEEKS_MAX));
    }
}
