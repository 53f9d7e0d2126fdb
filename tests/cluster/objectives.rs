//! Objectives of a deployment: all instances keep the score together.

use crate::cluster::rig::Rig;
use crate::support::wait::{SOON, until};
use crate::support::{Client, Gateway, Operator};
use serde_json::{Value, json};

/// Instances write and read rows every ten seconds.
const SHARED: std::time::Duration = SOON.saturating_mul(2);

fn report(gateway: &Gateway) -> Value {
    let answer = Operator::of(gateway).get("/slo");
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

/// Good and bad events of each part.
fn score(gateway: &Gateway) -> Vec<(String, u64, u64)> {
    let report = report(gateway);
    let objectives = report["objectives"].as_array().expect("a list");
    let parts = objectives.iter().flat_map(|one| one["parts"].as_array().expect("a list"));
    let count = |part: &Value, key: &str| part[key].as_u64().expect("a count");
    parts.map(|part| (part["part"].to_string(), count(part, "good"), count(part, "bad"))).collect()
}

fn of(gateway: &Gateway, part: &str) -> (u64, u64) {
    let score = score(gateway);
    let found = score.iter().find(|(name, ..)| *name == format!("\"{part}\""));
    found.map(|(_, good, bad)| (*good, *bad)).unwrap_or_else(|| panic!("{part} of {score:?}"))
}

/// Waits until all have the same counts, with this many messages and attempts, and the store has all rows.
#[track_caller]
fn same(gateways: &[&Gateway], publish: (u64, u64), attempt: (u64, u64)) {
    until(SHARED, "all instances have the same score", || {
        let first = score(gateways[0]);
        gateways.iter().all(|gateway| {
            let is_equal = of(gateway, "publish") == publish && of(gateway, "attempt") == attempt;
            is_equal && score(gateway) == first && report(gateway)["unshared_rows"] == 0
        })
    });
}

fn publish(gateway: &Gateway, count: u64) {
    let mut client = Client::connect(gateway);
    for number in 0..count {
        client.publish("c", json!(number));
    }
    client.close();
}

#[test]
fn instances_have_one_score_over_a_kill_and_an_outage_of_the_store() {
    let mut rig = Rig::start();
    // Sessions would be counted by the millisecond until they end, and canaries go on.
    let setup = |name: &str| rig.setup(name).env("SEAWALL_SLO_CANARY_MS", "0");
    let (one, two) = (setup("gw-1"), setup("gw-2"));
    let gateways = [one.start(), two.start()];
    for gateway in &gateways {
        until(SHARED, "both instances are judged", || report(gateway)["instances"] == 2);
    }
    publish(&gateways[0], 3);
    publish(&gateways[1], 4);
    same(&[&gateways[0], &gateways[1]], (7, 0), (2, 0));

    // The counts of an instance that is killed stay, and what is bad in an outage is judged at once.
    let [one, two] = gateways;
    let one = one.kill9();
    rig.store.stop();
    two.logs("dependency down");
    Client::open(&two).expect_close().is(1011, "unavailable");
    until(SHARED, "the outage is judged", || of(&two, "attempt").1 > 0);
    assert_eq!(of(&two, "publish"), (7, 0), "it knows what the other counted");
    until(SHARED, "it is alone", || report(&two)["instances"] == 1);
    let (good, bad) = of(&two, "attempt");
    let left = report(&two)["unshared_rows"].as_u64().expect("a count");
    assert!(left > 0, "the store has them");

    // They arrive once, although the process that counted them was killed as well.
    let two = two.kill9();
    rig.store.start_again();
    let gateways = [one.start(), two.start()];
    same(&[&gateways[0], &gateways[1]], (7, 0), (good, bad));
    publish(&gateways[0], 1);
    same(&[&gateways[0], &gateways[1]], (8, 0), (good + 1, bad));
}
