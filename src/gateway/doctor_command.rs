//! `seawall doctor`: the state of every dependency, as the running gateway sees it, or by a probe from here.

use super::config::Config;
use super::machine;
use super::output;
use super::remote::Remote;
use super::running::{self, RunningGateway};
use super::watch;
use crate::health::definition::Criticality;
use crate::probe::table::{Diagnosed, Diagnosis, DiagnosisRow, diagnose};
use serde_json::Value;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const PATH: &str = "/health/dependencies";

/// Prints a table. The exit code is 0 if all answer, 1 if an optional one does not, 3 if a critical one does not.
pub(super) fn doctor(config: &Config, running: Option<&RunningGateway>, instance: &str) -> ExitCode {
    let Some(gateway) = running else { return from_here(config, instance) };
    let rows = Remote::of(config, running).and_then(|remote| {
        let answer = remote.ask("GET", PATH).map_err(|failure| remote.message(failure))?;
        rows(&answer.body).ok_or_else(|| remote.message(remote.not_a_gateway(PATH)))
    });
    match rows {
        Ok(rows) => show(&format!("as {} sees it:", gateway.describe()), &diagnose(&rows)),
        Err(message) => {
            output::fail(&format!("{message}; to probe from this shell instead: seawall doctor --here"));
            ExitCode::FAILURE
        }
    }
}

/// Probes with the configuration and from the network of this shell.
pub(super) fn from_here(config: &Config, instance: &str) -> ExitCode {
    let (file, variables) = (config.origins.file(), running::variables());
    let file = file.map_or_else(|| "no file".into(), |file| file.display().to_string());
    let plural = if variables == 1 { "" } else { "s" };
    match watch::doctor(config, instance) {
        Ok(mut rows) => {
            rows.extend(machine::rows(config, unix_s()));
            let heading = format!("probed from here; read: {file}, {variables} variable{plural}");
            show(&heading, &diagnose(&rows))
        }
        Err(error) => {
            output::fail(&error);
            ExitCode::from(output::WRONG_CONFIGURATION)
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "a command looks once")]
fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
}

fn show(heading: &str, diagnosis: &Diagnosis) -> ExitCode {
    let _ = output::print(&format!("{heading}\n{}", diagnosis.text));
    ExitCode::from(diagnosis.exit_code)
}

/// The rows of a report for operators; `None` if it is no such report.
fn rows(body: &str) -> Option<Vec<DiagnosisRow>> {
    let report: Value = serde_json::from_str(body).ok()?;
    let checks = report.get("checks")?.as_object()?;
    checks.iter().map(|(name, check)| row(name, check.get(0)?)).collect()
}

fn row(name: &str, check: &Value) -> Option<DiagnosisRow> {
    let text = |field: &str| check.get(field).and_then(Value::as_str).map(str::to_owned);
    let found = match check.get("state")?.as_str()? {
        "down" => Diagnosed::Down {
            cause: text("output").unwrap_or_else(|| "unknown".into()),
            look_at: text("look_at").unwrap_or_default(),
        },
        "unknown" => Diagnosed::Warning("it has not answered yet".into()),
        "degraded" => {
            Diagnosed::Warning(text("output").or(text("warning")).unwrap_or_else(|| "degraded".into()))
        }
        _ => text("warning").map_or(Diagnosed::Ok, Diagnosed::Warning),
    };
    Some(DiagnosisRow {
        name: name.to_owned(),
        kind: text("kind")?,
        address: text("address").unwrap_or_default(),
        criticality: match check.get("criticality")?.as_str()? {
            "critical" => Criticality::Critical,
            _ => Criticality::Optional,
        },
        latency: check.pointer("/latency_us/p50").and_then(Value::as_u64).map(Duration::from_micros),
        found,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_of_a_gateway_becomes_rows() {
        let body = r#"{"status":"fail","checks":{
            "gateway":[{"kind":"gateway","state":"ok","criticality":"optional","address":""}],
            "store":[{"kind":"postgres","state":"down","criticality":"critical","address":"db:5432","output":"refused",
                      "look_at":"whether it runs","latency_us":{"p50":1500,"p99":2000}}]}}"#;
        let rows = rows(body).expect("a report");
        let diagnosis = diagnose(&rows);
        assert_eq!(diagnosis.exit_code, 3);
        assert!(diagnosis.text.contains("DOWN") && diagnosis.text.contains("1.5 ms"), "{}", diagnosis.text);
        assert!(diagnosis.text.contains("look at: whether it runs"), "{}", diagnosis.text);
        assert_eq!(super::rows("<html>").map(|rows| rows.len()), None);
    }
}
