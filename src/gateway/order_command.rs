//! `seawall user disconnect|block|unblock|erase|show` and `seawall order`: orders to all instances, through the admin listener of one.

use super::config::Config;
use super::config::certificate::date;
use super::lookup_command::encoded;
use super::output::{self, counted};
use super::remote::Remote;
use super::running::RunningGateway;
use serde_json::{Map, Value};
use std::fmt::Write as _;
use std::process::ExitCode;

const ERASURE_GOES_ON: &str =
    "the store now searches its log; \"user erased\" in the log of a gateway says that it is done\n";

/// The task of a command.
pub(super) enum OrderTask {
    Disconnect {
        user: String,
        reason: Option<String>,
        comeback: CliComeback,
    },
    Block {
        user: String,
        reason: Option<String>,
        until: Option<u64>,
    },
    Unblock {
        user: String,
    },
    Erase {
        user: String,
    },
    /// Shows whether the user is blocked.
    Show {
        user: String,
    },
    /// Shows the progress of an order.
    Progress {
        order: u64,
    },
}

/// The wish for clients that are disconnected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CliComeback {
    Return,
    Stay,
}

/// Runs the command. The exit code is 1 if it fails, or if an instance has not carried the order out.
pub(super) fn run(config: &Config, running: Option<&RunningGateway>, task: &OrderTask) -> ExitCode {
    let outcome = Remote::of(config, running).and_then(|remote| {
        let (method, path, body) = task.request();
        remote.read(method, &path, &body, |body| task.text(body))
    });
    match outcome {
        Ok((text, Completeness::Complete)) => output::print(&text),
        Ok((text, Completeness::Incomplete)) => {
            output::print(&text);
            ExitCode::FAILURE
        }
        Err(message) => {
            output::fail(&message);
            ExitCode::FAILURE
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Completeness {
    Complete,
    Incomplete,
}

impl OrderTask {
    /// Method, path and body.
    fn request(&self) -> (&'static str, String, String) {
        let mut body = Map::new();
        let reason_of = |body: &mut Map<String, Value>, reason: &Option<String>| {
            body.extend(reason.iter().map(|reason| ("reason".to_owned(), Value::from(reason.as_str()))));
        };
        match self {
            OrderTask::Disconnect { user, reason, comeback } => {
                reason_of(&mut body, reason);
                body.insert("reconnect".into(), (*comeback == CliComeback::Return).into());
                ("POST", format!("/users/{}/disconnect", encoded(user)), Value::Object(body).to_string())
            }
            OrderTask::Block { user, reason, until } => {
                reason_of(&mut body, reason);
                body.extend(until.map(|until| ("until".to_owned(), Value::from(until))));
                ("PUT", format!("/users/{}/block", encoded(user)), Value::Object(body).to_string())
            }
            OrderTask::Unblock { user } => {
                ("DELETE", format!("/users/{}/block", encoded(user)), String::new())
            }
            OrderTask::Erase { user } => ("POST", format!("/users/{}/erase", encoded(user)), String::new()),
            OrderTask::Show { user } => ("GET", format!("/users/{}/block", encoded(user)), String::new()),
            OrderTask::Progress { order } => ("GET", format!("/orders/{order}"), String::new()),
        }
    }

    /// The text for people; `None` if it is no such answer.
    fn text(&self, body: &str) -> Option<(String, Completeness)> {
        let body: Value = serde_json::from_str(body).ok()?;
        match self {
            OrderTask::Show { user } => block(user, &body).map(|text| (text, Completeness::Complete)),
            OrderTask::Erase { .. } => {
                progress(&body).map(|(text, outcome)| (format!("{text}{ERASURE_GOES_ON}"), outcome))
            }
            OrderTask::Disconnect { .. }
            | OrderTask::Block { .. }
            | OrderTask::Unblock { .. }
            | OrderTask::Progress { .. } => progress(&body),
        }
    }
}

fn block(user: &str, body: &Value) -> Option<String> {
    if !body["blocked"].as_bool()? {
        return Some(format!("{user} is not blocked\n"));
    }
    let since = date(body["made"].as_u64()? / 1_000);
    let until = body["until"].as_u64().map_or_else(|| "unblocked".to_owned(), |ms| date(ms / 1_000));
    let mut text = format!("{user} is blocked since {since} until {until}");
    match body["reason"].as_str()? {
        "" => {}
        reason => write!(text, ": {reason}").ok()?,
    }
    text.push('\n');
    Some(text)
}

/// A line for the order, and one for each instance.
fn progress(body: &Value) -> Option<(String, Completeness)> {
    let (order, kind, closed) = (body["order"].as_u64()?, body["kind"].as_str()?, body["closed"].as_u64()?);
    let is_complete = body["complete"].as_bool()?;
    let instances = body["instances"].as_array()?;
    // Without the bus, an instance says that it is done, but not how many sessions it closed.
    let is_counted =
        instances.iter().all(|instance| instance["closed"].is_u64() || instance["done"] == false);
    let least = if is_counted { "" } else { "at least " };
    let mut text = format!("order {order} ({kind}): {least}{} closed\n", counted(closed, "session"));
    for instance in instances {
        let name = instance["name"].as_str()?;
        match (instance["done"].as_bool()?, instance["closed"].as_u64()) {
            (true, Some(closed)) => writeln!(text, "  {name}  done, {closed} closed").ok()?,
            (true, None) => writeln!(text, "  {name}  done, and has not said how many it closed").ok()?,
            (false, _) => writeln!(text, "  {name}  has not answered").ok()?,
        }
    }
    if is_complete {
        return Some((text, Completeness::Complete));
    }
    writeln!(text, "not complete; ask again: seawall order {order}").ok()?;
    Some((text, Completeness::Incomplete))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn progress_names_the_instances_that_have_not_answered() {
        let body = json!({
            "order": 8812, "kind": "disconnect", "complete": false, "closed": 2,
            "instances": [{"name": "gw-1", "done": true, "closed": 2}, {"name": "gw-2", "done": false}, {"name": "gw-3", "done": true}],
        });
        let (text, outcome) = progress(&body).expect("an answer");
        assert_eq!(outcome, Completeness::Incomplete);
        assert_eq!(
            text,
            "order 8812 (disconnect): at least 2 sessions closed\n  gw-1  done, 2 closed\n  gw-2  has not answered\n  \
             gw-3  done, and has not said how many it closed\n\
             not complete; ask again: seawall order 8812\n"
        );
        assert_eq!(progress(&json!({})), None);
    }

    #[test]
    fn block_is_one_line() {
        let none = block("ann", &json!({"user": "ann", "blocked": false})).expect("an answer");
        assert_eq!(none, "ann is not blocked\n");
        let body = json!({"user": "ann", "blocked": true, "until": 60000, "reason": "spam", "made": 0});
        assert_eq!(
            block("ann", &body).expect("an answer"),
            "ann is blocked since 1970-01-01 00:00 UTC until 1970-01-01 00:01 UTC: spam\n"
        );
    }

    #[test]
    fn task_becomes_a_request() {
        let task = OrderTask::Disconnect { user: "ann b".into(), reason: None, comeback: CliComeback::Stay };
        let (method, path, body) = task.request();
        assert_eq!(
            (method, path.as_str(), body.as_str()),
            ("POST", "/users/ann%20b/disconnect", r#"{"reconnect":false}"#)
        );
    }
}
