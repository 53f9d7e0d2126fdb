//! The bodies of `/health/dependencies` and of a single dependency, in the format `application/health+json`
//! (draft-inadarei-api-health-check).
//!
//! The public form holds what users of a status page may know: what is down, since when, and what is lost. Causes,
//! addresses and past probes identify machines, so only the admin listener shows them. Reports are built from earlier
//! findings; they never probe.

use super::Report;
use crate::clock::{Moment, Now};
use crate::health::board::Board;
use crate::health::dependency::{Dependency, Past, State};
use crate::health::finding::{Cause, Finding};
use crate::health::outage::Outage;
use crate::health::outages::PastOutage;
use crate::health::snapshot::{Level, list};
use crate::wire::json;
use std::time::Duration;

/// The audience of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportAudience {
    /// Any client that can reach the listener.
    Public,
    Admin,
}

/// The body of `/health/dependencies`: the gateway itself first, from `own`, the board that holds only it, then all
/// dependencies. If the gateway is down, `status` becomes `warn`, but the level and the HTTP status stay, because
/// they describe what instances share.
pub fn all(board: &Board, own: &Board, now: Now, form: ReportAudience) -> Report {
    let level = board.snapshot().level;
    let own_is_down = own.dependencies().any(|own| own.state() == State::Down);
    let report = object(|out| {
        let status = if level == Level::Ok && own_is_down { Level::Degraded } else { level };
        json::text(out, "status", level_status(status));
        json::integer(out, "time", now.unix_ms);
        json::text(out, "level", level.as_str());
        json::text(out, "admission", board.mode().as_str());
        json::key(out, "checks");
        json::object(out, |out| {
            for dependency in own.dependencies().chain(board.dependencies()) {
                // Names consist of letters, digits, dots, dashes and underscores. The draft requires a list for each.
                json::separate(out);
                json::string(out, &dependency.definition().name);
                out.push(b':');
                list(out, std::iter::once(dependency), |out, dependency| {
                    json::object(out, |out| check(out, dependency, now, form));
                });
            }
        });
    });
    Report { status: if level == Level::Down { 503 } else { 200 }, body: report }
}

/// The body of `/health/dependencies/NAME`, for operators only: one dependency with its latest probes, newest first.
/// `None` if there is no such dependency.
pub fn one(board: &Board, name: &str, now: Now) -> Option<Report> {
    let dependency = board.dependency(name)?;
    let body = object(|out| {
        entry(out, dependency, now);
        json::key(out, "probes");
        let past: Vec<&Past> = dependency.past().collect();
        list(out, past.into_iter().rev(), |out, past| json::object(out, |out| probe(out, past)));
        json::key(out, "outages");
        list(out, dependency.outages().newest_first(), |out, past| {
            json::object(out, |out| past_outage(out, past));
        });
    });
    Some(Report { status: 200, body })
}

/// The body of `/lookup/reference/R`, for operators only: the outage with this reference, which lasts or is one of the last of its
/// dependency. `None` if there is no such outage.
pub fn outage(boards: [&Board; 2], reference: &str, now: Now) -> Option<Report> {
    let dependencies = || boards.into_iter().flat_map(Board::dependencies);
    let running = dependencies()
        .find_map(|one| Some((one, one.outage().filter(|outage| outage.reference.as_str() == reference)?)));
    let body = match running {
        Some((dependency, Outage { reference, began, cause })) => object(|out| {
            json::text(out, "dependency", &dependency.definition().name);
            json::text(out, "reference", reference.as_str());
            json::integer(out, "since", began.unix_ms);
            json::integer(out, "lasted_ms", millis(now.at.since(began.at)));
            json::truth(out, "over", false);
            fault(out, cause);
        }),
        None => {
            let (dependency, past) = dependencies().find_map(|one| {
                let mut past = one.outages().newest_first();
                Some((one, past.find(|past| past.reference.as_str() == reference)?))
            })?;
            object(|out| {
                json::text(out, "dependency", &dependency.definition().name);
                past_outage(out, past);
                json::truth(out, "over", true);
            })
        }
    };
    Some(Report { status: 200, body })
}

fn past_outage(out: &mut Vec<u8>, past: &PastOutage) {
    let PastOutage { reference, since, lasted, cause } = past;
    json::text(out, "reference", reference.as_str());
    json::integer(out, "since", *since);
    json::integer(out, "lasted_ms", millis(*lasted));
    fault(out, cause);
}

fn fault(out: &mut Vec<u8>, cause: &Cause) {
    json::text(out, "fault", cause.fault.as_str());
    json::text(out, "output", &cause.text);
    json::text(out, "look_at", cause.look_at);
}

/// The state of one dependency without its past probes: the answer to an operator's action.
pub fn standing(board: &Board, name: &str, now: Now, status: u16) -> Option<Report> {
    let dependency = board.dependency(name)?;
    Some(Report { status, body: object(|out| entry(out, dependency, now)) })
}

/// `/health/admission`
pub fn admission(board: &Board) -> Report {
    Report { status: 200, body: object(|out| json::text(out, "mode", board.mode().as_str())) }
}

fn entry(out: &mut Vec<u8>, dependency: &Dependency, now: Now) {
    json::text(out, "name", &dependency.definition().name);
    json::integer(out, "now", now.unix_ms);
    check(out, dependency, now, ReportAudience::Admin);
}

fn object(members: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::with_capacity(1_024);
    json::object(&mut out, members);
    String::from_utf8_lossy(&out).into_owned()
}

const fn level_status(level: Level) -> &'static str {
    match level {
        Level::Ok => "pass",
        Level::Degraded => "warn",
        Level::Down => "fail",
    }
}

const fn state_status(state: State) -> &'static str {
    match state {
        State::Ok => "pass",
        State::Degraded | State::Unknown => "warn",
        State::Down => "fail",
    }
}

fn check(out: &mut Vec<u8>, dependency: &Dependency, now: Now, form: ReportAudience) {
    let definition = dependency.definition();
    json::text(out, "status", state_status(dependency.state()));
    json::text(out, "componentType", definition.kind.component_type());
    json::text(out, "kind", definition.kind.as_str());
    json::text(out, "state", dependency.state().as_str());
    json::text(out, "criticality", definition.criticality.as_str());
    json::integer(out, "since", dependency.since().unix_ms);
    if let Some(unix_ms) = dependency.last_success_unix_ms() {
        json::integer(out, "last_success", unix_ms);
    }
    if let Some(past) = dependency.past().last() {
        json::integer(out, "looked_at", past.unix_ms);
    }
    let latency = dependency.latency();
    if let (Some(p50), Some(p99)) = (latency.percentile(50), latency.percentile(99)) {
        json::key(out, "latency_us");
        json::object(out, |out| {
            json::integer(out, "p50", micros(p50));
            json::integer(out, "p99", micros(p99));
        });
    }
    json::key(out, "breakers");
    json::object(out, |out| {
        for (of, position) in dependency.breakers() {
            json::text(out, of.as_str(), position.as_str());
        }
    });
    json::key(out, "lost");
    let lost = if dependency.state() == State::Down { definition.lost.as_slice() } else { &[] };
    list(out, lost.iter(), |out, capability| json::string(out, capability));
    if let Some(outage) = dependency.outage() {
        json::text(out, "reference", outage.reference.as_str());
    }
    match form {
        ReportAudience::Public => {}
        ReportAudience::Admin => admin_fields(out, dependency, now.at),
    }
}

fn admin_fields(out: &mut Vec<u8>, dependency: &Dependency, now: Moment) {
    json::text(out, "address", &dependency.definition().address);
    if let Some(order) = dependency.forced() {
        json::key(out, "forced");
        json::object(out, |out| {
            json::text(out, "to", order.to.as_str());
            json::integer(out, "for_ms", millis(order.until.since(now)));
        });
    }
    if let Some(warning) = dependency.warning() {
        json::text(out, "warning", warning);
    }
    if let Some(Outage { cause, .. }) = dependency.outage() {
        fault(out, cause);
    }
}

fn probe(out: &mut Vec<u8>, past: &Past) {
    let Past { unix_ms, finding: Finding { latency, result } } = past;
    json::integer(out, "time", *unix_ms);
    json::integer(out, "latency_us", micros(*latency));
    match result {
        Ok(warning) => {
            json::truth(out, "ok", true);
            if let Some(warning) = warning {
                json::text(out, "warning", warning);
            }
        }
        Err(cause) => {
            json::truth(out, "ok", false);
            fault(out, cause);
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::capacity;
    use crate::health::definition::{Criticality, Definition, DependencyKind, EndedBy, Gate};
    use crate::health::finding::Fault;
    use crate::health::snapshot::AdmissionMode;
    use std::sync::Arc;

    fn board() -> Board {
        let definition = Definition {
            name: Arc::from("store"),
            kind: DependencyKind::Postgres,
            address: Arc::from("postgres://chat:(hidden)@db:5432"),
            criticality: Criticality::Critical,
            gate: Gate::Handshake,
            ended_by: EndedBy::Probes,
            lost: vec![Arc::from("publish")],
            sentence: Arc::from("Messages cannot be sent."),
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            failures: 1,
            successes: 1,
        };
        Board::new(vec![definition], AdmissionMode::Enforce, Now::default())
    }

    fn own() -> Board {
        Board::new(vec![capacity::definition()], AdmissionMode::Observe, Now::default())
    }

    fn observe(board: &mut Board, seconds: u64, result: Result<Option<String>, Cause>) -> Now {
        let now = Now { at: Moment::from_micros(seconds * 1_000_000), unix_ms: seconds * 1_000 };
        let due = board.due(now.at).expect("due");
        board.observe(&due, Finding { latency: Duration::from_millis(3), result }, now, seconds);
        now
    }

    fn json(report: &Report) -> serde_json::Value {
        serde_json::from_str(&report.body).expect("JSON")
    }

    #[test]
    fn public_form_lists_losses_but_no_addresses() {
        let mut board = board();
        observe(&mut board, 10, Ok(None));
        let cause = Cause::new(Fault::DiskFull, "db:5432: could not \"extend\" file", "the disk of db");
        let now = observe(&mut board, 20, Err(cause));
        let public = all(&board, &own(), now, ReportAudience::Public);
        assert_eq!(public.status, 503);
        for secret in ["db:5432", "extend", "disk"] {
            assert!(!public.body.contains(secret), "{}", public.body);
        }
        let body = json(&public);
        assert_eq!(body["status"], "fail");
        let check = &body["checks"]["store"][0];
        assert_eq!(check["state"], "down");
        assert_eq!((&check["since"], &check["last_success"]), (&20_000.into(), &10_000.into()));
        assert_eq!(check["lost"], serde_json::json!(["publish"]));
        assert_eq!(check["breakers"], serde_json::json!({"write": "closed", "read": "closed"}));
        assert!(check["latency_us"]["p99"].as_u64() >= Some(3_000));
        let admin = json(&all(&board, &own(), now, ReportAudience::Admin));
        assert_eq!(admin["checks"]["store"][0]["fault"], "disk_full");
        assert_eq!(admin["checks"]["store"][0]["address"], "postgres://chat:(hidden)@db:5432");
    }

    #[test]
    fn gateway_entry_never_fails_the_report() {
        let (mut board, mut own) = (board(), own());
        observe(&mut board, 10, Ok(None));
        let cause = Cause::new(Fault::MemoryFull, "9 bytes of memory are in use", "/metrics");
        let now = observe(&mut own, 20, Err(cause));
        let report = all(&board, &own, now, ReportAudience::Public);
        let body = json(&report);
        assert_eq!((report.status, &body["status"], &body["level"]), (200, &"warn".into(), &"ok".into()));
        assert_eq!(body["checks"]["gateway"][0]["state"], "down");
        assert!(!report.body.contains("bytes"), "{}", report.body);
        assert_eq!(json(&one(&own, "gateway", now).expect("it is there"))["fault"], "memory_full");
    }

    #[test]
    fn outage_is_found_by_its_reference_while_it_lasts_and_afterwards() {
        let (mut board, own) = (board(), own());
        observe(&mut board, 10, Ok(None));
        let cause = Cause::new(Fault::Refused, "db:5432: refused", "the port");
        let now = observe(&mut board, 20, Err(cause));
        let report = json(&one(&board, "store", now).expect("it exists"));
        let reference = report["reference"].as_str().expect("a reference").to_owned();
        let found = json(&outage([&own, &board], &reference, now).expect("known"));
        assert_eq!((&found["dependency"], &found["over"]), (&"store".into(), &false.into()));
        let now = observe(&mut board, 26, Ok(None));
        let found = json(&outage([&own, &board], &reference, now).expect("kept"));
        assert_eq!((&found["since"], &found["lasted_ms"]), (&20_000.into(), &6_000.into()));
        assert_eq!((&found["over"], &found["fault"]), (&true.into(), &"refused".into()));
        let kept = json(&one(&board, "store", now).expect("it exists"));
        assert_eq!(kept["outages"][0]["reference"], reference.as_str());
        assert!(outage([&own, &board], "zzzzzz", now).is_none());
    }

    #[test]
    fn single_report_has_the_last_fifty_probes_newest_first() {
        let mut board = board();
        let mut now = Now::default();
        for second in 1..=70 {
            now = observe(&mut board, second * 10, Ok(Some(format!("connections {second}"))));
        }
        let body = json(&one(&board, "store", now).expect("it exists"));
        assert_eq!(body["probes"].as_array().map(Vec::len), Some(50));
        assert_eq!(body["probes"][0]["warning"], "connections 70");
        assert_eq!(body["probes"][49]["time"], 210_000);
        assert!(one(&board, "stoer", now).is_none());
    }
}
