//! `seawall presence`: the users that are present in a channel of the running gateway.

use super::config::Config;
use super::config::certificate::date;
use super::lookup_command::encoded;
use super::output;
use super::remote::Remote;
use super::running::RunningGateway;
use serde_json::Value;
use std::fmt::Write as _;
use std::process::ExitCode;

/// Pages that are read at most: a roster that is listed has at most 10,000 members.
const PAGES_MAX: usize = 1_000;

/// Asks the gateway page by page, and prints the numbers and a line for each user.
pub(super) fn show(config: &Config, running: Option<&RunningGateway>, channel: &str) -> ExitCode {
    match Remote::of(config, running).and_then(|remote| roster(&remote, channel)) {
        Ok(text) => output::print(&text),
        Err(message) => {
            output::fail(&message);
            ExitCode::FAILURE
        }
    }
}

fn roster(remote: &Remote, channel: &str) -> Result<String, String> {
    let first = format!("/channels/{}/presence", encoded(channel));
    let (mut path, mut out) = (first.clone(), String::new());
    for _ in 0..PAGES_MAX {
        let more = remote.read("GET", &path, "", |body| {
            let page: Value = serde_json::from_str(body).ok()?;
            write_page(&mut out, &page)
        })?;
        match more {
            Some(last) => path = format!("{first}/{}", encoded(&last)),
            None => break,
        }
    }
    Ok(out)
}

/// Writes the head, unless there is one, and the members. Returns the last user if there are further pages; `None` if the page
/// has another form.
fn write_page(out: &mut String, page: &Value) -> Option<Option<String>> {
    if out.is_empty() {
        let (users, connections) = (page["users"].as_u64()?, page["connections"].as_u64()?);
        let missing: Vec<&str> =
            page["missing"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let known = match (page["complete"] == true, missing.as_slice()) {
            (true, _) => String::new(),
            (false, []) => "; other instances may have more".to_owned(),
            (false, missing) => format!("; those at {} are not known", missing.join(", ")),
        };
        let counted = if page["counted"] == true { "; too many to list" } else { "" };
        writeln!(
            out,
            "{}  users {users}  connections {connections}{counted}{known}",
            page["channel"].as_str()?
        )
        .ok()?;
    }
    let mut last = None;
    for member in page["members"].as_array().into_iter().flatten() {
        let user = member["user"].as_str()?;
        let since = date(member["since"].as_u64()? / 1_000);
        write!(out, "{user}  connections {}  since {since}", member["connections"].as_u64()?).ok()?;
        if let Some(state) = member["state"].as_str() {
            write!(out, "  {state}").ok()?;
        }
        out.push('\n');
        last = Some(user.to_owned());
    }
    Some(last.filter(|_| page["more"] == true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn roster_is_numbers_and_a_line_for_each_user() {
        let page = json!({"channel": "lobby", "revision": 7, "complete": false, "users": 2, "connections": 3, "more": true,
            "members": [{"user": "ann", "connections": 2, "since": 60_000, "state": "away"}]});
        let mut out = String::new();
        assert_eq!(write_page(&mut out, &page), Some(Some("ann".to_owned())));
        let next = json!({"channel": "lobby", "revision": 7, "complete": false, "users": 2, "connections": 3,
            "members": [{"user": "ben", "connections": 1, "since": 0}]});
        assert_eq!(write_page(&mut out, &next), Some(None));
        let expected = "lobby  users 2  connections 3; other instances may have more\n\
            ann  connections 2  since 1970-01-01 00:01 UTC  away\n\
            ben  connections 1  since 1970-01-01 00:00 UTC\n";
        assert_eq!(out, expected);
        assert_eq!(write_page(&mut String::new(), &json!({"error": "x"})), None);
        let page =
            json!({"channel": "c", "complete": false, "users": 0, "connections": 0, "missing": ["a", "b"]});
        let mut out = String::new();
        write_page(&mut out, &page);
        assert_eq!(out, "c  users 0  connections 0; those at a, b are not known\n");
    }
}
