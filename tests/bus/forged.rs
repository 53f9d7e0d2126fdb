//! Messages of a client that may publish in Redis, but cannot read the store.

use crate::bus::rig::{BY_BUS, Rig, delivers, publication};
use crate::support::Client;
use crate::support::token::{SECRET, token_of};
use crate::support::wait::{SOON, until};
use seawall::id::{ChannelName, Offset};
use seawall::wire::envelope::{self, BusKey, OrderText, Origin};
use seawall::wire::publication::{Change, Published};
use seawall::wire::stream::StreamMark;
use serde_json::json;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

const ORDERS: &str = "seawall:orders";

fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 126];
    frame.extend_from_slice(&(text.len() as u16).to_be_bytes());
    frame.extend_from_slice(text.as_bytes());
    frame
}

fn forged(offset: u64, frame: &[u8]) -> Published {
    let channel = ChannelName::parse("c").expect("valid");
    Published {
        channel,
        offset: Offset(offset),
        change: Change::None,
        stream: StreamMark::None,
        time_ms: 1,
        frame: Arc::from(frame),
    }
}

fn sealed(key: &BusKey, entry: &Published) -> Vec<u8> {
    let mut bytes = Vec::new();
    envelope::publications(&mut bytes, key, Origin(7), "c", [entry]);
    bytes
}

/// The messages of version 1, which had a checksum in place of the seal.
fn unsealed(entry: &Published) -> Vec<u8> {
    let mut bytes = vec![1, 1];
    bytes.extend_from_slice(&7_u64.to_le_bytes());
    let mut body = entry.offset.0.to_le_bytes().to_vec();
    body.push(0);
    body.extend_from_slice(&[0; 8]);
    body.extend_from_slice(&(entry.frame.len() as u32).to_le_bytes());
    body.extend_from_slice(&entry.frame);
    let mut sum = crc32fast::Hasher::new();
    sum.update(&bytes);
    sum.update(&body);
    sum.update(b"c");
    bytes.extend_from_slice(&sum.finalize().to_le_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

/// The key as only a reader of the store has it.
fn key(rig: &Rig) -> BusKey {
    let rows = rig.store.sql("SELECT value FROM seawall.meta WHERE name LIKE 'bus_key__' ORDER BY name");
    let bytes: Vec<u8> = rows
        .split_whitespace()
        .flat_map(|word| word.parse::<i64>().expect("a number").to_le_bytes())
        .collect();
    BusKey::new(bytes.as_slice().try_into().expect("four words"))
}

#[test]
fn publisher_in_redis_can_neither_forge_nor_hide_a_message_nor_send_raw_bytes() {
    let rig = Rig::start();
    let (one, two) = (rig.delivering("gw-1"), rig.delivering("gw-2"));
    let (mut publisher, mut subscriber) = (Client::connect(&one), Client::connect(&two));
    subscriber.subscribe("c");
    publisher.publish("c", json!("first"));
    assert_eq!(publication(&mut subscriber, BY_BUS), (1, json!("first")));

    let author = r#"{"publication":{"channel":"c","offset":2,"user":"admin","time":1,"data":"forged"}}"#;
    let entry = forged(2, &frame(author));
    let stranger = BusKey::new(&[9; BusKey::BYTES]);
    let mut signal = Vec::new();
    envelope::signal(
        &mut signal,
        &stranger,
        Origin(7),
        "c",
        &frame(r#"{"signal":{"channel":"c","user":"admin","data":1}}"#),
    );
    let attacks = [unsealed(&entry), sealed(&stranger, &entry), signal, b"HTTP/1.1 200 OK\r\n\r\n".to_vec()];
    let garbled = || two.metric("seawall_bus_messages_garbled_total");
    for (count, attack) in attacks.iter().enumerate() {
        rig.redis.publish("seawall:c:c", attack);
        until(SOON, "the attack is counted", || garbled() == (count + 1) as f64);
    }
    // Even with the key, a frame must be what its entry says: this would hide offset 2, or write raw bytes to sockets.
    for (count, raw) in
        [&b"\x88\x02\x03\xe8"[..], b"HTTP/1.1 200 OK", &frame(r#"{"bye":{"code":4503}}"#)].iter().enumerate()
    {
        rig.redis.publish("seawall:c:c", &sealed(&key(&rig), &forged(2, raw)));
        until(SOON, "the attack is counted", || garbled() == (attacks.len() + count + 1) as f64);
    }
    publisher.publish("c", json!("second"));
    assert_eq!(publication(&mut subscriber, BY_BUS), (2, json!("second")));
    subscriber.expect_no("publication");
    subscriber.expect_no("signal");
}

#[test]
fn message_of_a_newer_kind_is_ignored_and_counted() {
    let rig = Rig::start();
    let two = rig.delivering("gw-2");
    let mut subscriber = Client::connect(&two);
    subscriber.subscribe("c");
    let mut bytes = sealed(&key(&rig), &forged(1, b""));
    bytes[1] = 200;
    envelope::seal(&mut bytes, &key(&rig), "c");
    rig.redis.publish("seawall:c:c", &bytes);
    until(SOON, "it is counted", || two.metric("seawall_bus_messages_unknown_total") == 1.0);
    assert_eq!(two.metric("seawall_bus_messages_garbled_total"), 0.0);
}

#[test]
fn publisher_in_redis_cannot_give_orders() {
    let rig = Rig::start();
    let gateway = rig.proxied("gw-1").env("SEAWALL_AUTH_SECRET", SECRET).start();
    delivers(&gateway);
    let mut client = Client::open(&gateway).with_connect(json!({"token": token_of("ann")}));
    let made = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64;
    let order = |kind, args| {
        let text = OrderText { number: 1, previous: 0, made, kind, by: "admin", args };
        move |key: &BusKey, topic: &str| {
            let mut bytes = Vec::new();
            envelope::order(&mut bytes, key, Origin(7), topic, &text);
            bytes
        }
    };
    let disconnect = order(
        "disconnect",
        r#"{"user":"ann","connection":null,"except":[],"reason":"forged","reconnect":false}"#,
    );
    let block = order("block", r#"{"user":"ann","until":null,"reason":"forged"}"#);
    let (stranger, own) = (BusKey::new(&[9; BusKey::BYTES]), key(&rig));
    // The last is sealed for another topic.
    let attacks = [disconnect(&stranger, ORDERS), block(&stranger, ORDERS), disconnect(&own, "seawall:c:c")];
    for (count, attack) in attacks.iter().enumerate() {
        rig.redis.publish(ORDERS, attack);
        let garbled = || gateway.metric("seawall_bus_messages_garbled_total");
        until(SOON, "the attack is counted", || garbled() == (count + 1) as f64);
    }
    assert!(client.is_open());
    // An instance of this store has the key, and its order is carried out.
    rig.redis.publish(ORDERS, &disconnect(&own, ORDERS));
    client.expect_close().is(4504, "disconnected");
}
