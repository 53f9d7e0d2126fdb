//! An operator's actions on the admin listener, and their effect on clients.

use crate::dependencies::proxied;
use crate::servers::{Answer, Http};
use crate::support::wait::{LATE, SOON, until};
use crate::support::{Client, Gateway, Operator, Setup};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A gateway with one critical service, which is healthy.
fn start(service: &Http, interval_ms: u64) -> (Gateway, Operator) {
    let table = format!(
        "[[dependency]]\nname = \"backend\"\nkind = \"http\"\nurl = \"http://{}/\"\ncriticality = \"critical\"\n\
         interval_ms = {interval_ms}\ntimeout_ms = 10000\nfailures = 1\nsuccesses = 1\nlost = [\"replies\"]",
        service.address()
    );
    let gateway = Setup::new().with_admin().toml(&table).start();
    let operator = Operator::of(&gateway);
    until(SOON, "the service was probed", || backend(&operator)["state"] == "ok");
    (gateway, operator)
}

fn backend(operator: &Operator) -> Value {
    operator.get("/health/dependencies/backend").json()
}

fn force(operator: &Operator, to: &str) -> Value {
    let order = json!({"to": to, "minutes": 5});
    let answer = operator.send("POST", "/health/dependencies/backend/force", Some(order));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[test]
fn forced_open_dependency_refuses_new_clients_until_released() {
    let service = Http::start();
    let (gateway, operator) = start(&service, 2_000);
    let mut resident = Client::connect(&gateway);

    let held = force(&operator, "open");
    assert_eq!((&held["state"], &held["forced"]["to"]), (&json!("down"), &json!("open")));
    assert!(held["forced"]["for_ms"].as_u64().is_some_and(|ms| (290_000..=300_000).contains(&ms)), "{held}");
    assert_eq!(resident.next_push("status")["level"], "down");
    let turned_away = Client::open(&gateway).expect_close();
    turned_away.is(1011, "unavailable");
    let bye = turned_away.bye.expect("checked");
    assert_eq!((&bye["dependency"], &bye["reference"]), (&json!("backend"), &held["reference"]));
    let sample = |name: &str| gateway.metrics()[&format!("seawall_{name}{{dependency=\"backend\"}}")];
    assert_eq!((sample("dependency_forced"), sample("dependency_up")), (2.0, 0.0));
    assert_eq!(gateway.metrics()["seawall_dependency_state{dependency=\"backend\",state=\"down\"}"], 1.0);
    assert_eq!(gateway.metrics()["seawall_breaker{dependency=\"backend\",use=\"call\"}"], 2.0);

    let released = operator.send("DELETE", "/health/dependencies/backend/force", None);
    assert_eq!(released.status, 200);
    assert!(released.json().get("forced").is_none(), "{released:?}");
    assert_eq!(resident.next_push("status")["level"], "ok");
    Client::connect(&gateway);
    assert_eq!(sample("dependency_forced"), 0.0);
    gateway.shows("seawall_admin_actions_total", 2.0);
    // Each action is logged once, with its origin.
    let events = ["dependency forced by operator", "dependency released by operator"];
    events.iter().for_each(|event| gateway.logs(event));
    let said = gateway.output();
    for event in events {
        let lines: Vec<&str> = said.lines().filter(|line| line.contains(event)).collect();
        assert_eq!(lines.len(), 1, "{said}");
        assert!(lines[0].contains("127.0.0.1:") && lines[0].contains("backend"), "{lines:?}");
    }
    assert!(!said.contains("forced state ended"), "{said}");
}

#[test]
fn forced_closed_dependency_admits_clients_although_it_fails() {
    let service = Http::start();
    let (gateway, operator) = start(&service, 200);
    service.answer("", Answer::json(500, "{}"));
    until(SOON, "the outage is seen", || backend(&operator)["state"] == "down");
    Client::open(&gateway).expect_close().is(1011, "unavailable");
    let held = force(&operator, "closed");
    assert_eq!((&held["state"], &held["forced"]["to"]), (&json!("ok"), &json!("closed")));
    Client::connect(&gateway);
    operator.send("DELETE", "/health/dependencies/backend/force", None);
    until(SOON, "the probes decide again", || backend(&operator)["state"] == "down");
}

#[test]
fn operator_switches_admission_between_observe_and_enforce() {
    let service = Http::start();
    let (gateway, operator) = start(&service, 2_000);
    assert_eq!(operator.get("/health/admission").json(), json!({"mode": "enforce"}));
    force(&operator, "open");
    Client::open(&gateway).expect_close().is(1011, "unavailable");

    let observe = operator.send("PUT", "/health/admission", Some(json!({"mode": "observe"})));
    assert_eq!((observe.status, observe.json()), (200, json!({"mode": "observe"})));
    let newcomer = Client::connect(&gateway);
    assert_eq!(newcomer.connected["status"]["level"], "down");
    gateway.shows("seawall_upgrades_observed_total", 1.0);
    gateway.shows("seawall_upgrades_turned_away_total", 1.0);
    assert_eq!(gateway.metric("seawall_admission_enforced"), 0.0);
    assert_eq!(gateway.fetch("/health/dependencies").json()["admission"], "observe");

    operator.send("PUT", "/health/admission", Some(json!({"mode": "enforce"})));
    Client::open(&gateway).expect_close().is(1011, "unavailable");
    assert_eq!(gateway.metric("seawall_admission_enforced"), 1.0);
    // The log has a thread of its own, and this one may be faster.
    let lines =
        || gateway.output().lines().filter(|line| line.contains("admission mode set by operator")).count();
    until(SOON, "both are in the log", || lines() >= 2);
    assert_eq!(lines(), 2, "{}", gateway.output());
}

#[test]
fn requested_probe_runs_at_once() {
    let service = Http::start();
    let (gateway, operator) = start(&service, 3_600_000);
    let before = service.count();
    service.answer("", Answer::json(503, "{}"));
    let asked = operator.send("POST", "/health/dependencies/backend/probe", None);
    assert_eq!((asked.status, &asked.json()["name"]), (202, &json!("backend")));
    until(SOON, "the probe has finished", || backend(&operator)["state"] == "down");
    assert!(service.count() > before);
    let detail = backend(&operator);
    let newest = &detail["probes"][0];
    assert_eq!((&newest["ok"], &newest["fault"]), (&json!(false), &json!("status")), "{detail}");
    for field in ["time", "latency_us"] {
        assert!(newest[field].is_u64(), "{newest}");
    }
    assert!(newest["output"].as_str().is_some_and(|text| text.contains("503")), "{newest}");
    assert!(newest["look_at"].as_str().is_some_and(|text| !text.is_empty()), "{newest}");
    let probes = || gateway.metrics()["seawall_admin_actions_total{action=\"probe\"}"];
    until(SOON, "the action is counted", || probes() == 1.0);
}

#[test]
fn dependency_detail_lists_the_last_fifty_probes() {
    let service = Http::start();
    let (gateway, operator) = start(&service, 100);
    until(4 * SOON, "more than fifty probes", || gateway.metric("seawall_dependency_probes_total") >= 55.0);
    let detail = backend(&operator);
    let probes = detail["probes"].as_array().expect("a list");
    assert_eq!(probes.len(), 50);
    let times: Vec<u64> = probes.iter().filter_map(|probe| probe["time"].as_u64()).collect();
    assert!(times.is_sorted_by(|newer, older| newer >= older), "{times:?}");
    assert!(detail["latency_us"]["p99"].is_u64() && detail["last_success"].is_u64(), "{detail}");
    assert!(detail["address"].as_str().is_some_and(|address| address.contains("127.0.0.1")), "{detail}");
    assert!(gateway.metric("seawall_dependency_probe_seconds_count") > 0.0);
    assert!(gateway.metric("seawall_dependency_last_success_seconds") > 1e9);
}

#[test]
fn live_is_answered_while_the_store_is_frozen_and_its_workers_wait() {
    let store = proxied::postgres();
    let gateway = crate::dependencies::outage::with_store(&store).with_admin().start();
    let operator = Operator::of(&gateway);
    let mut client = Client::connect(&gateway);
    until(SOON, "the store takes a publication", || {
        let id = client.send(json!({"publish": {"channel": "c", "data": 1}}));
        client.reply(id).get("published").is_some()
    });
    store.server.sigstop();
    for key in 0..10 {
        client.send(json!({"publish": {"channel": "c", "key": format!("k{key}"), "data": 1}}));
        client.send(json!({"history": {"channel": "c", "limit": 1}}));
    }
    let mut times: Vec<Duration> = (0..50)
        .map(|_| {
            let asked = Instant::now();
            assert_eq!(operator.get("/health/live").status, 200);
            asked.elapsed()
        })
        .collect();
    times.sort();
    // Whatever waits for the store, waits for seconds.
    assert!(times[25] < Duration::from_millis(1_000), "{LATE}: {times:?}");
    until(SOON, "the outage has its cause", || {
        operator.get("/health/dependencies/store").json()["fault"] == "timeout"
    });
    store.server.sigcont();
}
