//! `seawall user show`: where a user is connected, and the block of the user.

use super::config::Config;
use super::config::certificate::date;
use super::lookup_command::encoded;
use super::order_command::{self, OrderTask};
use super::output;
use super::remote::Remote;
use super::running::RunningGateway;
use serde_json::Value;
use std::fmt::Write as _;
use std::process::ExitCode;

/// Asks the gateway, and prints the user with a line for each instance, and then the block.
pub(super) fn show(config: &Config, running: Option<&RunningGateway>, user: String) -> ExitCode {
    let path = format!("/users/{}", encoded(&user));
    match Remote::of(config, running).and_then(|remote| remote.read("GET", &path, "", text)) {
        Ok(text) => {
            let code = output::print(&text);
            if code != ExitCode::SUCCESS {
                return code;
            }
            order_command::run(config, running, &OrderTask::Show { user })
        }
        Err(message) => {
            output::fail(&message);
            ExitCode::FAILURE
        }
    }
}

/// A line for the user and one for each instance; `None` if it is no such answer.
fn text(body: &str) -> Option<String> {
    let body: Value = serde_json::from_str(body).ok()?;
    let state = match (body["online"].as_bool(), body["complete"].as_bool()?) {
        (Some(true), true) => "online",
        (Some(true), false) => "online; other instances may have more connections",
        (Some(false), _) => "offline",
        (None, _) => "not known: not all instances could be asked",
    };
    let mut out = format!("{}  {state}\n", body["user"].as_str()?);
    for instance in body["instances"].as_array()? {
        let (name, since) = (instance["name"].as_str()?, date(instance["since"].as_u64()? / 1_000));
        writeln!(out, "  {name}  connections {}  since {since}", instance["connections"].as_u64()?).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_is_a_line_with_one_for_each_instance() {
        let body = r#"{"user":"ann","online":true,"connections":3,"blocked":false,"complete":true,"instances":[
            {"name":"gw-1","connections":2,"since":0},{"name":"gw-2","connections":1,"since":60000}]}"#;
        let expected = "ann  online\n  gw-1  connections 2  since 1970-01-01 00:00 UTC\n  gw-2  connections 1  since \
                        1970-01-01 00:01 UTC\n";
        assert_eq!(text(body).as_deref(), Some(expected));
        let of = |online: &str, complete: &str| {
            text(&format!(r#"{{"user":"b","online":{online},"complete":{complete},"instances":[]}}"#))
        };
        assert_eq!(of("false", "true").as_deref(), Some("b  offline\n"));
        assert!(of("null", "false").expect("an answer").contains("not known"));
        assert_eq!(text("{}"), None);
    }
}
