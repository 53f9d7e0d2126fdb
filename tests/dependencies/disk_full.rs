//! A store whose disk is full: what does not fit is refused, and the outage is announced once, not after every probe
//! that still finds room.

use crate::dependencies::matrix::clients::{Listener, Publisher};
use crate::dependencies::proxied;
use crate::servers::{Disk, Postgres};
use crate::support::wait::LATE;
use crate::support::{Client, SOON, Setup, until};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// More than the free space of any page.
const BALLAST: usize = 48 << 10;
/// Longer than a breaker's first delays: a successful probe alone would have ended the outage more than once by then.
const IDLE: Duration = Duration::from_secs(9);

#[test]
fn full_disk_refuses_publications_and_loses_none() {
    let Some(disk) = Disk::or_skip(160) else { return };
    let mut server = Postgres::start_at(disk.path(), &[]);
    let proxy = proxied::proxy_to(server.address());
    let gateway = Setup::new()
        .env("SEAWALL_STORE_URL", &server.url_through(proxy.address()))
        .limit("publishes_per_s", 0)
        .start();
    let mut publisher = Publisher::ready(&gateway, "c").with_ballast(BALLAST);
    let mut listener = Listener::new(&gateway, "c");
    disk.fill();

    let (begun, mut count, mut status) = (Instant::now(), 0, None);
    while status.is_none() && begun.elapsed() < SOON {
        count += 1;
        publisher.publish(&format!("met-{count}"));
        status = listener.client.next_push_within("status", Duration::from_millis(20));
    }
    let status = status.unwrap_or_else(|| panic!("{LATE}: the outage is announced"));
    assert_eq!(status["level"], json!("down"), "{status}");
    let closed = Client::open(&gateway).expect_close();
    closed.is(1011, "unavailable");
    let reference = closed.bye.expect("checked")["reference"].as_str().expect("a reference").to_owned();
    until(SOON, "the cause is in the log", || {
        gateway.output().lines().any(|line| line.contains(&reference) && line.contains("fault=\"disk_full\""))
    });
    assert_eq!(gateway.fetch("/health/ready").status, 200);

    // No client publishes, and the probe's small row fits: the store stays down all the same.
    let change = listener.client.next_push_within("status", IDLE);
    let is_down = |status: &Value| status["level"] == "down";
    assert!(change.as_ref().is_none_or(is_down), "the disk is still full: {change:?}");

    disk.free();
    if !server.is_running() {
        server.start_again();
    }
    let freed = Instant::now();
    publisher.catch_up_within(Duration::from_secs(20));
    println!("publishes again {:?} after there is room", freed.elapsed());
    let head = publisher.check(&mut Client::connect(&gateway));
    listener.hears(head, SOON);
}
