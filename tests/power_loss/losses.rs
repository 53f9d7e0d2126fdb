//! The power goes again and again while people publish, and what they were told is compared with what is left.

use crate::machine::{Machine, WithPostgres, WithSqlite};
use crate::support::publisher::{CHANNEL, Publisher, log};
use crate::support::wait::{comes_true, size};
use crate::support::{Client, SOON};
use fastrand::Rng;
use seawall_power_loss::{Sync, WrittenBack};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

const PUBLISHERS: usize = 3;
/// How often the power goes in one test, unless `SEAWALL_TEST_LOSSES` says otherwise.
const LOSSES: usize = 10;
/// Acknowledgements before it does: at least one, and fewer than these.
const MOMENT: usize = 120;

/// Everybody, and what they know between two losses.
struct People {
    publishers: Vec<Publisher>,
    heard: BTreeMap<u64, String>,
    epoch: Value,
}

impl People {
    fn new() -> People {
        let publishers = (0..PUBLISHERS).map(|name| Publisher { name, ..Publisher::default() }).collect();
        People { publishers, heard: BTreeMap::new(), epoch: Value::Null }
    }

    /// They publish and listen until the power goes, at a moment that chance chooses.
    fn work_until_power_goes(&mut self, machine: &mut impl Machine, random: &mut Rng) {
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
        let (came, heard) = thread::scope(|scope| {
            let listening = scope.spawn(|| listen(listener));
            for (publisher, client) in publishers {
                scope.spawn(|| {
                    if let Some(reply) = publisher.publish(client, &acknowledged) {
                        // The store went a moment before the gateway.
                        let code = reply["error"]["code"].as_str();
                        assert!(
                            matches!(code, Some("unavailable" | "unconfirmed" | "overloaded")),
                            "{reply}"
                        );
                    }
                });
            }
            let came = comes_true(SOON, || acknowledged.load(Ordering::Relaxed) >= moment);
            machine.power_goes(random);
            (came, listening.join())
        });
        assert!(came, "no load in time");
        self.heard.extend(heard.expect("who listens does not panic"));
    }

    /// Offsets that somebody was told and the log does not have, or not with that key.
    fn missing(&self, log: &BTreeMap<u64, String>) -> Vec<u64> {
        let told = self.publishers.iter().flat_map(|publisher| &publisher.acknowledged);
        let told = told.map(|(key, offset)| (offset, key)).chain(&self.heard);
        told.filter(|(offset, key)| log.get(offset) != Some(key)).map(|(offset, _)| *offset).collect()
    }

    /// What is in doubt is sent again; then all of it is there, once.
    fn resend(&mut self, machine: &impl Machine) {
        for publisher in &mut self.publishers {
            publisher.resend(machine.gateway());
        }
        let log = log(machine.gateway());
        assert_eq!(self.missing(&log), Vec::<u64>::new());
        let sent: usize = self.publishers.iter().map(|publisher| publisher.sent).sum();
        assert_eq!(log.len(), sent, "each key is there once");
    }
}

/// One who listens until the connection breaks, and what it heard at which offset.
fn listen(mut client: Client) -> BTreeMap<u64, String> {
    let mut heard = BTreeMap::new();
    while let Some(publication) = client.next_push_within("publication", SOON) {
        let key = publication["key"].as_str().expect("a key").to_string();
        heard.insert(publication["offset"].as_u64().expect("an offset"), key);
    }
    heard
}

fn losses(name: &str, mut machine: impl Machine) {
    let seed = size("SEED", Rng::new().usize(0..1_000_000));
    println!("{name}: SEED={seed}");
    let (mut random, mut people) = (Rng::with_seed(seed as u64), People::new());
    let (mut unsynced, mut torn, mut names) = (0, 0, 0);
    for loss in 1..=size("SEAWALL_TEST_LOSSES", LOSSES) {
        people.work_until_power_goes(&mut machine, &mut random);
        let lost = machine.cut(WrittenBack::Some, &mut random);
        unsynced += usize::from(lost.unsynced > 0);
        torn += usize::from(lost.torn > 0);
        names += usize::from(lost.names > 0);
        machine.start_again();
        let missing = people.missing(&log(machine.gateway()));
        assert_eq!(
            missing,
            Vec::<u64>::new(),
            "loss {loss} of SEED={seed}: acknowledged or delivered, and not there"
        );
        people.resend(&machine);
    }
    let sent: usize = people.publishers.iter().map(|publisher| publisher.sent).sum();
    println!(
        "{name}: {sent} publications, none lost; {unsynced} losses met files with something unsynced, {torn} left one torn, {names} changed names"
    );
    assert!(unsynced > 0, "the power never went between a write and its sync: nothing was tried");
}

/// With a disk that keeps nothing, the same people miss what they were told.
fn is_seen(mut machine: impl Machine) {
    let (mut random, mut people) = (Rng::new(), People::new());
    people.work_until_power_goes(&mut machine, &mut random);
    let lost = machine.cut(WrittenBack::Nothing, &mut random);
    assert!(lost.files > 0 || lost.names > 0, "{lost:?}");
    machine.start_again();
    let told: usize = people.publishers.iter().map(|publisher| publisher.acknowledged.len()).sum();
    let missing = people.missing(&log(machine.gateway())).len();
    assert!(told > 0 && missing >= told, "{missing} missing, {told} acknowledged");
}

#[test]
fn sqlite_keeps_what_was_acknowledged() {
    losses("SQLite", WithSqlite::start(Sync::Honest));
}

#[test]
fn postgresql_keeps_what_was_acknowledged() {
    losses("PostgreSQL", WithPostgres::start(Sync::Honest, &[]));
}

#[test]
fn sqlite_on_a_disk_that_lies_loses_it() {
    is_seen(WithSqlite::start(Sync::Lies));
}

#[test]
fn postgresql_that_does_not_sync_loses_it() {
    is_seen(WithPostgres::start(Sync::Honest, &[("fsync", "off")]));
}
