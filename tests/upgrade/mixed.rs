//! An instance of the previous release among instances of this one: what they know of each other.

use crate::previous;
use crate::servers::{Postgres, Redis, Reply};
use crate::support::wait::{SOON, until};
use crate::support::{Client, Gateway, Operator, Setup};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

fn cluster(gateway: &Gateway) -> Value {
    Operator::of(gateway).get("/cluster").json()
}

fn instance<'a>(report: &'a Value, name: &str) -> &'a Value {
    let instances = report["instances"].as_array().expect("a list");
    instances.iter().find(|instance| instance["name"] == name).unwrap_or(&Value::Null)
}

/// Gives an order at one instance, and returns which instances have carried it out.
fn done(gateway: &Gateway, user: &str) -> Value {
    Operator::of(gateway).send("POST", &format!("/users/{user}/disconnect"), Some(json!({}))).json()
}

/// The topics that have subscribers.
fn topics(bus: &Redis) -> BTreeSet<String> {
    match bus.command(&["PUBSUB", "CHANNELS"]) {
        Reply::List(names) => names.iter().map(|name| format!("{name:?}")).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn instance_of_the_previous_release_is_named_and_gets_nothing_new() {
    let Some(program) = previous::program() else { return };
    let (store, bus) = (Postgres::start(), Redis::start());
    let setup = |name: &str| {
        let setup = Setup::new().with_admin().env("SEAWALL_SERVER_INSTANCE", name);
        setup.env("SEAWALL_STORE_URL", &store.url()).env("SEAWALL_BUS_URL", &bus.url())
    };
    let old = setup("old").program(&program).start();
    until(SOON, "it is subscribed", || !topics(&bus).is_empty());
    let before = topics(&bus);
    let new = ["new-1", "new-2"].map(|name| setup(name).start());
    for gateway in &new {
        until(SOON + SOON, "all three are alive", || cluster(gateway)["totals"]["instances"] == 3);
        let report = cluster(gateway);
        assert_eq!(report["complete"], false, "the load of the old one is not known: {report}");
        assert_eq!(instance(&report, "old")["state"], "alive", "{report}");
        assert!(instance(&report, "old")["connections"].is_null(), "{report}");
    }
    // Orders have a topic of their own, so that a program that does not know them is not sent them.
    until(SOON, "orders have a topic", || {
        topics(&bus).difference(&before).any(|topic| topic.contains(":orders"))
    });
    let mut client = Client::connect(&new[0]);
    client.send(json!({"subscribe": {"channel": "c", "present": {}, "watch": "members"}}));
    assert_eq!(client.next_push("presence")["complete"], false, "the old one may have members");
    // Without the bus, which may not have all subscriptions yet, an order takes more than the second that the answer waits.
    until(SOON, "only the old one has not carried it out", || {
        let answer = done(&new[1], "stranger");
        assert_eq!(answer["complete"], false, "{answer}");
        let late = answer["instances"].as_array().expect("instances").iter();
        let late: Vec<&Value> =
            late.filter(|one| one["done"] == false).map(|instance| &instance["name"]).collect();
        late == [&json!("old")]
    });
    // Canaries of instances that seal their messages are garbled for a program from before that, and nothing else.
    println!("garbled for the old program: {}", old.metric("seawall_bus_messages_garbled_total"));
    drop(old.kill9());
    for gateway in &new {
        until(SOON, "the cluster is complete without it", || cluster(gateway)["complete"] == true);
    }
    // It is named for a minute, and waited for during ten seconds.
    let operator = Operator::of(&new[1]);
    until(SOON + SOON, "an order does not wait for it", || {
        let begun = Instant::now();
        let answer = operator.send("POST", "/users/stranger/disconnect", Some(json!({})));
        answer.status == 200 && begun.elapsed() < Duration::from_millis(900)
    });
}
