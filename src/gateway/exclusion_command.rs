//! `seawall slo exclude` and `seawall slo exclusions`: times whose events are kept out of the budgets.

use super::config::Config;
use super::output;
use super::remote::Remote;
use super::running::RunningGateway;
use crate::alert::text::utc;
use clap::Args;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::process::ExitCode;

const PATH: &str = "/slo/exclusions";
/// It was not done.
const FAILED: u8 = 2;

#[derive(Args, Debug)]
pub(super) struct ExcludeArguments {
    /// Its begin, like 2026-11-24T02:00 in the time zone of reports, or 2026-11-24T02:00Z in UTC; at most 30 days ahead or 35 back
    #[arg(long, value_name = "TIME", required_unless_present = "end")]
    from: Option<String>,
    /// Its end, at most 24 hours later; 02:30 is one of the same day
    #[arg(long, value_name = "TIME", required_unless_present = "end")]
    until: Option<String>,
    /// The reason, which reports print
    #[arg(long, value_name = "TEXT", required_unless_present = "end")]
    why: Option<String>,
    /// The objective [default: all]
    #[arg(long, value_name = "NAME", conflicts_with = "end")]
    objective: Option<String>,
    /// Remove this exclusion: its events count again
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["from", "until", "why"])]
    end: Option<u64>,
}

/// A time without a day is one of the same day, in the same zone.
fn until_of(from: &str, until: &str) -> String {
    match (from.split_once('T'), until.contains('T')) {
        (Some((day, time)), false) => {
            let zone = if time.ends_with('Z') && !until.ends_with('Z') { "Z" } else { "" };
            format!("{day}T{until}{zone}")
        }
        (Some(_) | None, _) => until.to_owned(),
    }
}

impl ExcludeArguments {
    /// Adds an exclusion, or removes one.
    pub(super) fn run(&self, config: &Config, running: Option<&RunningGateway>) -> ExitCode {
        print(Remote::of(config, running).and_then(|remote| {
            let (method, path, body, event) = match self.end {
                Some(number) => ("DELETE", format!("{PATH}/{number}"), String::new(), "removed"),
                None => ("POST", PATH.to_owned(), self.body(), "added"),
            };
            let line = remote.read(method, &path, &body, |body| line(&serde_json::from_str(body).ok()?))?;
            Ok(format!("{event}: {line}\n"))
        }))
    }

    fn body(&self) -> String {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let from = text(&self.from);
        let until = until_of(&from, &text(&self.until));
        let mut body = json!({"from": from, "until": until, "why": self.why});
        if let Some(name) = &self.objective {
            body["objective"] = json!(name);
        }
        body.to_string()
    }
}

/// Prints all exclusions.
pub(super) fn list(config: &Config, running: Option<&RunningGateway>) -> ExitCode {
    print(Remote::of(config, running).and_then(|remote| remote.read("GET", PATH, "", table)))
}

fn print(done: Result<String, String>) -> ExitCode {
    match done {
        Ok(text) => output::print(&text),
        Err(message) => {
            output::fail(&message);
            ExitCode::from(FAILED)
        }
    }
}

fn table(body: &str) -> Option<String> {
    let report: Value = serde_json::from_str(body).ok()?;
    let mut out = String::new();
    for exclusion in report["exclusions"].as_array()? {
        writeln!(out, "{}", line(exclusion)?).ok()?;
    }
    if out.is_empty() {
        out.push_str("no exclusions\n");
    }
    Some(out)
}

fn line(exclusion: &Value) -> Option<String> {
    let (number, why) = (exclusion["number"].as_u64()?, exclusion["why"].as_str()?);
    let objective = exclusion["objective"].as_str().unwrap_or("all objectives");
    let [from, until, at] = ["from_ms", "until_ms", "at_ms"].map(|name| exclusion[name].as_u64().map(utc));
    let by = exclusion["by"].as_str()?;
    Some(format!("#{number} {objective}, {} to {}: {why} (by {by} at {})", from?, until?, at?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_without_a_day_is_on_the_day_of_the_begin() {
        for (from, until, expected) in [
            ("2026-11-24T02:00", "02:30", "2026-11-24T02:30"),
            ("2026-11-24T02:00Z", "02:30", "2026-11-24T02:30Z"),
            ("2026-11-24T23:00", "2026-11-25T01:00", "2026-11-25T01:00"),
            ("nonsense", "02:30", "02:30"),
        ] {
            assert_eq!(until_of(from, until), expected);
        }
    }

    #[test]
    fn each_exclusion_is_a_line() {
        let exclusion = json!({"number": 3, "objective": null, "from_ms": 1_795_485_600_000_u64,
            "until_ms": 1_795_487_400_000_u64, "why": "database move", "by": "192.0.2.7", "at_ms": 1_795_000_000_000_u64});
        let body = json!({"timezone": "UTC", "exclusions": [exclusion]}).to_string();
        let text = table(&body).expect("a list");
        assert!(
            text.starts_with(
                "#3 all objectives, 2026-11-24T02:00:00Z to 2026-11-24T02:30:00Z: database move"
            ),
            "{text}"
        );
        assert_eq!(table(r#"{"exclusions":[]}"#).as_deref(), Some("no exclusions\n"));
        assert_eq!(table("{}"), None);
    }
}
