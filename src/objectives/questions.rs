//! Operators' questions that need the rows of `slo.db`.

use super::alerts::reports::ReportDuty;
use super::report_rows::{StoredReport, days, sent_report, sum_days, week_rows};
use super::{Keeper, ReportPlan};
use crate::clock::Now;
use crate::job::slo::{SloAnswer, SloProblem, SloQuestion, SloRequest};
use crate::slo::calendar::{IsoWeek, QUARTER_MS, QUARTERS_PER_DAY};
use crate::slo::trend::{days_of, objective_trend};
use crate::slo::weekly::{WeekRequest, WeeklyReport, needed, weekly_report};
use crate::slo::weekly_text::ReportFormat;

const DAYS_PER_WEEK: u64 = 7;

impl<C: Fn() -> Now> Keeper<C> {
    /// Answers a question.
    pub(super) fn answer(&mut self, request: SloRequest) {
        let answer = match request.question {
            SloQuestion::Report { week, format } => self.report_as(week, format),
            SloQuestion::History { name, weeks } => self.history_of(&name, weeks),
            SloQuestion::Exclusions => self.list_exclusions(),
            SloQuestion::Exclude(wish, by) => self.exclude(wish, by),
            SloQuestion::EndExclusion(number, by) => self.end_exclusion(number, &by),
        };
        // An operator who does not wait any more has no use for it.
        let _ = request.reply.try_send(answer);
    }

    /// The report of a week in a form: as it was sent, or made now.
    fn report_as(&mut self, week: Option<IsoWeek>, format: ReportFormat) -> Result<String, SloProblem> {
        if let (Some(week), Some(database)) = (week, self.database.as_mut()) {
            let sent = sent_report(database.connection(), &self.alerts.deployment(), week, format);
            if let Some(report) = sent.map_err(|_| unreadable())? {
                return Ok(report);
            }
        }
        self.report_of(week).map(|report| report.render(format, &self.reports.zone))
    }

    /// Makes the report of the last week when it is due, if this instance leads. A report that was missed, because no process ran, is sent
    /// later if no newer week is over by then.
    pub(super) fn report_week(&mut self, now: Now) {
        if self.deployment.as_ref().is_some_and(|deployment| !deployment.is_complete()) {
            return;
        }
        let ReportPlan { zone, at, .. } = &self.reports;
        let last = zone.week_of(now.unix_ms).and_then(|week| week.before(1));
        let Some((week, at)) = last.zip(*at).filter(|(week, _)| self.reported != Some(*week)) else { return };
        let is_due = zone.after_week_ms(week, at).is_some_and(|due_ms| now.unix_ms >= due_ms);
        let from_ms = zone.week(week).map_or(0, |span| span.from_ms());
        match self.alerts.reports(from_ms) {
            ReportDuty::Due if is_due => {}
            ReportDuty::Due | ReportDuty::OfAnother => return,
            ReportDuty::Done => {
                self.reported = Some(week);
                return;
            }
        }
        let Some(database) = self.database.as_mut() else { return };
        let deployment = self.alerts.deployment();
        match sent_report(database.connection(), &deployment, week, ReportFormat::Text) {
            Ok(None) => {}
            Ok(Some(_)) => {
                self.reported = Some(week);
                return;
            }
            Err(error) => return self.report_loss(&error),
        }
        match self.report_of(Some(week)) {
            Ok(report) => {
                let render = |format| report.render(format, &self.reports.zone);
                let stored = StoredReport {
                    deployment,
                    week: week.to_string(),
                    from_ms: report.from,
                    made_ms: now.unix_ms,
                    text: render(ReportFormat::Text),
                    markdown: render(ReportFormat::Markdown),
                    json: render(ReportFormat::Json),
                };
                let title = report.headline(&self.reports.zone);
                let now_ms = self.now_ms(now);
                self.alerts.send_report(stored, title, now_ms);
            }
            // No gateway ran in that week.
            Err(SloProblem::Unknown(_)) => {}
            Err(SloProblem::Unreadable(_) | SloProblem::Refused(_)) => return,
        }
        self.reported = Some(week);
    }

    /// The history of an objective, up to the last row.
    fn history_of(&mut self, name: &str, weeks: u16) -> SloAnswer {
        let now_ms = (self.clock)().unix_ms;
        let objectives = &self.reports.objectives;
        let Some(objective) = objectives.iter().find(|(known, _)| *known == name).copied() else {
            let known: Vec<&str> = objectives.iter().map(|(known, _)| *known).collect();
            let why = format!("there is no objective {name:?}; there are: {}", known.join(", "));
            return Err(SloProblem::Unknown(why));
        };
        let quarter = now_ms / QUARTER_MS;
        let first = (quarter / QUARTERS_PER_DAY).saturating_sub((u64::from(weeks) + 1) * DAYS_PER_WEEK);
        let days = match self.deployment.as_ref().filter(|deployment| deployment.is_complete()) {
            Some(deployment) => days_of(&deployment.quarters(first * QUARTERS_PER_DAY..quarter + 1)),
            None => {
                let database = self.database.as_mut().ok_or_else(unreadable)?;
                let connection = database.connection();
                let days = sum_days(connection, quarter).and_then(|()| days(connection, first));
                days.map_err(|_| unreadable())?
            }
        };
        let history = objective_trend(objective, &days, &self.instance, weeks, now_ms);
        let text = history.and_then(|history| serde_json::to_string(&history).ok());
        text.map_or_else(|| Err(unreadable()), |text| Ok(text + "\n"))
    }

    /// The report of a week; of this one without a week.
    fn report_of(&mut self, week: Option<IsoWeek>) -> Result<WeeklyReport, SloProblem> {
        let now = (self.clock)();
        let now_ms = now.unix_ms;
        let ReportPlan { zone, objectives, .. } = &self.reports;
        let no_week = || SloProblem::Unknown("the calendar has no such week".into());
        let this = zone.week_of(now_ms).ok_or_else(no_week)?;
        let week = week.unwrap_or(this);
        if week > this {
            return Err(SloProblem::Unknown(format!("{week} has not begun: this week is {this}")));
        }
        let days = objectives.iter().map(|(_, objective)| objective.period_days).max().unwrap_or(1);
        let spans = zone.week(week).zip(needed(week, zone, days));
        let (span, needed) = spans.ok_or_else(no_week)?;
        let deployment = self.alerts.deployment();
        let database = self.database.as_mut().ok_or_else(unreadable)?;
        let mut rows = week_rows(database.connection(), &self.exclusions, span, needed, now_ms)
            .map_err(|_| unreadable())?;
        let complete = self.deployment.as_ref().filter(|deployment| deployment.is_complete());
        if let Some(deployment) = complete {
            rows.quarters = deployment.quarters(needed.from..needed.until);
        }
        let instances = complete.map_or(1, |deployment| deployment.instances(now.at));
        let kept = rows.quarters.range(span.from..span.until).next().is_some();
        let was_there = rows.runs.iter().any(|run| run.last_ms >= span.from_ms());
        if !kept && !was_there {
            return Err(SloProblem::Unknown(format!(
                "no counts of {week} are kept: a report is made of the last 100 days in which a gateway ran"
            )));
        }
        let instance = &self.instance;
        let deployment = &deployment;
        let request = WeekRequest { week, zone, now_ms, deployment, instance, instances, objectives };
        weekly_report(&request, &rows).ok_or_else(no_week)
    }
}

pub(super) fn unreadable() -> SloProblem {
    SloProblem::Unreadable(
        "slo.db cannot be read: see the log of the gateway, and ask again in a minute".into(),
    )
}
