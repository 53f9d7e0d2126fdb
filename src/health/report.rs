//! The bodies of `/health`, `/health/live` and `/health/ready`, in the format `application/health+json`
//! (draft-inadarei-api-health-check).
//!
//! Liveness means that the reactors make turns; readiness means that this instance may receive new clients. Neither
//! fails for a shared dependency, because that would take every instance out of rotation at once. Readiness reports a
//! missing dependency in `degraded`, and the `status` of the summary is then `warn`.

pub mod dependencies;

use crate::health::snapshot::{Level, Snapshot};
use std::time::Duration;

/// The inputs of the reports.
#[derive(Clone, Copy, Debug)]
pub struct Readings<'a> {
    /// A reactor that makes no turns, and for how long.
    pub silent: Option<(usize, Duration)>,
    /// Present while the process drains.
    pub drain: Option<DrainSummary>,
    /// Open connections, and their bound.
    pub connections: (u64, u64),
    /// Resident memory, and its bound, in bytes.
    pub memory_bytes: (u64, u64),
    /// Descriptors in use, and their bound.
    pub descriptors: (u64, u64),
    /// The state of the dependencies.
    pub snapshot: &'a Snapshot,
    /// The name of this instance.
    pub instance: &'a str,
    /// `CARGO_PKG_VERSION`
    pub version: &'a str,
}

/// A drain, as shown in the reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainSummary {
    pub phase: &'static str,
    /// The beginning, in Unix milliseconds.
    pub since_ms: u64,
    /// Connections that have not left yet.
    pub connections: u64,
}

/// An HTTP status and a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// 200 or 503.
    pub status: u16,
    pub body: String,
}

impl Readings<'_> {
    /// `/health/live`
    pub fn live(&self) -> Report {
        self.report(self.silence().into_iter().collect())
    }

    /// `/health/ready`
    pub fn ready(&self) -> Report {
        let mut report = self.report(self.faults());
        report.body.pop();
        report.body.push_str(&format!(r#","degraded":{}{}}}"#, self.degraded(), self.drain_member()));
        report
    }

    /// `/health`
    pub fn summary(&self) -> Report {
        let mut report = self.report(self.faults());
        if report.status == 200 && self.degraded() {
            report.body = r#"{"status":"warn"}"#.into();
        }
        let (connections, connections_max) = self.connections;
        let (memory, memory_max) = self.memory_bytes;
        report.body.pop();
        report.body.push_str(&format!(
            r#","serviceId":"seawall","releaseId":{},"instance":{},"connections":{connections},"connections_max":{connections_max},"memory_bytes":{memory},"memory_bytes_max":{memory_max},"dependencies":{}{}}}"#,
            text(self.version),
            text(self.instance),
            self.snapshot.status,
            self.drain_member(),
        ));
        report
    }

    fn report(&self, faults: Vec<String>) -> Report {
        if faults.is_empty() {
            return Report { status: 200, body: r#"{"status":"pass"}"#.into() };
        }
        let faults: Vec<String> = faults.iter().map(|fault| text(fault)).collect();
        Report { status: 503, body: format!(r#"{{"status":"fail","faults":[{}]}}"#, faults.join(",")) }
    }

    fn degraded(&self) -> bool {
        match self.snapshot.level {
            Level::Ok => false,
            Level::Degraded | Level::Down => true,
        }
    }

    /// Returns `,"drain":{…}` during a drain, else nothing.
    fn drain_member(&self) -> String {
        let Some(DrainSummary { phase, since_ms, connections }) = self.drain else { return String::new() };
        format!(r#","drain":{{"phase":"{phase}","since":{since_ms},"connections":{connections}}}"#)
    }

    fn silence(&self) -> Option<String> {
        let (reactor, silence) = self.silent?;
        Some(format!("reactor {reactor} made no turn for {} ms", silence.as_millis()))
    }

    fn faults(&self) -> Vec<String> {
        let mut faults: Vec<String> = self.silence().into_iter().collect();
        if let Some(drain) = self.drain {
            faults.push(format!("the process is draining: {}", drain.phase));
        }
        let (descriptors, descriptors_max) = self.descriptors;
        if descriptors * 20 >= descriptors_max * 19 {
            faults.push(format!("{descriptors} of {descriptors_max} descriptors are in use"));
        }
        let (memory, memory_max) = self.memory_bytes;
        if memory > memory_max {
            faults.push(format!("{memory} bytes of memory are in use; limits.memory_bytes is {memory_max}"));
        }
        faults
    }
}

/// Quotes a JSON string. The names and sentences used here need no further escapes.
fn text(plain: &str) -> String {
    let escaped: String = plain
        .chars()
        .flat_map(|c| match c {
            '"' | '\\' => vec!['\\', c],
            c if c.is_control() => vec![' '],
            c => vec![c],
        })
        .collect();
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draining(phase: &'static str) -> Option<DrainSummary> {
        Some(DrainSummary { phase, since_ms: 1_763_770_000_000, connections: 3 })
    }

    fn readings(snapshot: &Snapshot) -> Readings<'_> {
        Readings {
            silent: None,
            drain: None,
            connections: (3, 100),
            memory_bytes: (1, 2),
            descriptors: (10, 100),
            snapshot,
            instance: "gw-\"1\"",
            version: "1.0",
        }
    }

    #[test]
    fn every_report_is_json_and_names_each_fault() {
        let snapshot = Snapshot::ok();
        let well = readings(&snapshot);
        let ill = Readings {
            silent: Some((1, Duration::from_secs(6))),
            drain: draining("moving"),
            memory_bytes: (3, 2),
            descriptors: (95, 100),
            ..well
        };
        for report in [well.live(), well.ready(), well.summary()] {
            assert_eq!(report.status, 200);
            let body: serde_json::Value = serde_json::from_str(&report.body).expect("JSON");
            assert_eq!(body["status"], "pass");
        }
        assert_eq!(ill.live().status, 503);
        let body: serde_json::Value = serde_json::from_str(&ill.summary().body).expect("JSON");
        assert_eq!(body["faults"].as_array().map(Vec::len), Some(4));
        assert_eq!(body["faults"][1], "the process is draining: moving");
        let ready: serde_json::Value = serde_json::from_str(&ill.ready().body).expect("JSON");
        for drain in [&body["drain"], &ready["drain"]] {
            assert_eq!(drain["phase"], "moving");
            assert_eq!((&drain["since"], &drain["connections"]), (&1_763_770_000_000_u64.into(), &3.into()));
        }
        assert_eq!(body["instance"], "gw-\"1\"");
    }

    #[test]
    fn missing_dependency_lowers_a_field_but_fails_no_report() {
        let well = Snapshot::ok();
        let snapshot = Snapshot { level: Level::Down, ..Snapshot::ok() };
        let body = |report: Report| -> serde_json::Value {
            assert_eq!(report.status, 200);
            serde_json::from_str(&report.body).expect("JSON")
        };
        assert_eq!(readings(&snapshot).live(), readings(&well).live());
        assert_eq!(body(readings(&snapshot).ready())["status"], "pass");
        assert_eq!(body(readings(&snapshot).ready())["degraded"], true);
        assert_eq!(body(readings(&well).ready())["degraded"], false);
        assert_eq!(body(readings(&snapshot).summary())["status"], "warn");
    }

    #[test]
    fn live_depends_only_on_turns() {
        let snapshot = Snapshot::ok();
        let report =
            Readings { drain: draining("closing"), memory_bytes: (3, 2), ..readings(&snapshot) }.live();
        assert_eq!(report.status, 200);
    }
}
