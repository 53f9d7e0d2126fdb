//! The server API while its store fails, and over two instances.

use crate::dependencies::proxied;
use crate::servers::Postgres;
use crate::support::backend::{Backend, is_problem, with_api};
use crate::support::wait::{SOON, until};
use crate::support::{Gateway, Setup};
use seawall_fault::Mode;
use serde_json::{Value, json};
use std::io::Read as _;

fn on(url: &str) -> Gateway {
    known(with_api(Setup::new()).env("SEAWALL_STORE_URL", url).start())
}

/// The gateway once it knows its store.
fn known(gateway: Gateway) -> Gateway {
    until(SOON, "the store is known", || {
        gateway.fetch("/health/dependencies").json()["level"] == json!("ok")
    });
    gateway
}

#[test]
fn request_during_an_outage_is_refused_with_its_reference_and_succeeds_after_it() {
    let store = proxied::postgres();
    let gateway = on(&store.server.url_through(store.address()));
    let mut backend = Backend::of(&gateway);
    let body = json!({"channel": "a", "key": "k", "data": 1});
    stores(&mut backend, &body);
    assert_eq!(backend.publish(&body)["offset"], 1);
    store.proxy.set(Mode::Refuse);
    store.proxy.cut();
    until(SOON, "the outage is seen", || gateway.fetch("/health/dependencies").status == 503);
    let problem = is_problem(&backend.post("/v1/publish", &body), 503, "unavailable");
    assert_eq!(problem["dependency"], "store");
    let reference = problem["reference"].as_str().expect("a reference");
    gateway.logs(reference);
    is_problem(&backend.get("/v1/channels/a"), 503, "unavailable");
    store.proxy.set(Mode::Pass);
    until(SOON, "it is over", || gateway.fetch("/health/dependencies").status == 200);
    stores(&mut backend, &body);
    assert_eq!(backend.publish(&body)["duplicate"], true, "on the same connection");
}

/// Waits until this is stored. The worker of its channel may still be connecting.
#[track_caller]
fn stores(backend: &mut Backend, body: &Value) {
    until(SOON, "it is stored", || backend.post("/v1/publish", body).status == 200);
}

/// A batch of this round, over three channels.
fn batch(round: usize) -> Value {
    let item = |n: usize| json!({"channel": format!("c{}", n % 3), "key": format!("{round}-{n}"), "data": [round, n]});
    json!({"items": (0..ITEMS).map(item).collect::<Vec<Value>>()})
}

const ROUNDS: usize = 50;
const ITEMS: usize = 200;

/// Repeats the batch until all of it is stored, and returns its results.
fn stored(gateway: &Gateway, body: &Value) -> Vec<Value> {
    let mut results = Vec::new();
    until(SOON, "all is stored", || {
        let answer = Backend::of(gateway).post("/v1/batch", body).json();
        results = answer["results"].as_array().cloned().unwrap_or_default();
        answer["failed"] == 0
    });
    results
}

/// All data of a channel, with its offsets.
fn log(gateway: &Gateway, channel: &str) -> Vec<(Value, Value)> {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let path = format!("/v1/channels/{channel}/history?after={after}&limit=300");
        let page = Backend::of(gateway).get(&path).json();
        let publications = page["publications"].as_array().expect("a page");
        let Some(last) = publications.last() else { return all };
        after = last["offset"].as_u64().expect("an offset");
        all.extend(publications.iter().map(|one| (one["data"].clone(), one["offset"].clone())));
    }
}

#[test]
fn ten_thousand_items_whose_answers_are_lost_are_stored_once_over_two_instances_and_a_crash() {
    let store = Postgres::start();
    let mut gateways = [on(&store.url()), on(&store.url())];
    let mut offsets: Vec<Vec<Value>> = Vec::new();
    for round in 0..ROUNDS {
        let (body, here, there) = (batch(round), round % 2, (round + 1) % 2);
        // The answer is cut at a random byte, or the connection before any came.
        let mut first = Backend::of(&gateways[here]);
        first.start("/v1/batch", &body.to_string());
        if round == ROUNDS / 2 {
            let [one, other] = gateways;
            let (killed, kept) = if here == 0 { (one, other) } else { (other, one) };
            let restarted = known(killed.kill9().start());
            gateways = if here == 0 { [restarted, kept] } else { [kept, restarted] };
        } else if fastrand::bool() {
            let mut some = vec![0; fastrand::usize(1..20_000)];
            let _ = first.raw.stream.read(&mut some);
        }
        drop(first);
        let results = stored(&gateways[there], &body);
        offsets.push(results.iter().map(|result| result["offset"].clone()).collect());
    }
    for (round, offsets) in offsets.iter().enumerate() {
        let results = stored(&gateways[round % 2], &batch(round));
        for (result, offset) in results.iter().zip(offsets) {
            assert_eq!((&result["duplicate"], &result["offset"]), (&json!(true), offset), "round {round}");
        }
    }
    for (at, channel) in ["c0", "c1", "c2"].into_iter().enumerate() {
        let places = (0..ROUNDS).flat_map(|round| (at..ITEMS).step_by(3).map(move |n| (round, n)));
        let wanted: Vec<(Value, Value)> =
            places.map(|(round, n)| (json!([round, n]), offsets[round][n].clone())).collect();
        assert!(log(&gateways[0], channel) == wanted, "{channel}: each once, in order, at its offset");
    }
}
