//! Everybody comes back while the store is down: each hears why, and nothing grows.

use crate::dependencies::outage::with_store;
use crate::dependencies::stand;
use crate::support::raw::dial;
use crate::support::wait::{SOON, size};
use crate::support::{Client, RawClient};
use seawall_fault::Mode;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

const THREADS: usize = 4;

/// One newcomer; the code of its close and when it may come back, in milliseconds.
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
fn each_of_many_newcomers_hears_why_and_memory_stays_flat() {
    let count = size("SEAWALL_TEST_NEWCOMERS", 2_000);
    let store = stand::postgres();
    let gateway = with_store(&store).start();
    let mut client = Client::connect(&gateway);
    store.proxy.set(Mode::Refuse);
    store.proxy.cut();
    client.next_status("down", SOON);
    // What is taken once, buffers and the like, is taken by the first.
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
            .flat_map(|thread| thread.join().expect("nobody was left without a reason"))
            .collect()
    });
    assert_eq!(waits.len(), count);
    // The waits grow with the outage; were they not drawn for each, none would be shorter than the one before.
    let shorter = waits.windows(2).filter(|pair| matches!(pair, [before, after] if after < before)).count();
    assert!(shorter > count / 10, "only {shorter} of {count} were told to come sooner than the one before");
    assert_eq!(gateway.metric("seawall_upgrades_turned_away_total"), (count + 200) as f64);
    let grown = gateway.rss_bytes().saturating_sub(before);
    assert!(grown < 4 << 20, "{count} newcomers left {grown} bytes behind");
    assert!(client.is_open());
}
