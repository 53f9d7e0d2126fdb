//! Operators' questions that need the rows of `slo.db`, or those of all instances; and the report of a week.

use super::alerts::reports::ReportDuty;
use super::deployment::Deployment;
use super::report_rows::{StoredReport, sent_report, week_rows};
use super::shared_state::StoreAsker;
use super::waiting::{reply, unread};
use super::week_alerts::alerts_of_week;
use super::{Keeper, ReportPlan};
use crate::clock::Now;
use crate::job::shared_questions::{PastRows, PastSpan, StoreAnswer, StoreQuestion};
use crate::job::slo::{SloAnswer, SloProblem, SloQuestion, SloRequest};
use crate::slo::calendar::{IsoWeek, QuarterSpan};
use crate::slo::weekly::{WeekRequest, WeeklyReport, needed, weekly_report};
use crate::slo::weekly_rows::{RunSpan, WeekRows};
use crate::slo::weekly_text::ReportFormat;

/// The step after a question.
pub(super) enum QuestionStep {
    Answer(SloAnswer),
    /// The store is asked, and answers.
    Ask(StoreQuestion),
}

impl<C: Fn() -> Now> Keeper<C> {
    /// Answers a question, or lets it wait for the store.
    pub(super) fn answer(&mut self, request: SloRequest) {
        match self.step(&request.question) {
            QuestionStep::Answer(answer) => reply(&request, answer),
            QuestionStep::Ask(question) => self.ask_store(question, StoreAsker::Operator(request)),
        }
    }

    fn step(&mut self, question: &SloQuestion) -> QuestionStep {
        let step = match question {
            SloQuestion::Report { week, format } => self.report_step(*week, *format),
            SloQuestion::History { name, weeks } => self.history_step(name, *weeks),
            SloQuestion::Exclusions => self.list_exclusions().map(Ok).map(QuestionStep::Answer),
            SloQuestion::Exclude(wish, by) => self.exclude(wish, by),
            SloQuestion::EndExclusion(number, by) => self.end_exclusion(*number, by),
        };
        step.unwrap_or_else(|problem| QuestionStep::Answer(Err(problem)))
    }

    /// Answers a question with what the store has answered.
    pub(super) fn finish_answer(
        &mut self,
        question: &SloQuestion,
        asked: &StoreQuestion,
        answer: StoreAnswer,
    ) -> SloAnswer {
        if let (StoreAnswer::Excluded(_) | StoreAnswer::Ended(_), Some(deployment)) =
            (&answer, &mut self.deployment)
        {
            deployment.note_order();
        }
        match (question, asked, answer) {
            (SloQuestion::Report { week, format }, _, StoreAnswer::Past(rows)) => {
                self.report_of(*week, Some(rows)).map(|report| report.render(*format, &self.reports.zone))
            }
            (SloQuestion::History { name, weeks }, _, StoreAnswer::Past(rows)) => {
                self.history_of(name, *weeks, Some(rows))
            }
            (_, StoreQuestion::Exclude(row), StoreAnswer::Excluded(number)) => {
                self.finish_exclude(row, number)
            }
            (SloQuestion::EndExclusion(number, by), _, StoreAnswer::Ended(body)) => {
                self.finish_end(*number, by, body.as_deref())
            }
            // An answer is one to its question.
            (_, _, _) => Err(unreadable()),
        }
    }

    /// The counts of all instances, if they are known.
    pub(super) fn shared(&self) -> Option<&Deployment> {
        self.deployment.as_ref().filter(|deployment| deployment.is_complete())
    }

    /// The same; `None` if this is the only instance, and refused until they are known.
    pub(super) fn rows_of_all(&self) -> Result<Option<&Deployment>, SloProblem> {
        match &self.deployment {
            Some(deployment) if !deployment.is_complete() => Err(unread()),
            deployment => Ok(deployment.as_ref()),
        }
    }

    /// The report of a week in a form: as it was sent, or made now.
    fn report_step(
        &mut self,
        week: Option<IsoWeek>,
        format: ReportFormat,
    ) -> Result<QuestionStep, SloProblem> {
        if let (Some(week), Some(database)) = (week, self.database.as_mut()) {
            let sent = sent_report(database.connection(), &self.alerts.deployment(), week, format);
            if let Some(report) = sent.map_err(|_| unreadable())? {
                return Ok(QuestionStep::Answer(Ok(report)));
            }
        }
        if let Some(question) = self.rows_of_week(week)? {
            return Ok(QuestionStep::Ask(question));
        }
        let report = self.report_of(week, None)?;
        Ok(QuestionStep::Answer(Ok(report.render(format, &self.reports.zone))))
    }

    /// The question for the rows of all instances that a report needs; `None` if this is the only instance.
    fn rows_of_week(&self, week: Option<IsoWeek>) -> Result<Option<StoreQuestion>, SloProblem> {
        let ReportedWeek { span, needed, .. } = self.week(week)?;
        let question = |deployment: &Deployment| {
            let week_ms = Some(span.from_ms()..span.until_ms());
            StoreQuestion::Past(PastSpan {
                quarters: deployment.unknown_quarters(needed),
                week_ms,
                zone: None,
            })
        };
        Ok(self.rows_of_all()?.map(question))
    }

    /// Makes the report of the last week when it is due, if this instance leads. A report that was missed, because no process ran, is sent
    /// later if no newer week is over by then.
    pub(super) fn report_week(&mut self, now: Now) {
        if self.deployment.as_ref().is_some_and(|deployment| !deployment.is_complete()) {
            return;
        }
        let ReportPlan { zone, at, .. } = &self.reports;
        let last = zone.week_of(now.unix_ms).and_then(|week| week.before(1));
        let Some((week, at)) = last.zip(*at).filter(|(week, _)| self.weeks.reported != Some(*week)) else {
            return;
        };
        let is_due = zone.after_week_ms(week, at).is_some_and(|due_ms| now.unix_ms >= due_ms);
        let from_ms = zone.week(week).map_or(0, |span| span.from_ms());
        match self.alerts.reports(from_ms) {
            ReportDuty::Due if is_due => {}
            ReportDuty::Due | ReportDuty::OfAnother => return,
            ReportDuty::Done => {
                self.weeks.reported = Some(week);
                return;
            }
        }
        let Some(database) = self.database.as_mut() else { return };
        let deployment = self.alerts.deployment();
        match sent_report(database.connection(), &deployment, week, ReportFormat::Text) {
            Ok(None) => {}
            Ok(Some(_)) => {
                self.weeks.reported = Some(week);
                return;
            }
            Err(error) => return self.report_loss(&error),
        }
        match self.rows_of_week(Some(week)) {
            // It is made when the store has answered; without an answer it is asked again.
            Ok(Some(question)) if self.asked.waiting.is_none() => {
                self.ask_store(question, StoreAsker::Report(week));
            }
            Ok(Some(_)) => {}
            // They are being read. It is tried again after the next judgement.
            Err(SloProblem::Unreadable(_)) => {}
            Ok(None) | Err(SloProblem::Unknown(_) | SloProblem::Refused(_)) => self.send_week(week, None),
        }
    }

    /// Makes the report of a week, and sends it if that is still due. `past`: the rows of all instances.
    pub(super) fn send_week(&mut self, week: IsoWeek, past: Option<PastRows>) {
        let now = (self.clock)();
        let from_ms = self.reports.zone.week(week).map_or(0, |span| span.from_ms());
        if self.alerts.reports(from_ms) != ReportDuty::Due {
            return;
        }
        match self.report_of(Some(week), past) {
            Ok(report) => {
                let render = |format| report.render(format, &self.reports.zone);
                let stored = StoredReport {
                    deployment: self.alerts.deployment(),
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
        self.weeks.reported = Some(week);
    }

    /// A week that can be reported; this one without a week.
    fn week(&self, week: Option<IsoWeek>) -> Result<ReportedWeek, SloProblem> {
        let ReportPlan { zone, objectives, .. } = &self.reports;
        let no_week = || SloProblem::Unknown("the calendar has no such week".into());
        let this = zone.week_of((self.clock)().unix_ms).ok_or_else(no_week)?;
        let week = week.unwrap_or(this);
        if week > this {
            return Err(SloProblem::Unknown(format!("{week} has not begun: this week is {this}")));
        }
        let days = objectives.iter().map(|(_, objective)| objective.period_days).max().unwrap_or(1);
        let (span, needed) = zone.week(week).zip(needed(week, zone, days)).ok_or_else(no_week)?;
        Ok(ReportedWeek { week, span, needed })
    }

    /// The report of a week; of this one without a week. `past`: the rows of all instances; `None` if this is the only one.
    fn report_of(
        &mut self,
        week: Option<IsoWeek>,
        past: Option<PastRows>,
    ) -> Result<WeeklyReport, SloProblem> {
        if past.is_some() && self.shared().is_none() {
            return Err(unread());
        }
        let now = (self.clock)();
        let now_ms = now.unix_ms;
        let ReportedWeek { week, span, needed } = self.week(week)?;
        let deployment = self.alerts.deployment();
        let database = self.database.as_mut().ok_or_else(unreadable)?;
        let mut rows = week_rows(database.connection(), &self.exclusions, span, needed, now_ms)
            .map_err(|_| unreadable())?;
        if let Some((past, deployment)) = past.zip(self.shared()) {
            let PastRows { quarters, runs, incidents, notices, weeks: _ } = past;
            rows = WeekRows {
                quarters: deployment.quarters(needed, quarters),
                // A run that ended while the store was down is known here only.
                runs: in_order(rows.runs, runs),
                exclusions: rows.exclusions,
                ..alerts_of_week(&incidents, &notices, span, now_ms)
            };
        }
        let instances = self.shared().map_or(1, |deployment| deployment.instances(now.at));
        let kept = rows.quarters.range(span.from..span.until).next().is_some();
        let was_there = rows.runs.iter().any(|run| run.last_ms >= span.from_ms());
        if !kept && !was_there {
            return Err(SloProblem::Unknown(format!(
                "no counts of {week} are kept: a report is made of the last 100 days in which a gateway ran"
            )));
        }
        let (instance, deployment) = (&self.instance, &deployment);
        let ReportPlan { zone, objectives, .. } = &self.reports;
        let request = WeekRequest { week, zone, now_ms, deployment, instance, instances, objectives };
        weekly_report(&request, &rows)
            .ok_or_else(|| SloProblem::Unknown("the calendar has no such week".into()))
    }
}

/// A week with its quarters, and the ones whose rows its report needs.
struct ReportedWeek {
    week: IsoWeek,
    span: QuarterSpan,
    needed: QuarterSpan,
}

/// Runs in the order of their begins.
fn in_order(mut runs: Vec<RunSpan>, others: Vec<RunSpan>) -> Vec<RunSpan> {
    runs.extend(others);
    runs.sort_by_key(|run| run.began_ms);
    runs
}

pub(super) fn unreadable() -> SloProblem {
    SloProblem::Unreadable(
        "slo.db cannot be read: see the log of the gateway, and ask again in a minute".into(),
    )
}
