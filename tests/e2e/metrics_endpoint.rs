//! The metrics page is valid Prometheus text, and its counters move.

use crate::support::{Client, Gateway, RawClient, SOON, until};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

/// Checks the text exposition format 0.0.4 (or OpenMetrics 1.0): each sample must belong to a declared family.
fn check(page: &str) -> usize {
    let mut types: BTreeMap<&str, &str> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut samples = 0;
    for line in page.lines().filter(|line| !line.is_empty()) {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            let (name, kind) = declared.split_once(' ').expect("a name and a type");
            assert!(
                ["counter", "gauge", "histogram", "summary", "unknown", "info"].contains(&kind),
                "{line}"
            );
            assert!(types.insert(name, kind).is_none(), "declared twice: {line}");
        } else if line.starts_with('#') {
            let known = ["# HELP ", "# UNIT ", "# EOF"].iter().any(|start| line.starts_with(start));
            assert!(known, "an unknown comment: {line}");
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a series and a value");
            value.parse::<f64>().unwrap_or_else(|error| panic!("{error}: {line}"));
            assert!(seen.insert(series), "the same series twice: {line}");
            check_series(series, &types);
            samples += 1;
        }
    }
    samples
}

fn check_series(series: &str, types: &BTreeMap<&str, &str>) {
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    assert!(
        name.starts_with("seawall_") || name.starts_with("process_"),
        "the name has a known prefix: {series}"
    );
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    assert!(name.chars().all(legal), "snake case: {series}");
    let endings = ["", "_total", "_bucket", "_sum", "_count", "_info", "_created"];
    let family = endings.iter().find_map(|ending| types.get(name.strip_suffix(ending)?));
    let kind = family.unwrap_or_else(|| panic!("no # TYPE before {series}"));
    assert!(*kind != "counter" || name.ends_with("_total"), "a counter ends in _total: {series}");
    let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("an open brace: {series}"));
    let quotes = labels.replace("\\\"", "").matches('"').count();
    assert_eq!(quotes % 2, 0, "{series}");
    assert_eq!(labels.is_empty(), !labels.contains("=\""), "{series}");
}

#[test]
fn metrics_page_is_valid_and_complete() {
    let gateway = Gateway::start();
    let mut client = Client::connect(&gateway);
    client.subscribe("c");
    client.publish("c", json!(1));
    let page = gateway.fetch("/metrics");
    assert_eq!(page.status, 200);
    let form = page.header("content-type").unwrap_or_default();
    assert!(form.starts_with("text/plain") || form.starts_with("application/openmetrics-text"), "{form}");
    assert!(check(&page.body) > 10, "{}", page.body);
}

#[test]
fn scraper_that_names_only_the_text_format_gets_it() {
    let gateway = Gateway::start();
    let page = |accept: &str| {
        let mut client = RawClient::to(&gateway);
        let head = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n");
        client.write(head.as_bytes());
        client.response()
    };
    let text = page("application/vnd.google.protobuf;q=0.7,text/plain;version=0.0.4;q=0.3");
    assert_eq!(text.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(!text.body.contains("# EOF") && text.body.contains("# TYPE seawall_publishes_total counter\n"));
    assert!(check(&text.body) > 10);
    let open = page("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1");
    assert!(open.header("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text")));
    assert!(open.body.ends_with("# EOF\n"));
}

#[test]
fn metrics_of_the_process_have_the_names_of_every_program() {
    let gateway = Gateway::start();
    until(SOON, "the process was measured", || {
        gateway.metric("process_resident_memory_bytes") > 1e6
            && gateway.metric("process_cpu_seconds_total") > 0.0
    });
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    let start = gateway.metric("process_start_time_seconds");
    assert!(start > now - 600.0 && start <= now, "{start} at {now}");
    assert!(gateway.metric("process_open_fds") > 3.0);
    assert!(gateway.metric("process_max_fds") >= gateway.metric("process_open_fds"));
}

#[test]
fn counters_increase_with_the_events_they_count() {
    let gateway = Gateway::start();
    let before = gateway.metrics();
    let mut client = Client::connect(&gateway);
    client.subscribe("c");
    for n in 0..5 {
        client.publish("c", json!(n));
    }
    client.offsets(5);
    let after = gateway.metrics();
    let moved: Vec<&String> = after
        .iter()
        .filter(|(name, value)| before.get(*name).is_none_or(|old| old < *value))
        .map(|(name, _)| name)
        .collect();
    for part in ["connection", "publish", "received"] {
        assert!(moved.iter().any(|name| name.contains(part)), "nothing about {part} moved: {moved:?}");
    }
    until(SOON, "only this client and the scrape are connected", || {
        gateway.metric("seawall_connections") == 2.0
    });
}
