//! A single instance: with the embedded store, or with PostgreSQL and no bus.

use crate::cluster::rig::{Rig, cluster, leaders};
use crate::servers::Postgres;
use crate::support::wait::{SOON, until};
use crate::support::{Client, Gateway, Setup};
use serde_json::json;

#[test]
fn instance_with_the_embedded_store_is_alone_and_leads() {
    let gateway = Setup::new().with_admin().env("SEAWALL_SERVER_INSTANCE", "gw-1").start();
    // The registry writes its first report after the gateway has begun to serve.
    until(SOON, "it leads", || cluster(&gateway)["leader"] == "gw-1");
    until(SOON, "it knows that it is alone", || {
        let report = cluster(&gateway);
        report["complete"] == true && report["totals"]["instances"] == 1
    });
    let report = cluster(&gateway);
    assert_eq!(report.get("redis"), None);
    assert_eq!(report["instances"][0]["phase"], "serving");
    until(SOON, "it counts itself as the leader", || leaders(&[&gateway]) == 1);
}

#[test]
fn instances_without_a_bus_know_each_other_by_their_rows() {
    let store = Postgres::start();
    let start = |name: &str| -> Gateway {
        let setup = Setup::new().with_admin().env("SEAWALL_STORE_URL", &store.url());
        setup.env("SEAWALL_SERVER_INSTANCE", name).start()
    };
    let one = start("gw-1");
    until(SOON, "it leads", || cluster(&one)["leader"] == "gw-1");
    until(SOON, "it knows that it is alone", || cluster(&one)["complete"] == true);
    let two = start("gw-2");
    until(SOON, "it is seen", || cluster(&one)["totals"]["instances"] == 2);
    until(SOON, "the load of the other is not known", || cluster(&one)["complete"] == false);
    until(SOON, "one leads", || leaders(&[&one, &two]) == 1);
}

#[test]
fn roster_without_a_bus_is_complete_while_no_other_instance_lives() {
    let store = Postgres::start();
    let start = |name: &str| {
        let setup = Setup::new().with_admin().env("SEAWALL_STORE_URL", &store.url());
        setup.env("SEAWALL_SERVER_INSTANCE", name).start()
    };
    let one = start("gw-1");
    let mut client = Client::connect(&one);
    client.send(json!({"subscribe": {"channel": "c", "present": {}, "watch": "members"}}));
    let mut shows = |complete: bool| {
        until(SOON + SOON, "watchers are sent it", || {
            client.next_push_within("presence", SOON).is_some_and(|push| push["complete"] == complete)
        });
    };
    shows(true);
    let two = start("gw-2");
    shows(false);
    drop(two.kill9());
    shows(true);
}

#[test]
fn name_of_two_instances_is_warned_of() {
    let rig = Rig::start();
    let [one, two] = ["gw-1", "gw-1"].map(|name| rig.setup(name).start());
    for gateway in [&one, &two] {
        // A name counts as shared after ten seconds, because a process that is started again has it twice for a while.
        until(SOON * 3, "it is warned of", || {
            cluster(gateway)["shared_names"][0] == "gw-1" && gateway.output().contains("instance name shared")
        });
    }
}
