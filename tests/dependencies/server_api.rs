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
    let gateway = with_api(Setup::new()).env("SEAWALL_STORE_URL", url).start();
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
    assert_eq!(backend.publish(&body)["offset"], 1);
    store.proxy.set(Mode::Refuse);
    store.proxy.cut();
    until(SOON, "the outage is seen", || gateway.fetch("/health/dependencies").status == 503);
    let problem = is_problem(&backend.post("/v1/publish", &body), 503, "unavailable");
    assert_eq!(problem["dependency"], "store");
    let reference = problem["reference"].as_str().expect("a reference");
    assert!(gateway.output().contains(reference), "{reference} is in the log");
    is_problem(&backend.get("/v1/channels/a"), 503, "unavailable");
    store.proxy.set(Mode::Pass);
    until(SOON, "it is over", || gateway.fetch("/health/dependencies").status == 200);
    assert_eq!(backend.publish(&body)["duplicate"], true, "on the same connection");
}

#[test]
fn request_whose_answer_is_lost_is_repeated_at_another_instance_without_a_double() {
    let store = Postgres::start();
    let gateways = [on(&store.url()), on(&store.url())];
    let rounds = 30;
    for round in 0..rounds {
        let items: Vec<Value> = (0..20)
            .map(|n| json!({"channel": format!("c{}", n % 3), "key": format!("{round}-{n}"), "data": [round, n]}))
            .collect();
        let body = json!({"items": items});
        // The answer is cut at a random byte, mostly before it is complete.
        let mut first = Backend::of(&gateways[round % 2]);
        first.start("/v1/batch", &body.to_string());
        let mut some = vec![0; fastrand::usize(1..2_000)];
        let _ = first.raw.stream.read(&mut some);
        drop(first);
        let answer = Backend::of(&gateways[(round + 1) % 2]).post("/v1/batch", &body).json();
        assert_eq!(answer["failed"], 0, "{answer}");
    }
    for channel in ["c0", "c1", "c2"] {
        let mut stored: Vec<Value> = Vec::new();
        let mut after = 0;
        loop {
            let path = format!("/v1/channels/{channel}/history?after={after}&limit=300");
            let page = Backend::of(&gateways[0]).get(&path).json();
            let publications = page["publications"].as_array().expect("a page");
            let Some(last) = publications.last() else { break };
            after = last["offset"].as_u64().expect("an offset");
            stored.extend(publications.iter().map(|one| one["data"].clone()));
        }
        let wanted = (0..rounds).flat_map(|round| (0..20).map(move |n| (round, n)));
        let wanted: Vec<Value> = wanted
            .filter(|(_, n)| format!("c{}", n % 3) == channel)
            .map(|(round, n)| json!([round, n]))
            .collect();
        assert_eq!(stored, wanted, "each once, in order");
    }
}
