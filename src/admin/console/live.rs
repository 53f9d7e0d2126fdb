//! The answers to `GET /console/live` and `GET /console/series`. No clock, no thread and no lock.

use crate::alert::report::AlertReport;
use crate::metrics::changes::NotedChange;
use crate::metrics::history::Rows;
use crate::metrics::series::{self, SERIES};
use crate::slo::report::SloReport;
use crate::wire::json;

/// The series of the first page, in this order in `rows`.
pub const LIVE: [&str; 14] = [
    "connections",
    "connects",
    "closes",
    "closes_1006",
    "closes_1011",
    "closes_1012",
    "closes_1013",
    "closes_4408",
    "published",
    "delivered",
    "publish_p50_us",
    "publish_p99_us",
    "memory_bytes",
    "cpu_percent",
];
/// The first answer has this many rows of [`FIRST_STEP_S`] seconds: half an hour.
pub const FIRST_ROWS: usize = 180;
pub const FIRST_STEP_S: u64 = 10;

/// Everything that one answer shows. Members that are JSON already are included as they are.
#[derive(Debug)]
pub struct Live<'a> {
    pub instance: &'a str,
    /// Unix milliseconds of the start of the process, which tells one process from the next of this name.
    pub boot: u64,
    pub now: u64,
    /// The tick after the newest sample.
    pub tick: u64,
    /// The `status` object, and since when its level holds.
    pub status: &'a str,
    pub status_since: u64,
    pub rows: &'a Rows,
    /// The bodies of `/cluster`, `/health/dependencies` and `/drain`.
    pub cluster: &'a str,
    pub health: &'a str,
    pub drain: &'a str,
    pub connections_max: u64,
    pub slo: &'a SloReport,
    pub alerts: &'a AlertReport,
    pub changes: &'a [NotedChange],
    /// The rights of the session.
    pub scope: &'static str,
}

impl Live<'_> {
    /// The answer as JSON.
    pub fn json(&self) -> String {
        let mut out = Vec::with_capacity(16 << 10);
        json::object(&mut out, |out| {
            json::text(out, "instance", self.instance);
            json::integer(out, "boot", self.boot);
            json::text(out, "version", env!("CARGO_PKG_VERSION"));
            json::text(out, "scope", self.scope);
            json::integer(out, "now", self.now);
            json::integer(out, "tick", self.tick);
            json::raw(out, "status", self.status);
            json::integer(out, "status_since", self.status_since);
            json::integer(out, "connections_max", self.connections_max);
            json::key(out, "series");
            let places: Vec<usize> = LIVE.iter().filter_map(|name| series::place(name)).collect();
            write_rows(out, &places, self.rows);
            json::raw(out, "cluster", self.cluster.trim_end());
            json::raw(out, "health", self.health.trim_end());
            json::raw(out, "drain", self.drain.trim_end());
            json::raw(out, "slos", &slos(self.slo));
            json::raw(out, "alerts", &alerts(self.alerts));
            json::raw(out, "changes", &serde_json::to_string(self.changes).unwrap_or_default());
        });
        out.push(b'\n');
        String::from_utf8_lossy(&out).into_owned()
    }
}

/// The answer to `GET /console/series`.
pub fn series_json(places: &[usize], rows: &Rows, tick: u64, now: u64) -> String {
    let mut out = Vec::with_capacity(16 << 10);
    json::object(&mut out, |out| {
        json::integer(out, "now", now);
        json::integer(out, "tick", tick);
        json::key(out, "series");
        write_rows(out, places, rows);
    });
    out.push(b'\n');
    String::from_utf8_lossy(&out).into_owned()
}

fn write_rows(out: &mut Vec<u8>, places: &[usize], rows: &Rows) {
    json::object(out, |out| {
        json::integer(out, "step_ms", rows.step_s * 1_000);
        json::integer(out, "from", rows.from);
        json::key(out, "names");
        let names: Vec<&str> = places.iter().filter_map(|at| SERIES.get(*at)).map(|one| one.name).collect();
        list(out, &names, |out, name| json::string(out, name));
        json::key(out, "rows");
        list(out, &rows.rows, |out, row| list(out, row, |out, value| number(out, *value)));
    });
}

fn list<T>(out: &mut Vec<u8>, items: &[T], mut item: impl FnMut(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (place, each) in items.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        item(out, each);
    }
    out.push(b']');
}

/// A value with at most two decimals; a gap is `null`.
fn number(out: &mut Vec<u8>, value: f32) {
    let value = f64::from(value);
    let rounded = (value * 100.0).round() / 100.0;
    let text = match value.is_finite() {
        true if value.abs() >= 1_000.0 => format!("{value:.0}"),
        true => format!("{rounded}"),
        false => "null".to_owned(),
    };
    out.extend_from_slice(text.as_bytes());
}

/// The objectives in short: the worst part of each.
fn slos(report: &SloReport) -> String {
    let short = report.objectives.iter().map(|one| {
        let part = one.worst.and_then(|worst| one.parts.iter().find(|part| part.part == worst));
        serde_json::json!({
            "name": one.name,
            "state": one.state,
            "left_ppm": part.and_then(|part| part.budget_left_ppm),
            "burn_1h_milli": part.and_then(|part| part.burn_1h_milli),
            "burn_6h_milli": part.and_then(|part| part.burn_6h_milli),
            "gone_s": part.and_then(|part| part.gone_s),
        })
    });
    serde_json::Value::from_iter(short).to_string()
}

/// The open incidents in short.
fn alerts(report: &AlertReport) -> String {
    let open = report.incidents.iter().filter(|incident| incident.end.is_none()).map(|one| {
        serde_json::json!({
            "number": one.number,
            "severity": one.severity,
            "title": one.title,
            "since": one.since,
            "acknowledged": one.acknowledged,
        })
    });
    serde_json::Value::from_iter(open).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_the_first_page_exist() {
        assert!(LIVE.iter().all(|name| series::place(name).is_some()));
    }

    #[test]
    fn answer_is_json_and_a_gap_is_null() {
        let rows = Rows { from: 20, step_s: 10, rows: vec![vec![1.5, f32::NAN, 12_345.6]] };
        let live = Live {
            instance: "gw-\"1\"",
            boot: 1,
            now: 2,
            tick: 30,
            status: r#"{"level":"ok"}"#,
            status_since: 3,
            rows: &rows,
            cluster: "{}\n",
            health: "{}",
            drain: "{}",
            connections_max: 9,
            slo: &SloReport::default(),
            alerts: &AlertReport::default(),
            changes: &[],
            scope: "read",
        };
        let body: serde_json::Value = serde_json::from_str(&live.json()).expect("JSON");
        assert_eq!(body["instance"], "gw-\"1\"");
        assert_eq!(body["series"]["rows"], serde_json::json!([[1.5, null, 12346]]));
        assert_eq!((&body["series"]["from"], &body["status"]["level"]), (&20.into(), &"ok".into()));
        let series: serde_json::Value =
            serde_json::from_str(&series_json(&[0, 11], &rows, 30, 2)).expect("JSON");
        assert_eq!(series["series"]["names"], serde_json::json!(["connections", "published"]));
    }
}
