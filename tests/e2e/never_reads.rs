//! Many subscribers that never read leave memory flat: what they miss is in the log, not in a queue.

use crate::support::raw::{UPGRADE, dial};
use crate::support::wait::size;
use crate::support::{Client, Frame, RawClient, SOON, Setup, until};
use serde_json::json;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Published while nobody reads.
const PUBLICATIONS: usize = 120;
/// More than a socket's buffers in the kernel take, all together.
const PUBLICATION_BYTES: usize = 32_000;
/// So many full outboxes stay below `limits.outbox_bytes_total`; past it the longest stalled are closed.
const ALL_STAY: usize = 2_000;

#[test]
fn memory_is_flat_while_nobody_reads() {
    let count = size("SEAWALL_TEST_READERS", 300);
    let gateway = Setup::new().unhurried().limit("stall_ms", 60_000).start();
    let subscribe = r#"{"id":2,"subscribe":{"channel":"c"}}"#;
    let hello = [
        UPGRADE.as_bytes(),
        &Frame::text(r#"{"id":1,"connect":{}}"#).bytes(),
        &Frame::text(subscribe).bytes(),
    ]
    .concat();
    let mut readers = Vec::with_capacity(count);
    for n in 0..count {
        let source = Ipv4Addr::new(127, 0, 1, (n % 200) as u8 + 1);
        let mut reader = RawClient::from(dial(gateway.address, Some(source), Some(4096)).expect("accepted"));
        reader.write(&hello);
        readers.push(reader);
        // The kernel's queue of new connections is finite: let the gateway take these before more come.
        if n % 256 == 255 {
            until(SOON, "the gateway takes them in", || gateway.metric("seawall_connections") > n as f64);
        }
    }
    let mut publisher = Client::connect(&gateway);
    publisher.subscribe("c");
    until(SOON, "all are in", || gateway.metric("seawall_subscriptions") >= (count + 1) as f64);
    let idle = gateway.rss_bytes();
    assert!(idle < (100 << 20) + ((count as u64) << 14), "{idle} bytes for {count} idle connections");
    let text = "x".repeat(PUBLICATION_BYTES);
    let mut peak = idle;
    // The load run goes on for a minute: what grows slowly shows as well.
    let hold = Duration::from_secs(size("SEAWALL_TEST_HOLD_S", 0) as u64);
    let start = Instant::now();
    for n in 1u64.. {
        if n > PUBLICATIONS as u64 && start.elapsed() >= hold {
            break;
        }
        publisher.publish("c", json!(text));
        assert_eq!(publisher.next_push("publication")["offset"], n);
        if n % 10 == 0 {
            peak = peak.max(gateway.rss_bytes());
        }
    }
    // Frames are shared, so the outboxes hold references: far less than a copy for each. The store's page caches fill meanwhile, to
    // 16 MiB where it writes and 8 MiB for each of two readers, whoever reads; they are not of those who do not.
    // Past the total bound those that are closed make room in the kernel, and whoever drains once into that is sent a page:
    // it is read and held once for many, so it comes to far less than the 64 KiB that a copy for each would be.
    let grown = peak - idle;
    let most = ((32 + 16) << 20) + (count << 12) as u64;
    assert!(grown < most, "{grown} bytes more for {count} that do not read");
    println!("{count} that do not read: {idle} bytes before, {peak} at most");
    assert!(gateway.metric("seawall_lagged_total") > 0.0, "the load was too small to fill an outbox");
    if count <= ALL_STAY {
        assert!(gateway.metric("seawall_connections") > count as f64, "nobody is dropped for being slow");
    }
    // The kernel's memory counts as much: a container's bound includes it, and TCP as a whole has one.
    let queued = gateway.kernel_bytes() / count as u64;
    assert!(queued < 512 << 10, "{queued} bytes in the kernel for each that does not read");
    assert!(publisher.is_open());
}

#[test]
fn one_that_asks_and_never_reads_is_not_read_either() {
    let gateway = Setup::new().unhurried().limit("stall_ms", 1_500).start();
    let mut publisher = Client::connect(&gateway);
    for _ in 0..20 {
        publisher.publish("c", json!("x".repeat(32_000)));
    }
    let before = gateway.rss_bytes();
    let stream = dial(gateway.address, None, Some(4096)).expect("accepted");
    let mut asker = RawClient::from(stream);
    asker.upgrade("/ws");
    asker.send(&Frame::text(r#"{"id":1,"connect":{}}"#));
    let history = Frame::text(r#"{"id":2,"history":{"channel":"c","limit":300}}"#).bytes();
    let asked: Vec<u8> = history.iter().copied().cycle().take(history.len() * 2_000).collect();
    // The gateway stops reading, so this blocks until it gives the asker up: 500 MB are never made.
    asker.stream.set_write_timeout(Some(SOON)).expect("a timeout can be set");
    let mut rounds = 0;
    while rounds < 50 && asker.try_write(&asked).is_ok() {
        rounds += 1;
    }
    let grown = gateway.rss_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more");
    assert!(rounds < 50, "everything was read, and nothing of the answers taken");
    until(SOON, "the asker is given up", || gateway.metric("seawall_connections") <= 2.0);
    assert_eq!(publisher.publish("c", json!(1)), 21);
}
