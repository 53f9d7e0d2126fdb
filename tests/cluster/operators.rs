//! The cluster as operators and application backends see it.

use crate::cluster::rig::{Rig, cluster, settled};
use crate::support::backend::{Backend, READER, with_api};
use crate::support::wait::{SOON, until};
use crate::support::{Client, Operator};
use serde_json::json;

#[test]
fn command_metrics_and_api_show_both_instances_and_their_load() {
    let rig = Rig::start();
    let one = with_api(rig.setup("gw-1")).start();
    let two = rig.setup("gw-2").start();
    settled(&[&one, &two]);
    let _client = Client::connect(&two);
    until(SOON, "the client is counted at the other instance", || {
        cluster(&one)["totals"]["connections"] == 1 && one.metric("seawall_cluster_connections") == 1.0
    });
    assert_eq!(one.metrics()[r#"seawall_cluster_instances{state="alive"}"#], 2.0);
    until(SOON, "both listeners answer the same", || {
        Backend::of(&one).get("/v1/cluster").json()["totals"] == cluster(&one)["totals"]
    });
    let address = Operator::of(&one).address.to_string();
    let run = |arguments: &[&str]| {
        let ran = one.setup().run_with(arguments, &[("SEAWALL_ADMIN_LISTEN", &address)]);
        assert!(ran.status.success(), "{ran:?}");
        String::from_utf8_lossy(&ran.stdout).into_owned()
    };
    let table = run(&["cluster"]);
    assert!(table.starts_with("NAME"), "{table}");
    assert!(table.lines().any(|line| line.starts_with("gw-2") && line.contains("alive")), "{table}");
    // A request for metrics is a connection as well.
    assert!(table.contains("2 instances, "), "{table}");
    let json: serde_json::Value = serde_json::from_str(&run(&["cluster", "--json"])).expect("JSON");
    assert_eq!(json["totals"]["instances"], 2);
}

#[test]
fn load_of_another_instance_has_its_closes_its_publish_latency_and_its_address() {
    let rig = Rig::start();
    let one = rig.setup("gw-1").start();
    let two = rig.setup("gw-2").unlimited();
    let two = two.env("SEAWALL_ADMIN_URL", "https://gw-2.example.com/seawall").start();
    settled(&[&one, &two]);
    let load = || cluster(&one)["instances"][1].clone();
    assert_eq!(load()["url"], "https://gw-2.example.com/seawall");
    assert_eq!(load().get("publish_p99_us"), None, "there was no publish");
    let mut client = Client::connect(&two);
    until(SOON + SOON, "publishes are timed", || {
        client.publish("c", json!("x"));
        let load = load();
        let (p50, p99) = (load["publish_p50_us"].as_u64(), load["publish_p99_us"].as_u64());
        p50.is_some_and(|p50| p50 > 0) && p99 >= p50
    });
    assert_eq!(load()["closes_per_s"]["1006"], 0);
    drop(client);
    // The rate is that of five seconds, and may be over before the other instance reads it.
    until(SOON + SOON, "lost connections are counted", || {
        drop(Client::connect(&two));
        load()["closes_per_s"]["1006"].as_u64() >= Some(1)
    });
    assert!(two.metric("seawall_sessions_lost_total") >= 1.0);
    assert!(load()["revision"].as_u64() >= Some(1));
}

#[test]
fn commands_name_what_is_gone_and_what_they_wait_for() {
    let mut rig = Rig::start();
    let one = with_api(rig.setup("gw-1")).start();
    let two = rig.setup("gw-2").start();
    settled(&[&one, &two]);
    let address = Operator::of(&one).address.to_string();
    let run = |arguments: &[&str]| {
        let ran = one.setup().run_with(arguments, &[("SEAWALL_ADMIN_LISTEN", &address)]);
        format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr))
    };
    rig.redis.kill9();
    until(SOON, "Redis is missed", || cluster(&one)["redis"]["up"] == false);
    let said = run(&["rebalance"]);
    assert!(said.contains("it waits: this instance does not reach Redis"), "{said}");
    let said = run(&["user", "disconnect", "ann"]);
    // In the second that the command waits, the other may not have noticed the loss of Redis.
    let order = said.split_whitespace().find_map(|word| word.parse::<u64>().ok()).expect("a number");
    until(SOON, "the order is done at both", || {
        let said = run(&["order", &order.to_string()]);
        said.contains("at least 0 sessions closed")
            && said.contains("gw-2  done, and has not said how many it closed")
    });
    rig.redis.start_again();
    rig.store.stop();
    until(SOON + SOON, "the store is missed at both", || {
        run(&["cluster"]).contains("no leader is known; the store is down at gw-1, gw-2")
    });
    let problem = Backend::of(&one).post("/v1/users/ann/disconnect", &json!({})).json();
    assert_eq!(problem["detail"], "the store is down; nothing was done", "{problem}");
    let said = run(&["user", "disconnect", "ann"]);
    assert!(said.contains("the store is down; nothing was done"), "{said}");
}

#[test]
fn right_cluster_is_needed() {
    let rig = Rig::start();
    let gateway = with_api(rig.setup("gw-1")).start();
    let response = Backend::with(&gateway, READER).get("/v1/cluster");
    assert_eq!(response.status, 403, "{response:?}");
}
