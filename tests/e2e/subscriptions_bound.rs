//! The bounds on subscriptions, per connection and per reactor.

use crate::support::{Client, Gateway, Setup};
use serde_json::json;

#[test]
fn subscription_over_the_bound_is_too_large() {
    let gateway = Setup::new().unlimited().start();
    let mut client = Client::connect(&gateway);
    for n in 0..128 {
        client.subscribe(&format!("c{n}"));
    }
    let error = client.refused(json!({"subscribe": {"channel": "c128"}}), "too_large");
    assert!(error["message"].as_str().unwrap().contains("128"), "{error}");
    client.ask(json!({"unsubscribe": {"channel": "c0"}}), "unsubscribed");
    client.subscribe("c128");
    assert_eq!(client.publish("c128", json!(1)), 1);
    assert_eq!(client.offsets(1), [1]);
}

#[test]
fn subscribing_twice_to_one_channel_counts_once() {
    let gateway = Setup::new().limit("subscriptions", 2).start();
    let mut client = Client::connect(&gateway);
    client.subscribe("a");
    client.subscribe("a");
    client.subscribe("b");
    client.refused(json!({"subscribe": {"channel": "c"}}), "too_large");
    client.publish("a", json!(1));
    assert_eq!(client.next_push("publication")["channel"], "a");
    client.expect_no("publication");
}

#[test]
fn channel_over_the_bound_is_overloaded() {
    let gateway = Setup::new().limit("channels", 5).arguments(&["--reactors", "1"]).start();
    let mut client = Client::connect(&gateway);
    for n in 0..5 {
        client.subscribe(&format!("c{n}"));
    }
    let error = client.refused(json!({"subscribe": {"channel": "c5"}}), "overloaded");
    assert!(error["retry_ms"].as_u64().is_some_and(|retry| retry > 0), "{error}");
    assert!(client.is_open());
}

#[test]
fn connect_recover_has_the_same_bound() {
    let gateway = Setup::new().limit("subscriptions", 2).start();
    let cursor = |n: u32| json!({"channel": format!("c{n}"), "epoch": "a", "offset": 0});
    let mut client = Client::open(&gateway);
    let reply = client.command(json!({"connect": {"recover": [cursor(1), cursor(2), cursor(3)]}}));
    assert!(["too_large", "malformed"].contains(&reply["error"]["code"].as_str().unwrap_or("")), "{reply}");
}

#[test]
fn each_of_a_flood_of_subscribes_is_answered() {
    let gateway = Gateway::start();
    let mut client = Client::connect(&gateway);
    let ids: Vec<u64> =
        (0..350).map(|n| client.send(json!({"subscribe": {"channel": format!("c{n}")}}))).collect();
    let mut subscribed = 0;
    for id in ids {
        let reply = client.reply(id);
        match reply["error"]["code"].as_str() {
            None => subscribed += 1,
            Some("too_large" | "rate_limited" | "overloaded") => {}
            Some(other) => panic!("{other}: {reply}"),
        }
    }
    assert!((1..=128).contains(&subscribed), "{subscribed}");
    assert_eq!(client.publish("c0", json!(1)), 1);
}

#[test]
fn last_of_pipelined_subscribes_and_unsubscribes_wins() {
    let gateway = Setup::new().unlimited().start();
    let mut client = Client::connect(&gateway);
    let mut last = 0;
    for _ in 0..50 {
        client.send(json!({"subscribe": {"channel": "c"}}));
        client.send(json!({"unsubscribe": {"channel": "c"}}));
        last = client.send(json!({"subscribe": {"channel": "c"}}));
    }
    assert!(client.reply(last).get("subscribed").is_some());
    client.publish("c", json!(1));
    assert_eq!(client.offsets(1), [1]);
    client.expect_no("publication");
    gateway.shows("seawall_subscriptions", 1.0);
}
