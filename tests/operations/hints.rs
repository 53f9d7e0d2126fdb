//! Hints of clients (`?to=NAME`) through HAProxy and nginx, with the files from docs/deploy; only the ports are replaced.

use super::proxies::{Kind, Proxy, from, instance, setup};
use crate::servers::Postgres;
use crate::support::{Client, Gateway, Operator, SOON, until};
use serde_json::json;

/// Connects with a hint, at the first attempt.
#[track_caller]
fn hinted(proxy: &Proxy, number: u16, to: &str) -> Client {
    let upgrade = from(number).path(&format!("/ws?to={to}"));
    Client::open_with(proxy.port.address(), &upgrade).with_connect(json!({}))
}

/// Read from the admin listener, because the other one requires a PROXY header of HAProxy.
fn returns(gateway: &Gateway, to: &str) -> f64 {
    let page = Operator::of(gateway).get("/metrics").body;
    let series = format!("seawall_returns_total{{to=\"{to}\"}} ");
    let value = page.lines().find_map(|line| line.strip_prefix(&series));
    value.and_then(|value| value.parse().ok()).expect("a value")
}

fn hints_lead_to_their_instance(kind: Kind) {
    let server = Postgres::start();
    let named = |name: &str| setup(kind, &server).env("SEAWALL_SERVER_INSTANCE", name).start();
    let (one, two) = (named("chat-1"), named("chat-2"));
    let proxy = Proxy::start(kind, [one.address, two.address]);
    // Without hints, clients would alternate, because both balance by the number of connections.
    let first: Vec<Client> = (1..=6).map(|number| hinted(&proxy, number, "chat-1")).collect();
    assert!(first.iter().all(|client| instance(client) == "chat-1"));
    let second: Vec<Client> = (7..=18).map(|number| hinted(&proxy, number, "chat-2")).collect();
    assert!(second.iter().all(|client| instance(client) == "chat-2"));
    let unknown = ["chat-9", "", "127.0.0.1:1", "gateways"];
    for (number, to) in (19..).zip(unknown) {
        let served_by = instance(&hinted(&proxy, number, to));
        // nginx does not count the connections that followed a hint.
        assert!(
            kind == Kind::Nginx || served_by == "chat-1",
            "{to:?} goes to the one with fewer connections"
        );
    }
    // The counts of a turn are added up at its end, when clients may have been answered.
    let counts = || (returns(&one, "hinted"), returns(&two, "hinted"));
    until(SOON, "hints are counted", || counts() == (6.0, 12.0));
    let others = || returns(&one, "other") + returns(&two, "other");
    until(SOON, "the others are counted", || others() == unknown.len() as f64);
    drop((first, second));
    one.kill9();
    for number in 30..36 {
        assert_eq!(instance(&hinted(&proxy, number, "chat-1")), "chat-2", "the other one");
    }
}

#[test]
fn haproxy_follows_hints_and_ignores_unknown_and_dead_ones() {
    hints_lead_to_their_instance(Kind::HaProxy);
}

#[test]
fn nginx_follows_hints_and_ignores_unknown_and_dead_ones() {
    hints_lead_to_their_instance(Kind::Nginx);
}
