//! Histories of objectives by week, and the weeks that the shared store keeps for them.

use super::questions::{QuestionStep, unreadable};
use super::report_rows::{days, sum_days};
use super::shared_state::StoreAsker;
use super::waiting::unread;
use super::week_rows::{sum_weeks, weeks, whole_week_from};
use super::{Keeper, MINUTE_MS};
use crate::clock::Now;
use crate::job::shared_questions::{ClosedWeek, PastRows, PastSpan, StoreAnswer, StoreQuestion};
use crate::job::slo::{SloAnswer, SloProblem};
use crate::slo::Objective;
use crate::slo::calendar::{IsoWeek, QUARTER_MS, QuarterSpan};
use crate::slo::deployment::QUARTERS_SHARED;
use crate::slo::run_counts::{AllCounts, MINUTES_PER_QUARTER};
use crate::slo::trend::{TrendRows, WeekSums, objective_trend, weeks_of};

/// Rows may be added to quarters of this time ago, in milliseconds.
const OPEN_MS: u64 = 4 * 86_400_000;

impl<C: Fn() -> Now> Keeper<C> {
    /// The history of an objective, up to the last row.
    pub(super) fn history_step(&mut self, name: &str, weeks: u16) -> Result<QuestionStep, SloProblem> {
        self.objective(name)?;
        match self.kept_rows()? {
            Some(span) => Ok(QuestionStep::Ask(StoreQuestion::Past(span))),
            None => self.history_of(name, weeks, None).map(Ok).map(QuestionStep::Answer),
        }
    }

    fn objective(&self, name: &str) -> Result<(&'static str, Objective), SloProblem> {
        let objectives = &self.reports.objectives;
        objectives.iter().find(|(known, _)| *known == name).copied().ok_or_else(|| {
            let known: Vec<&str> = objectives.iter().map(|(known, _)| *known).collect();
            SloProblem::Unknown(format!("there is no objective {name:?}; there are: {}", known.join(", ")))
        })
    }

    /// The quarters that the shared store keeps until its answer, by its clock.
    fn kept_span(&self) -> QuarterSpan {
        let quarter = self.minute((self.clock)()) / MINUTES_PER_QUARTER;
        QuarterSpan { from: quarter.saturating_sub(QUARTERS_SHARED) + 2, until: quarter + 1 }
    }

    /// The rows of a history that are not in memory; `None` if this is the only instance.
    fn kept_rows(&self) -> Result<Option<PastSpan>, SloProblem> {
        let Some(deployment) = self.rows_of_all()? else { return Ok(None) };
        let quarters = deployment.unknown_quarters(self.kept_span());
        Ok(Some(PastSpan { quarters, week_ms: None, zone: Some(self.reports.zone.name().to_owned()) }))
    }

    /// `past`: the rows of all instances; `None` if this is the only one.
    pub(super) fn history_of(&mut self, name: &str, count: u16, past: Option<PastRows>) -> SloAnswer {
        if past.is_some() && self.shared().is_none() {
            return Err(unread());
        }
        let objective = self.objective(name)?;
        let now_ms = (self.clock)().unix_ms;
        let rows = match past {
            Some(past) => TrendRows { weeks: self.weeks_of_all(past), ..TrendRows::default() },
            None => self.weeks_of_file(now_ms / QUARTER_MS)?,
        };
        let zone = &self.reports.zone;
        let history = objective_trend(objective, &rows, zone, &self.instance, count, now_ms);
        let text = history.and_then(|history| serde_json::to_string(&history).ok());
        text.map_or_else(|| Err(unreadable()), |text| Ok(text + "\n"))
    }

    fn weeks_of_file(&mut self, quarter: u64) -> Result<TrendRows, SloProblem> {
        let (zone, database) = (&self.reports.zone, self.database.as_mut().ok_or_else(unreadable)?);
        let connection = database.connection();
        let rows = sum_days(connection, quarter)
            .and_then(|()| sum_weeks(connection, zone, quarter))
            .and_then(|()| Ok(TrendRows { weeks: weeks(connection, zone)?, days: days(connection, 0)? }));
        rows.map_err(|_| unreadable())
    }

    /// The weeks of all instances: closed ones, which are final, and those of which all quarters are kept. The part of a week is none.
    fn weeks_of_all(&self, past: PastRows) -> WeekSums {
        let PastRows { quarters, weeks, .. } = past;
        let closed = weeks.iter().filter_map(|week| Some((IsoWeek::parse(&week.week)?, week.counts)));
        let mut sums: WeekSums = closed.collect();
        for (week, is_whole, counts) in self.kept_weeks(quarters) {
            if is_whole {
                sums.entry(week).or_insert(counts);
            }
        }
        sums
    }

    /// The weeks with quarters that are kept. True: all of its quarters are.
    fn kept_weeks(&self, stored: Vec<(u64, AllCounts)>) -> Vec<(IsoWeek, bool, AllCounts)> {
        let Some(deployment) = self.shared() else { return Vec::new() };
        let (zone, span) = (&self.reports.zone, self.kept_span());
        let whole = whole_week_from(zone, span.from);
        let is_whole = |week| zone.week(week).is_some_and(|span| span.from >= whole);
        let weeks = weeks_of(&deployment.quarters(span, stored), zone);
        weeks.into_iter().map(|(week, counts)| (week, is_whole(week), counts)).collect()
    }

    /// Lets the store keep the weeks that no row can change any more, for histories of more than a hundred days: once a week, if this
    /// instance leads.
    pub(super) fn close_weeks(&mut self, now: Now) {
        // A closed week is final, and the clock of this machine may be wrong.
        let store_ms = self.minute(now) * MINUTE_MS;
        let quarter = store_ms / QUARTER_MS;
        if self.weeks.tried == quarter || self.asked.waiting.is_some() || !self.alerts.sends() {
            return;
        }
        let Ok(Some(span)) = self.kept_rows() else { return };
        self.weeks.tried = quarter;
        let last = self.reports.zone.week_of(store_ms.saturating_sub(OPEN_MS));
        let last = last.and_then(|week| week.before(1));
        if let Some(last) = last.filter(|last| self.weeks.closed != Some(*last)) {
            self.ask_store(StoreQuestion::Past(span), StoreAsker::Weeks(last));
        }
    }

    /// Goes on with what the store has answered: the weeks that it lacks are kept.
    pub(super) fn go_on_closing(&mut self, last: IsoWeek, answer: StoreAnswer) {
        if self.shared().is_none() {
            return;
        }
        let PastRows { quarters, weeks, .. } = match answer {
            StoreAnswer::Past(rows) => rows,
            StoreAnswer::Closed | StoreAnswer::Excluded(_) | StoreAnswer::Ended(_) => {
                self.weeks.closed = Some(last);
                return;
            }
        };
        let zone = &self.reports.zone;
        let closed = |(week, is_whole, counts): (IsoWeek, bool, AllCounts)| {
            let name = week.to_string();
            let is_new = is_whole && week <= last && !weeks.iter().any(|known| known.week == name);
            let from_ms = zone.week(week).map_or(0, QuarterSpan::from_ms);
            is_new.then_some(ClosedWeek { week: name, from_ms, counts })
        };
        let closed: Vec<ClosedWeek> = self.kept_weeks(quarters).into_iter().filter_map(closed).collect();
        let zone = zone.name().to_owned();
        if closed.is_empty() {
            self.weeks.closed = Some(last);
        } else {
            self.ask_store(StoreQuestion::Close(zone, closed), StoreAsker::Weeks(last));
        }
    }
}
