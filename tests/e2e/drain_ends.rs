//! Drains that end early, by a second signal, or with unfinished work.

use crate::support::wait::{SOON, until};
use crate::support::{Client, Gateway, RawClient, Setup, Upgrade};
use rustix::process::Signal;
use serde_json::json;
use std::time::{Duration, Instant};

/// A drain that outlasts the test.
fn endless() -> Setup {
    Setup::new().drain("accept", 60_000).drain("spread", 0).drain("close", 90_000).drain("exit", 120_000)
}

/// Sends a second signal, and checks that each client is closed with 1012.
fn end_at_once(gateway: &mut Gateway, clients: &mut [RawClient]) -> Option<i32> {
    gateway.signal(Signal::INT);
    for client in clients {
        client.expect_close().is(1012, "restart");
    }
    gateway.ends_within(SOON)
}

#[test]
fn second_signal_closes_all_clients_at_once() {
    let mut gateway = endless().start();
    let mut clients: Vec<RawClient> = (0..20).map(|_| RawClient::connected(&gateway)).collect();
    gateway.signal(Signal::TERM);
    until(SOON, "the drain has begun", || gateway.fetch("/health/ready").status == 503);
    let code = end_at_once(&mut gateway, &mut clients);
    assert_eq!(code, Some(0), "{}", gateway.output());
    assert!(gateway.output().contains("second signal, closing all connections"), "{}", gateway.output());
}

#[test]
fn second_signal_while_clients_move_closes_them_at_once() {
    let mut gateway = endless().drain("accept", 0).drain("spread", 60_000).start();
    let mut clients: Vec<RawClient> = (0..20).map(|_| RawClient::connected(&gateway)).collect();
    gateway.signal(Signal::TERM);
    for client in &mut clients {
        assert!(client.next_json()["drain"]["slot_ms"].is_u64());
    }
    let code = end_at_once(&mut gateway, &mut clients);
    assert_eq!(code, Some(0), "{}", gateway.output());
}

/// A client that does not read, with full buffers towards it, and one that reads.
fn stalled_and_reading(gateway: &Gateway) -> (Client, Client) {
    let upgrade = Upgrade::default().receive_buffer(4096);
    let mut stalled = Client::open_with(gateway.address, &upgrade).with_connect(json!({}));
    stalled.subscribe("c");
    let mut publisher = Client::connect(gateway);
    for _ in 0..100 {
        publisher.publish("c", json!("x".repeat(30_000)));
    }
    (stalled, publisher)
}

/// A setup that closes at once and waits for the last bytes longer than a peer usually gets.
fn patient() -> Setup {
    Setup::new().drain("exit", 6_000).unlimited()
}

#[test]
fn drain_waits_for_a_stalled_client_until_the_exit_and_counts_it() {
    let mut gateway = patient().start();
    let (stalled, mut publisher) = stalled_and_reading(&gateway);
    let start = Instant::now();
    gateway.signal(Signal::TERM);
    publisher.expect_close().is(1012, "restart");
    assert_eq!(gateway.ends_within(SOON), Some(1), "{}", gateway.output());
    assert!(start.elapsed() > Duration::from_secs(4), "{:?}", start.elapsed());
    assert!(gateway.output().contains(" unsent_closes=1 "), "{}", gateway.output());
    drop(stalled);
}

#[test]
fn slow_client_gets_its_whole_close() {
    let mut gateway = patient().drain("exit", 28_000).start();
    let (mut slow, mut publisher) = stalled_and_reading(&gateway);
    gateway.signal(Signal::TERM);
    publisher.expect_close().is(1012, "restart");
    let start = Instant::now();
    until(SOON, "the usual wait for a close is over", || start.elapsed() > Duration::from_millis(2_500));
    slow.expect_close().is(1012, "restart");
    assert_eq!(gateway.ends_within(SOON), Some(0), "{}", gateway.output());
}

#[test]
fn unsent_close_is_counted_and_sets_the_exit_code() {
    let mut gateway = endless().unlimited().start();
    let (stalled, mut publisher) = stalled_and_reading(&gateway);
    gateway.signal(Signal::TERM);
    until(SOON, "the drain has begun", || gateway.fetch("/health/ready").status == 503);
    gateway.signal(Signal::TERM);
    publisher.expect_close().is(1012, "restart");
    assert_eq!(gateway.ends_within(SOON), Some(1));
    let said = gateway.output();
    assert!(said.contains("stopped with unfinished work unanswered_publishes=0 unsent_closes=1 "), "{said}");
    drop(stalled);
}
