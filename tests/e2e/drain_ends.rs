//! How a drain ends otherwise: at once by a second signal, or with something unfinished.

use crate::support::wait::{SOON, until};
use crate::support::{Client, Gateway, RawClient, Setup, Upgrade};
use rustix::process::Signal;
use serde_json::json;
use std::time::{Duration, Instant};

/// A drain that outlasts the test.
fn endless() -> Setup {
    Setup::new().drain("accept", 60_000).drain("spread", 0).drain("close", 90_000).drain("exit", 120_000)
}

/// Sends a second signal and reads how everybody is closed.
fn end_at_once(gateway: &mut Gateway, clients: &mut [RawClient]) -> (Option<i32>, Duration) {
    let start = Instant::now();
    gateway.signal(Signal::INT);
    for client in clients {
        client.expect_close().is(1012, "restart");
    }
    (gateway.ends_within(SOON), start.elapsed())
}

#[test]
fn a_second_signal_closes_everybody_at_once() {
    let mut gateway = endless().start();
    let mut clients: Vec<RawClient> = (0..20).map(|_| RawClient::connected(&gateway)).collect();
    gateway.signal(Signal::TERM);
    until(SOON, "it drains", || gateway.fetch("/health/ready").status == 503);
    let (code, took) = end_at_once(&mut gateway, &mut clients);
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(code, Some(0), "{}", gateway.output());
    assert!(gateway.output().contains("second signal, closing all connections"), "{}", gateway.output());
}

#[test]
fn a_second_signal_while_clients_move_closes_them_at_once() {
    let mut gateway = endless().drain("accept", 0).drain("spread", 60_000).start();
    let mut clients: Vec<RawClient> = (0..20).map(|_| RawClient::connected(&gateway)).collect();
    gateway.signal(Signal::TERM);
    for client in &mut clients {
        assert!(client.next_json()["drain"]["slot_ms"].is_u64());
    }
    let (code, took) = end_at_once(&mut gateway, &mut clients);
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(code, Some(0), "{}", gateway.output());
}

/// One that reads nothing for now, with all that fits waiting for it, and one that reads.
fn deaf_and_hearing(gateway: &Gateway) -> (Client, Client) {
    let upgrade = Upgrade::default().receive_buffer(4096);
    let mut deaf = Client::open_with(gateway.address, &upgrade).with_connect(json!({}));
    deaf.subscribe("c");
    let mut publisher = Client::connect(gateway);
    for _ in 0..100 {
        publisher.publish("c", json!("x".repeat(30_000)));
    }
    (deaf, publisher)
}

/// Closes at once and has more time for it than a peer usually has to close its half.
fn patient() -> Setup {
    Setup::new().drain("exit", 5_000).unhurried()
}

#[test]
fn a_deaf_peer_is_waited_for_until_the_end_and_counted() {
    let mut gateway = patient().start();
    let (deaf, mut publisher) = deaf_and_hearing(&gateway);
    gateway.signal(Signal::TERM);
    publisher.expect_close().is(1012, "restart");
    let start = Instant::now();
    assert_eq!(gateway.ends_within(SOON), Some(1), "{}", gateway.output());
    assert!(start.elapsed() > Duration::from_secs(3), "{:?}", start.elapsed());
    assert!(gateway.output().contains(" unsent_closes=1 "), "{}", gateway.output());
    drop(deaf);
}

#[test]
fn who_is_slow_to_take_its_farewell_gets_all_of_it() {
    let mut gateway = patient().start();
    let (mut slow, mut publisher) = deaf_and_hearing(&gateway);
    gateway.signal(Signal::TERM);
    publisher.expect_close().is(1012, "restart");
    let start = Instant::now();
    until(SOON, "it is later than a peer usually may be", || start.elapsed() > Duration::from_millis(2_500));
    slow.expect_close().is(1012, "restart");
    assert_eq!(gateway.ends_within(SOON), Some(0), "{}", gateway.output());
}

#[test]
fn what_a_deaf_peer_did_not_take_is_counted_and_the_exit_code_says_so() {
    let mut gateway = endless().unhurried().start();
    let (deaf, mut publisher) = deaf_and_hearing(&gateway);
    gateway.signal(Signal::TERM);
    until(SOON, "it drains", || gateway.fetch("/health/ready").status == 503);
    let start = Instant::now();
    gateway.signal(Signal::TERM);
    publisher.expect_close().is(1012, "restart");
    assert_eq!(gateway.ends_within(SOON), Some(1));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    let said = gateway.output();
    assert!(said.contains("stopped with unfinished work unanswered_publishes=0 unsent_closes=1 "), "{said}");
    drop(deaf);
}
