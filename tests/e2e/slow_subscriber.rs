//! A subscriber that does not read costs bounded memory and delays no client; it gets what it missed from the log.

use crate::support::wait::LATE;
use crate::support::{Client, Gateway, SOON, Setup, Upgrade, until};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A subscriber with a small receive buffer, so that its outbox fills soon.
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

/// Reads up to `head`, fills each gap named by `lag` through `history`, and returns the gaps.
fn catch_up(client: &mut Client, head: u64) -> Vec<(u64, u64)> {
    let mut last = 0;
    let mut gaps = Vec::new();
    while last < head {
        let push = client.next_any_push();
        if let Some(publication) = push.get("publication") {
            assert_eq!(publication["offset"], last + 1, "in order, nothing skipped or repeated");
            last += 1;
        } else if let Some(lag) = push.get("lag") {
            let (from, to) = (lag["from"].as_u64().unwrap(), lag["head"].as_u64().unwrap());
            assert_eq!(from, last + 1, "`from` is the first missing offset");
            last = fill(client, last, to);
            gaps.push((from, to));
        }
    }
    gaps
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
fn short_lag_is_replayed_in_order() {
    short_lag(&Setup::new().unlimited().start());
}

/// A subscriber that reads late, within the replay bound.
pub fn short_lag(gateway: &Gateway) {
    let mut slow = slow(gateway);
    let mut publisher = Client::connect(gateway);
    publish(&mut publisher, 250, 30_000);
    assert_eq!(catch_up(&mut slow, 250), [], "250 publications are within the replay bound");
    publisher.publish("c", json!("live"));
    assert_eq!(slow.next_push("publication")["offset"], 251);
}

#[test]
fn long_lag_is_pushed_and_live_publications_follow() {
    let gateway = Setup::new().unlimited().start();
    let mut slow = slow(&gateway);
    let mut publisher = Client::connect(&gateway);
    publish(&mut publisher, 900, 8_000);
    let gaps = catch_up(&mut slow, 900);
    assert!(!gaps.is_empty(), "more than 300 were missed");
    publisher.publish("c", json!("live"));
    assert_eq!(slow.next_push("publication")["offset"], 901);
    assert!(gateway.metric("seawall_connections") >= 2.0, "the slow client was not closed");
}

#[test]
fn slow_subscribers_do_not_delay_others_and_memory_is_bounded() {
    let gateway = Setup::new().unlimited().start();
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
    assert!(slowest < Duration::from_secs(8), "{LATE}: {slowest:?}");
    let grown = gateway.rss_bytes().saturating_sub(before);
    // 10 outboxes of 256 KiB, and the tail that keeps recent publications for all subscribers (6 MB here).
    assert!(grown < 40 << 20, "{grown} bytes more");
    drop(slow);
}

#[test]
fn full_outbox_drops_signals_but_no_publications() {
    let gateway = Setup::new().unlimited().start();
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
    assert!(signals.len() < 100, "a full outbox accepts no signals");
}

#[test]
fn subscriber_that_reads_nothing_is_closed() {
    let gateway = Setup::new().unlimited().limit("stall_ms", 8_000).start();
    let stalled = slow(&gateway);
    let mut reads = Client::connect(&gateway);
    reads.subscribe("c");
    let mut publisher = Client::connect(&gateway);
    std::thread::scope(|scope| {
        scope.spawn(|| publish(&mut publisher, 300, 30_000));
        assert_eq!(reads.offsets(300), (1..=300).collect::<Vec<u64>>());
    });
    until(SOON, "the stalled client is closed", || gateway.metric("seawall_subscriptions") == 1.0);
    drop(stalled);
}

#[test]
fn subscriber_that_reads_slowly_stays() {
    let gateway = Setup::new().unlimited().limit("stall_ms", 4_000).start();
    let mut slow = slow(&gateway);
    let mut publisher = Client::connect(&gateway);
    std::thread::scope(|scope| {
        scope.spawn(|| publish(&mut publisher, 250, 30_000));
        // 150 kB/s: this takes much longer than `stall_ms` in all, but never that long without reading a byte.
        let start = Instant::now();
        let mut last = start;
        for offset in 1..=40u64 {
            let due = Duration::from_millis(offset * 200);
            until(SOON, "the next read is due", || start.elapsed() >= due);
            assert!(
                last.elapsed() < Duration::from_secs(3),
                "{LATE}: it did not read for {:?}",
                last.elapsed()
            );
            last = Instant::now();
            assert_eq!(slow.next_push("publication")["offset"], offset);
        }
    });
    assert_eq!(gateway.metric("seawall_subscriptions"), 1.0, "it was closed although it reads");
}
