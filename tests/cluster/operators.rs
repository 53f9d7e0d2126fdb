//! The cluster as operators and application backends see it.

use crate::cluster::rig::{Rig, cluster, settled};
use crate::support::backend::{Backend, READER, with_api};
use crate::support::wait::{SOON, until};
use crate::support::{Client, Operator};

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
fn right_cluster_is_needed() {
    let rig = Rig::start();
    let gateway = with_api(rig.setup("gw-1")).start();
    let response = Backend::with(&gateway, READER).get("/v1/cluster");
    assert_eq!(response.status, 403, "{response:?}");
}
