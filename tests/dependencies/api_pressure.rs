//! The server API with more to do than the store takes: clients keep their room, and memory has a bound.

use crate::dependencies::proxied;
use crate::support::backend::{Backend, is_problem, with_api};
use crate::support::wait::{SOON, SetOnDrop, comes_true, until};
use crate::support::{Client, Gateway, Setup};
use seawall_fault::Mode;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Connections that send batches, all at once.
const CONNECTIONS: usize = 64;
const CLIENTS: usize = 8;
/// The least time for which the store hangs.
const HANGS: Duration = Duration::from_secs(3);
/// Memory that may come and go: pages of the allocator, and the log of the store's outage.
const SLACK_BYTES: u64 = 24 << 20;

/// How often each outcome came: statuses of batches, and codes of clients' publications.
#[derive(Default)]
struct Outcomes(Mutex<BTreeMap<String, u64>>);

impl Outcomes {
    fn add(&self, outcome: impl Into<String>) {
        *self.0.lock().expect("no panic").entry(outcome.into()).or_default() += 1;
    }

    fn of(&self, outcome: &str) -> u64 {
        self.0.lock().expect("no panic").get(outcome).copied().unwrap_or_default()
    }
}

/// Sends full batches until `stop`. A refused one is repeated after a pause, on another connection if this one was closed.
fn send_batches(gateway: &Gateway, of: usize, outcomes: &Outcomes, stop: &AtomicBool) {
    let items: Vec<Value> = (0..1_000).map(|n| json!({"channel": format!("b{of}"), "data": n})).collect();
    let body = json!({"items": items});
    let mut backend = Backend::of(gateway);
    while !stop.load(Ordering::Relaxed) {
        let response = backend.post("/v1/batch", &body);
        outcomes.add(response.status.to_string());
        if response.status != 200 {
            let problem = is_problem(&response, 503, response.json()["code"].as_str().expect("a code"));
            assert!(problem["retry_ms"].is_u64(), "{problem}");
            comes_true(Duration::from_millis(100), || stop.load(Ordering::Relaxed));
        }
        if response.header("connection") == Some("close") {
            backend = Backend::of(gateway);
        }
    }
}

/// Publishes one message after the other until `stop`.
fn publish(gateway: &Gateway, outcomes: &Outcomes, stop: &AtomicBool) {
    let mut client = Client::connect(gateway);
    while !stop.load(Ordering::Relaxed) {
        let reply = client.command(json!({"publish": {"channel": "chat", "data": "hello"}}));
        match reply["error"]["code"].as_str() {
            Some(code) => outcomes.add(code),
            None => outcomes.add("published"),
        }
    }
}

#[test]
fn full_batches_while_the_store_hangs_leave_clients_their_room_and_memory_flat() {
    let store = proxied::postgres();
    let url = store.server.url_through(store.address());
    // Half of the connections are one key's share.
    let connections = (2 * CONNECTIONS).to_string();
    let setup = with_api(Setup::new()).unlimited().env("SEAWALL_API_CONNECTIONS", &connections);
    let gateway = setup.env("SEAWALL_STORE_URL", &url).start();
    until(SOON, "the store is known", || {
        gateway.fetch("/health/dependencies").json()["level"] == json!("ok")
    });
    let (batches, clients, stop) = (Outcomes::default(), Outcomes::default(), AtomicBool::new(false));
    let [warm, most] = std::thread::scope(|scope| {
        for of in 0..CONNECTIONS {
            let (gateway, batches, stop) = (&gateway, &batches, &stop);
            scope.spawn(move || send_batches(gateway, of, batches, stop));
        }
        for _ in 0..CLIENTS {
            scope.spawn(|| publish(&gateway, &clients, &stop));
        }
        let _stop = SetOnDrop(&stop);
        until(SOON * 3, "batches are stored", || batches.of("200") >= CONNECTIONS as u64);
        let warm = gateway.rss_bytes();
        store.proxy.set(Mode::Stall);
        let (begun, refused, mut most) = (Instant::now(), batches.of("503"), 0);
        until(SOON * 3, "batches are refused", || {
            most = most.max(gateway.rss_bytes());
            begun.elapsed() >= HANGS && batches.of("503") >= refused + CONNECTIONS as u64
        });
        store.proxy.set(Mode::Pass);
        let (stored, published) = (batches.of("200"), clients.of("published"));
        until(SOON * 3, "both publish again", || {
            most = most.max(gateway.rss_bytes());
            batches.of("200") > stored + 8 && clients.of("published") > published + 8
        });
        [warm, most]
    });
    assert_eq!(clients.of("overloaded"), 0, "{:?}", clients.0);
    assert!(most <= warm + SLACK_BYTES, "{} KiB became {} KiB", warm >> 10, most >> 10);
    until(SOON, "no place is lost", || gateway.metric("seawall_api_in_flight") == 0.0);
    gateway.shows("seawall_api_body_bytes", 0.0);
}
