//! `seawall health`: whether the running gateway is alive or ready, for a container's health check.

use super::config::Config;
use super::output;
use super::remote::Remote;
use super::running::RunningGateway;
use serde_json::Value;
use std::process::ExitCode;

/// The question to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HealthQuestion {
    /// Does every reactor turn?
    Live,
    /// May new clients be sent here?
    Ready,
}

/// Asks the gateway, and prints the answer. The exit code is 1 if it is no, or if there is none.
pub(super) fn health(
    config: &Config,
    running: Option<&RunningGateway>,
    question: HealthQuestion,
) -> ExitCode {
    let (path, yes) = match question {
        HealthQuestion::Live => ("/health/live", "alive\n"),
        HealthQuestion::Ready => ("/health/ready", "ready\n"),
    };
    let answer = Remote::of(config, running)
        .and_then(|remote| remote.ask("GET", path).map_err(|failure| remote.message(failure)));
    match answer {
        Ok(answer) if answer.status == 200 => output::print(yes),
        Ok(answer) => {
            output::fail(&reason(&answer.body));
            ExitCode::FAILURE
        }
        Err(message) => {
            output::fail(&message);
            ExitCode::FAILURE
        }
    }
}

/// The sentences of a report that is not a pass.
fn reason(body: &str) -> String {
    let report: Value = serde_json::from_str(body).unwrap_or_default();
    let faults = report["faults"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let faults: Vec<&str> = faults.collect();
    if faults.is_empty() { "the gateway reports a failure".into() } else { faults.join("; ") }
}
