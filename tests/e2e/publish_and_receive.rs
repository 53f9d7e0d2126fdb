//! A publication reaches every subscriber, its publisher included, in offset order.

use crate::support::{Client, Gateway, Setup, Upgrade};
use serde_json::json;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

#[test]
fn publisher_receives_its_own_publication_with_its_key() {
    let gateway = Gateway::start();
    let mut client = Client::connect(&gateway);
    let subscribed = client.subscribe("c1");
    assert_eq!((&subscribed["head"], &subscribed["floor"]), (&json!(0), &json!(1)));
    assert_eq!(subscribed.get("recovered"), None, "no recovery was requested");
    let published =
        client.ask(json!({"publish": {"channel": "c1", "key": "k-1", "data": {"text": "hi"}}}), "published");
    assert_eq!(published["offset"], 1);
    assert_eq!(published["key"], "k-1");
    assert_eq!(published["duplicate"], false);
    assert_eq!(published["epoch"], subscribed["epoch"]);
    let push = client.next_push("publication");
    assert_eq!(push["channel"], "c1");
    assert_eq!(push["offset"], 1);
    assert_eq!(push["key"], "k-1");
    assert_eq!(push["user"], "anonymous");
    assert_eq!(push["time"], published["time"]);
    assert_eq!(push["data"], json!({"text": "hi"}));
}

#[test]
fn data_is_returned_byte_for_byte() {
    let gateway = Gateway::start();
    let mut client = Client::connect(&gateway);
    client.subscribe("c1");
    let data = r#"{"b":1.50e0, "a" : "\u00e9\/ \u0000", "a":2,"big":123456789012345678901234567890}"#;
    client.send_text(&format!(r#"{{"id":900,"publish":{{"channel":"c1","data":{data}}}}}"#));
    client.reply(900);
    client.send_text(r#"{"id":901,"history":{"channel":"c1"}}"#);
    // `Value` would not keep the bytes, so they are compared in a raw copy of the reply.
    let mut raw = crate::support::RawClient::connected(&gateway);
    raw.send(&crate::support::Frame::text(r#"{"id":2,"history":{"channel":"c1"}}"#));
    let frame = raw.next_frame();
    let text = String::from_utf8(frame.payload).unwrap();
    assert!(text.contains(data), "{text}");
}

#[test]
fn subscribers_on_all_reactors_receive_the_same_in_order() {
    let gateway = Setup::new().unlimited().arguments(&["--reactors", "2"]).start();
    let mut subscribers: Vec<Client> = (2..10u8)
        .map(|last| {
            let upgrade = Upgrade::default().from(Ipv4Addr::new(127, 0, 1, last));
            Client::open_with(gateway.address, &upgrade).with_connect(json!({}))
        })
        .collect();
    for subscriber in &mut subscribers {
        subscriber.subscribe("c1");
    }
    let mut publishers = [Client::connect(&gateway), Client::connect(&gateway)];
    for n in 0..50 {
        for publisher in &mut publishers {
            publisher.send(json!({"publish": {"channel": "c1", "data": n}}));
        }
    }
    for subscriber in &mut subscribers {
        assert_eq!(subscriber.offsets(100), (1..=100).collect::<Vec<u64>>());
    }
}

#[test]
fn channels_have_separate_offsets_and_subscribers() {
    let gateway = Gateway::start();
    let mut client = Client::connect(&gateway);
    client.subscribe("a");
    assert_eq!(client.publish("b", json!(1)), 1);
    assert_eq!(client.publish("b", json!(2)), 2);
    assert_eq!(client.publish("a", json!(3)), 1);
    assert_eq!(client.next_push("publication")["data"], 3);
    client.expect_no("publication");
}

#[test]
fn unsubscribed_connection_receives_nothing_more() {
    let gateway = Gateway::start();
    let mut client = Client::connect(&gateway);
    client.subscribe("a");
    client.publish("a", json!(1));
    assert_eq!(client.offsets(1), [1]);
    let unsubscribed = client.ask(json!({"unsubscribe": {"channel": "a"}}), "unsubscribed");
    assert_eq!(unsubscribed["channel"], "a");
    client.publish("a", json!(2));
    client.expect_no("publication");
    client.refused(json!({"unsubscribe": {"channel": "a"}}), "not_subscribed");
}

#[test]
fn concurrent_publishers_get_distinct_offsets_without_gaps() {
    let gateway = Setup::new().unlimited().start();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let mut client = Client::connect(&gateway);
            std::thread::spawn(move || {
                let ids: Vec<u64> =
                    (0..50).map(|n| client.send(json!({"publish": {"channel": "c", "data": n}}))).collect();
                ids.iter()
                    .map(|id| client.reply(*id)["published"]["offset"].as_u64().unwrap())
                    .collect::<Vec<u64>>()
            })
        })
        .collect();
    let mut all = BTreeSet::new();
    for thread in threads {
        let offsets = thread.join().unwrap();
        assert!(offsets.is_sorted(), "the order of one publisher is kept: {offsets:?}");
        all.extend(offsets);
    }
    assert_eq!(all, (1..=200).collect());
}
