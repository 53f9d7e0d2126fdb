//! Flags: a reload and an operator switch them, and connected clients are sent the change.

use super::reload::{hang_up, reload, says};
use crate::support::{Client, Gateway, Operator, SOON, Setup, until};
use serde_json::{Value, json};

const LIBRARY: [&str; 6] = [
    "seawall.durable",
    "seawall.hurry",
    "seawall.move",
    "seawall.previous",
    "seawall.probe",
    "seawall.report",
];

/// The flags of the library and these.
fn with_library(names: &[&str]) -> Value {
    let mut all = [names, &LIBRARY].concat();
    all.sort_unstable();
    json!(all)
}

fn markdown(rest: &str) -> String {
    format!("[[flag]]\nname = \"markdown\"\n{rest}")
}

#[test]
fn reload_switches_a_flag_for_clients_that_are_connected() {
    let gateway = Setup::new().toml("[limits]\nsubscriptions = 10").start();
    let mut old = Client::connect(&gateway);
    assert_eq!(old.connected.get("flags"), None, "none is configured");
    let new = json!({"client": "seawall-js/0.2.0 web/1.4.2"});

    reload(&gateway, &markdown("rollout = 100\nclients = [\"web >=1.4.0\"]"), "applied");
    says(&gateway, r#"key="flag" change="[] -> [markdown 100 %]""#);
    assert_eq!(old.next_push("flags"), json!({"on": with_library(&[])}), "its version is unknown");
    let mut new = Client::open(&gateway).with_connect(new);
    assert_eq!(new.connected["flags"], with_library(&["markdown"]));

    reload(&gateway, &markdown("rollout = 101"), "refused");
    says(&gateway, "seawall.toml:3: flag.rollout = 101");
    says(&gateway, "a whole number from 0 to 100");
    reload(&gateway, &markdown("rollout = 100\nclients = [\"web <2\"]"), "refused");
    says(&gateway, "seawall.toml:4: flag.clients");
    reload(&gateway, &markdown("rollout = 0"), "applied");
    assert_eq!(new.next_push("flags"), json!({"on": with_library(&[])}), "refused reloads change nothing");
    reload(&gateway, "", "applied");
    assert_eq!(new.next_push("flags"), json!({"on": with_library(&[])}));
    assert_eq!(Client::connect(&gateway).connected.get("flags"), None);
}

#[test]
fn operator_switches_a_flag_off_until_the_next_reload() {
    let gateway = Setup::new().with_admin().toml(&markdown("rollout = 100")).start();
    let operator = Operator::of(&gateway);
    let mut client = Client::connect(&gateway);
    assert_eq!(client.connected["flags"], with_library(&["markdown"]));
    let clients = |flag: &str| gateway.metrics()[&format!("seawall_flag_clients{{flag=\"{flag}\"}}")];
    until(SOON, "the client is counted", || clients("markdown") == 1.0);

    let shown = operator.get("/flags").json();
    assert_eq!(
        shown["flags"][0],
        json!({"name": "markdown", "rollout": 100, "users": [], "clients": [], "off": false})
    );
    assert_eq!(
        shown["flags"].as_array().map(Vec::len),
        Some(1 + with_library(&[]).as_array().map_or(0, Vec::len))
    );
    let switch = |name: &str, body: Value| operator.send("PUT", &format!("/flags/{name}"), Some(body));
    let switched = switch("markdown", json!({"on": false}));
    assert_eq!((switched.status, &switched.json()["flags"][0]["off"]), (200, &json!(true)));
    assert_eq!(client.next_push("flags"), json!({"on": with_library(&[])}));
    gateway.logs("flag switched by operator");
    until(SOON, "the client is not counted", || clients("markdown") == 0.0 && clients("seawall.move") == 1.0);

    let unknown = switch("markup", json!({"on": false}));
    assert_eq!((unknown.status, &unknown.json()["error"]), (404, &json!("not_found")));
    assert!(unknown.body.contains("markdown, seawall.durable"), "{}", unknown.body);
    for body in [json!({}), json!({"on": 1}), json!({"on": true, "for": 3})] {
        let refused = switch("markdown", body);
        assert!(refused.status == 400 && refused.body.contains(r#"true|false"#), "{}", refused.body);
    }
    assert_eq!(operator.send("POST", "/flags/markdown", None).status, 405);

    hang_up(&gateway, "unchanged");
    assert_eq!(client.next_push("flags"), json!({"on": with_library(&["markdown"])}));
}
