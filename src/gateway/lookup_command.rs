//! `seawall connection show` and `seawall user sessions`: sessions of the running gateway, open and ended.

use super::config::Config;
use super::config::certificate::date;
use super::output;
use super::remote::Remote;
use super::running::RunningGateway;
use serde_json::Value;
use std::fmt::Write as _;
use std::process::ExitCode;
use url::form_urlencoded;

/// The sessions that are asked for.
pub(super) enum LookupSubject {
    Connection(String),
    User(String),
}

/// Asks the gateway, and prints a line for each session. The exit code is 1 if there is none.
pub(super) fn show(config: &Config, running: Option<&RunningGateway>, subject: &LookupSubject) -> ExitCode {
    let path = match subject {
        LookupSubject::Connection(name) => format!("/lookup/connection/{}", encoded(name)),
        LookupSubject::User(name) => format!("/lookup/user/{}", encoded(name)),
    };
    match Remote::of(config, running).and_then(|remote| remote.read("GET", &path, "", text)) {
        Ok(text) => output::print(&text),
        Err(message) => {
            output::fail(&message);
            ExitCode::FAILURE
        }
    }
}

/// Percent encoding; a space is `%20`, because a path has no form.
pub(super) fn encoded(name: &str) -> String {
    form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>().replace('+', "%20")
}

/// One line for each session; `None` if it is no such answer.
fn text(body: &str) -> Option<String> {
    let body: Value = serde_json::from_str(body).ok()?;
    let (instance, sessions) = (body["instance"].as_str()?, body["sessions"].as_array()?);
    let mut out = String::new();
    for session in sessions {
        writeln!(out, "{}", line(session)?).ok()?;
    }
    if sessions.is_empty() {
        writeln!(out, "{instance} has no open session of this user, and none among the last that ended")
            .ok()?;
    }
    Some(out)
}

fn line(session: &Value) -> Option<String> {
    let text = |name: &str| session[name].as_str();
    let time = |name: &str| session[name].as_u64().map(|ms| date(ms / 1_000));
    let mut line = format!("{}  {}", text("connection")?, text("user")?);
    for name in ["client", "address"] {
        let value = text(name)?;
        if !value.is_empty() {
            write!(line, "  {name} {value}").ok()?;
        }
    }
    write!(line, "  opened {}", time("opened_unix_ms")?).ok()?;
    match text("state")? {
        "open" => line.push_str("  open"),
        _ => {
            let (ended, code) = (time("ended_unix_ms")?, session["code"].as_u64()?);
            write!(line, "  ended {ended}  {code} {}", text("reason")?).ok()?;
            let reference = text("reference")?;
            if !reference.is_empty() {
                write!(line, "  reference {reference}").ok()?;
            }
        }
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_is_one_line_with_what_is_known() {
        let body = r#"{"instance":"gw-1","sessions":[
            {"connection":"00000000000000ff","user":"ann","client":"","address":"192.0.2.7","opened_unix_ms":0,"state":"open"},
            {"connection":"00000000000000fe","user":"ann","client":"demo/1","address":"192.0.2.7","opened_unix_ms":0,
             "state":"ended","ended_unix_ms":60000,"code":1011,"reason":"unavailable","reference":"a1b2c3"}]}"#;
        let text = text(body).expect("an answer");
        let lines: Vec<&str> = text.lines().collect();
        let opened = "1970-01-01 00:00 UTC";
        assert_eq!(lines[0], format!("00000000000000ff  ann  address 192.0.2.7  opened {opened}  open"));
        assert!(
            lines[1].ends_with("ended 1970-01-01 00:01 UTC  1011 unavailable  reference a1b2c3"),
            "{text}"
        );
        assert_eq!(super::text("<html>"), None);
    }

    #[test]
    fn name_is_encoded_for_a_path() {
        assert_eq!(encoded("ann b/c+d"), "ann%20b%2Fc%2Bd");
    }
}
