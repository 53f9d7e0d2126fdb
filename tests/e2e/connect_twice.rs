//! A second `connect` is refused and changes nothing.

use crate::support::{Client, Gateway};
use serde_json::json;

#[test]
fn second_connect_is_malformed_and_the_session_continues() {
    let gateway = Gateway::start();
    let mut client = Client::connect(&gateway);
    client.refused(json!({"connect": {}}), "malformed");
    assert_eq!(client.publish("a", json!(1)), 1);
}

#[test]
fn two_connects_in_one_segment_are_answered_in_order() {
    let gateway = Gateway::start();
    let mut client = Client::open(&gateway);
    let first = client.send(json!({"connect": {}}));
    let second = client.send(json!({"connect": {}}));
    assert!(client.reply(first).get("connected").is_some());
    assert_eq!(client.reply(second)["error"]["code"], "malformed");
}

#[test]
fn commands_sent_with_connect_are_answered() {
    let gateway = Gateway::start();
    let mut client = Client::open(&gateway);
    let connect = client.send(json!({"connect": {}}));
    let subscribe = client.send(json!({"subscribe": {"channel": "a"}}));
    let publish = client.send(json!({"publish": {"channel": "a", "data": {"n": 1}}}));
    assert!(client.reply(connect).get("connected").is_some());
    let subscribed = client.reply(subscribe);
    assert_eq!(client.reply(publish)["published"]["offset"], 1);
    // The publication is either part of the subscribed log, or arrives live.
    match subscribed["subscribed"]["head"].as_u64() {
        Some(0) => assert_eq!(client.offsets(1), [1]),
        head => assert_eq!(head, Some(1), "{subscribed}"),
    }
}
