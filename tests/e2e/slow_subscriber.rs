//! One that does not read costs a bound and nobody else's time; the log gives it what it missed.

use crate::support::{Client, Gateway, SOON, Setup, Upgrade, until};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A subscriber whose kernel takes little, so that its outbox fills soon.
fn slow(gateway: &Gateway) -> Client {
    let upgrade = Upgrade::default().receive_buffer(4096);
    let mut client = Client::open_with(gateway.address, &upgrade).with_connect(json!({}));
    client.subscribe("c");
    client
}

fn publish(client: &mut Client, count: usize, bytes: usize) {
    let text = "x".repeat(bytes);
    let mut waiting = std::collections::VecDeque::new();
    for _ in 0..count {
        waiting.push_back(client.send(json!({"publish": {"channel": "c", "data": text}})));
        if waiting.len() == 16 {
            let id = waiting.pop_front().unwrap();
            assert!(client.reply(id).get("published").is_some());
        }
    }
    for id in waiting {
        assert!(client.reply(id).get("published").is_some());
    }
}

/// Reads on until `head`; returns the holes it was told of, after filling each through `history`.
fn catch_up(client: &mut Client, head: u64) -> Vec<(u64, u64)> {
    let mut last = 0;
    let mut holes = Vec::new();
    while last < head {
        let push = client.next_any_push();
        if let Some(publication) = push.get("publication") {
            assert_eq!(publication["offset"], last + 1, "in order, nothing skipped or doubled");
            last += 1;
        } else if let Some(lag) = push.get("lag") {
            let (from, to) = (lag["from"].as_u64().unwrap(), lag["head"].as_u64().unwrap());
            assert_eq!(from, last + 1, "`from` is the first it lacks");
            last = fill(client, last, to);
            holes.push((from, to));
        }
    }
    holes
}

fn fill(client: &mut Client, mut last: u64, head: u64) -> u64 {
    while last < head {
        let page = client.ask(json!({"history": {"channel": "c", "after": last}}), "history");
        for publication in page["publications"].as_array().unwrap() {
            if last < head {
                assert_eq!(publication["offset"], last + 1);
                last += 1;
            }
        }
    }
    last
}

#[test]
fn a_short_lag_is_replayed_in_order() {
    short_lag(&Setup::new().unhurried().start());
}

/// One that reads late, within the replay bound, on an unhurried gateway.
pub fn short_lag(gateway: &Gateway) {
    let mut slow = slow(gateway);
    let mut publisher = Client::connect(gateway);
    publish(&mut publisher, 250, 30_000);
    assert_eq!(catch_up(&mut slow, 250), [], "250 are within the replay bound");
    publisher.publish("c", json!("live"));
    assert_eq!(slow.next_push("publication")["offset"], 251);
}

#[test]
fn a_long_lag_is_told_and_live_goes_on_after_it() {
    let gateway = Setup::new().unhurried().start();
    let mut slow = slow(&gateway);
    let mut publisher = Client::connect(&gateway);
    publish(&mut publisher, 900, 8_000);
    let holes = catch_up(&mut slow, 900);
    assert!(!holes.is_empty(), "more than 300 were missed");
    publisher.publish("c", json!("live"));
    assert_eq!(slow.next_push("publication")["offset"], 901);
    assert!(gateway.metric("seawall_connections") >= 2.0, "it was not dropped");
}

#[test]
fn others_do_not_notice_and_memory_is_bounded() {
    let gateway = Setup::new().unhurried().start();
    let slow: Vec<Client> = (0..10).map(|_| slow(&gateway)).collect();
    let mut publisher = Client::connect(&gateway);
    publisher.subscribe("c");
    publish(&mut publisher, 40, 30_000);
    publisher.offsets(40);
    let before = gateway.rss_bytes();
    let mut slowest = Duration::ZERO;
    let text = "y".repeat(30_000);
    for _ in 0..200 {
        let start = Instant::now();
        let offset = publisher.publish("c", json!(text));
        assert_eq!(publisher.next_push("publication")["offset"], offset);
        slowest = slowest.max(start.elapsed());
    }
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    let grown = gateway.rss_bytes().saturating_sub(before);
    // 10 outboxes of 256 KiB, and the tail that keeps recent publications for everybody (6 MB here).
    assert!(grown < 40 << 20, "{grown} bytes more");
    drop(slow);
}

#[test]
fn signals_to_a_full_outbox_are_dropped_and_publications_are_not() {
    let gateway = Setup::new().unhurried().start();
    let mut slow = slow(&gateway);
    let mut publisher = Client::connect(&gateway);
    publisher.subscribe("c");
    publish(&mut publisher, 200, 30_000);
    for n in 0..100 {
        publisher.send_text(&json!({"signal": {"channel": "c", "data": n}}).to_string());
    }
    publisher.publish("c", json!("last"));
    catch_up(&mut slow, 201);
    let signals: Vec<Value> =
        std::iter::from_fn(|| slow.next_push_within("signal", Duration::ZERO)).collect();
    assert!(signals.len() < 100, "an outbox past its bound takes no signals");
}

#[test]
fn a_socket_that_takes_nothing_at_all_is_given_up() {
    let gateway = Setup::new().unhurried().limit("stall_ms", 700).start();
    let deaf = slow(&gateway);
    let mut reads = Client::connect(&gateway);
    reads.subscribe("c");
    let mut publisher = Client::connect(&gateway);
    std::thread::scope(|scope| {
        scope.spawn(|| publish(&mut publisher, 300, 30_000));
        assert_eq!(reads.offsets(300), (1..=300).collect::<Vec<u64>>());
    });
    until(SOON, "the deaf one is given up", || gateway.metric("seawall_subscriptions") == 1.0);
    drop(deaf);
}

#[test]
fn one_that_reads_slowly_stays() {
    let gateway = Setup::new().unhurried().limit("stall_ms", 1_500).start();
    let mut slow = slow(&gateway);
    let mut publisher = Client::connect(&gateway);
    std::thread::scope(|scope| {
        scope.spawn(|| publish(&mut publisher, 250, 30_000));
        // 200 kB a second: much longer than `stall_ms` in all, and never that long without taking a byte.
        let start = std::time::Instant::now();
        for offset in 1..=30u64 {
            let due = Duration::from_millis(offset * 150);
            until(SOON, "a moment passes", || start.elapsed() >= due);
            assert_eq!(slow.next_push("publication")["offset"], offset);
        }
    });
    assert_eq!(gateway.metric("seawall_subscriptions"), 1.0, "it was given up although it reads");
}
