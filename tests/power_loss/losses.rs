//! Repeated power losses while clients publish: all that was acknowledged or delivered must be in the log afterwards.

use crate::machine::{Machine, WithPostgres, WithSqlite};
use crate::support::publisher::{CHANNEL, Publisher, log};
use crate::support::wait::{LATE, comes_true, size};
use crate::support::{Client, SOON};
use fastrand::Rng;
use seawall_power_loss::{Sync, WrittenBack};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

const PUBLISHERS: usize = 3;
/// Power losses of one test, unless `SEAWALL_TEST_LOSSES` is set.
const LOSSES: usize = 10;
/// The power fails after a random number of acknowledgements, at least one and fewer than this.
const MOMENT: usize = 120;

/// The publishers, and what subscribers received, over all losses so far.
struct Clients {
    publishers: Vec<Publisher>,
    received: BTreeMap<u64, String>,
    epoch: Value,
}

impl Clients {
    fn new() -> Clients {
        let publishers = (0..PUBLISHERS).map(|name| Publisher { name, ..Publisher::default() }).collect();
        Clients { publishers, received: BTreeMap::new(), epoch: Value::Null }
    }

    /// Publishes and listens until the power fails at a random moment.
    fn work_until_power_fails(&mut self, machine: &mut impl Machine, random: &mut Rng) {
        let acknowledged = AtomicUsize::new(0);
        let moment = random.usize(1..MOMENT);
        let mut listener = Client::connect(machine.gateway());
        let epoch = listener.subscribe(CHANNEL)["epoch"].take();
        assert!(self.epoch.is_null() || self.epoch == epoch, "another epoch: {epoch} after {}", self.epoch);
        self.epoch = epoch;
        let publishers: Vec<(&mut Publisher, Client)> = self
            .publishers
            .iter_mut()
            .map(|publisher| (publisher, Client::connect(machine.gateway())))
            .collect();
        let (loaded, received) = thread::scope(|scope| {
            let listening = scope.spawn(|| listen(listener));
            for (publisher, client) in publishers {
                scope.spawn(|| {
                    if let Some(reply) = publisher.publish(client, &acknowledged) {
                        // The store may fail a moment before the gateway.
                        let code = reply["error"]["code"].as_str();
                        assert!(
                            matches!(code, Some("unavailable" | "unconfirmed" | "overloaded")),
                            "{reply}"
                        );
                    }
                });
            }
            let loaded = comes_true(SOON, || acknowledged.load(Ordering::Relaxed) >= moment);
            machine.fail_power(random);
            (loaded, listening.join())
        });
        assert!(loaded, "{LATE}: no load");
        self.received.extend(received.expect("the listener does not panic"));
    }

    /// Acknowledged or delivered offsets that the log lacks or has under another key.
    fn missing(&self, log: &BTreeMap<u64, String>) -> Vec<u64> {
        let acknowledged = self.publishers.iter().flat_map(|publisher| &publisher.acknowledged);
        let acknowledged = acknowledged.map(|(key, offset)| (offset, key)).chain(&self.received);
        acknowledged.filter(|(offset, key)| log.get(offset) != Some(key)).map(|(offset, _)| *offset).collect()
    }

    /// Sends publishes with an unknown outcome again, and checks that each key is stored once.
    fn resend(&mut self, machine: &impl Machine) {
        for publisher in &mut self.publishers {
            publisher.resend(machine.gateway());
        }
        let log = log(machine.gateway());
        assert_eq!(self.missing(&log), Vec::<u64>::new());
        let sent: usize = self.publishers.iter().map(|publisher| publisher.sent).sum();
        assert_eq!(log.len(), sent, "each key is stored once");
    }
}

/// Listens until the connection breaks, and returns the received keys by offset.
fn listen(mut client: Client) -> BTreeMap<u64, String> {
    let mut received = BTreeMap::new();
    while let Some(publication) = client.next_push_within("publication", SOON) {
        let key = publication["key"].as_str().expect("a key").to_string();
        received.insert(publication["offset"].as_u64().expect("an offset"), key);
    }
    received
}

fn losses(name: &str, mut machine: impl Machine) {
    let seed = size("SEED", Rng::new().usize(0..1_000_000));
    println!("{name}: SEED={seed}");
    let (mut random, mut clients) = (Rng::with_seed(seed as u64), Clients::new());
    let (mut unsynced, mut torn, mut names) = (0, 0, 0);
    for loss in 1..=size("SEAWALL_TEST_LOSSES", LOSSES) {
        clients.work_until_power_fails(&mut machine, &mut random);
        let lost = machine.cut(WrittenBack::Some, &mut random);
        unsynced += usize::from(lost.unsynced > 0);
        torn += usize::from(lost.torn > 0);
        names += usize::from(lost.names > 0);
        machine.start_again();
        let missing = clients.missing(&log(machine.gateway()));
        assert_eq!(
            missing,
            Vec::<u64>::new(),
            "loss {loss} of SEED={seed}: acknowledged or delivered, but not stored"
        );
        clients.resend(&machine);
    }
    let sent: usize = clients.publishers.iter().map(|publisher| publisher.sent).sum();
    println!(
        "{name}: {sent} publications, none lost; {unsynced} losses hit unsynced files, {torn} left a torn one, {names} changed names"
    );
    assert!(unsynced > 0, "the power never failed between a write and its sync, so nothing was tested");
}

/// Checks that the test detects losses: with a disk that keeps nothing, acknowledged publications are missing.
fn loses_acknowledged(mut machine: impl Machine) {
    let (mut random, mut clients) = (Rng::new(), Clients::new());
    clients.work_until_power_fails(&mut machine, &mut random);
    let lost = machine.cut(WrittenBack::Nothing, &mut random);
    assert!(lost.files > 0 || lost.names > 0, "{lost:?}");
    machine.start_again();
    let acknowledged: usize = clients.publishers.iter().map(|publisher| publisher.acknowledged.len()).sum();
    let missing = clients.missing(&log(machine.gateway())).len();
    assert!(acknowledged > 0 && missing >= acknowledged, "{missing} missing, {acknowledged} acknowledged");
}

#[test]
fn sqlite_keeps_acknowledged_publications() {
    losses("SQLite", WithSqlite::start(Sync::Honest));
}

#[test]
fn postgresql_keeps_acknowledged_publications() {
    losses("PostgreSQL", WithPostgres::start(Sync::Honest, &[]));
}

#[test]
fn sqlite_on_a_disk_that_ignores_syncs_loses_publications() {
    loses_acknowledged(WithSqlite::start(Sync::Lies));
}

#[test]
fn postgresql_without_fsync_loses_publications() {
    loses_acknowledged(WithPostgres::start(Sync::Honest, &[("fsync", "off")]));
}
