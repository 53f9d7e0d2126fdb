//! Orders to three instances, with the bus, without it, and while one of them is stopped.

use crate::bus::rig::{Rig, delivers};
use crate::support::backend::{Backend, with_api};
use crate::support::token::{SECRET, token_of};
use crate::support::wait::{SOON, until};
use crate::support::{Client, Gateway};
use rustix::process::Signal;
use seawall_fault::Mode;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The bar is 200 ms; the rest is for a slow machine without optimisation.
const BY_BUS: Duration = Duration::from_millis(200 + 1_300);
/// The bar without the bus is 3 s.
const BY_STORE: Duration = Duration::from_millis(3_000 + 2_000);

fn instance(rig: &Rig, name: &str) -> Gateway {
    let gateway = with_api(rig.setup(name)).env("SEAWALL_AUTH_SECRET", SECRET).start();
    delivers(&gateway);
    gateway
}

fn three(rig: &Rig) -> [Gateway; 3] {
    let gateways = ["gw-1", "gw-2", "gw-3"].map(|name| instance(rig, name));
    let mut backend = Backend::of(&gateways[0]);
    until(SOON, "the first knows the others", || {
        let answer = backend.post("/v1/users/stranger/disconnect", &json!({})).json();
        answer["instances"].as_array().is_some_and(|instances| instances.len() == 3)
    });
    gateways
}

fn connect(gateway: &Gateway, user: &str) -> Client {
    Client::open(gateway).with_connect(json!({"token": token_of(user)}))
}

fn done(answer: &Value) -> Vec<(String, bool)> {
    let instances = answer["instances"].as_array().expect("instances").iter();
    let one = |instance: &Value| {
        let name = instance["name"].as_str().expect("a name").to_owned();
        (name, instance["done"].as_bool().expect("done"))
    };
    instances.map(one).collect()
}

#[test]
fn order_reaches_all_instances_by_the_bus_and_by_the_store_without_it() {
    let rig = Rig::start();
    let gateways = three(&rig);
    let mut ann: Vec<Client> = gateways.iter().map(|gateway| connect(gateway, "ann")).collect();
    let mut bob: Vec<Client> = gateways.iter().map(|gateway| connect(gateway, "bob")).collect();
    let begun = Instant::now();
    let answer = Backend::of(&gateways[0]).post("/v1/users/ann/disconnect", &json!({})).json();
    for client in &mut ann {
        client.expect_close().is(4410, "disconnected");
    }
    assert!(begun.elapsed() < BY_BUS, "{:?}", begun.elapsed());
    assert_eq!((&answer["complete"], &answer["closed"]), (&json!(true), &json!(3)), "{answer}");

    // Without the bus, another instance.
    rig.proxy.set(Mode::Refuse);
    rig.proxy.cut();
    let begun = Instant::now();
    let answer = Backend::of(&gateways[1]).put("/v1/users/bob/block", &json!({})).json();
    for client in &mut bob {
        client.expect_close().is(4503, "forbidden");
    }
    assert!(begun.elapsed() < BY_STORE, "{:?}", begun.elapsed());
    for gateway in &gateways {
        let mut client = Client::open(gateway);
        client.send(json!({"connect": {"token": token_of("bob")}}));
        client.expect_close().is(4503, "forbidden");
    }
    let path = format!("/v1/orders/{}", answer["order"]);
    until(SOON, "all have done it", || {
        gateways.iter().all(|gateway| Backend::of(gateway).get(&path).json()["complete"] == json!(true))
    });
    // A new instance knows of the block before it lets anybody in.
    let fourth = with_api(rig.setup("gw-4")).env("SEAWALL_AUTH_SECRET", SECRET).start();
    let mut client = Client::open(&fourth);
    client.send(json!({"connect": {"token": token_of("bob")}}));
    client.expect_close().is(4503, "forbidden");
}

#[test]
fn stopped_instance_is_named_and_obeys_when_it_continues() {
    let rig = Rig::start();
    let gateways = three(&rig);
    let mut ann: Vec<Client> = gateways.iter().map(|gateway| connect(gateway, "ann")).collect();
    gateways[2].signal(Signal::STOP);
    let mut backend = Backend::of(&gateways[0]);
    let answer = backend.post("/v1/users/ann/disconnect", &json!({"reconnect": false})).json();
    assert_eq!(answer["complete"], false, "{answer}");
    let expected = [("gw-1".to_owned(), true), ("gw-2".to_owned(), true), ("gw-3".to_owned(), false)];
    assert_eq!(done(&answer), expected, "{answer}");
    for client in ann.iter_mut().take(2) {
        client.expect_close().is(4504, "disconnected");
    }
    gateways[2].signal(Signal::CONT);
    ann[2].expect_close().is(4504, "disconnected");
    let path = format!("/v1/orders/{}", answer["order"]);
    until(SOON, "it has done it", || {
        let report = backend.get(&path).json();
        report["complete"] == json!(true) && report["closed"] == json!(3)
    });
}
