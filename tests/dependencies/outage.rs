//! What people see of an outage: each fault of the store, an optional service that fails, a start without a database.

use crate::servers::Answer;
use crate::stand;
use crate::support::wait::{SOON, until};
use crate::support::{Client, Gateway, RawClient, Setup};
use seawall_fault::Mode;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A way in which a store fails, and comes back.
struct Way {
    name: &'static str,
    fail: fn(&mut stand::Behind<crate::servers::Postgres>),
    mend: fn(&mut stand::Behind<crate::servers::Postgres>),
    /// From the fault to the first word of it.
    seen_within: Duration,
}

const WAYS: [Way; 6] = [
    Way {
        name: "killed",
        fail: |store| store.server.kill9(),
        mend: |store| store.server.start_again(),
        seen_within: Duration::from_secs(2),
    },
    Way {
        name: "frozen",
        fail: |store| store.server.sigstop(),
        mend: |store| store.server.sigcont(),
        seen_within: Duration::from_secs(7),
    },
    Way {
        name: "refused",
        fail: |store| {
            store.proxy.set(Mode::Refuse);
            store.proxy.cut();
        },
        mend: |store| store.proxy.set(Mode::Pass),
        seen_within: Duration::from_secs(2),
    },
    Way {
        name: "stalled",
        fail: |store| store.proxy.set(Mode::Stall),
        mend: |store| store.proxy.set(Mode::Pass),
        seen_within: Duration::from_secs(7),
    },
    Way {
        name: "reset",
        fail: |store| {
            store.proxy.set(Mode::Refuse);
            store.proxy.reset();
        },
        mend: |store| store.proxy.set(Mode::Pass),
        seen_within: Duration::from_secs(2),
    },
    Way {
        name: "read only",
        fail: |store| store.server.read_only(),
        mend: |store| store.server.read_write(),
        seen_within: Duration::from_secs(7),
    },
];

pub fn with_store(store: &stand::Behind<crate::servers::Postgres>) -> Setup {
    Setup::new().env("SEAWALL_STORE_URL", &store.server.url_through(store.address()))
}

/// Reads `status` pushes until one has this level.
#[track_caller]
pub fn status(client: &mut Client, level: &str, within: Duration) -> Value {
    let deadline = Instant::now() + within;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let Some(push) = client.next_push_within("status", left) else {
            panic!("no status {level} within {within:?}");
        };
        if push["level"] == json!(level) {
            return push;
        }
    }
}

/// A publish whose answer, good or bad, comes in time; the offset when it is stored.
fn try_publish(client: &mut Client, key: &str) -> Result<u64, String> {
    let asked = Instant::now();
    let id = client.send(json!({"publish": {"channel": "c", "key": key, "data": key}}));
    let reply = client.reply(id);
    assert!(asked.elapsed() < Duration::from_millis(5_500), "the answer took {:?}", asked.elapsed());
    match reply.get("published") {
        Some(published) => Ok(published["offset"].as_u64().expect("an offset")),
        None => Err(reply["error"]["code"].as_str().expect("a code").to_owned()),
    }
}

/// Tries ten times a second, as a patient client: who asks without end is thrown out.
#[track_caller]
fn patiently(what: &str, mut holds: impl FnMut() -> bool) {
    let mut next = Instant::now();
    until(SOON, what, || {
        let due = Instant::now() >= next;
        if due {
            next = Instant::now() + Duration::from_millis(100);
        }
        due && holds()
    });
}

/// Publishes under one key until it is stored, as a client does.
fn publish(client: &mut Client, key: &str) -> u64 {
    let mut offset = None;
    patiently("a publish is stored", || {
        offset = try_publish(client, key).ok();
        offset.is_some()
    });
    offset.expect("just seen")
}

#[test]
fn a_store_that_fails_in_any_way_is_told_and_survived() {
    for way in &WAYS {
        let mut store = stand::postgres();
        let gateway = with_store(&store).start();
        let mut client = Client::connect(&gateway);
        client.subscribe("c");
        assert_eq!(publish(&mut client, "before"), 1, "{}", way.name);

        (way.fail)(&mut store);
        // Work goes on meanwhile: what it meets is evidence as well.
        let first = try_publish(&mut client, "during");
        let down = status(&mut client, "down", way.seen_within);
        assert_eq!(down["dependencies"][0]["name"], json!("store"), "{}: {down}", way.name);
        assert_eq!(down["lost"], json!(["publish", "history"]), "{}", way.name);
        let refused = matches!(&first, Err(code) if ["unavailable", "unconfirmed"].contains(&code.as_str()));
        assert!(refused, "{}: {first:?}", way.name);

        let asked = Instant::now();
        assert_eq!(try_publish(&mut client, "during"), Err("unavailable".into()), "{}", way.name);
        assert!(asked.elapsed() < Duration::from_millis(500), "{}: {:?}", way.name, asked.elapsed());
        let turned_away = Client::open(&gateway).expect_close();
        turned_away.is(1011, "unavailable");
        let bye = turned_away.bye.expect("checked");
        assert!(bye["retry_ms"].as_u64().is_some_and(|ms| (1_000..=15_000).contains(&ms)), "{bye}");
        let reference = bye["reference"].as_str().expect("a reference").to_owned();
        until(SOON, "the outage is in the log", || gateway.output().contains(&reference));
        let ready = gateway.fetch("/health/ready");
        assert_eq!((ready.status, &ready.json()["degraded"]), (200, &json!(true)), "{}", way.name);
        assert_eq!(gateway.fetch("/health/live").status, 200);
        let dependencies = gateway.fetch("/health/dependencies");
        assert_eq!(
            (dependencies.status, &dependencies.json()["status"]),
            (503, &json!("fail")),
            "{}",
            way.name
        );
        let plain = RawClient::to(&gateway).fetch("GET", "/ws");
        assert_eq!(plain.status, 503, "{}", way.name);
        assert!(plain.header("retry-after").is_some(), "{}", way.name);
        assert!(client.is_open(), "{}: who is connected stays", way.name);

        (way.mend)(&mut store);
        status(&mut client, "ok", SOON);
        assert_eq!(publish(&mut client, "during"), 2, "{}: stored once", way.name);
        assert_eq!(publish(&mut client, "after"), 3, "{}", way.name);
        let mut second = Client::connect(&gateway);
        let mut page = Value::Null;
        patiently("history is served", || {
            page = second.command(json!({"history": {"channel": "c", "limit": 10}}))["history"].take();
            !page.is_null()
        });
        let keys: Vec<&str> = page["publications"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|each| each["key"].as_str())
            .collect();
        assert_eq!(keys, ["before", "during", "after"], "{}", way.name);
        assert_eq!(gateway.metric("seawall_dependency_up"), 1.0, "{}", way.name);
    }
}

#[test]
fn an_optional_service_that_fails_takes_away_only_what_it_gives() {
    let service = stand::http();
    service.server.answer("/health", Answer::json(200, r#"{"ok":true}"#));
    let table = format!(
        "[[dependency]]\nname = \"assistant\"\nkind = \"http\"\nurl = \"http://{}/health\"\nlost = [\"replies\"]\n\
         sentence = \"Assistant replies are paused.\"\ninterval_ms = 200\ntimeout_ms = 200\nfield = \"ok=true\"",
        service.address()
    );
    let gateway = Setup::new().toml(&table).start();
    let mut client = Client::connect(&gateway);
    service.server.answer("/health", Answer::json(200, r#"{"ok":false}"#));
    let degraded = status(&mut client, "degraded", SOON);
    assert_eq!(degraded["lost"], json!(["replies"]));
    assert_eq!(degraded["message"], json!("Assistant replies are paused."));
    assert_eq!(client.publish("c", json!("service goes on")), 1);
    let newcomer = Client::connect(&gateway);
    assert_eq!(newcomer.connected["status"]["level"], json!("degraded"));
    service.server.answer("/health", Answer::json(200, r#"{"ok":true}"#));
    status(&mut client, "ok", SOON);
}

#[test]
fn a_gateway_starts_without_its_database_and_recovers_by_itself() {
    let store = stand::postgres();
    store.proxy.set(Mode::Refuse);
    let gateway = with_store(&store).start();
    until(SOON, "the outage is seen", || gateway.fetch("/health/dependencies").status == 503);
    Client::open(&gateway).expect_close().is(1011, "unavailable");
    store.proxy.set(Mode::Pass);
    until(SOON, "connections are let in", || gateway.fetch("/health/dependencies").status == 200);
    let mut client = Client::connect(&gateway);
    assert_eq!(publish(&mut client, "first"), 1);
}

#[test]
fn a_verdict_that_is_only_observed_refuses_nobody_and_is_counted() {
    let store = stand::postgres();
    let gateway = with_store(&store).env("SEAWALL_HEALTH_ADMISSION", "observe").start();
    let mut client = Client::connect(&gateway);
    store.proxy.set(Mode::Refuse);
    store.proxy.cut();
    status(&mut client, "down", SOON);
    let newcomer = Client::connect(&gateway);
    assert_eq!(newcomer.connected["status"]["level"], json!("down"));
    assert_eq!(gateway.metric("seawall_upgrades_observed_total"), 1.0);
}
