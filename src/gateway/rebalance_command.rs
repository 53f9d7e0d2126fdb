//! `seawall rebalance`: begins a round in which all instances spread their connections evenly.

use super::config::Config;
use super::output;
use super::remote::Remote;
use super::running::RunningGateway;
use serde_json::Value;
use std::process::ExitCode;

const PATH: &str = "/cluster/rebalance";

/// Asks the running gateway, and prints its answer. The exit code is 1 if it did not begin a round.
pub(super) fn rebalance(config: &Config, running: Option<&RunningGateway>) -> ExitCode {
    let begun = Remote::of(config, running).and_then(|remote| {
        let answer = remote.ask("POST", PATH).map_err(|failure| remote.message(failure))?;
        let text = text(&answer.body).filter(|_| answer.status == 202);
        text.ok_or_else(|| remote.message(remote.not_a_gateway(PATH)))
    });
    match begun {
        Ok(text) => output::print(&text),
        Err(message) => {
            output::fail(&message);
            ExitCode::FAILURE
        }
    }
}

/// The answer for people; `None` if it is no such answer.
fn text(body: &str) -> Option<String> {
    let body: Value = serde_json::from_str(body).ok()?;
    let (percent, minutes) = (body["within_percent"].as_u64()?, body["for_s"].as_u64()? / 60);
    Some(format!(
        "for {minutes} min, instances more than {percent} % over the mean ask clients to move; no connection is closed\n\
         to watch: seawall cluster --watch\n"
    ))
}

#[cfg(test)]
mod tests {
    #[test]
    fn answer_of_a_gateway_is_a_sentence() {
        let text = super::text(r#"{"within_percent":10,"for_s":900}"#).expect("its own answer");
        assert!(text.starts_with("for 15 min, instances more than 10 % over the mean"), "{text}");
        assert_eq!(super::text("<html>"), None);
    }
}
