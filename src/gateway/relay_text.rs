//! The answers of the gateway about its relay, as text for people.

use super::config::certificate::date;
use super::output::counted;
use crate::alert::text::span;
use serde_json::Value;
use std::fmt::Write as _;
use std::process::ExitCode;

/// The text to print, and the exit code if it can be printed.
#[derive(Debug, PartialEq)]
pub(super) struct CommandOutcome {
    pub(super) text: String,
    pub(super) code: ExitCode,
}

pub(super) fn succeeded(text: String) -> CommandOutcome {
    CommandOutcome { text, code: ExitCode::SUCCESS }
}

/// Messages that were sent again, and of these the ones that the backend took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Replayed {
    pub(super) sent: u64,
    pub(super) taken: u64,
}

/// A block for each route, and a line for each channel that is stuck; `None` if it is no such answer.
pub(super) fn status(body: &str, only: Option<&str>) -> Option<CommandOutcome> {
    let body: Value = serde_json::from_str(body).ok()?;
    let now = body["now_ms"].as_u64()?;
    let (mut out, mut known) = (String::new(), Vec::new());
    for route in body["routes"].as_array()? {
        let name = route["route"].as_str()?;
        known.push(name);
        if only.is_some_and(|only| only != name) {
            continue;
        }
        let number = |field: &str| route[field].as_u64();
        let trouble = match (route["paused"].as_bool()?, route["outage"].as_str()) {
            (true, _) => format!("  PAUSED (410): seawall relay resume --route {name}"),
            (false, Some(reference)) => {
                format!(
                    "  BACKEND DOWN ({reference}): nothing is sent until it answers; see `seawall doctor`"
                )
            }
            (false, None) => String::new(),
        };
        writeln!(out, "{name}{trouble}").ok()?;
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
    match (known.is_empty(), out.is_empty()) {
        (true, _) => out.push_str("no route is configured\n"),
        (false, true) => {
            let text = format!("no route has this name; there are: {}\n", known.join(", "));
            return Some(CommandOutcome { text, code: ExitCode::FAILURE });
        }
        (false, false) => {}
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
            "{} waiting without a route: add a [[relay]] that matches, or give them up with `seawall relay skip`",
            counted(count, "channel")
        )
        .ok()?,
    }
    if body["complete"].as_bool() == Some(false) {
        out.push_str("more channels wait than were counted\n");
    }
    Some(succeeded(out))
}

fn age(now_ms: u64, at_ms: u64) -> String {
    format!("{} old", span(now_ms.saturating_sub(at_ms)))
}

pub(super) fn dead(body: &str) -> Option<String> {
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

pub(super) type Letters = Vec<(String, (u64, u64))>;

/// The places of dead letters, and the number to continue after.
pub(super) fn letters(body: &str) -> Option<(Letters, Option<u64>)> {
    let body: Value = serde_json::from_str(body).ok()?;
    let letter = |letter: &Value| {
        let range = (letter["offset"].as_u64()?, letter["through"].as_u64()?);
        Some((letter["channel"].as_str()?.to_owned(), range))
    };
    let letters: Option<Letters> = body["dead"].as_array()?.iter().map(letter).collect();
    Some((letters?, body["next"].as_u64()))
}

/// A line for each message that was sent again, their numbers, and the offset to continue at.
pub(super) fn replayed(channel: &str, body: &str) -> Option<(String, Replayed, Option<u64>)> {
    let body: Value = serde_json::from_str(body).ok()?;
    let (mut text, mut replayed) = (String::new(), Replayed::default());
    for sent in body["sent"].as_array()? {
        let (offset, outcome) = (sent["offset"].as_u64()?, sent["outcome"].as_str()?);
        let why = match (sent["status"].as_u64(), sent["error"].as_str()) {
            (Some(status), _) => status.to_string(),
            (None, error) => error.unwrap_or("no response").to_owned(),
        };
        writeln!(text, "{channel} {offset}  {outcome} ({why})").ok()?;
        replayed.sent += 1;
        replayed.taken += u64::from(outcome == "taken");
    }
    Some((text, replayed, body["next"].as_u64()))
}

/// The cursor, the messages that were given up, and their answers that ended.
pub(super) fn skipped(body: &str) -> Option<(u64, u64, u64)> {
    let body: Value = serde_json::from_str(body).ok()?;
    Some((body["cursor"].as_u64()?, body["dead"].as_u64()?, body["answers"].as_u64()?))
}

pub(super) fn resumed(body: &str) -> Option<String> {
    let body: Value = serde_json::from_str(body).ok()?;
    let name = body["route"].as_str()?;
    Some(match body["was_paused"].as_bool()? {
        true => format!("{name} sends again\n"),
        false => format!("{name} was not paused at this instance\n"),
    })
}

pub(super) fn tried(body: &str) -> Option<CommandOutcome> {
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
             "in_flight":0,"paused":false,"outage":"7g4h85","requests":{}}],
            "unrouted":1,"stuck":[{"channel":"thread.7","cursor":57,"head":59,"attempts":7,"oldest_ms":40000}],"complete":true}"#;
        let expected = "\
assistant  PAUSED (410): seawall relay resume --route assistant
  waiting    2 channels, the oldest message 60 s old
  requests   4 of 32 here; 1 claim at all instances
  outcomes   gone 1, taken 9 since the start
  attempts   7 at most
  dead       3 letters
log  BACKEND DOWN (7g4h85): nothing is sent until it answers; see `seawall doctor`
  waiting    0 channels
  requests   0 of 8 here; 0 claims at all instances
  attempts   0 at most
  dead       0 letters
thread.7  at 57 of 59, 7 attempts, 60 s old
1 channel waiting without a route: add a [[relay]] that matches, or give them up with `seawall relay skip`
";
        assert_eq!(status(body, None), Some(succeeded(expected.into())));
        assert!(status(body, Some("log")).expect("a status").text.starts_with("log  BACKEND"));
        let unknown = CommandOutcome {
            text: "no route has this name; there are: assistant, log\n".into(),
            code: ExitCode::FAILURE,
        };
        assert_eq!(status(body, Some("other")), Some(unknown));
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
    fn replayed_message_is_a_line_and_a_part_names_where_to_continue() {
        let body = r#"{"sent":[{"offset":58,"outcome":"taken","status":204},{"offset":59,"outcome":"later","error":"refused"}],"next":60}"#;
        let (text, total, next) = replayed("thread.7", body).expect("a report");
        assert_eq!(text, "thread.7 58  taken (204)\nthread.7 59  later (refused)\n");
        assert_eq!((total, next), (Replayed { sent: 2, taken: 1 }, Some(60)));
        let body = r#"{"dead":[{"channel":"thread.7","offset":58,"through":60}],"next":null}"#;
        assert_eq!(letters(body), Some((vec![("thread.7".into(), (58, 60))], None)));
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
