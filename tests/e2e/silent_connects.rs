//! Thousands of silent connections are closed in time, and other clients do not notice.

use crate::support::raw::{UPGRADE, dial};
use crate::support::wait::{LATE, size};
use crate::support::{Client, RawClient, SOON, Setup, until};
use serde_json::json;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

#[test]
fn silent_connections_are_closed_and_others_do_not_notice() {
    let count = size("SEAWALL_TEST_SCALE", 400);
    let gateway = Setup::new()
        .limit("head_ms", 6_000)
        .limit("keep_alive_ms", 6_000)
        .limit("connect_ms", 6_000)
        .unlimited()
        .start();
    let mut client = Client::connect(&gateway);
    client.subscribe("c");
    let silent: Vec<RawClient> = (0..count)
        .map(|n| {
            let source = Ipv4Addr::new(127, 0, 2, (n % 200) as u8 + 1);
            let mut silent = RawClient::from(dial(gateway.address, Some(source), None).expect("accepted"));
            // A third sends nothing at all, a third half a head, a third upgrades and then falls silent.
            match n % 3 {
                0 => {}
                1 => silent.write(&UPGRADE.as_bytes()[..40]),
                _ => silent.write(UPGRADE.as_bytes()),
            }
            silent
        })
        .collect();
    let mut slowest = Duration::ZERO;
    for _ in 0..50 {
        let start = Instant::now();
        let offset = client.publish("c", json!(1));
        assert_eq!(client.next_push("publication")["offset"], offset);
        slowest = slowest.max(start.elapsed());
    }
    assert!(slowest < Duration::from_secs(5), "{LATE}: {slowest:?}");
    for (n, mut silent) in silent.into_iter().enumerate() {
        match n % 3 {
            0 => drop(silent.drain()),
            1 => assert_eq!(silent.response().status, 408),
            _ => {
                assert_eq!(silent.response().status, 101);
                silent.expect_close().is(4408, "connect_timeout");
            }
        }
    }
    until(SOON, "the silent connections are closed", || gateway.metric("seawall_connections") <= 2.0);
    assert!(client.is_open());
}
