//! What was acknowledged is there after a crash, once, at the acknowledged offset.
//!
//! `kill -9` ends the process and not the machine: what the kernel holds is not lost. So this
//! shows that an acknowledgement comes after the commit, not that the commit reached the disk.

use crate::support::wait::comes_true;
use crate::support::{Client, Gateway, SOON, Setup};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

const PUBLISHERS: usize = 3;
const ROUNDS: usize = 4;

/// What one publisher knows: its keys in order, and the offsets it was told.
#[derive(Default)]
struct Ledger {
    name: usize,
    next: usize,
    acknowledged: BTreeMap<String, u64>,
    unanswered: Vec<(String, usize)>,
}

impl Ledger {
    /// Publishes until the connection breaks, always with several on the way.
    fn publish(&mut self, mut client: Client, acknowledged: &AtomicUsize) {
        loop {
            let mut waiting = Vec::new();
            for _ in 0..8 {
                let (key, n) = (format!("{}-{}", self.name, self.next), self.next);
                self.next += 1;
                self.unanswered.push((key.clone(), n));
                match client.try_send(json!({"publish": {"channel": "c", "key": key, "data": n}})) {
                    Ok(id) => waiting.push((id, key)),
                    Err(_) => return,
                }
            }
            for (id, key) in waiting {
                let Some(reply) = client.try_reply(id) else { return };
                let offset = reply["published"]["offset"].as_u64().unwrap_or_else(|| panic!("{reply}"));
                self.acknowledge(key, offset);
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn acknowledge(&mut self, key: String, offset: u64) {
        self.unanswered.retain(|(other, _)| *other != key);
        self.acknowledged.insert(key, offset);
    }

    /// Sends what was not answered again, under the same keys.
    fn resend(&mut self, gateway: &Gateway) {
        let mut client = Client::connect(gateway);
        for (key, n) in self.unanswered.clone() {
            let reply = client.ask(json!({"publish": {"channel": "c", "key": key, "data": n}}), "published");
            self.acknowledge(key, reply["offset"].as_u64().expect("an offset"));
        }
    }
}

fn whole_log(gateway: &Gateway) -> BTreeMap<u64, String> {
    let mut client = Client::connect(gateway);
    let mut log = BTreeMap::new();
    loop {
        let after = log.last_key_value().map_or(0, |(offset, _)| *offset);
        let page = client.ask(json!({"history": {"channel": "c", "after": after, "limit": 300}}), "history");
        let publications = page["publications"].as_array().expect("a list");
        if publications.is_empty() {
            assert_eq!(page["head"], after);
            return log;
        }
        for publication in publications {
            let offset = publication["offset"].as_u64().expect("an offset");
            assert_eq!(offset, log.len() as u64 + 1, "no gap");
            log.insert(offset, publication["key"].as_str().expect("a key").to_string());
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled() {
    let mut gateway = Setup::new().unhurried().start();
    let mut ledgers: Vec<Ledger> = (0..PUBLISHERS).map(|name| Ledger { name, ..Ledger::default() }).collect();
    for round in 1..=ROUNDS {
        let acknowledged = AtomicUsize::new(0);
        let on = std::thread::scope(|scope| {
            for ledger in &mut ledgers {
                let (client, acknowledged) = (Client::connect(&gateway), &acknowledged);
                scope.spawn(move || ledger.publish(client, acknowledged));
            }
            let on = comes_true(SOON, || acknowledged.load(Ordering::Relaxed) > 50 * round);
            // The publishers go on until the connection breaks, also in a test that fails.
            gateway.signal(rustix::process::Signal::KILL);
            on
        });
        assert!(on, "no load in time");
        gateway = gateway.kill9().start();
        let log = whole_log(&gateway);
        for ledger in &mut ledgers {
            for (key, offset) in &ledger.acknowledged {
                assert_eq!(log.get(offset), Some(key), "round {round}: acknowledged and not there");
            }
            ledger.resend(&gateway);
        }
        let log = whole_log(&gateway);
        let published: usize = ledgers.iter().map(|ledger| ledger.next).sum();
        assert_eq!(log.len(), published, "round {round}: each key is there exactly once");
        for ledger in &ledgers {
            for (key, offset) in &ledger.acknowledged {
                assert_eq!(log.get(offset), Some(key), "round {round}");
            }
        }
    }
}
