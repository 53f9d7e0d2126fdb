//! Acknowledged publications survive a crash: each is stored once, at the acknowledged offset.
//!
//! `kill -9` ends the process, not the machine, so nothing in the kernel's buffers is lost. These tests therefore show
//! that an acknowledgement comes after the commit, not that the commit reached the disk.

use crate::support::publisher::{self, Publisher};
use crate::support::wait::{LATE, comes_true};
use crate::support::{Client, SOON, Setup};
use std::sync::atomic::{AtomicUsize, Ordering};

const PUBLISHERS: usize = 3;
const ROUNDS: usize = 4;

#[test]
fn acknowledged_publication_is_neither_lost_nor_duplicated_by_a_kill() {
    let mut gateway = Setup::new().unlimited().start();
    let mut publishers: Vec<Publisher> =
        (0..PUBLISHERS).map(|name| Publisher { name, ..Publisher::default() }).collect();
    for round in 1..=ROUNDS {
        let acknowledged = AtomicUsize::new(0);
        let on = std::thread::scope(|scope| {
            for publisher in &mut publishers {
                let (client, acknowledged) = (Client::connect(&gateway), &acknowledged);
                scope.spawn(move || assert_eq!(publisher.publish(client, acknowledged), None));
            }
            let on = comes_true(SOON, || acknowledged.load(Ordering::Relaxed) > 50 * round);
            // The publishers continue until the connection breaks, also in a test that fails.
            gateway.signal(rustix::process::Signal::KILL);
            on
        });
        assert!(on, "{LATE}: load");
        gateway = gateway.kill9().start();
        let log = publisher::log(&gateway);
        for publisher in &mut publishers {
            for (key, offset) in &publisher.acknowledged {
                assert_eq!(log.get(offset), Some(key), "round {round}: acknowledged but not stored");
            }
            publisher.resend(&gateway);
        }
        let log = publisher::log(&gateway);
        let published: usize = publishers.iter().map(|publisher| publisher.sent).sum();
        assert_eq!(log.len(), published, "round {round}: each key is stored exactly once");
        for publisher in &publishers {
            for (key, offset) in &publisher.acknowledged {
                assert_eq!(log.get(offset), Some(key), "round {round}");
            }
        }
    }
}
