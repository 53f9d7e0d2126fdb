//! The report of one week: how well each objective was kept, and what spent its budget.
//!
//! All figures are sums of rows of quarters of an hour, without the ones that exclusions keep out. A quarter belongs to the week and the day of the calendar in which it is,
//! and nothing is rounded before the last step, so the rows alone give the same figures.

use super::budget_exclusion::BudgetExclusion;
use super::calendar::{CalendarDay, IsoWeek, QuarterSpan, ReportZone, day_label};
use super::guard::Guard;
use super::objective::Objective;
use super::part::{PartTotals, SloPart};
use super::run_counts::AllCounts;
use super::scoreboard::{PartCounts, weighed};
use super::weekly_rows::{NoticeTally, QuarterRows, RunGap, WeekRows, sum_of};
use serde::Serialize;

/// The weeks whose ratios a report has: its own, and the ones before.
pub const WEEKS_SHOWN: u16 = 12;
/// The weeks before whose median a week is compared with.
const WEEKS_COMPARED: usize = 8;
/// Causes of an objective, and gaps, that are listed; the others are a sum.
const LISTED_MAX: usize = 5;
/// A message counts as bad 30 seconds after its first failure, and a slot has ten, in milliseconds.
const LATE_MS: u64 = 40_000;
/// The name of the causes that are not listed.
const OTHERS: &str = "others";
/// A smaller difference that exclusions make is not shown, in parts per million.
const SHOWN_PPM_MIN: u64 = 100;
const MILLION: u128 = 1_000_000;
const DAYS_PER_WEEK: u32 = 7;

/// A week to report.
#[derive(Clone, Copy, Debug)]
pub struct WeekRequest<'a> {
    pub week: IsoWeek,
    pub zone: &'a ReportZone,
    pub now_ms: u64,
    pub deployment: &'a str,
    pub instance: &'a str,
    /// The instances whose events are counted.
    pub instances: usize,
    pub objectives: &'a [(&'static str, Objective)],
}

/// The report of a week.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WeeklyReport {
    pub deployment: String,
    /// The instance that made it.
    pub instance: String,
    /// The instances whose events are counted.
    pub instances: usize,
    pub week: IsoWeek,
    pub timezone: String,
    /// Unix milliseconds. A week that is not over ends now.
    pub from: u64,
    pub until: u64,
    pub complete: bool,
    /// The share of the known time in which a gateway ran, in parts per million; `None` if none ran.
    pub measured_ppm: Option<u32>,
    pub objectives: Vec<ObjectiveWeek>,
    /// The longest times without a gateway, and the sum of all in milliseconds.
    pub gaps: Vec<RunGap>,
    pub gaps_ms: u64,
    pub notices: NoticeTally,
    /// The times of the week whose events do not count.
    pub exclusions: Vec<BudgetExclusion>,
}

/// The result of an objective in a week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WeekVerdict {
    NoEvents,
    Kept,
    Missed,
}

/// An objective in a week.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ObjectiveWeek {
    pub name: &'static str,
    #[serde(flatten)]
    pub objective: Objective,
    /// Of its worst part.
    #[serde(flatten)]
    pub figures: WeekFigures,
    /// With the events of exclusions, if that is another result.
    pub with_excluded: Option<WithExcluded>,
    pub causes: Vec<CauseShare>,
    /// The shares of good events of the last weeks, this one last, in parts per million; `None` without events.
    pub weeks_ppm: Vec<Option<u32>>,
    /// More than twice the bad events of the weeks before, and more than chance explains.
    pub worse: bool,
    /// With the events of exclusions.
    pub parts: Vec<PartWeek>,
}

/// The figures of a part with the events that exclusions keep out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct WithExcluded {
    pub good_ppm: Option<u32>,
    pub used_ppm: Option<u64>,
}

/// The figures of the worst part of an objective in a week.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WeekFigures {
    pub part: SloPart,
    pub verdict: WeekVerdict,
    /// The share of good events, in parts per million; `None` without events.
    pub good_ppm: Option<u32>,
    /// The share of the budget that the week has spent, in parts per million: that of a period, or of a week if that is longer.
    pub used_ppm: Option<u64>,
    /// The budget that is left of the period that ends with the week, in parts per million.
    pub left_ppm: Option<i64>,
    /// The day with the greatest share of bad events, if there were any.
    pub worst_day: Option<DayShare>,
}

/// The share of good events of a day, in parts per million.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DayShare {
    /// As in `2026-11-24`.
    pub date: String,
    pub good_ppm: u32,
    #[serde(skip)]
    pub label: String,
}

/// A cause of bad events, with its share of the budget of a week.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CauseShare {
    /// The dependency that was down; `None` if none was.
    pub dependency: Option<String>,
    pub reference: Option<String>,
    /// The first and the last quarter of an hour with its bad events, in Unix milliseconds.
    pub from: u64,
    pub until: u64,
    /// Bad events, in the unit of the part.
    pub bad: u64,
    /// The share of the budget, in parts per million.
    pub used_ppm: u64,
}

/// The counts of a part in a week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PartWeek {
    pub part: SloPart,
    pub unit: &'static str,
    /// Events; milliseconds in the part `session`.
    pub good: u64,
    pub bad: u64,
    pub excluded: u64,
    /// Slots of ten seconds with an event, and the sum of the shares of bad events of these slots in parts per million.
    pub looks: u64,
    pub bad_looks_ppm: u64,
}

/// The quarters whose rows a report of this week needs.
pub fn needed(week: IsoWeek, zone: &ReportZone, period_days_max: u32) -> Option<QuarterSpan> {
    let shown = u32::from(WEEKS_SHOWN) * DAYS_PER_WEEK;
    zone.days_until_end(week, i64::from(period_days_max.max(shown)))
}

/// Makes the report of a week; `None` if the calendar has no such week.
pub fn weekly_report(request: &WeekRequest<'_>, rows: &WeekRows) -> Option<WeeklyReport> {
    let WeekRequest { week, zone, now_ms, .. } = *request;
    let span = zone.week(week)?;
    let (from, until) = (span.from_ms(), span.until_ms().min(now_ms.max(span.from_ms())));
    let days = zone.days(week);
    let judged = rows.judged();
    let maker = WeekMaker { request, rows, judged: &judged, span, days: &days };
    let objectives = request.objectives.iter();
    let mut gaps = rows.gaps(from, until);
    let gaps_ms = gaps.iter().map(|gap| gap.until - gap.from).sum();
    gaps.sort_by_key(|gap| std::cmp::Reverse(gap.until - gap.from));
    gaps.truncate(LISTED_MAX);
    Some(WeeklyReport {
        deployment: request.deployment.to_owned(),
        instance: request.instance.to_owned(),
        instances: request.instances,
        week,
        timezone: zone.name().to_owned(),
        from,
        until,
        complete: now_ms >= span.until_ms(),
        measured_ppm: rows.measured_ppm(from, until),
        objectives: objectives.filter_map(|(name, objective)| maker.objective(name, objective)).collect(),
        gaps,
        gaps_ms,
        notices: rows.notices.clone(),
        exclusions: rows.exclusions.between(span.from_ms(), span.until_ms()),
    })
}

/// The sources of all objectives of a report.
struct WeekMaker<'a> {
    request: &'a WeekRequest<'a>,
    rows: &'a WeekRows,
    /// Without the events that exclusions keep out.
    judged: &'a QuarterRows,
    span: QuarterSpan,
    days: &'a [CalendarDay],
}

/// Bad and valid units of a part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct BadOf {
    bad: u128,
    valid: u128,
}

impl BadOf {
    fn of(part: SloPart, counts: &AllCounts) -> BadOf {
        let counts = counts.get(part.index()).copied().unwrap_or_default();
        let (bad, valid) = weighed(part.counting(), &counts);
        BadOf { bad, valid }
    }

    fn good_ppm(self) -> Option<u32> {
        let bad = (self.bad * MILLION).checked_div(self.valid)?;
        Some(1_000_000 - u32::try_from(bad).unwrap_or(1_000_000).min(1_000_000))
    }

    fn is_missed(self, objective: &Objective) -> bool {
        self.bad * MILLION > self.valid * u128::from(objective.allowed_ppm)
    }
}

impl WeekMaker<'_> {
    fn objective(&self, name: &'static str, objective: &Objective) -> Option<ObjectiveWeek> {
        let parts: Vec<SloPart> = SloPart::ALL.into_iter().filter(|part| part.objective() == name).collect();
        let counts = sum_of(self.judged, self.span);
        let all = sum_of(&self.rows.quarters, self.span);
        let figures = parts.iter().filter_map(|part| self.figures(*part, objective, &counts));
        let figures =
            figures.min_by_key(|it| (std::cmp::Reverse(it.verdict), it.left_ppm.unwrap_or(i64::MAX)))?;
        let weeks = self.weeks(figures.part);
        let part_week = |part: SloPart| {
            let PartCounts { totals, looks, bad_looks_ppm } =
                all.get(part.index()).copied().unwrap_or_default();
            let PartTotals { good, bad, excluded } = totals;
            PartWeek { part, unit: part.unit(), good, bad, excluded, looks, bad_looks_ppm }
        };
        Some(ObjectiveWeek {
            name,
            objective: *objective,
            with_excluded: with_excluded(&figures, objective, &all),
            causes: self.causes(figures.part, objective, &counts),
            worse: is_worse(figures.part, &counts, &weeks),
            weeks_ppm: weeks.iter().map(|week| week.good_ppm()).collect(),
            figures,
            parts: parts.into_iter().map(part_week).collect(),
        })
    }

    fn figures(&self, part: SloPart, objective: &Objective, counts: &AllCounts) -> Option<WeekFigures> {
        let WeekRequest { week, zone, .. } = *self.request;
        let sum = BadOf::of(part, counts);
        let period = zone.days_until_end(week, i64::from(objective.period_days))?;
        let of_period = BadOf::of(part, &sum_of(self.judged, period));
        let days: Vec<(&CalendarDay, BadOf)> =
            self.days.iter().map(|day| (day, BadOf::of(part, &sum_of(self.judged, day.span)))).collect();
        // An objective with a shorter period must be kept on each day.
        let is_missed = match objective.period_days < DAYS_PER_WEEK {
            true => days.iter().any(|(_, of_day)| of_day.is_missed(objective)),
            false => of_period.is_missed(objective),
        };
        let verdict = match (sum.valid, is_missed) {
            (0, false) => WeekVerdict::NoEvents,
            (_, false) => WeekVerdict::Kept,
            (_, true) => WeekVerdict::Missed,
        };
        let allowed = u128::from(objective.allowed_ppm);
        let left = (of_period.bad * MILLION * MILLION).checked_div(of_period.valid * allowed);
        let shares = days.iter().filter_map(|(day, of_day)| Some((of_day.good_ppm()?, *day)));
        let worst =
            shares.min_by_key(|(good_ppm, _)| *good_ppm).filter(|(good_ppm, _)| *good_ppm < 1_000_000);
        Some(WeekFigures {
            part,
            verdict,
            good_ppm: sum.good_ppm(),
            used_ppm: used_ppm(sum.bad, sum.valid, objective),
            left_ppm: left.map(|used| 1_000_000_i64.saturating_sub(i64::try_from(used).unwrap_or(i64::MAX))),
            worst_day: worst.map(|(good_ppm, day)| DayShare {
                date: day.date.to_string(),
                good_ppm,
                label: day_label(day.date),
            }),
        })
    }

    /// The last weeks, this one last.
    fn weeks(&self, part: SloPart) -> Vec<BadOf> {
        let WeekRequest { week, zone, .. } = *self.request;
        let of = |back: u16| {
            let span = zone.week(week.before(back)?)?;
            Some(BadOf::of(part, &sum_of(self.judged, span)))
        };
        (0..WEEKS_SHOWN).rev().map(|back| of(back).unwrap_or_default()).collect()
    }

    /// The outages that spent the budget, the greatest share first, then what belongs to none.
    fn causes(&self, part: SloPart, objective: &Objective, counts: &AllCounts) -> Vec<CauseShare> {
        let mut causes: Vec<(CauseShare, u128)> = Vec::new();
        for (quarter, counts) in self.judged.range(self.span.from..self.span.until) {
            let bad = BadOf::of(part, counts).bad;
            if bad == 0 {
                continue;
            }
            let outage = self.rows.outage_in(*quarter, LATE_MS);
            let (dependency, reference) = match outage {
                Some(outage) => (Some(outage.dependency.clone()), outage.reference.clone()),
                None => (None, None),
            };
            let at = QuarterSpan { from: *quarter, until: quarter + 1 };
            let known = causes
                .iter_mut()
                .find(|(cause, _)| (&cause.dependency, &cause.reference) == (&dependency, &reference));
            match known {
                Some((cause, sum)) => (cause.until, *sum) = (at.until_ms(), *sum + bad),
                None => {
                    let (from, until) = (at.from_ms(), at.until_ms());
                    causes
                        .push((CauseShare { dependency, reference, from, until, bad: 0, used_ppm: 0 }, bad));
                }
            }
        }
        causes.sort_by_key(|(cause, bad)| (cause.dependency.is_none(), std::cmp::Reverse(*bad)));
        let named = causes.iter().filter(|(cause, _)| cause.dependency.is_some()).count();
        if named > LISTED_MAX {
            let others: u128 = causes.drain(LISTED_MAX..named).map(|(_, bad)| bad).sum();
            let cause = CauseShare {
                dependency: Some(OTHERS.into()),
                reference: None,
                from: self.span.from_ms(),
                until: self.span.until_ms(),
                bad: 0,
                used_ppm: 0,
            };
            causes.insert(LISTED_MAX, (cause, others));
        }
        let valid = BadOf::of(part, counts).valid;
        let sized = causes.into_iter().map(|(cause, bad)| CauseShare {
            bad: u64::try_from(bad / part.weight()).unwrap_or(u64::MAX),
            used_ppm: used_ppm(bad, valid, objective).unwrap_or(0),
            ..cause
        });
        sized.collect()
    }
}

/// The figures of the same part with all events; `None` if they differ by too little.
fn with_excluded(figures: &WeekFigures, objective: &Objective, all: &AllCounts) -> Option<WithExcluded> {
    let BadOf { bad, valid } = BadOf::of(figures.part, all);
    let with =
        WithExcluded { good_ppm: BadOf { bad, valid }.good_ppm(), used_ppm: used_ppm(bad, valid, objective) };
    let is_shown = |one: Option<u64>, other: Option<u64>| match (one, other) {
        (Some(one), Some(other)) => one.abs_diff(other) >= SHOWN_PPM_MIN,
        (one, other) => one.is_some() != other.is_some(),
    };
    let differs = is_shown(figures.used_ppm, with.used_ppm)
        || is_shown(figures.good_ppm.map(u64::from), with.good_ppm.map(u64::from));
    differs.then_some(with)
}

/// The share of the budget of a period, or of a week if that is longer, that these bad events are.
fn used_ppm(bad: u128, valid: u128, objective: &Objective) -> Option<u64> {
    let days = u128::from(objective.period_days.max(DAYS_PER_WEEK));
    let allowed = valid * u128::from(objective.allowed_ppm) * days;
    let used = (bad * MILLION * MILLION * u128::from(DAYS_PER_WEEK)).checked_div(allowed)?;
    Some(u64::try_from(used).unwrap_or(u64::MAX))
}

/// True exactly if the last week has more than twice the share of bad events that the weeks before had in the middle, and more than
/// chance explains.
fn is_worse(part: SloPart, counts: &AllCounts, weeks: &[BadOf]) -> bool {
    let Some((last, before)) = weeks.split_last() else { return false };
    let share = |week: &BadOf| (week.bad * MILLION).checked_div(week.valid);
    let mut shares: Vec<u128> = before.iter().rev().take(WEEKS_COMPARED).filter_map(share).collect();
    shares.sort_unstable();
    let middle = shares.get(shares.len() / 2).copied();
    let (Some(middle), Some(now)) = (middle, share(last)) else { return false };
    let PartTotals { good, bad, .. } = counts.get(part.index()).copied().unwrap_or_default().totals;
    let one = part.judged_as_one();
    let expected_ppm = u32::try_from(middle).unwrap_or(u32::MAX);
    now > 2 * middle && Guard::Long.passes(bad / one, (good + bad) / one, expected_ppm)
}

#[cfg(test)]
mod tests;
