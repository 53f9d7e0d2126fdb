//! `seawall relay status|dead|skip|try|resume`: the relay of the running gateway, through its admin listener.

use super::config::Config;
use super::config::certificate::date;
use super::lookup_command::encoded;
use super::output::{self, counted};
use super::remote::Remote;
use super::running::RunningGateway;
use crate::alert::text::span;
use crate::id::{ChannelName, INTEGER_MAX};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::process::ExitCode;

const PATH: &str = "/relay";

#[derive(Debug, Subcommand)]
pub(super) enum RelayCommand {
    /// Print each route: channels that wait, the oldest message, attempts, requests and dead letters, and the channels that are stuck
    Status(RelayStatusArguments),
    /// Print the dead letters: messages that no backend has taken, with their causes
    Dead(RelayDeadArguments),
    /// Give up what a channel waits for, up to an offset: its messages become dead letters, and the next one is sent
    Skip(RelaySkipArguments),
    /// Send a signed test to the backend of a route and print the response; exit with 1 if it would not have been taken
    Try {
        /// The name of the route
        #[arg(long, value_name = "NAME", value_parser = route_name)]
        route: String,
    },
    /// End the pause of a route at this instance; a backend begins it with status 410
    Resume {
        /// The name of the route
        #[arg(long, value_name = "NAME", value_parser = route_name)]
        route: String,
    },
}

#[derive(Args, Debug)]
pub(super) struct RelayStatusArguments {
    /// Only this route
    #[arg(long, value_name = "NAME", value_parser = route_name)]
    route: Option<String>,
    /// Print the answer of the gateway as JSON
    #[arg(long, conflicts_with = "route")]
    json: bool,
}

#[derive(Args, Debug)]
pub(super) struct RelayDeadArguments {
    /// Only those of this route
    #[arg(long, value_name = "NAME", value_parser = route_name)]
    route: Option<String>,
    /// Only those after this number
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    after: u64,
    /// Print the answer of the gateway as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(super) struct RelaySkipArguments {
    /// The channel
    #[arg(long, value_name = "CHANNEL", value_parser = channel_name)]
    channel: String,
    /// The offset of the last message to give up; `seawall relay status` prints where a channel is
    #[arg(long, value_name = "OFFSET", value_parser = offset)]
    to: u64,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

fn route_name(text: &str) -> Result<String, String> {
    let is_name =
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    let rule =
        || "must be the name of a route, as in [[relay]]; `seawall relay status` lists them".to_owned();
    is_name.then(|| text.to_owned()).ok_or_else(rule)
}

fn channel_name(text: &str) -> Result<String, String> {
    let rule =
        || format!("must be {}; `seawall relay status` lists channels that are stuck", ChannelName::RULE);
    ChannelName::check(text).map(|()| text.to_owned()).map_err(|_| rule())
}

fn offset(text: &str) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| (1..=INTEGER_MAX).contains(number));
    number.ok_or_else(|| {
        "must be an offset, a whole number from 1; `seawall relay status` prints them".to_owned()
    })
}

impl RelayCommand {
    /// Asks the gateway, and prints its answer. The exit code is 1 if it fails.
    pub(super) fn run(&self, config: &Config, running: Option<&RunningGateway>) -> ExitCode {
        let outcome = Remote::of(config, running).and_then(|remote| match self {
            RelayCommand::Status(arguments) => arguments.run(&remote),
            RelayCommand::Dead(arguments) => arguments.run(&remote),
            RelayCommand::Skip(arguments) => arguments.run(&remote),
            RelayCommand::Try { route } => {
                remote.read("POST", &format!("{PATH}/routes/{}/try", encoded(route)), "", tried)
            }
            RelayCommand::Resume { route } => {
                let path = format!("{PATH}/routes/{}/resume", encoded(route));
                remote.read("POST", &path, "", |body| resumed(body).map(succeeded))
            }
        });
        match outcome {
            Ok(CommandOutcome { text, code }) => match output::print(&text) {
                ExitCode::SUCCESS => code,
                failed => failed,
            },
            Err(message) => {
                output::fail(&message);
                ExitCode::FAILURE
            }
        }
    }
}

/// The text to print, and the exit code if it can be printed.
#[derive(Debug, PartialEq)]
struct CommandOutcome {
    text: String,
    code: ExitCode,
}

fn succeeded(text: String) -> CommandOutcome {
    CommandOutcome { text, code: ExitCode::SUCCESS }
}

impl RelayStatusArguments {
    fn run(&self, remote: &Remote) -> Result<CommandOutcome, String> {
        remote.read("GET", PATH, "", |body| match self.json {
            true => Some(succeeded(body.to_owned())),
            false => status(body, self.route.as_deref()).map(succeeded),
        })
    }
}

impl RelayDeadArguments {
    fn run(&self, remote: &Remote) -> Result<CommandOutcome, String> {
        let route = self.route.as_ref().map(|name| format!("&route={name}")).unwrap_or_default();
        let path = format!("{PATH}/dead?after={}{route}", self.after);
        remote.read("GET", &path, "", |body| match self.json {
            true => Some(succeeded(body.to_owned())),
            false => dead(body).map(succeeded),
        })
    }
}

impl RelaySkipArguments {
    fn run(&self, remote: &Remote) -> Result<CommandOutcome, String> {
        if !self.yes && !self.is_confirmed()? {
            return Err("not confirmed; nothing was changed".into());
        }
        let body = json!({"channel": self.channel, "to": self.to}).to_string();
        let (mut cursor_before, mut dead, mut answers) = (None, 0, 0);
        // The gateway moves a cursor by a bounded number of messages at once.
        loop {
            let (cursor, more_dead, more_answers) =
                remote.read("POST", &format!("{PATH}/skip"), &body, skipped)?;
            dead += more_dead;
            answers += more_answers;
            if cursor >= self.to || cursor_before == Some(cursor) {
                let text = format!(
                    "{} continues after offset {cursor}: {} given up, {} ended\n",
                    self.channel,
                    counted(dead, "message"),
                    counted(answers, "answer")
                );
                return Ok(succeeded(text));
            }
            cursor_before = Some(cursor);
        }
    }

    /// Asks the person at the terminal.
    fn is_confirmed(&self) -> Result<bool, String> {
        if !io::stdin().is_terminal() {
            return Err("there is no terminal to ask for confirmation at: repeat it with --yes".into());
        }
        let failed = |error: io::Error| format!("cannot ask for confirmation: {error}");
        let mut err = io::stderr();
        let asked = format!(
            "Messages of {} up to offset {} will never be sent to the backend, and their answers end as failed. Continue? [y/N] ",
            self.channel, self.to
        );
        err.write_all(asked.as_bytes()).and_then(|()| err.flush()).map_err(failed)?;
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map_err(failed)?;
        Ok(matches!(line.trim(), "y" | "Y" | "yes"))
    }
}

/// A block for each route, and a line for each channel that is stuck; `None` if it is no such answer.
fn status(body: &str, only: Option<&str>) -> Option<String> {
    let body: Value = serde_json::from_str(body).ok()?;
    let now = body["now_ms"].as_u64()?;
    let mut out = String::new();
    for route in body["routes"].as_array()? {
        let name = route["route"].as_str()?;
        if only.is_some_and(|only| only != name) {
            continue;
        }
        let number = |field: &str| route[field].as_u64();
        let paused = if route["paused"].as_bool()? { "  PAUSED (410): seawall relay resume" } else { "" };
        writeln!(out, "{name}{paused}").ok()?;
        let oldest = number("oldest_ms").map(|at| format!(", the oldest message {}", age(now, at)));
        let waiting = counted(number("waiting")?, "channel");
        writeln!(out, "  waiting    {waiting}{}", oldest.unwrap_or_default()).ok()?;
        let (in_flight, claims) = (number("in_flight")?, number("claims")?);
        let most = number("concurrency")?;
        writeln!(
            out,
            "  requests   {in_flight} of {most} here; {} at all instances",
            counted(claims, "claim")
        )
        .ok()?;
        let outcomes = route["requests"].as_object()?;
        let outcomes = outcomes.iter().filter(|(_, count)| count.as_u64() != Some(0));
        let outcomes: Vec<String> = outcomes.map(|(word, count)| format!("{word} {count}")).collect();
        if !outcomes.is_empty() {
            writeln!(out, "  outcomes   {} since the start", outcomes.join(", ")).ok()?;
        }
        writeln!(out, "  attempts   {} at most", number("attempts")?).ok()?;
        writeln!(out, "  dead       {}", counted(number("dead")?, "letter")).ok()?;
    }
    if out.is_empty() {
        out.push_str(if only.is_some() { "no route has this name\n" } else { "no route is configured\n" });
    }
    for channel in body["stuck"].as_array()? {
        let (name, cursor) = (channel["channel"].as_str()?, channel["cursor"].as_u64()?);
        let (head, attempts) = (channel["head"].as_u64()?, channel["attempts"].as_u64()?);
        let oldest =
            channel["oldest_ms"].as_u64().map(|at| format!(", {}", age(now, at))).unwrap_or_default();
        writeln!(out, "{name}  at {cursor} of {head}, {}{oldest}", counted(attempts, "attempt")).ok()?;
    }
    match body["unrouted"].as_u64()? {
        0 => {}
        count => writeln!(
            out,
            "{} waiting without a route: add one that matches, or drop them",
            counted(count, "channel")
        )
        .ok()?,
    }
    if body["complete"].as_bool() == Some(false) {
        out.push_str("more channels wait than were counted\n");
    }
    Some(out)
}

fn age(now_ms: u64, at_ms: u64) -> String {
    format!("{} old", span(now_ms.saturating_sub(at_ms)))
}

fn dead(body: &str) -> Option<String> {
    let body: Value = serde_json::from_str(body).ok()?;
    let mut out = String::new();
    for letter in body["dead"].as_array()? {
        let (number, route) = (letter["number"].as_u64()?, letter["route"].as_str()?);
        let (channel, cause) = (letter["channel"].as_str()?, letter["cause"].as_str()?);
        let (offset, through) = (letter["offset"].as_u64()?, letter["through"].as_u64()?);
        let place = if through > offset { format!("{offset}–{through}") } else { offset.to_string() };
        let status = letter["status"].as_u64().map(|status| format!(" ({status})")).unwrap_or_default();
        let at = date(letter["time_ms"].as_u64()? / 1_000);
        writeln!(out, "#{number}  {at}  {route}  {channel} {place}  {cause}{status}").ok()?;
    }
    if out.is_empty() {
        out.push_str("no dead letters\n");
    }
    if let Some(next) = body["next"].as_u64() {
        writeln!(out, "more: seawall relay dead --after {next}").ok()?;
    }
    Some(out)
}

/// The cursor, the messages that were given up, and their answers that ended.
fn skipped(body: &str) -> Option<(u64, u64, u64)> {
    let body: Value = serde_json::from_str(body).ok()?;
    Some((body["cursor"].as_u64()?, body["dead"].as_u64()?, body["answers"].as_u64()?))
}

fn resumed(body: &str) -> Option<String> {
    let body: Value = serde_json::from_str(body).ok()?;
    let name = body["route"].as_str()?;
    Some(match body["was_paused"].as_bool()? {
        true => format!("{name} sends again\n"),
        false => format!("{name} was not paused at this instance\n"),
    })
}

fn tried(body: &str) -> Option<CommandOutcome> {
    let body: Value = serde_json::from_str(body).ok()?;
    let (outcome, took) = (body["outcome"].as_str()?, body["took_ms"].as_u64()?);
    let meaning = match outcome {
        "taken" => "taken: a message would not be sent again",
        "later" => "not now: a message would be sent again, and its channel would wait",
        "gone" => "gone: the route would pause",
        "refused" => "refused: a message would become a dead letter",
        _ => outcome,
    };
    let code = if outcome == "taken" { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    let mut text = match (body["status"].as_u64(), body["error"].as_str()) {
        (Some(status), _) => format!("{status} in {took} ms: {meaning}\n"),
        (None, Some(error)) => format!("no response in {took} ms: {error}\n{meaning}\n"),
        (None, None) => return None,
    };
    if let Some(shown) = body["body"].as_str().map(str::trim).filter(|shown| !shown.is_empty()) {
        let cut = if body["cut"].as_bool() == Some(true) { "…" } else { "" };
        writeln!(text, "{shown}{cut}").ok()?;
    }
    Some(CommandOutcome { text, code })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_says_what_waits_where_and_since_when() {
        let body = r#"{"now_ms":100000,"routes":[
            {"route":"assistant","dependency":"assistant","concurrency":32,"waiting":2,"oldest_ms":40000,"attempts":7,"claims":1,
             "dead":3,"in_flight":4,"paused":true,"requests":{"taken":9,"failed":0,"gone":1}},
            {"route":"log","dependency":"log","concurrency":8,"waiting":0,"oldest_ms":null,"attempts":0,"claims":0,"dead":0,
             "in_flight":0,"paused":false,"requests":{}}],
            "unrouted":1,"stuck":[{"channel":"thread.7","cursor":57,"head":59,"attempts":7,"oldest_ms":40000}],"complete":true}"#;
        let expected = "\
assistant  PAUSED (410): seawall relay resume
  waiting    2 channels, the oldest message 60 s old
  requests   4 of 32 here; 1 claim at all instances
  outcomes   gone 1, taken 9 since the start
  attempts   7 at most
  dead       3 letters
log
  waiting    0 channels
  requests   0 of 8 here; 0 claims at all instances
  attempts   0 at most
  dead       0 letters
thread.7  at 57 of 59, 7 attempts, 60 s old
1 channel waiting without a route: add one that matches, or drop them
";
        assert_eq!(status(body, None).expect("a status"), expected);
        assert!(status(body, Some("log")).expect("a status").starts_with("log\n"));
        assert!(status(body, Some("other")).expect("a status").starts_with("no route has this name\n"));
        assert_eq!(status("{}", None), None);
    }

    #[test]
    fn dead_letter_is_a_line_and_a_full_page_names_the_next() {
        let body = r#"{"dead":[
            {"number":8,"route":"assistant","channel":"thread.7","offset":58,"through":58,"cause":"refused","status":422,"time_ms":0},
            {"number":9,"route":"assistant","channel":"thread.8","offset":1,"through":7,"cause":"expired","status":null,"time_ms":0}],
            "next":9}"#;
        let expected = "\
#8  1970-01-01 00:00 UTC  assistant  thread.7 58  refused (422)
#9  1970-01-01 00:00 UTC  assistant  thread.8 1–7  expired
more: seawall relay dead --after 9
";
        assert_eq!(dead(body).expect("letters"), expected);
        assert_eq!(dead(r#"{"dead":[],"next":null}"#).as_deref(), Some("no dead letters\n"));
    }

    #[test]
    fn test_that_was_not_taken_fails() {
        let taken = tried(r#"{"outcome":"taken","took_ms":12,"status":204,"body":"","cut":false}"#)
            .expect("a report");
        assert_eq!(taken, succeeded("204 in 12 ms: taken: a message would not be sent again\n".into()));
        let body = r#"{"outcome":"refused","took_ms":3,"status":401,"body":"bad signature","cut":false}"#;
        let refused = tried(body).expect("a report");
        assert_eq!(refused.code, ExitCode::FAILURE);
        assert_eq!(
            refused.text,
            "401 in 3 ms: refused: a message would become a dead letter\nbad signature\n"
        );
        let unreached =
            tried(r#"{"outcome":"later","took_ms":3,"error":"connection refused"}"#).expect("a report");
        assert!(unreached.text.starts_with("no response in 3 ms: connection refused\n"), "{unreached:?}");
    }
}
