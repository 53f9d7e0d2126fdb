//! A bus whose master is found through Sentinels: it fails over, and the Sentinels themselves fail.

use crate::bus::rig::{BY_BUS, delivers, publication};
use crate::servers::{Postgres, Reply, Watched};
use crate::support::wait::{SOON, until};
use crate::support::{Client, Gateway, Setup};
use serde_json::json;
use std::time::Duration;

/// The time that a bus may take after a promotion: a canary that does not come back is noticed within a third of it. The rest
/// is for a busy machine.
const AFTER_PROMOTION: Duration = Duration::from_secs(30);
/// While the bus does not deliver, the logs are polled each second, otherwise every ten. The rest is for a busy machine.
const BY_LOG: Duration = Duration::from_secs(9);

struct Pair {
    watched: Watched,
    store: Postgres,
}

impl Pair {
    fn start() -> Pair {
        Pair { watched: Watched::start(), store: Postgres::start() }
    }

    fn setup(&self, name: &str, url: &str) -> Setup {
        Setup::new()
            .env("SEAWALL_STORE_URL", &self.store.url())
            .env("SEAWALL_BUS_URL", url)
            .env("SEAWALL_SERVER_INSTANCE", name)
            .unlimited()
    }

    fn gateway(&self, name: &str) -> Gateway {
        let gateway = self.setup(name, &self.watched.url()).start();
        delivers(&gateway);
        gateway
    }

    /// The connections that subscribe to a chat channel on one of the servers.
    fn subscribers(&self, server: usize) -> i64 {
        match self.watched.servers[server].try_command(&["PUBSUB", "NUMSUB", "seawall:c:c"]) {
            Ok(Reply::List(parts)) => match parts.as_slice() {
                [_, Reply::Number(count)] => *count,
                other => panic!("{other:?}"),
            },
            _ => 0,
        }
    }

    fn is_master(&self, server: usize) -> bool {
        let port = self.watched.servers[server].address().port();
        self.watched.sentinels.iter().any(|sentinel| sentinel.master_port() == Some(port))
    }
}

/// A publisher at one gateway and a subscriber at the other.
struct Talk {
    publisher: Client,
    subscriber: Client,
    number: u64,
}

impl Talk {
    fn between(one: &Gateway, two: &Gateway) -> Talk {
        let (publisher, mut subscriber) = (Client::connect(one), Client::connect(two));
        subscriber.subscribe("c");
        Talk { publisher, subscriber, number: 0 }
    }

    /// Publishes the next number, which must be the next publication to arrive.
    #[track_caller]
    fn exchange(&mut self, within: Duration) {
        self.number += 1;
        assert_eq!(self.publisher.publish("c", json!(self.number)), self.number);
        assert_eq!(publication(&mut self.subscriber, within), (self.number, json!(self.number)));
    }
}

/// Exchanges until both deliver by the bus of this server, to which connections were just ended or lost.
#[track_caller]
fn delivers_by(pair: &Pair, server: usize, gateways: [&Gateway; 2], talk: &mut Talk) {
    until(AFTER_PROMOTION, "both deliver by the new master", || {
        talk.exchange(BY_LOG);
        pair.subscribers(server) > 0
            && gateways.iter().all(|gateway| gateway.metric("seawall_bus_delivering") > 0.0)
    });
    for _ in 0..5 {
        talk.exchange(BY_BUS);
    }
}

/// True exactly when the server is a replica whose link to its master is up.
fn is_replica(pair: &Pair, server: usize) -> bool {
    let connected = Reply::Text("connected".into());
    matches!(pair.watched.servers[server].command(&["ROLE"]), Reply::List(parts) if parts.contains(&connected))
}

#[test]
fn bus_follows_the_master_through_crash_and_planned_failover_without_loss() {
    let mut pair = Pair::start();
    let (one, two) = (pair.gateway("gw-1"), pair.gateway("gw-2"));
    let mut talk = Talk::between(&one, &two);
    for _ in 0..5 {
        talk.exchange(BY_BUS);
    }
    assert!(pair.subscribers(0) > 0);
    pair.watched.servers[0].kill9();
    until(SOON * 3, "the replica is promoted", || {
        talk.exchange(BY_LOG);
        pair.is_master(1)
    });
    delivers_by(&pair, 1, [&one, &two], &mut talk);

    // The former master returns as a replica, and takes over while the other one still answers. Sentinels make that one a replica,
    // and end its connections, some seconds later; until then the bus works at the former master.
    pair.watched.servers[0].start_again();
    until(SOON * 3, "one of them is a replica", || {
        // Sentinels on a busy machine may have moved the master back already.
        is_replica(&pair, 0) || (pair.is_master(0) && is_replica(&pair, 1))
    });
    until(SOON * 6, "the former master is a replica", || {
        // A Sentinel refuses while a failover runs, and gives one up that takes longer than its timeout: it must be asked again.
        if !pair.is_master(0) {
            let address = pair.watched.sentinels[0].address();
            let _begun = crate::servers::redis::ask(address, &["SENTINEL", "FAILOVER", "chat"]);
        }
        talk.exchange(BY_LOG);
        pair.is_master(0) && pair.subscribers(1) == 0
    });
    delivers_by(&pair, 0, [&one, &two], &mut talk);
}

#[test]
fn silent_or_dead_sentinels_delay_a_dial_and_lose_nothing() {
    let mut pair = Pair::start();
    pair.watched.sentinels[0].sigstop();
    let (one, two) = (pair.gateway("gw-1"), pair.gateway("gw-2"));
    let mut talk = Talk::between(&one, &two);
    talk.exchange(BY_BUS);
    pair.watched.sentinels[0].kill9();
    pair.watched.sentinels[1].kill9();
    assert!(pair.watched.servers[0].end_subscriptions() > 0);
    until(SOON, "the subscriptions are made again", || {
        talk.exchange(BY_LOG);
        pair.subscribers(0) > 0
    });
    delivers(&one);
    delivers(&two);
    talk.exchange(BY_BUS);
}

#[test]
fn doctor_names_a_master_that_no_sentinel_knows() {
    let pair = Pair::start();
    let doctor = |url: &str| {
        let variables = [("SEAWALL_STORE_URL", &*pair.store.url()), ("SEAWALL_BUS_URL", url)];
        let output = Setup::new().run_with(&["doctor", "--here"], &variables);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let said = doctor(&pair.watched.url_of("chats"));
    assert!(said.contains("knows no master named \"chats\""), "{said}");
    assert!(said.contains("SENTINEL MASTERS"), "{said}");
    let said = doctor(&pair.watched.url());
    assert!(!said.contains("DOWN"), "{said}");
    // A Redis that is no Sentinel.
    let said = doctor(&format!("redis+sentinel://{}/chat", pair.watched.servers[0].address()));
    assert!(said.contains("unknown command"), "{said}");
}
