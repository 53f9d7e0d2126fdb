//! `seawall slo`: how well the running gateway keeps its objectives.

use super::config::Config;
use super::output;
use super::remote::{Remote, RemoteAnswer};
use super::running::RunningGateway;
use crate::alert::text::utc;
use clap::Args;
use serde_json::Value;
use std::fmt::Write as _;
use std::process::ExitCode;

const PATH: &str = "/slo";
/// A budget is spent.
const SPENT: u8 = 1;
/// Nothing is known.
const UNKNOWN: u8 = 2;

#[derive(Args, Debug)]
pub(super) struct ObjectivesArguments {
    /// An objective, to print its parts and alerts [default: a line for each]
    #[arg(value_name = "OBJECTIVE")]
    name: Option<String>,
    /// Print the answer of the gateway as JSON
    #[arg(long)]
    json: bool,
}

impl ObjectivesArguments {
    /// Asks the gateway, and prints its answer.
    pub(super) fn run(&self, config: &Config, running: Option<&RunningGateway>) -> ExitCode {
        let path = self.name.as_ref().map_or_else(|| PATH.to_owned(), |name| format!("{PATH}/{name}"));
        let shown = Remote::of(config, running).and_then(|remote| {
            let RemoteAnswer { status, body } =
                remote.ask("GET", &path).map_err(|failure| remote.message(failure))?;
            let report: Option<Value> = serde_json::from_str(&body).ok();
            let unknown = || remote.message(remote.not_a_gateway(PATH));
            let report = report.ok_or_else(unknown)?;
            if status != 200 {
                return Err(report["message"].as_str().map_or_else(unknown, str::to_owned));
            }
            let text = match self.name {
                None => table(&report),
                Some(_) => details(&report),
            };
            Ok((if self.json { body } else { text.ok_or_else(unknown)? }, is_spent(&report)))
        });
        match shown {
            Ok((text, is_spent)) => match output::print(&text) {
                code if code == ExitCode::SUCCESS && is_spent => ExitCode::from(SPENT),
                code => code,
            },
            Err(message) => {
                output::fail(&message);
                ExitCode::from(UNKNOWN)
            }
        }
    }
}

fn is_spent(report: &Value) -> bool {
    report["objectives"].as_array().into_iter().flatten().any(|objective| objective["state"] == "spent")
}

const HEAD: [&str; 8] =
    ["OBJECTIVE", "PROMISED", "NOW", "BUDGET LEFT", "1 H", "6 H", "GONE IN", "BAD OF ALLOWED"];

/// A line for each objective, by its worst part.
fn table(report: &Value) -> Option<String> {
    let objectives = report["objectives"].as_array()?;
    let mut rows = vec![HEAD.map(str::to_owned)];
    for objective in objectives {
        let parts = objective["parts"].as_array()?;
        let worst = parts.iter().find(|part| part["part"] == objective["worst"])?;
        rows.push(row(objective["name"].as_str()?, &promised(objective)?, worst)?);
    }
    let mut out = aligned(&rows);
    for objective in objectives {
        let name = objective["name"].as_str()?;
        match objective["state"].as_str()? {
            "burning" => writeln!(out, "{name} burns: much fails now; seawall slo {name}").ok()?,
            "leaking" => writeln!(out, "{name} leaks: more fails than it allows; seawall slo {name}").ok()?,
            "spent" => writeln!(out, "{name} is not kept: its budget is spent; seawall slo {name}").ok()?,
            _ => {}
        }
    }
    out.push_str(&footer(report)?);
    Some(out)
}

/// The parts of an objective, and its tiers.
fn details(report: &Value) -> Option<String> {
    let objective = report["objectives"].as_array()?.first()?;
    let parts = objective["parts"].as_array()?;
    let mut out = format!("{}: {}\n\n", objective["name"].as_str()?, promised(objective)?);
    let mut rows = vec![HEAD.map(str::to_owned)];
    (rows[0][0], rows[0][1]) = ("PART".into(), "STATE".into());
    for part in parts {
        let state = part["state"].as_str()?.replace('_', " ");
        rows.push(row(part["part"].as_str()?, &state, part)?);
    }
    out.push_str(&aligned(&rows));
    for part in parts {
        let (good, bad) = (part["good"].as_u64()?, part["bad"].as_u64()?);
        let unit = if part["unit"] == "seconds" { "ms" } else { "events" };
        writeln!(
            out,
            "\n{}: {good} good, {bad} bad, {} excluded ({unit})",
            part["part"].as_str()?,
            part["excluded"].as_u64()?
        )
        .ok()?;
        for tier in part["tiers"].as_array()? {
            let over = if tier["over"] == true { "over" } else { "quiet" };
            let share = |name: &str| percent_or_dash(&tier[name]);
            writeln!(
                out,
                "  {:<8}{:<8}{:<7}at {:>8}: {} in {}, {} in {}",
                tier["name"].as_str()?,
                tier["urgency"].as_str()?,
                over,
                percent(tier["threshold_ppm"].as_i64()?),
                share("long_ppm"),
                span(tier["long_s"].as_u64()?),
                share("short_ppm"),
                span(tier["short_s"].as_u64()?),
            )
            .ok()?;
        }
    }
    out.push('\n');
    out.push_str(&footer(report)?);
    Some(out)
}

fn promised(objective: &Value) -> Option<String> {
    let allowed = objective["allowed_ppm"].as_i64()?;
    Some(format!("{} / {} d", percent(1_000_000 - allowed), objective["period_days"].as_u64()?))
}

fn row(name: &str, second: &str, part: &Value) -> Option<[String; HEAD.len()]> {
    let burn = |value: &Value| {
        value.as_u64().map_or_else(|| "-".into(), |milli| format!("{:.1}×", milli as f64 / 1e3))
    };
    let left = &part["budget_left_ppm"];
    let gone = match (left.as_i64(), part["gone_s"].as_u64()) {
        (None, _) => "-".into(),
        (Some(..=0), _) => "gone".into(),
        (Some(_), None) => "lasts".into(),
        (Some(_), Some(seconds)) => span(seconds),
    };
    let of =
        format!("{} of {} {}", part["spent"].as_u64()?, part["allowed"].as_u64()?, part["unit"].as_str()?);
    Some([
        name.into(),
        second.into(),
        percent_or_dash(&part["now_ppm"]),
        percent_or_dash(left),
        burn(&part["burn_1h_milli"]),
        burn(&part["burn_6h_milli"]),
        gone,
        of,
    ])
}

pub(super) fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    out
}

fn footer(report: &Value) -> Option<String> {
    let objectives = report["objectives"].as_array()?;
    let mut excluded = String::new();
    for exclusion in report["exclusions"].as_array().into_iter().flatten() {
        let name = exclusion["objective"].as_str().unwrap_or("all objectives");
        let (until, why) = (utc(exclusion["until_ms"].as_u64()?), exclusion["why"].as_str()?);
        writeln!(excluded, "{name}: excluded until {until} ({why})").ok()?;
    }
    let measured = objectives.iter().filter_map(|one| one["measured_ppm"].as_i64()).min()?;
    let is_provisional = objectives.iter().any(|one| one["provisional"] == true);
    let of = match (report["instances"].as_u64(), report["unshared_rows"].as_u64()) {
        (Some(2..), _) => format!(" for {} instances", report["instances"]),
        (_, Some(1..)) => " alone".into(),
        (_, _) => String::new(),
    };
    let instance = report["instance"].as_str()?;
    let mut out = format!("{excluded}{instance}{of}, measured {} of the time", percent(measured));
    if is_provisional {
        out.push_str(", less than a period so far: budgets are those of a whole one at the present rate");
    }
    if let Some(minutes @ 2..) = report["unshared_rows"].as_u64() {
        let _ = write!(out, "; {minutes} minutes are not in the store yet");
    }
    if report["stored"] == false {
        out.push_str("; slo.db cannot be used: see the log");
    }
    out.push('\n');
    Some(out)
}

pub(super) fn percent_or_dash(ppm: &Value) -> String {
    ppm.as_i64().map_or_else(|| "-".into(), percent)
}

/// Parts per million as percent, without zeros at the end.
pub(super) fn percent(ppm: i64) -> String {
    let sign = if ppm < 0 { "-" } else { "" };
    let ppm = ppm.unsigned_abs();
    let text = format!("{sign}{}.{:04}", ppm / 10_000, ppm % 10_000);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

fn span(seconds: u64) -> String {
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3_600 if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        60..600 => format!("{seconds} s"),
        600..7_200 if !seconds.is_multiple_of(3_600) => format!("{} min", seconds / 60),
        ..172_800 if seconds != 86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn report(left_ppm: i64, state: &str) -> Value {
        let tier = json!({
            "name": "fast", "urgency": "page", "long_s": 1_800, "short_s": 150, "threshold_ppm": 16_800,
            "long_ppm": 20_000, "short_ppm": null, "over": false,
        });
        let part = json!({
            "part": "publish", "unit": "messages", "good": 10_067_300, "bad": 12_700, "excluded": 3, "spent": 12_700,
            "allowed": 10_080, "now_ppm": 998_740, "budget_left_ppm": left_ppm, "burn_1h_milli": null, "burn_6h_milli": 1_100,
            "gone_s": null, "state": state, "tiers": [tier],
        });
        json!({
            "judged": 1, "instance": "gw-1", "stored": true, "objectives": [{
                "name": "delivery", "allowed_ppm": 1_000, "period_days": 7, "state": state, "worst": "publish",
                "measured_ppm": 999_800, "provisional": false, "parts": [part],
            }],
        })
    }

    #[test]
    fn objective_is_a_line_and_a_spent_budget_a_sentence() {
        let expected = "\
OBJECTIVE  PROMISED      NOW       BUDGET LEFT  1 H  6 H   GONE IN  BAD OF ALLOWED
delivery   99.9 % / 7 d  99.874 %  -26 %        -    1.1×  gone     12700 of 10080 messages
delivery is not kept: its budget is spent; seawall slo delivery
gw-1, measured 99.98 % of the time
";
        let report = report(-260_000, "spent");
        assert_eq!(table(&report).as_deref(), Some(expected));
        assert!(is_spent(&report));
    }

    #[test]
    fn last_line_says_whose_events_these_are() {
        for (instances, unshared_rows, expected) in [
            (1, 0, "gw-1, measured 99.98 % of the time\n"),
            (3, 1, "gw-1 for 3 instances, measured 99.98 % of the time\n"),
            (1, 4, "gw-1 alone, measured 99.98 % of the time; 4 minutes are not in the store yet\n"),
        ] {
            let mut report = report(400_000, "kept");
            report["instances"] = instances.into();
            report["unshared_rows"] = unshared_rows.into();
            assert_eq!(footer(&report).as_deref(), Some(expected));
        }
    }

    #[test]
    fn objective_by_name_has_its_tiers() {
        let report = report(400_000, "kept");
        let text = details(&report).expect("a report");
        assert!(text.contains("publish: 10067300 good, 12700 bad, 3 excluded (events)"), "{text}");
        assert!(text.contains("fast    page    quiet  at   1.68 %: 2 % in 30 min, - in 150 s"), "{text}");
        assert!(!is_spent(&report));
        assert_eq!(table(&json!({})), None);
    }
}
