//! Orders to three instances, with the bus, without it, while one of them is stopped, and under clients that reconnect all the time.

use crate::bus::rig::{Rig, delivers};
use crate::cluster::rig::settled;
use crate::support::backend::{Backend, with_api};
use crate::support::token::{SECRET, token_of};
use crate::support::wait::{LATE, SOON, SetOnDrop, in_time, until};
use crate::support::{Client, Gateway, Upgrade, has_named_binary};
use rustix::process::Signal;
use seawall_fault::Mode;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The bar is 200 ms; the rest is for a slow machine without optimisation.
const BY_BUS: Duration = Duration::from_millis(200 + 1_300);
/// The bar without the bus is 3 s; the rest is for a busy machine.
const BY_STORE: Duration = Duration::from_millis(3_000 + 9_000);
/// The clients of a user that reconnect as soon as they are closed, over all instances.
const CLIENTS: usize = 200;
/// Refusals of each client after the answer.
const REFUSALS: usize = 3;
/// The time that threads of clients need on a busy machine.
const CROWD: Duration = Duration::from_secs(120);

fn instance(rig: &Rig, name: &str) -> Gateway {
    let gateway = with_api(rig.proxied(name)).env("SEAWALL_AUTH_SECRET", SECRET).start();
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
    let mut bob: Vec<Client> = gateways.iter().map(|gateway| connect(gateway, "bob")).collect();
    let mut answer = json!({});
    in_time(BY_BUS, || {
        let mut ann: Vec<Client> = gateways.iter().map(|gateway| connect(gateway, "ann")).collect();
        let begun = Instant::now();
        answer = Backend::of(&gateways[0]).post("/v1/users/ann/disconnect", &json!({})).json();
        for client in &mut ann {
            client.expect_close().is(4410, "disconnected");
        }
        // The answer does not wait longer than a second for the others.
        if answer["complete"] == true { begun.elapsed() } else { Duration::MAX }
    });
    assert_eq!((&answer["complete"], &answer["closed"]), (&json!(true), &json!(3)), "{answer}");

    // Without the bus, another instance.
    rig.proxy.set(Mode::Refuse);
    rig.proxy.cut();
    let begun = Instant::now();
    let answer = Backend::of(&gateways[1]).put("/v1/users/bob/block", &json!({})).json();
    for client in &mut bob {
        client.expect_close().is(4503, "forbidden");
    }
    assert!(begun.elapsed() < BY_STORE, "{LATE}: {:?}", begun.elapsed());
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
    let fourth = with_api(rig.proxied("gw-4")).env("SEAWALL_AUTH_SECRET", SECRET).start();
    let mut client = Client::open(&fourth);
    client.send(json!({"connect": {"token": token_of("bob")}}));
    client.expect_close().is(4503, "forbidden");
}

/// The clients of one user, each on a thread of its own.
#[derive(Default)]
struct Crowd {
    /// The answer to the block has come.
    answered: AtomicBool,
    over: AtomicBool,
    connected_before: AtomicUsize,
    connected_after: AtomicUsize,
    refused_after: AtomicUsize,
    closed: AtomicUsize,
}

impl Crowd {
    /// Connects, waits for the end of the session, and tries again until the crowd is over. Returns when the session ended.
    fn reconnect(&self, gateway: &Gateway, token: &str) -> Option<Instant> {
        let mut closed = None;
        while !self.over.load(Ordering::SeqCst) {
            let answered = self.answered.load(Ordering::SeqCst);
            let Ok(mut client) = Client::try_open(gateway.address, &Upgrade::default()) else { continue };
            let id = client.send(json!({"connect": {"token": token}}));
            match (client.try_reply(id), answered) {
                (Some(_), true) => _ = self.connected_after.fetch_add(1, Ordering::SeqCst),
                (None, true) => _ = self.refused_after.fetch_add(1, Ordering::SeqCst),
                (None, false) => {}
                (Some(_), false) => {
                    self.connected_before.fetch_add(1, Ordering::SeqCst);
                    let bye = client.next_push_within("bye", CROWD);
                    let bye = bye.unwrap_or_else(|| panic!("{}", client.missing("the end of the session")));
                    closed = Some(Instant::now());
                    assert_eq!(bye["code"], 4503, "{bye}");
                    self.closed.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
        closed
    }
}

/// Blocks a user of whom all clients reconnect, and returns the time until the last session of before had ended.
fn block_crowd(gateways: &[Gateway; 3], user: &str) -> Duration {
    let (crowd, token) = (Crowd::default(), token_of(user));
    let (begun, last) = thread::scope(|scope| {
        let client = |number: usize| {
            let gateway = &gateways[number % gateways.len()];
            scope.spawn(|| crowd.reconnect(gateway, &token))
        };
        let clients: Vec<_> = (0..CLIENTS).map(client).collect();
        let over = SetOnDrop(&crowd.over);
        until(CROWD, "all are connected", || crowd.connected_before.load(Ordering::SeqCst) == CLIENTS);
        let begun = Instant::now();
        let answer = Backend::of(&gateways[0]).put(&format!("/v1/users/{user}/block"), &json!({})).json();
        until(CROWD, "all sessions of before have ended", || crowd.closed.load(Ordering::SeqCst) == CLIENTS);
        let path = format!("/v1/orders/{}", answer["order"]);
        until(CROWD, "all instances have done it", || {
            Backend::of(&gateways[0]).get(&path).json()["complete"] == json!(true)
        });
        crowd.answered.store(true, Ordering::SeqCst);
        until(CROWD, "each client is refused some times", || {
            crowd.refused_after.load(Ordering::SeqCst) >= CLIENTS * REFUSALS
        });
        drop(over);
        let closed = clients.into_iter().filter_map(|client| client.join().expect("a client"));
        (begun, closed.max().expect("all were closed"))
    });
    assert_eq!(crowd.connected_after.load(Ordering::SeqCst), 0, "{user} is let in after the answer");
    last - begun
}

/// Prints a time, and with an optimised binary checks it. The threads of the clients share the machine, so the bar has its slack.
fn within(most: Duration, took: Duration, what: &str) {
    println!("{what}: {CLIENTS} sessions ended within {took:?}");
    assert!(!has_named_binary() || took <= most, "{LATE}: {what}: {took:?}, at most {most:?}");
}

#[test]
fn two_hundred_clients_that_reconnect_are_out_at_once_and_after_a_restart() {
    let rig = Rig::start();
    let instance = |name: &str| {
        let setup = with_api(rig.proxied(name)).env("SEAWALL_AUTH_SECRET", SECRET).unlimited();
        // Clients that wait for long read no ping.
        let setup = setup.limit("ping_ms", 3_600_000);
        setup.limit("connections_per_user", 1_000).limit("connections_per_address", 10_000)
    };
    let gateways = ["gw-1", "gw-2", "gw-3"].map(|name| instance(name).start());
    gateways.iter().for_each(delivers);
    settled(&gateways.iter().collect::<Vec<_>>());
    let mut bob: Vec<Client> = gateways.iter().map(|gateway| connect(gateway, "bob")).collect();
    within(BY_BUS, block_crowd(&gateways, "ann"), "by the bus");
    rig.proxy.set(Mode::Refuse);
    rig.proxy.cut();
    until(SOON, "the bus is down", || {
        gateways.iter().all(|gateway| gateway.metric("seawall_bus_delivering") == 0.0)
    });
    within(BY_STORE, block_crowd(&gateways, "eve"), "without the bus");
    assert!(bob.iter_mut().all(Client::is_open), "only those meant are closed");

    rig.proxy.set(Mode::Pass);
    for gateway in gateways.map(|gateway| gateway.kill9().start()) {
        for user in ["ann", "eve"] {
            let mut client = Client::open(&gateway);
            client.send(json!({"connect": {"token": token_of(user)}}));
            client.expect_close().is(4503, "forbidden");
        }
        connect(&gateway, "bob");
    }
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
    let path = format!("/v1/orders/{}", answer["order"]);
    until(SOON, "the others have done it", || done(&backend.get(&path).json()) == expected);
    for client in ann.iter_mut().take(2) {
        client.expect_close().is(4504, "disconnected");
    }
    gateways[2].signal(Signal::CONT);
    ann[2].expect_close().is(4504, "disconnected");
    until(SOON, "it has done it", || {
        let report = backend.get(&path).json();
        report["complete"] == json!(true) && report["closed"] == json!(3)
    });
}
