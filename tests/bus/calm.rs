//! A bus that works.

use crate::bus::rig::{BY_BUS, Rig, delivers, publication};
use crate::cluster::rig::cluster;
use crate::servers::Postgres;
use crate::support::Client;
use crate::support::wait::{SOON, until};
use rustix::process::Signal;
use seawall_fault::{Mode, Pace};
use serde_json::json;
use std::time::Duration;

#[test]
fn publications_and_signals_of_one_instance_reach_the_other() {
    let rig = Rig::start();
    let (one, two) = (rig.delivering("gw-1"), rig.delivering("gw-2"));
    let (mut here, mut there) = (Client::connect(&one), Client::connect(&two));
    here.subscribe("c");
    there.subscribe("c");
    for number in 1..=20_u64 {
        assert_eq!(here.publish("c", json!(number)), number);
        assert_eq!(publication(&mut there, BY_BUS), (number, json!(number)));
        // The publisher's own instance delivers it once, not by the bus as well.
        assert_eq!(publication(&mut here, BY_BUS), (number, json!(number)));
    }
    here.send_text(r#"{"signal":{"channel":"c","data":{"typing":true}}}"#);
    assert_eq!(there.next_push("signal")["data"], json!({"typing": true}));
    assert_eq!(here.next_push("signal")["data"], json!({"typing": true}));
    there.publish("c", json!("back"));
    assert_eq!(publication(&mut here, BY_BUS), (21, json!("back")));
    here.expect_no("signal");
    here.expect_no("publication");
}

/// `subscribed` is sent after the bus has confirmed the subscription, so a publication made right after it arrives by
/// the bus, not when the logs are polled. The subscriber's path to the bus is slow, the publisher's is not.
#[test]
fn subscriber_misses_nothing_after_the_subscribed_reply() {
    let rig = Rig::start();
    let one = rig.proxied("gw-1").env("SEAWALL_BUS_URL", &rig.redis.url()).start();
    let two = rig.delivering("gw-2");
    delivers(&one);
    rig.proxy.set(Mode::Slow(Pace { bytes_per_s: None, latency: Duration::from_millis(150) }));
    let (mut publisher, mut subscriber) = (Client::connect(&one), Client::connect(&two));
    for round in 0..8 {
        let channel = format!("c{round}");
        subscriber.subscribe(&channel);
        publisher.publish(&channel, json!(round));
        assert_eq!(publication(&mut subscriber, BY_BUS), (1, json!(round)));
    }
}

#[test]
fn channel_is_followed_while_it_has_subscribers() {
    let rig = Rig::start();
    let (one, two) = (rig.delivering("gw-1"), rig.delivering("gw-2"));
    let mut publisher = Client::connect(&one);
    let follows = |count: f64| {
        until(SOON, "channels are followed", || two.metric("seawall_bus_channels") == count);
    };
    for _ in 0..3 {
        let (mut first, mut second) = (Client::connect(&two), Client::connect(&two));
        first.subscribe("c");
        second.subscribe("c");
        second.subscribe("d");
        follows(2.0);
        second.close();
        follows(1.0);
        let data = json!("still there");
        publisher.publish("c", data.clone());
        assert_eq!(publication(&mut first, BY_BUS).1, data);
        first.close();
        follows(0.0);
    }
}

#[test]
fn stopping_gateway_sends_all_it_acknowledged() {
    let rig = Rig::start();
    let (mut one, two) = (rig.delivering("gw-1"), rig.delivering("gw-2"));
    let (mut publisher, mut subscriber) = (Client::connect(&one), Client::connect(&two));
    subscriber.subscribe("c");
    for number in 0..20 {
        publisher.publish("c", json!(number));
    }
    let (code, _) = one.ends_after(Signal::TERM);
    assert_eq!(code, Some(0));
    for number in 0..20 {
        assert_eq!(publication(&mut subscriber, BY_BUS), (number + 1, json!(number)));
    }
}

/// Redis has one set of channels for all its databases, so the number of a database separates keys and no messages.
#[test]
fn systems_with_one_prefix_on_two_databases_of_one_redis_do_not_mix_and_are_warned_of() {
    let (rig, store) = (Rig::start(), Postgres::start());
    let one = rig.delivering("gw-1");
    let other = rig.setup("gw-2").env("SEAWALL_STORE_URL", &store.url());
    let other = other.env("SEAWALL_BUS_URL", &format!("redis://{}/5", rig.redis.address())).start();
    delivers(&other);
    let (mut publisher, mut stranger) = (Client::connect(&one), Client::connect(&other));
    for client in [&mut publisher, &mut stranger] {
        client.subscribe("c");
    }
    publisher.publish("c", json!("mine"));
    assert_eq!(publication(&mut publisher, BY_BUS), (1, json!("mine")));
    let discarded = || other.metric("seawall_bus_messages_garbled_total");
    until(SOON, "the message and a canary arrived", || discarded() >= 2.0);
    for gateway in [&one, &other] {
        gateway.logs("another system sends to the channels of this prefix");
        assert_eq!(cluster(gateway)["totals"]["instances"], 1, "leases are in the databases");
    }
    stranger.publish("c", json!("its own"));
    assert_eq!(publication(&mut stranger, BY_BUS), (1, json!("its own")));
    publisher.expect_no("publication");
    assert_eq!(one.metric("seawall_bus_publications_total"), 0.0);
}

#[test]
fn systems_with_different_prefixes_share_no_messages() {
    let rig = Rig::start();
    let one = rig.delivering("gw-1");
    let other = rig.proxied("gw-2").env("SEAWALL_BUS_PREFIX", "other").start();
    delivers(&other);
    let (mut publisher, mut stranger) = (Client::connect(&one), Client::connect(&other));
    stranger.subscribe("c");
    publisher.publish("c", json!(1));
    // Both use the same log here, so the stranger gets it when the logs are polled; it never arrives by the bus.
    publication(&mut stranger, Duration::from_secs(60));
    assert_eq!(other.metric("seawall_bus_publications_total"), 0.0);
    assert_eq!(other.metric("seawall_bus_messages_garbled_total"), 0.0);
}
