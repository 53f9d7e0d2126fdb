//! A store whose disk is full: what it cannot take is refused, and it is told once, not with every probe that finds room.

use crate::dependencies::matrix::people::{Listener, Publisher};
use crate::dependencies::stand;
use crate::servers::{Disk, Postgres};
use crate::support::{Client, SOON, Setup, until};
use serde_json::json;
use std::time::{Duration, Instant};

/// Larger than any room that is left in a page.
const BALLAST: usize = 48 << 10;
/// Longer than a breaker's first delays, by which time a probe's word alone would have ended the outage more than once.
const IDLE: Duration = Duration::from_secs(9);

#[test]
fn a_full_disk_refuses_what_it_cannot_take_and_gives_all_back() {
    let Some(disk) = Disk::or_skip(160) else { return };
    let mut server = Postgres::start_at(disk.path(), &[]);
    let way = stand::way_to(server.address());
    let gateway = Setup::new()
        .env("SEAWALL_STORE_URL", &server.url_through(way.address()))
        .limit("publishes_per_s", 0)
        .start();
    let mut publisher = Publisher::at_ease(&gateway, "c").with_ballast(BALLAST);
    let mut listener = Listener::new(&gateway, "c");
    disk.fill();

    let (begun, mut count, mut told) = (Instant::now(), 0, None);
    while told.is_none() && begun.elapsed() < SOON {
        count += 1;
        publisher.publish(&format!("met-{count}"));
        told = listener.client.next_push_within("status", Duration::from_millis(20));
    }
    let told = told.expect("the outage is told");
    assert_eq!(told["level"], json!("down"), "{told}");
    let closed = Client::open(&gateway).expect_close();
    closed.is(1011, "unavailable");
    let reference = closed.bye.expect("checked")["reference"].as_str().expect("a reference").to_owned();
    until(SOON, "the cause is in the log", || {
        gateway.output().lines().any(|line| line.contains(&reference) && line.contains("fault=\"disk_full\""))
    });
    assert_eq!(gateway.fetch("/health/ready").status, 200);

    // Nobody publishes, and the probe's small row finds room: it stays down all the same.
    let change = listener.client.next_push_within("status", IDLE);
    assert!(change.is_none(), "the disk is as full as before: {change:?}");

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
