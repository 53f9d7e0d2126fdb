//! A Redis Cluster of three masters without replicas, each behind a proxy that its clients see.

use super::redis::{Redis, Reply};
use super::wait::{SOON, until};
use seawall_fault::{HeldPort, Proxy};

/// Slots of the first, the second and the third master.
const SLOTS: [(u16, u16); 3] = [(0, 5_460), (5_461, 10_922), (10_923, 16_383)];

/// Three masters that share the slots.
pub struct RedisCluster {
    pub masters: [Redis; 3],
    /// In front of each.
    pub proxies: [Proxy; 3],
    _ports: [HeldPort; 3],
}

impl RedisCluster {
    /// Starts three masters. Returns when each knows all slots.
    #[track_caller]
    pub fn start() -> RedisCluster {
        let ports: [HeldPort; 3] = std::array::from_fn(|_| HeldPort::loopback().expect("a free port"));
        let masters: [Redis; 3] = std::array::from_fn(|number| {
            Redis::start_with(&[
                ("cluster-enabled", "yes"),
                ("cluster-port", &ports[number].number().to_string()),
                ("cluster-node-timeout", "2000"),
                // The partitions of the other masters go on while one is dead.
                ("cluster-require-full-coverage", "no"),
            ])
        });
        let proxies = std::array::from_fn(|number| {
            let master: &Redis = &masters[number];
            Proxy::start(master.address()).expect("the proxy starts")
        });
        let mut cluster = RedisCluster { masters, proxies, _ports: ports };
        cluster.join();
        cluster
    }

    #[track_caller]
    fn join(&mut self) {
        for (number, (first, last)) in SLOTS.into_iter().enumerate() {
            let announced = self.proxies[number].address().port().to_string();
            // Kept for a restart.
            self.masters[number].set("cluster-announce-port", &announced);
            self.masters[number].set("cluster-announce-ip", "127.0.0.1");
            let say = |words: &[&str]| {
                let reply = self.masters[number].command(words);
                assert!(reply.is_ok(), "{words:?}: {reply:?}");
            };
            say(&["CONFIG", "SET", "cluster-announce-port", &announced]);
            say(&["CONFIG", "SET", "cluster-announce-ip", "127.0.0.1"]);
            say(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]);
            say(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
        }
        for number in 1..SLOTS.len() {
            // The bus between the nodes does not pass the proxies.
            let port = self.masters[number].address().port().to_string();
            let bus = self._ports[number].number().to_string();
            assert!(self.masters[0].command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]).is_ok());
        }
        until(SOON * 3, "each master knows all slots", || {
            self.masters.iter().all(|master| self.knows_all(master))
        });
    }

    fn knows_all(&self, master: &Redis) -> bool {
        let Reply::Text(info) = master.command(&["CLUSTER", "INFO"]) else { return false };
        let Reply::List(ranges) = master.command(&["CLUSTER", "SLOTS"]) else { return false };
        let announced = |range: &Reply| match range {
            Reply::List(parts) => match parts.get(2) {
                Some(Reply::List(node)) => {
                    let ports = self.proxies.iter().map(|proxy| i64::from(proxy.address().port()));
                    ports.map(Reply::Number).any(|port| node.get(1) == Some(&port))
                }
                _ => false,
            },
            _ => false,
        };
        info.contains("cluster_state:ok") && ranges.len() == SLOTS.len() && ranges.iter().all(announced)
    }

    /// The master that has a slot at the start.
    pub fn master_of(slot: u16) -> usize {
        SLOTS.iter().position(|(first, last)| (*first..=*last).contains(&slot)).expect("each slot has one")
    }

    /// The address of all masters.
    pub fn url(&self) -> String {
        let all: Vec<String> = self.proxies.iter().map(|proxy| proxy.address().to_string()).collect();
        format!("redis+cluster://{}", all.join(","))
    }

    #[track_caller]
    fn id(&self, master: usize) -> String {
        match self.masters[master].command(&["CLUSTER", "MYID"]) {
            Reply::Text(id) => id,
            other => panic!("{other:?}"),
        }
    }

    /// Moves a slot with its keys, step by step as `redis-cli` does.
    #[track_caller]
    pub fn move_slot(&self, slot: u16, from: usize, to: usize) {
        self.move_slot_while(slot, from, to, || {});
    }

    /// As [`RedisCluster::move_slot`]; `between` runs when the keys are at the new master, and the slot still belongs to the former one,
    /// which answers `ASK`.
    #[track_caller]
    pub fn move_slot_while(&self, slot: u16, from: usize, to: usize, between: impl FnOnce()) {
        let (slot, from_id, to_id) = (slot.to_string(), self.id(from), self.id(to));
        let say = |master: usize, words: &[&str]| {
            let reply = self.masters[master].command(words);
            assert!(reply.is_ok(), "{words:?}: {reply:?}");
        };
        say(to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
        say(from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
        let port = self.masters[to].address().port().to_string();
        loop {
            let Reply::List(keys) = self.masters[from].command(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"])
            else {
                panic!("keys of slot {slot}")
            };
            let keys: Vec<&str> = keys
                .iter()
                .map(|key| if let Reply::Text(key) = key { &**key } else { panic!("{key:?}") })
                .collect();
            if keys.is_empty() {
                break;
            }
            let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            words.extend(keys);
            let moved = self.masters[from].command(&words);
            // A key may have ended meanwhile.
            assert!(moved.is_ok() || moved == Reply::Status("NOKEY".into()), "{moved:?}");
        }
        between();
        say(to, &["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
        say(from, &["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
    }
}
