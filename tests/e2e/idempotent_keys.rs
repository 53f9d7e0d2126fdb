//! A publish with the same key is stored once, whatever happens between the attempts.

use crate::support::{Client, Gateway};
use serde_json::json;

fn publish(client: &mut Client, key: &str, data: u32) -> serde_json::Value {
    client.command(json!({"publish": {"channel": "c", "key": key, "data": data}}))
}

#[test]
fn repeat_is_answered_with_the_first_offset_and_not_fanned_out() {
    let gateway = Gateway::start();
    let mut client = Client::connect(&gateway);
    client.subscribe("c");
    let first = publish(&mut client, "k", 1);
    publish(&mut client, "other", 2);
    let again = publish(&mut client, "k", 1);
    assert_eq!(again["published"]["duplicate"], true, "{again}");
    for field in ["offset", "epoch", "time", "key"] {
        assert_eq!(first["published"][field], again["published"][field], "{field}");
    }
    assert_eq!(client.offsets(2), [1, 2]);
    client.expect_no("publication");
    let history = client.ask(json!({"history": {"channel": "c"}}), "history");
    assert_eq!(history["publications"].as_array().unwrap().len(), 2);
}

#[test]
fn pipelined_repeats_are_stored_once() {
    let gateway = Gateway::start();
    let mut client = Client::connect(&gateway);
    let ids: Vec<u64> =
        (0..10).map(|_| client.send(json!({"publish": {"channel": "c", "key": "k", "data": 1}}))).collect();
    let duplicates = ids.iter().filter(|id| client.reply(**id)["published"]["duplicate"] == true).count();
    assert_eq!(duplicates, 9);
    assert_eq!(client.publish("c", json!(2)), 2);
}

#[test]
fn different_content_under_the_same_key_is_a_conflict() {
    let gateway = Gateway::start();
    let mut client = Client::connect(&gateway);
    publish(&mut client, "k", 1);
    assert_eq!(publish(&mut client, "k", 2)["error"]["code"], "key_conflict");
    client.refused(json!({"publish": {"channel": "c", "key": "k", "deletes": 1, "data": 1}}), "key_conflict");
    assert_eq!(publish(&mut client, "k", 1)["published"]["offset"], 1);
}

#[test]
fn same_key_in_another_channel_is_another_publication() {
    let gateway = Gateway::start();
    let mut client = Client::connect(&gateway);
    publish(&mut client, "k", 1);
    let other = client.ask(json!({"publish": {"channel": "d", "key": "k", "data": 2}}), "published");
    assert_eq!((&other["offset"], &other["duplicate"]), (&json!(1), &json!(false)));
}

#[test]
fn publishes_without_a_key_are_stored_each_time() {
    let gateway = Gateway::start();
    let mut client = Client::connect(&gateway);
    assert_eq!(client.publish("c", json!(1)), 1);
    assert_eq!(client.publish("c", json!(1)), 2);
}

#[test]
fn key_is_known_on_other_connections_and_after_a_crash() {
    let gateway = Gateway::start();
    let first = publish(&mut Client::connect(&gateway), "k", 1);
    let again = publish(&mut Client::connect(&gateway), "k", 1);
    assert_eq!(again["published"]["duplicate"], true, "{again}");
    let gateway = gateway.kill9().start();
    let mut client = Client::connect(&gateway);
    let after = publish(&mut client, "k", 1);
    assert_eq!(after["published"]["duplicate"], true, "{after}");
    assert_eq!(after["published"]["offset"], first["published"]["offset"]);
    assert_eq!(after["published"]["epoch"], first["published"]["epoch"]);
    assert_eq!(publish(&mut client, "k", 2)["error"]["code"], "key_conflict");
}
