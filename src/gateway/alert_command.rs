//! `seawall alert`: incidents of the running gateway, and orders about them.

use super::config::Config;
use super::output;
use super::remote::{Remote, RemoteAnswer, message_of};
use super::running::RunningGateway;
use crate::alert::channel::AlertChannel;
use crate::alert::text::{span, utc};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const PATH: &str = "/alerts";
/// An incident fires, or a test failed.
const FIRES: u8 = 1;
/// Nothing is known.
const UNKNOWN: u8 = 2;
/// The wait for the answer of a channel that is tested. It has 10 s for each of two tries.
const TEST_TIMEOUT: Duration = Duration::from_secs(25);
/// The time between two looks at a test.
const LOOK: Duration = Duration::from_millis(300);

#[derive(Args, Debug)]
pub(super) struct AlertArguments {
    /// The number of an incident, to print all about it [default: a line for each]
    #[arg(value_name = "N")]
    number: Option<u64>,
    /// Print the answer of the gateway as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum AlertCommand {
    /// Acknowledge an incident: it is not sent again, and PagerDuty is notified that an operator works on it
    Ack {
        /// The number of the incident
        #[arg(value_name = "N")]
        number: u64,
    },
    /// Hold the notices of alerts for a while; what still fires at the end is sent
    Silence {
        /// The beginning of alerts, like `slo/delivery` or `dependency/`; empty for all
        #[arg(value_name = "ALERT", required_unless_present = "end")]
        prefix: Option<String>,
        /// How long, like 30m or 2h, at most 24h
        #[arg(long = "for", value_name = "TIME", value_parser = minutes, default_value = "1h")]
        minutes: u64,
        /// The reason, for other operators
        #[arg(long, value_name = "TEXT", default_value = "")]
        why: String,
        /// End the silence of this number instead
        #[arg(long, value_name = "N", conflicts_with_all = ["prefix", "why"])]
        end: Option<u64>,
    },
    /// Send the begin and the end of a test incident through the running gateway, and print the answers; exit with 1 if one
    /// failed
    Test {
        /// The channel [default: all that are configured]
        #[arg(value_name = "CHANNEL", value_parser = AlertChannel::ALL.map(AlertChannel::as_str))]
        channel: Option<String>,
    },
    /// Send the notices of a channel again that were given up
    Resend {
        /// The channel
        #[arg(value_name = "CHANNEL", value_parser = AlertChannel::ALL.map(AlertChannel::as_str))]
        channel: String,
    },
}

/// Reads `30m` or `2h` as minutes.
fn minutes(text: &str) -> Result<u64, String> {
    let (number, unit) = match (text.strip_suffix('m'), text.strip_suffix('h')) {
        (Some(number), _) => (number, 1),
        (None, Some(number)) => (number, 60),
        (None, None) => (text, 0),
    };
    let minutes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    minutes
        .filter(|minutes| (1..=1_440).contains(minutes))
        .ok_or_else(|| "a time like 30m or 2h, at most 24h".to_owned())
}

/// Runs the command.
pub(super) fn run(
    command: Option<&AlertCommand>,
    arguments: &AlertArguments,
    config: &Config,
    running: Option<&RunningGateway>,
) -> ExitCode {
    let done = Remote::of(config, running).and_then(|remote| match command {
        None => show(&remote, arguments),
        Some(AlertCommand::Ack { number }) => {
            order(&remote, "POST", &format!("{PATH}/{number}/ack"), "")?;
            Ok((format!("incident {number} is acknowledged\n"), ExitCode::SUCCESS))
        }
        Some(AlertCommand::Silence { end: Some(number), .. }) => {
            order(&remote, "DELETE", &format!("{PATH}/silences/{number}"), "")?;
            Ok((format!("silence {number} is over\n"), ExitCode::SUCCESS))
        }
        Some(AlertCommand::Silence { prefix, minutes, why, end: None }) => {
            let prefix = prefix.clone().unwrap_or_default();
            let body = json!({"prefix": prefix, "minutes": minutes, "why": why}).to_string();
            let number = order(&remote, "POST", "/alerts/silences", &body)?;
            let text = format!("silence {number} for {minutes} min: seawall alert silence --end {number}\n");
            Ok((text, ExitCode::SUCCESS))
        }
        Some(AlertCommand::Test { channel }) => test(&remote, channel.as_deref()),
        Some(AlertCommand::Resend { channel }) => {
            let count = order(&remote, "POST", "/alerts/resend", &json!({"channel": channel}).to_string())?;
            Ok((format!("{count} notices wait for {channel} again\n"), ExitCode::SUCCESS))
        }
    });
    match done {
        Ok((text, code)) => match output::print(&text) {
            printed if printed == ExitCode::SUCCESS => code,
            printed => printed,
        },
        Err(message) => {
            output::fail(&message);
            ExitCode::from(UNKNOWN)
        }
    }
}

/// Gives an order, and returns the number in its answer.
fn order(remote: &Remote, method: &str, path: &str, body: &str) -> Result<u64, String> {
    let RemoteAnswer { status, body } =
        remote.send(method, path, body).map_err(|failure| remote.message(failure))?;
    let unknown = || remote.message(remote.not_a_gateway(path));
    if status != 202 {
        return Err(message_of(&body).unwrap_or_else(unknown));
    }
    let answer: Option<Value> = serde_json::from_str(&body).ok();
    answer.and_then(|answer| answer["number"].as_u64()).ok_or_else(unknown)
}

fn read(remote: &Remote, path: &str) -> Result<(Value, String), String> {
    remote.read("GET", path, "", |body| Some((serde_json::from_str(body).ok()?, body.to_owned())))
}

fn show(remote: &Remote, arguments: &AlertArguments) -> Result<(String, ExitCode), String> {
    let path = arguments.number.map_or_else(|| PATH.to_owned(), |number| format!("{PATH}/{number}"));
    let (report, body) = read(remote, &path)?;
    let unknown = || remote.message(remote.not_a_gateway(&path));
    let text = match arguments.number {
        None => table(&report),
        Some(_) => details(&report),
    };
    let fires = match &report["incidents"] {
        Value::Array(incidents) => incidents.iter().any(is_open),
        _ => is_open(&report),
    };
    let code = if fires { ExitCode::from(FIRES) } else { ExitCode::SUCCESS };
    Ok((if arguments.json { body } else { text.ok_or_else(unknown)? }, code))
}

fn is_open(incident: &Value) -> bool {
    incident["end"].is_null()
}

/// A line for each incident, then silences and channels.
fn table(report: &Value) -> Option<String> {
    let judged = report["judged"].as_u64()?;
    let mut out = String::new();
    let incidents = report["incidents"].as_array()?;
    for incident in incidents {
        let (number, alert) = (incident["number"].as_u64()?, incident["alert"].as_str()?);
        let since = incident["since"].as_u64()?;
        let state = match (&incident["end"], incident["held"].as_str()) {
            (Value::Null, Some(held)) => format!("held: {}", held.replace('_', " ")),
            (Value::Null, None) if incident["acknowledged"].is_u64() => "acknowledged".into(),
            (Value::Null, None) => incident["severity"].as_str()?.into(),
            (end, _) => format!("over after {}", span(end["at_ms"].as_u64()?.saturating_sub(since))),
        };
        let title = incident["title"].as_str()?;
        writeln!(out, "#{number:<4} {state:<20} {:<20}  {alert}: {title}", utc(since)).ok()?;
    }
    if incidents.is_empty() {
        out.push_str("no incidents\n");
    }
    for silence in report["silences"].as_array()? {
        let left = span(silence["until_ms"].as_u64()?.saturating_sub(judged));
        let (number, prefix) = (silence["number"].as_u64()?, silence["prefix"].as_str()?);
        writeln!(out, "silence {number}: {prefix}* for {left}: {}", silence["why"].as_str()?).ok()?;
    }
    let channels = report["channels"].as_array()?;
    for channel in channels {
        let name = channel["channel"].as_str()?;
        let (waiting, dead) = (channel["waiting"].as_u64()?, channel["dead"].as_u64()?);
        let state =
            channel["fault"].as_str().map_or_else(|| "ok".to_owned(), |fault| format!("fails: {fault}"));
        writeln!(out, "{name}: {state}, {waiting} waiting, {dead} given up").ok()?;
    }
    if channels.is_empty() {
        out.push_str("no channel is configured: incidents go to the log alone\n");
    }
    if report["mode"] == "observe" {
        out.push_str("alert.mode is observe: nothing is sent\n");
    }
    if report["sends"] == false {
        out.push_str("another instance of the cluster sends\n");
    }
    Some(out)
}

/// All about one incident.
fn details(incident: &Value) -> Option<String> {
    let since = incident["since"].as_u64()?;
    let mut out = format!("#{} {}\n", incident["number"].as_u64()?, incident["title"].as_str()?);
    writeln!(out, "alert     {}, {}", incident["alert"].as_str()?, incident["severity"].as_str()?).ok()?;
    writeln!(out, "since     {}", utc(since)).ok()?;
    if let Some(at) = incident["end"]["at_ms"].as_u64() {
        let how = incident["end"]["all_clear"].as_str()?.replace('_', " ");
        writeln!(out, "over      {} ({how}), after {}", utc(at), span(at.saturating_sub(since))).ok()?;
    }
    if let Some(at) = incident["acknowledged"].as_u64() {
        writeln!(out, "ack       {}", utc(at)).ok()?;
    }
    if let Some(held) = incident["held"].as_str() {
        writeln!(out, "held      {}", held.replace('_', " ")).ok()?;
    }
    if let Some(reference) = incident["reference"].as_str() {
        writeln!(out, "reference {reference}").ok()?;
    }
    writeln!(out, "runbook   {}", incident["runbook"].as_str()?).ok()?;
    if !incident["text"].as_str()?.is_empty() {
        writeln!(out, "{}", incident["text"].as_str()?).ok()?;
    }
    for answer in incident["answers"].as_array()? {
        let word = |name: &str| answer[name].as_str();
        let (channel, event, fate) = (word("channel")?, word("event")?, word("fate")?);
        writeln!(out, "{channel}: {event} {fate}, {} ms: {}", answer["took_ms"].as_u64()?, word("answer")?)
            .ok()?;
    }
    Some(out)
}

/// Tests channels one after the other.
fn test(remote: &Remote, channel: Option<&str>) -> Result<(String, ExitCode), String> {
    let (report, _) = read(remote, PATH)?;
    let configured = report["channels"].as_array().into_iter().flatten();
    let names: Vec<String> = match channel {
        Some(name) => vec![name.to_owned()],
        None => configured.filter_map(|channel| channel["channel"].as_str().map(str::to_owned)).collect(),
    };
    if names.is_empty() {
        return Err("no channel is configured: see docs/alerts.md".into());
    }
    let (mut out, mut code) = (String::new(), ExitCode::SUCCESS);
    for name in names {
        let number = order(remote, "POST", "/alerts/test", &json!({"channel": name}).to_string())?;
        let (text, is_sent) = await_test(remote, number)?;
        out.push_str(&text);
        if !is_sent {
            code = ExitCode::from(FIRES);
        }
    }
    Ok((out, code))
}

/// Waits until the end of the test was answered, or a try failed.
#[allow(clippy::disallowed_methods, reason = "a command waits for the answer of a service")]
fn await_test(remote: &Remote, number: u64) -> Result<(String, bool), String> {
    let deadline = Instant::now() + TEST_TIMEOUT;
    loop {
        let (incident, _) = read(remote, &format!("{PATH}/{number}"))?;
        let answer = &incident["answers"][0];
        let (fate, event) = (answer["fate"].as_str(), answer["event"].as_str());
        let is_sent = (fate, event) == (Some("sent"), Some("ended"));
        let has_failed = match fate {
            Some("dead") => true,
            Some("waiting") => answer["answer"].as_str().is_some_and(|text| !text.is_empty()),
            _ => false,
        };
        if is_sent || has_failed || Instant::now() >= deadline {
            let name = answer["channel"].as_str().unwrap_or("the channel");
            let text = answer["answer"].as_str().unwrap_or("no answer yet");
            let word = if is_sent { "ok" } else { "failed" };
            return Ok((
                format!("{name}: {word}, {} ms: {text}\n", answer["took_ms"].as_u64().unwrap_or(0)),
                is_sent,
            ));
        }
        std::thread::park_timeout(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Value {
        let open = json!({
            "number": 17, "alert": "dependency/store", "severity": "critical", "title": "store is down", "text": "Down.",
            "since": 1_795_507_900_000_u64, "reference": "k3f9x2", "held": "silenced",
            "runbook": "docs/outages.md#runbook-store-postgresql",
            "answers": [{"channel": "slack", "event": "began", "fate": "sent", "answer": "200 ok", "took_ms": 80}],
        });
        let over = json!({
            "number": 16, "alert": "slo/delivery/burn", "severity": "critical", "title": "messages are not stored",
            "since": 1_795_507_900_000_u64, "end": {"at_ms": 1_795_508_500_000_u64, "all_clear": "recovered"},
        });
        json!({
            "judged": 1_795_507_960_000_u64, "mode": "send", "sends": true, "incidents": [open, over],
            "silences": [{"number": 3, "prefix": "dep", "until_ms": 1_795_508_000_000_u64, "why": "move"}],
            "channels": [{"channel": "slack", "waiting": 1, "dead": 0, "fault": "503"}],
        })
    }

    #[test]
    fn incident_is_a_line_and_all_about_it_is_a_page() {
        let expected = "\
#17   held: silenced       2026-11-24T08:11:40Z  dependency/store: store is down
#16   over after 10 min    2026-11-24T08:11:40Z  slo/delivery/burn: messages are not stored
silence 3: dep* for 40 s: move
slack: fails: 503, 1 waiting, 0 given up
";
        assert_eq!(table(&report()).as_deref(), Some(expected));
        let page = details(&report()["incidents"][0]).expect("a page");
        for part in [
            "#17 store is down",
            "held      silenced",
            "reference k3f9x2",
            "slack: began sent, 80 ms: 200 ok",
        ] {
            assert!(page.contains(part), "{page}");
        }
    }

    #[test]
    fn time_of_a_silence_is_minutes_or_hours() {
        assert_eq!((minutes("30m"), minutes("24h")), (Ok(30), Ok(1_440)));
        for wrong in ["", "0m", "25h", "30", "m", "-1h", "1d", "99999999999999999999h"] {
            assert!(minutes(wrong).is_err(), "{wrong}");
        }
    }
}
