//! Many subscribers that never read do not grow the memory: what they miss stays in the log, not in a queue.

use crate::support::raw::{UPGRADE, dial};
use crate::support::wait::size;
use crate::support::{Client, Frame, RawClient, SOON, Setup, until};
use serde_json::json;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Published while no subscriber reads.
const PUBLICATIONS: usize = 120;
/// All of them together exceed a socket's buffers in the kernel.
const PUBLICATION_BYTES: usize = 32_000;
/// Full outboxes of this many clients stay below `limits.outbox_bytes_total`; over it the longest stalled are closed.
const ALL_STAY: usize = 2_000;

#[test]
fn memory_stays_flat_while_no_subscriber_reads() {
    let count = size("SEAWALL_TEST_READERS", 300);
    // A load test holds this for a minute, so that slow growth shows as well. None may be closed for its stall meanwhile.
    let hold = Duration::from_secs(size("SEAWALL_TEST_HOLD_S", 0) as u64);
    let stall = hold + Duration::from_secs(60);
    let gateway = Setup::new().unlimited().limit("stall_ms", stall.as_millis() as u64).start();
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
        // The kernel's accept queue is finite: let the gateway accept these before more connect.
        if n % 256 == 255 {
            until(SOON, "the gateway accepts them", || gateway.metric("seawall_connections") > n as f64);
        }
    }
    let mut publisher = Client::connect(&gateway);
    publisher.subscribe("c");
    until(SOON, "all are subscribed", || gateway.metric("seawall_subscriptions") >= (count + 1) as f64);
    let idle = gateway.rss_bytes();
    assert!(idle < (100 << 20) + ((count as u64) << 14), "{idle} bytes for {count} idle connections");
    let text = "x".repeat(PUBLICATION_BYTES);
    let mut peak = idle;
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
    // Frames are shared, so the outboxes hold references: far less than a copy each. The store's page caches fill
    // meanwhile, to 16 MiB for the writer and 8 MiB for each of two readers, whether or not subscribers read. Over the
    // total bound, closed connections free kernel memory, and a subscriber that drains into it is sent a page. A page
    // is read and held once for many subscribers, so this is far less than a copy of 64 KiB each.
    let grown = peak - idle;
    let most = ((32 + 16) << 20) + (count << 12) as u64;
    assert!(grown < most, "{grown} bytes more for {count} subscribers that do not read");
    println!("{count} subscribers that do not read: {idle} bytes before, {peak} at most");
    assert!(gateway.metric("seawall_lagged_total") > 0.0, "the load was too small to fill an outbox");
    if count <= ALL_STAY {
        assert!(
            gateway.metric("seawall_connections") > count as f64,
            "no subscriber is closed for being slow"
        );
    }
    // The kernel's memory matters too: it counts towards a container's limit, and TCP as a whole has a limit.
    let queued = gateway.kernel_bytes() / count as u64;
    assert!(queued < 512 << 10, "{queued} bytes in the kernel for each subscriber that does not read");
    assert!(publisher.is_open());
}

#[test]
fn client_that_never_reads_is_no_longer_read() {
    let gateway = Setup::new().unlimited().limit("stall_ms", 1_500).start();
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
    // The gateway stops reading, so this blocks until the asker is closed: 500 MB of responses are never built.
    asker.stream.set_write_timeout(Some(SOON)).expect("a timeout can be set");
    let mut rounds = 0;
    while rounds < 50 && asker.try_write(&asked).is_ok() {
        rounds += 1;
    }
    let grown = gateway.rss_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more");
    assert!(rounds < 50, "all requests were read although no response was");
    until(SOON, "the asker is closed", || gateway.metric("seawall_connections") <= 2.0);
    assert_eq!(publisher.publish("c", json!(1)), 21);
}
