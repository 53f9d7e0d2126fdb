//! `seawall slo history`: an objective by week, as far back as its counts are kept.

use super::config::Config;
use super::objectives_command::{aligned, percent, percent_or_dash};
use super::output;
use super::remote::Remote;
use super::running::RunningGateway;
use crate::alert::text::utc;
use crate::slo::trend::TREND_WEEKS_MAX;
use clap::Args;
use serde_json::Value;
use std::fmt::Write as _;
use std::process::ExitCode;

/// Nothing is known.
const UNKNOWN: u8 = 2;
const HEAD: [&str; 6] = ["WEEK", "PART", "GOOD", "BAD EVENTS", "BUDGET USED", ""];

#[derive(Args, Debug)]
pub(super) struct HistoryArguments {
    /// The objective [default: print the names of all]
    #[arg(value_name = "OBJECTIVE")]
    name: Option<String>,
    /// The number of weeks, this one included
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..=i64::from(TREND_WEEKS_MAX)))]
    weeks: u16,
    /// Print each part of each week as comma-separated values [default: the worst part of each week]
    #[arg(long)]
    csv: bool,
}

impl HistoryArguments {
    /// Asks the gateway, and prints its answer.
    pub(super) fn run(&self, config: &Config, running: Option<&RunningGateway>) -> ExitCode {
        let path = match &self.name {
            Some(name) => format!("/slo/{name}/history?weeks={}", self.weeks),
            None => "/slo".into(),
        };
        let printed = Remote::of(config, running).and_then(|remote| {
            remote.read("GET", &path, "", |body| {
                let answer = serde_json::from_str(body).ok()?;
                match self.name {
                    Some(_) if self.csv => values(&answer),
                    Some(_) => table(&answer),
                    None => names(&answer),
                }
            })
        });
        match printed {
            Ok(text) => output::print(&text),
            Err(message) => {
                output::fail(&message);
                ExitCode::from(UNKNOWN)
            }
        }
    }
}

/// A line for each objective, with the command that prints its history.
fn names(report: &Value) -> Option<String> {
    let mut out = String::new();
    for objective in report["objectives"].as_array()? {
        writeln!(out, "seawall slo history {}", objective["name"].as_str()?).ok()?;
    }
    Some(out)
}

/// A line for each week, by its worst part.
fn table(history: &Value) -> Option<String> {
    let mut rows = vec![HEAD.map(str::to_owned)];
    for week in history["weeks"].as_array()? {
        let parts = week["parts"].as_array()?;
        let worst = parts.iter().rev().max_by_key(|part| part["used_ppm"].as_u64())?;
        let is_empty = worst["good_ppm"].is_null();
        let bad = if is_empty { "-".to_owned() } else { worst["bad"].as_u64()?.to_string() };
        let part = if is_empty { "-" } else { worst["part"].as_str()? };
        let note = match (week["complete"] == true, week["utc"] == true) {
            (false, _) => "so far",
            (true, true) => "of UTC",
            (true, false) => "",
        };
        rows.push([
            week["week"].as_str()?.to_owned(),
            part.to_owned(),
            percent_or_dash(&worst["good_ppm"]),
            bad,
            percent_or_dash(&worst["used_ppm"]),
            note.to_owned(),
        ]);
    }
    let promised = percent(1_000_000 - history["allowed_ppm"].as_i64()?);
    let (name, instance) = (history["name"].as_str()?, history["instance"].as_str()?);
    let zone = history["timezone"].as_str()?;
    Some(format!("{name}: {promised} promised, {instance}, weeks in {zone}\n{}", aligned(&rows)))
}

/// A line for each part of each week.
fn values(history: &Value) -> Option<String> {
    let mut out = "week,from,part,good,bad,excluded,good_ppm,used_ppm\n".to_owned();
    for week in history["weeks"].as_array()? {
        let (name, from) = (week["week"].as_str()?, utc(week["from"].as_u64()?));
        for part in week["parts"].as_array()? {
            let number = |name: &str| part[name].as_u64().map_or_else(String::new, |it| it.to_string());
            let cells = ["good", "bad", "excluded", "good_ppm", "used_ppm"].map(number).join(",");
            writeln!(out, "{name},{from},{},{cells}", part["part"].as_str()?).ok()?;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn week_is_a_line_by_its_worst_part_and_part_is_a_line_of_values() {
        let part = |name, bad, good_ppm: Option<u32>, used_ppm: Option<u32>| json!({"part": name, "good": 999, "bad": bad, "excluded": 0, "good_ppm": good_ppm, "used_ppm": used_ppm});
        let history = json!({
            "name": "delivery", "allowed_ppm": 1_000, "period_days": 7, "instance": "gw-1", "timezone": "Europe/Berlin",
            "weeks": [
                {"week": "2026-W47", "from": 1_794_787_200_000_u64, "complete": true, "utc": true,
                 "parts": [part("publish", 2, Some(998_000), Some(2_000_000)), part("fanout", 1, Some(999_000), Some(1_000_000))]},
                {"week": "2026-W48", "from": 1_795_392_000_000_u64, "complete": false, "utc": false,
                 "parts": [part("publish", 0, None, None), part("fanout", 0, None, None)]},
            ],
        });
        let text = table(&history).expect("a table");
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[2], ["2026-W47", "publish", "99.8", "%", "2", "200", "%", "of", "UTC"], "{text}");
        assert_eq!(lines[3], ["2026-W48", "-", "-", "-", "-", "so", "far"], "{text}");
        let values = values(&history).expect("values");
        assert!(
            values.contains("\n2026-W47,2026-11-16T00:00:00Z,fanout,999,1,0,999000,1000000\n"),
            "{values}"
        );
        assert!(values.ends_with("2026-W48,2026-11-23T00:00:00Z,fanout,999,0,0,,\n"), "{values}");
        assert_eq!(table(&json!({})), None);
    }

    #[test]
    fn without_an_objective_there_is_a_line_for_each() {
        let report = json!({"objectives": [{"name": "connection"}, {"name": "delivery"}]});
        let expected = "seawall slo history connection\nseawall slo history delivery\n";
        assert_eq!(names(&report).as_deref(), Some(expected));
        assert_eq!(names(&json!({"weeks": []})), None);
    }
}
