//! `seawall rebalance`: begins a round in which all instances spread their connections evenly, or forecasts one.

use super::config::Config;
use super::output::{self, counted};
use super::remote::{Remote, RemoteAnswer, message_of};
use super::running::RunningGateway;
use crate::cluster::rebalance_body::WITHIN_PERCENT;
use clap::Args;
use serde_json::{Map, Value};
use std::fmt::Write as _;
use std::process::ExitCode;

const PATH: &str = "/cluster/rebalance";

#[derive(Args, Debug)]
pub(super) struct RebalanceArguments {
    /// The distance from the mean number of connections that is even enough, in percent of it: 3 to 100 [default: cluster.rebalance_within_percent]
    #[arg(long, value_name = "PERCENT", value_parser = within_percent)]
    within: Option<u32>,
    /// Only print which instances would ask how many clients to move, and where to
    #[arg(long)]
    dry_run: bool,
}

fn within_percent(text: &str) -> Result<u32, String> {
    text.parse().ok().filter(|percent| WITHIN_PERCENT.contains(percent)).ok_or_else(|| {
        let (least, most) = (WITHIN_PERCENT.start(), WITHIN_PERCENT.end());
        format!(
            "must be a whole number from {least} to {most}: the distance from the mean, in percent of it, that is even enough"
        )
    })
}

impl RebalanceArguments {
    /// Asks the running gateway, and prints its answer. The exit code is 1 if it did not begin a round, or forecast one.
    pub(super) fn run(&self, config: &Config, running: Option<&RunningGateway>) -> ExitCode {
        let answered = Remote::of(config, running).and_then(|remote| {
            let answer =
                remote.send("POST", PATH, &self.body()).map_err(|failure| remote.message(failure))?;
            let unknown = || remote.message(remote.not_a_gateway(PATH));
            match answer {
                RemoteAnswer { status: 200, body } => forecast(&body).ok_or_else(unknown),
                RemoteAnswer { status: 202, body } => begun(&body).ok_or_else(unknown),
                RemoteAnswer { body, .. } => Err(message_of(&body).unwrap_or_else(unknown)),
            }
        });
        match answered {
            Ok(text) => output::print(&text),
            Err(message) => {
                output::fail(&message);
                ExitCode::FAILURE
            }
        }
    }

    fn body(&self) -> String {
        let mut body = Map::new();
        body.extend(self.within.map(|percent| ("within_percent".to_owned(), Value::from(percent))));
        if self.dry_run {
            body.insert("dry_run".into(), true.into());
        }
        Value::Object(body).to_string()
    }
}

/// The answer to an order for people; `None` if it is no such answer.
fn begun(body: &str) -> Option<String> {
    let body: Value = serde_json::from_str(body).ok()?;
    let (percent, minutes) = (body["within_percent"].as_u64()?, body["for_s"].as_u64()? / 60);
    let mut out = format!(
        "for {minutes} min, instances more than {percent} % over the mean ask clients to move; no connection is closed\n"
    );
    for reason in body["waits_for"].as_array().into_iter().flatten() {
        writeln!(out, "it waits: {}", reason.as_str()?).ok()?;
    }
    out.push_str("to watch: seawall cluster --watch\n");
    Some(out)
}

/// The forecast for people: a line for each instance that would ask clients, and for each that would get some.
fn forecast(body: &str) -> Option<String> {
    let body: Value = serde_json::from_str(body).ok()?;
    let (percent, mean) = (body["within_percent"].as_u64()?, body["mean"].as_f64()?);
    let moves = body["moves"].as_array()?;
    let mut out = String::new();
    for instance in body["instances"].as_array()? {
        let (name, connections) = (instance["name"].as_str()?, instance["connections"].as_u64()?);
        let own: Vec<&Value> = moves.iter().filter(|step| step["from"] == name).collect();
        let targets =
            own.iter().map(|step| Some(format!("{} to {}", step["clients"].as_u64()?, step["to"].as_str()?)));
        let targets = targets.collect::<Option<Vec<_>>>()?;
        let asked: u64 = own.iter().filter_map(|step| step["clients"].as_u64()).sum();
        write!(out, "{name}  {}", counted(connections, "connection")).ok()?;
        match targets.is_empty() {
            false => {
                write!(out, ", asks {} to move: {}", counted(asked, "client"), targets.join(", ")).ok()?
            }
            true => write!(out, ", asks none").ok()?,
        }
        writeln!(out, "; then {}", instance["after"].as_u64()?).ok()?;
    }
    if moves.is_empty() {
        writeln!(
            out,
            "no instance is more than {percent} % from the mean of {mean:.0}: a round would move no client"
        )
        .ok()?;
    } else {
        writeln!(
            out,
            "to within {percent} % of the mean of {mean:.0} in about {} s, if all clients move and the load balancer follows hints",
            body["seconds"].as_u64()?
        )
        .ok()?;
    }
    for reason in body["waits_for"].as_array()? {
        writeln!(out, "it would wait: {}", reason.as_str()?).ok()?;
    }
    out.push_str("nothing was changed; without --dry-run the round begins\n");
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn answer_of_a_gateway_is_a_sentence() {
        let text = begun(r#"{"within_percent":10,"for_s":900}"#).expect("its own answer");
        assert!(text.starts_with("for 15 min, instances more than 10 % over the mean"), "{text}");
        let waiting = begun(r#"{"within_percent":10,"for_s":900,"waits_for":["gw-2 is draining"]}"#);
        assert!(waiting.expect("its own answer").contains("\nit waits: gw-2 is draining\n"));
        assert_eq!(begun("<html>"), None);
    }

    #[test]
    fn forecast_says_which_instance_asks_how_many_clients_and_where_to() {
        let mut body = json!({
            "within_percent": 10, "mean": 1_000.4, "seconds": 41, "waits_for": ["gw-2 is draining"],
            "moves": [{"from": "gw-1", "to": "gw-3", "clients": 480}, {"from": "gw-1", "to": "gw-4", "clients": 1}],
            "instances": [{"name": "gw-1", "connections": 1_500, "after": 1_019}, {"name": "gw-3", "connections": 1, "after": 481}],
        });
        let expected = "\
gw-1  1500 connections, asks 481 clients to move: 480 to gw-3, 1 to gw-4; then 1019
gw-3  1 connection, asks none; then 481
to within 10 % of the mean of 1000 in about 41 s, if all clients move and the load balancer follows hints
it would wait: gw-2 is draining
nothing was changed; without --dry-run the round begins
";
        assert_eq!(forecast(&body.to_string()).as_deref(), Some(expected));
        (body["moves"], body["waits_for"]) = (json!([]), json!([]));
        let even = forecast(&body.to_string()).expect("a forecast");
        assert!(
            even.contains(
                "no instance is more than 10 % from the mean of 1000: a round would move no client"
            ),
            "{even}"
        );
        assert_eq!(forecast(r#"{"within_percent":10,"for_s":900}"#), None);
    }
}
