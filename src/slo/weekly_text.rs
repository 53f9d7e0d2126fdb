//! The weekly report for people, as plain text and as Markdown.

use super::budget_exclusion::BudgetExclusion;
use super::calendar::ReportZone;
use super::weekly::{CauseShare, ObjectiveWeek, WeekVerdict, WeeklyReport};
use super::weekly_rows::{RunEnding, RunGap};
use std::fmt::Write as _;

/// The form in which a report is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReportFormat {
    #[default]
    Text,
    Markdown,
    Json,
}

impl ReportFormat {
    /// All forms, in declaration order.
    pub const ALL: [ReportFormat; 3] = [ReportFormat::Text, ReportFormat::Markdown, ReportFormat::Json];

    pub const fn as_str(self) -> &'static str {
        match self {
            ReportFormat::Text => "text",
            ReportFormat::Markdown => "markdown",
            ReportFormat::Json => "json",
        }
    }

    pub fn parse(text: &str) -> Option<ReportFormat> {
        ReportFormat::ALL.into_iter().find(|format| format.as_str() == text)
    }
}

impl WeeklyReport {
    /// The report in this form, with a line end.
    pub fn render(&self, format: ReportFormat, zone: &ReportZone) -> String {
        match format {
            ReportFormat::Text => self.text(zone),
            ReportFormat::Markdown => self.markdown(zone),
            ReportFormat::Json => {
                let mut text = serde_json::to_string(self).unwrap_or_default();
                text.push('\n');
                text
            }
        }
    }

    /// One line about the week.
    pub fn headline(&self, zone: &ReportZone) -> String {
        let (from, until) = (zone.label(self.from), zone.label(self.until));
        let so_far = if self.complete { "" } else { " so far" };
        let measured = self
            .measured_ppm
            .map_or_else(|| "not measured".into(), |ppm| format!("measured {}", percent(ppm.into())));
        let (deployment, week, timezone) = (&self.deployment, self.week.number(), &self.timezone);
        let instance = match self.instances {
            1 => self.instance.clone(),
            count => format!("{} for {count} instances", self.instance),
        };
        format!(
            "Seawall {deployment}, week {week}{so_far} ({from} to {until}, {timezone}), {instance}, {measured}"
        )
    }

    fn text(&self, zone: &ReportZone) -> String {
        let mut out = self.headline(zone);
        out.push('\n');
        for objective in &self.objectives {
            let (promised, figures) = (promised(objective), details(objective).join(", "));
            let (good, verdict) = (percent_or_dash(objective.figures.good_ppm), verdict(objective));
            let _ = writeln!(out, "  {:<12}{promised:<9}{good:<11}{verdict:<10}{figures}", objective.name);
        }
        for objective in self.objectives.iter().filter(|objective| !objective.causes.is_empty()) {
            let _ = writeln!(out, "  Spent by ({})", objective.name);
            for cause in &objective.causes {
                let share = percent(whole(cause.used_ppm));
                let _ = writeln!(out, "    {share:>7}  {}", cause_text(cause, objective, zone));
            }
        }
        for line in self.lines(zone) {
            let _ = writeln!(out, "  {line}");
        }
        let _ = writeln!(out, "  {} weeks", super::weekly::WEEKS_SHOWN);
        for objective in &self.objectives {
            let _ = writeln!(out, "    {:<12}{}", objective.name, weeks(objective));
        }
        out
    }

    fn markdown(&self, zone: &ReportZone) -> String {
        let mut out = format!("## {}\n\n", self.headline(zone));
        out.push_str(
            "| objective | promised | good | verdict | budget | weeks before |\n|---|---|---|---|---|---|\n",
        );
        for objective in &self.objectives {
            let (name, promised, verdict) = (objective.name, promised(objective), verdict(objective));
            let (good, figures) =
                (percent_or_dash(objective.figures.good_ppm), details(objective).join(", "));
            let _ = writeln!(
                out,
                "| {name} | {promised} | {good} | {verdict} | {figures} | {} |",
                weeks(objective)
            );
        }
        for objective in self.objectives.iter().filter(|objective| !objective.causes.is_empty()) {
            let _ = writeln!(out, "\nThe budget of {} was spent by:\n", objective.name);
            for cause in &objective.causes {
                let share = percent(whole(cause.used_ppm));
                let _ = writeln!(out, "- {share}: {}", cause_text(cause, objective, zone));
            }
        }
        for line in self.lines(zone) {
            let _ = writeln!(out, "\n{line}");
        }
        out
    }

    /// The lines about the whole week.
    fn lines(&self, zone: &ReportZone) -> Vec<String> {
        let mut lines: Vec<String> =
            self.exclusions.iter().map(|exclusion| exclusion_text(exclusion, zone)).collect();
        lines.extend(self.unmeasured(zone));
        lines.push(self.notices_line());
        lines
    }

    fn unmeasured(&self, zone: &ReportZone) -> Option<String> {
        if self.gaps.is_empty() {
            return None;
        }
        let gap = |gap: &RunGap| {
            let how = match gap.after {
                RunEnding::Stopped => "stopped",
                RunEnding::Killed => "ended without a word",
            };
            format!("{} from {} ({how})", span(gap.until - gap.from), zone.label(gap.from))
        };
        let listed: Vec<String> = self.gaps.iter().map(gap).collect();
        Some(format!("Not measured: {} in all; {}", span(self.gaps_ms), listed.join("; ")))
    }

    fn notices_line(&self) -> String {
        let it = &self.notices;
        let noisiest = it
            .noisiest
            .as_ref()
            .map_or_else(String::new, |(alert, count)| format!("; most by {alert} ({count})"));
        format!(
            "Notices: {} critical, {} warning, {} test{noisiest}; {} given up; {} incidents ended within 10 min by themselves",
            it.critical, it.warning, it.test, it.dead, it.brief
        )
    }
}

fn promised(objective: &ObjectiveWeek) -> String {
    percent(1_000_000 - i64::from(objective.objective.allowed_ppm))
}

fn verdict(objective: &ObjectiveWeek) -> &'static str {
    match objective.figures.verdict {
        WeekVerdict::NoEvents => "no events",
        WeekVerdict::Kept => "kept",
        WeekVerdict::Missed => "MISSED",
    }
}

/// The budget, the worst day and the trend.
fn details(objective: &ObjectiveWeek) -> Vec<String> {
    let ObjectiveWeek { figures, worse, with_excluded, objective: promise, .. } = objective;
    let mut details = Vec::new();
    if let Some(used) = figures.used_ppm {
        details.push(format!("budget used {}", percent(whole(used))));
    }
    if let Some(with) = with_excluded {
        let used = with.used_ppm.map_or_else(|| "-".into(), |used| percent(whole(used)));
        let good = percent_or_dash(with.good_ppm);
        details.push(format!("{used} with what is excluded ({good} good)"));
    }
    if let Some(left) = figures.left_ppm {
        details.push(format!("{} d: left {}", promise.period_days, percent(left)));
    }
    if let Some(day) = &figures.worst_day {
        details.push(format!("worst day {} {}", day.label, percent(day.good_ppm.into())));
    }
    if *worse {
        details.push("worse than the weeks before".into());
    }
    details
}

fn exclusion_text(exclusion: &BudgetExclusion, zone: &ReportZone) -> String {
    let BudgetExclusion { number, objective, from_ms, until_ms, why, by, at_ms } = exclusion;
    let objective = objective.as_deref().unwrap_or("all objectives");
    let [from, until, at] = [from_ms, until_ms, at_ms].map(|unix_ms| zone.label(*unix_ms));
    format!("Excluded: {objective} from {from} to {until}: {why} (#{number}, by {by} at {at})")
}

fn cause_text(cause: &CauseShare, objective: &ObjectiveWeek, zone: &ReportZone) -> String {
    let (from, until) = (zone.label(cause.from), zone.label(cause.until));
    let name = match (&cause.dependency, &cause.reference) {
        (Some(name), Some(reference)) => format!("{name} {reference}"),
        (Some(name), None) => name.clone(),
        (None, _) => "no outage of a dependency".into(),
    };
    format!("{name}, {from} to {until}: {} {}", cause.bad, objective.figures.part.unit())
}

/// The ratios of the last weeks in percent, the oldest first.
fn weeks(objective: &ObjectiveWeek) -> String {
    let week = |ppm: &Option<u32>| {
        let text = percent_or_dash(*ppm);
        text.strip_suffix(" %").map_or(text.clone(), str::to_owned)
    };
    objective.weeks_ppm.iter().map(week).collect::<Vec<_>>().join(" ")
}

fn percent_or_dash(ppm: Option<u32>) -> String {
    ppm.map_or_else(|| "-".into(), |ppm| percent(ppm.into()))
}

/// Parts per million as percent, without zeros at the end.
fn percent(ppm: i64) -> String {
    let sign = if ppm < 0 { "-" } else { "" };
    let ppm = ppm.unsigned_abs();
    let text = format!("{sign}{}.{:04}", ppm / 10_000, ppm % 10_000);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

fn whole(ppm: u64) -> i64 {
    i64::try_from(ppm).unwrap_or(i64::MAX)
}

/// A duration in words: `40 s`, `12 min`, `3 h`, `2 d`.
fn span(ms: u64) -> String {
    match ms / 1_000 {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}
