//! `seawall cluster`: the instances that serve together, their states and their load, as the running gateway knows them.

use super::config::Config;
use super::output::{self, counted};
use super::remote::Remote;
use super::running::RunningGateway;
use clap::Args;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::time::Duration;

const PATH: &str = "/cluster";
/// Time between two requests while watching.
const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// Clears the screen of a terminal.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

#[derive(Args, Debug)]
pub(super) struct ClusterArguments {
    /// Print the list again each second
    #[arg(long, conflicts_with = "json")]
    watch: bool,
    /// Print the answer of the gateway as JSON
    #[arg(long)]
    json: bool,
}

impl ClusterArguments {
    /// Asks the gateway, and prints its answer. The exit code is 1 if there is none.
    pub(super) fn run(&self, config: &Config, running: Option<&RunningGateway>) -> ExitCode {
        let shown = Remote::of(config, running).and_then(|remote| {
            loop {
                let answer = remote.ask("GET", PATH).map_err(|failure| remote.message(failure))?;
                let table = table(&answer.body).filter(|_| answer.status == 200);
                let table = table.ok_or_else(|| remote.message(remote.not_a_gateway(PATH)))?;
                if !self.watch {
                    return Ok(output::print(if self.json { &answer.body } else { &table }));
                }
                let (before, after) = if io::stdout().is_terminal() { (CLEAR, "") } else { ("", "\n") };
                let code = output::print(&format!("{before}{table}{after}"));
                if code != ExitCode::SUCCESS {
                    return Ok(code);
                }
                std::thread::park_timeout(LOOK_PERIOD);
            }
        });
        shown.unwrap_or_else(|message| {
            output::fail(&message);
            ExitCode::FAILURE
        })
    }
}

const HEAD: [&str; 13] = [
    "NAME", "STATE", "UP", "CONNS", "±MEAN", "CLOSE/S", "SUBS", "PUB/S", "P99", "DELIV/S", "MEM", "CPU",
    "TURN",
];

/// A row: its cells, or the first two and a sentence.
enum TableRow {
    Known(Box<[String; HEAD.len()]>),
    Unknown([String; 2], String),
}

/// The answer as a table; `None` if it is no such answer.
fn table(body: &str) -> Option<String> {
    let body: Value = serde_json::from_str(body).ok()?;
    let instances = body["instances"].as_array()?;
    let leader = body["leader"].as_str();
    let known = instances.iter().filter(|one| one["connections"].is_u64()).count();
    let mean = body["totals"]["connections"].as_u64()? as f64 / known.max(1) as f64;
    let now = body["now"].as_u64()?;
    let rows: Vec<TableRow> =
        instances.iter().map(|instance| row(instance, leader, mean, now)).collect::<Option<_>>()?;
    let mut widths = HEAD.map(|head| head.chars().count());
    for row in &rows {
        let cells: &[String] = match row {
            TableRow::Known(cells) => cells.as_slice(),
            TableRow::Unknown(cells, _) => cells,
        };
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = line(&HEAD.map(String::from), &widths);
    for row in &rows {
        match row {
            TableRow::Known(cells) => out.push_str(&line(cells.as_slice(), &widths)),
            TableRow::Unknown(cells, sentence) => {
                let start = line(cells, &widths);
                writeln!(out, "{}  {sentence}", start.trim_end_matches('\n')).ok()?;
            }
        }
    }
    out.push_str(&summary(&body)?);
    Some(out)
}

/// Names and states are left-aligned, numbers right-aligned.
fn line(cells: &[String], widths: &[usize]) -> String {
    let aligned = cells.iter().zip(widths).enumerate().map(|(at, (cell, width))| match at {
        0 | 1 => format!("{cell:<width$}"),
        _ => format!("{cell:>width$}"),
    });
    format!("{}\n", aligned.collect::<Vec<_>>().join("  "))
}

fn row(instance: &Value, leader: Option<&str>, mean: f64, now: u64) -> Option<TableRow> {
    let (name, state) = (instance["name"].as_str()?, instance["state"].as_str()?);
    // An instance that ended may have had the same name.
    let leads = leader == Some(name) && !matches!(state, "gone" | "left");
    let named = if leads { format!("{name} *") } else { name.to_owned() };
    let start = [named, state.to_owned()];
    let Some(connections) = instance["connections"].as_u64() else {
        let seen = duration(Duration::from_millis(instance["age_ms"].as_u64()?));
        let sentence = match state {
            "gone" | "left" => format!("last seen {seen} ago"),
            "isolated" => "does not reach Redis; its clients are served, and presence is incomplete".into(),
            _ => "its load is not known".into(),
        };
        return Some(TableRow::Unknown(start, sentence));
    };
    let number = |name: &str| instance[name].as_u64();
    let up = Duration::from_millis(now.saturating_sub(number("since")?));
    let [name, state] = start;
    let over = if mean > 0.0 { (connections as f64 / mean - 1.0) * 100.0 } else { 0.0 };
    Some(TableRow::Known(Box::new([
        name,
        state,
        duration(up),
        connections.to_string(),
        format!("{over:+.1} %"),
        closes(&instance["closes_per_s"]),
        number("subscriptions")?.to_string(),
        number("publishes_per_s")?.to_string(),
        number("publish_p99_us").map_or("–".into(), milliseconds),
        number("deliveries_per_s")?.to_string(),
        format!("{} MB", number("memory_bytes")? / 1_000_000),
        format!("{} %", number("cpu_percent")?),
        format!("{:.0} ms", instance["turn_ms"].as_f64()?),
    ])))
}

/// The ends of WebSockets a second; of an older version, which does not count them, a dash.
fn closes(by_code: &Value) -> String {
    let Some(by_code) = by_code.as_object() else { return "–".into() };
    by_code.values().filter_map(Value::as_u64).sum::<u64>().to_string()
}

/// Microseconds in milliseconds, with a decimal below ten.
fn milliseconds(us: u64) -> String {
    let ms = us as f64 / 1_000.0;
    if ms < 9.95 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}

fn summary(body: &Value) -> Option<String> {
    let totals = &body["totals"];
    let (instances, connections) = (totals["instances"].as_u64()?, totals["connections"].as_u64()?);
    let mut out = format!("{}, {}", counted(instances, "instance"), counted(connections, "connection"));
    let spread = &body["spread"];
    if let (Some(min), Some(max)) = (spread["min_over_mean"].as_f64(), spread["max_over_mean"].as_f64()) {
        write!(out, ", spread {min:.2}–{max:.2}").ok()?;
    }
    let leader = body["leader"].as_str();
    write!(out, "; {}", leader.map_or("no leader is known".into(), |name| format!("{name} leads"))).ok()?;
    if body["complete"].as_bool() == Some(false) {
        out.push_str("; incomplete");
    }
    if body["redis"]["up"].as_bool() == Some(false) {
        out.push_str("; this instance does not reach Redis");
    }
    for dependency in ["store", "bus"] {
        let is_down = |one: &&Value| one[dependency] == "down";
        let at = body["instances"].as_array()?.iter().filter(is_down).filter_map(|one| one["name"].as_str());
        let at: Vec<&str> = at.collect();
        if !at.is_empty() {
            write!(out, "; the {dependency} is down at {}", at.join(", ")).ok()?;
        }
    }
    out.push('\n');
    let shared: Vec<&str> = body["shared_names"].as_array()?.iter().filter_map(Value::as_str).collect();
    if !shared.is_empty() {
        writeln!(out, "several instances are named {}: give each its own server.instance", shared.join(", "))
            .ok()?;
    }
    Some(out)
}

/// The two largest units, such as `2d 4h`.
fn duration(length: Duration) -> String {
    let seconds = length.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, ..) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"now":90000000,"complete":false,"leader":"gw-1","redis":{"up":false,"latency_us":210},
        "instances":[
          {"name":"gw-1","state":"alive","age_ms":0,"version":"0.1.0","since":0,"phase":"serving","connections":30,
           "connections_max":100,"subscriptions":41,"connects_per_s":1,"publishes_per_s":2,"publish_p99_us":13900,"deliveries_per_s":3,
           "closes_per_s":{"1006":1,"1011":0,"1012":0,"1013":0,"4408":0,"other":2},
           "memory_bytes":26000000,"cpu_percent":8,"turn_ms":2.1,"level":"down","store":"down","order":0},
          {"name":"gw-2","state":"isolated","age_ms":400},
          {"name":"gw-3","state":"alive","age_ms":400},
          {"name":"gw-30","state":"gone","age_ms":74000}],
        "totals":{"instances":2,"connections":30,"subscriptions":41,"publishes_per_s":2,"deliveries_per_s":3},
        "spread":{"max_over_mean":1.0,"min_over_mean":1.0},"shared_names":["gw-2"]}"#;

    #[test]
    fn answer_is_a_table_that_says_what_it_does_not_know() {
        let expected = "\
NAME    STATE        UP  CONNS   ±MEAN  CLOSE/S  SUBS  PUB/S    P99  DELIV/S    MEM  CPU  TURN
gw-1 *  alive     1d 1h     30  +0.0 %        3    41      2  14 ms        3  26 MB  8 %  2 ms
gw-2    isolated  does not reach Redis; its clients are served, and presence is incomplete
gw-3    alive     its load is not known
gw-30   gone      last seen 1m 14s ago
2 instances, 30 connections, spread 1.00–1.00; gw-1 leads; incomplete; this instance does not reach Redis; the store is down at gw-1
several instances are named gw-2: give each its own server.instance
";
        assert_eq!(table(BODY).expect("a table"), expected);
        assert_eq!(table("<html>"), None);
        assert_eq!(table("{}"), None);
    }

    #[test]
    fn publish_latencies_have_a_decimal_while_they_are_short() {
        assert_eq!([700, 9_940, 9_960, 250_000].map(milliseconds), ["0.7 ms", "9.9 ms", "10 ms", "250 ms"]);
    }

    #[test]
    fn durations_have_two_units() {
        let shown = [5, 65, 3_700, 187_200].map(|seconds| duration(Duration::from_secs(seconds)));
        assert_eq!(shown, ["5s", "1m 5s", "1h 1m", "2d 4h"]);
    }
}
