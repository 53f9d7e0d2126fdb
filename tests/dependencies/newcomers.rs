//! All clients reconnect while the store is down: each is refused with a reason, and memory does not grow.

use crate::dependencies::outage::with_store;
use crate::dependencies::proxied;
use crate::support::raw::dial;
use crate::support::wait::{SOON, size};
use crate::support::{Client, RawClient};
use seawall_fault::Mode;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

const THREADS: usize = 4;

/// Connects a new client. Returns the code of its close and its wait in milliseconds.
fn come(to: SocketAddr, number: usize) -> (u16, u64) {
    let source = Ipv4Addr::new(127, 0, 1 + (number % 200) as u8, 1);
    let mut client = RawClient::from(dial(to, Some(source), None).expect("the gateway accepts"));
    client.upgrade("/ws");
    let bye = client.next_json()["bye"].take();
    assert_eq!(bye["dependency"], "store", "{bye}");
    let (code, reason) = client.next_frame().close();
    assert!(reason.starts_with("unavailable; dependency=store; retry_ms="), "{reason}");
    (code, bye["retry_ms"].as_u64().expect("a wait"))
}

#[test]
fn each_of_many_new_clients_is_refused_with_a_reason_and_memory_stays_flat() {
    let count = size("SEAWALL_TEST_NEWCOMERS", 2_000);
    let store = proxied::postgres();
    // At the rate that a debug build measures on a busy machine, some would be sent a time to return at.
    let gateway = with_store(&store).limit("admissions_per_s", 10_000).start();
    let mut client = Client::connect(&gateway);
    store.proxy.set(Mode::Refuse);
    store.proxy.cut();
    client.next_status("down", SOON);
    // The first clients cause all one-time allocations, such as buffers.
    (0..200).for_each(|number| assert_eq!(come(gateway.address, number).0, 1011));
    let before = gateway.rss_bytes();
    let address = gateway.address;
    let waits: Vec<u64> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let come = move |number| {
                    let (code, retry_ms) = come(address, number);
                    assert_eq!(code, 1011);
                    retry_ms
                };
                scope.spawn(move || (thread..count).step_by(THREADS).map(come).collect::<Vec<_>>())
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("each client was given a reason"))
            .collect()
    });
    assert_eq!(waits.len(), count);
    // The waits grow with the outage. Without a random share for each, none would be shorter than the one before.
    let shorter = waits.windows(2).filter(|pair| matches!(pair, [before, after] if after < before)).count();
    assert!(shorter > count / 10, "only {shorter} of {count} waits are shorter than the one before");
    gateway.shows("seawall_upgrades_turned_away_total", (count + 200) as f64);
    let grown = gateway.rss_bytes().saturating_sub(before);
    assert!(grown < 4 << 20, "{count} newcomers left {grown} bytes behind");
    assert!(client.is_open());
}
