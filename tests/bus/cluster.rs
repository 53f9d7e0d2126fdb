//! A bus over a Redis Cluster of three masters: all deliver, slots move, a master dies.

use crate::bus::rig::{BY_BUS, delivers, publication};
use crate::servers::{Postgres, RedisCluster, Reply};
use crate::support::backend::{Backend, with_api};
use crate::support::token::{SECRET, token_of};
use crate::support::wait::{LATE, SOON, in_time, until};
use crate::support::{Client, Gateway, Setup};
use seawall::follow::routing::partition_of;
use seawall::id::ChannelName;
use seawall::wire::slot::{Partition, slot};
use serde_json::json;
use std::time::{Duration, Instant};

/// While a master does not deliver, the logs of its channels are polled each second, otherwise every ten. The rest is for a busy
/// machine.
pub const BY_LOG: Duration = Duration::from_secs(9);
/// Half of the deliveries over a working master take less: one by a poll of the logs, right after another, takes a second.
const INSTANT: Duration = Duration::from_millis(500);

/// A lease that is not renewed for this time calls its instance isolated.
const LEASE_LIFE: Duration = Duration::from_secs(4);
/// An order over the bus; through the store it takes two seconds on average.
const ORDER_BY_BUS: Duration = Duration::from_millis(1_500);

pub struct Pair {
    pub cluster: RedisCluster,
    store: Postgres,
}

impl Pair {
    pub fn start() -> Pair {
        Pair { cluster: RedisCluster::start(), store: Postgres::start() }
    }

    pub fn setup(&self, name: &str, url: &str) -> Setup {
        Setup::new()
            .env("SEAWALL_STORE_URL", &self.store.url())
            .env("SEAWALL_BUS_URL", url)
            .env("SEAWALL_SERVER_INSTANCE", name)
            .unlimited()
    }

    pub fn gateway(&self, name: &str) -> Gateway {
        let gateway = self.setup(name, &self.cluster.url()).start();
        delivers(&gateway);
        gateway
    }

    fn doctor(&self, url: &str) -> String {
        let variables = [("SEAWALL_STORE_URL", &*self.store.url()), ("SEAWALL_BUS_URL", url)];
        let output = Setup::new().run_with(&["doctor", "--here"], &variables);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The connections that subscribe to a channel at one of the masters.
    fn subscribers(&self, master: usize, channel: &str) -> i64 {
        let tag = partition_of(&ChannelName::parse(channel).expect("valid")).tag();
        let topic = format!("seawall:{{{tag}}}:c:{channel}");
        match self.cluster.masters[master].command(&["PUBSUB", "SHARDNUMSUB", &topic]) {
            Reply::List(parts) => match parts.as_slice() {
                [_, Reply::Number(count)] => *count,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }
}

/// The slot of all names of a channel's partition.
pub fn slot_of(channel: &str) -> u16 {
    let partition = partition_of(&ChannelName::parse(channel).expect("valid"));
    slot(partition.tag().to_string().as_bytes())
}

/// A channel that a master serves at the start, in none of the first ten partitions of one.
pub fn channel_at(master: usize) -> String {
    let fits = |channel: &String| {
        let number = partition_of(&ChannelName::parse(channel).expect("valid")).index();
        RedisCluster::master_of(slot_of(channel)) == master && number % 85 > 10
    };
    (0..).map(|number| format!("c{number}")).find(fits).expect("one of many")
}

/// A publisher at one gateway and a subscriber at the other, on one channel.
pub struct Talk {
    channel: String,
    publisher: Client,
    subscriber: Client,
    number: u64,
}

impl Talk {
    pub fn on(channel: &str, one: &Gateway, two: &Gateway) -> Talk {
        let (publisher, mut subscriber) = (Client::connect(one), Client::connect(two));
        subscriber.subscribe(channel);
        Talk { channel: channel.into(), publisher, subscriber, number: 0 }
    }

    /// Publishes the next number, which must be the next publication to arrive. Returns the time that it took.
    #[track_caller]
    pub fn exchange(&mut self, within: Duration) -> Duration {
        self.number += 1;
        let begun = Instant::now();
        assert_eq!(self.publisher.publish(&self.channel, json!(self.number)), self.number);
        assert_eq!(publication(&mut self.subscriber, within), (self.number, json!(self.number)));
        begun.elapsed()
    }

    /// Exchanges ten publications, of which most must arrive by the bus.
    #[track_caller]
    pub fn is_instant(&mut self) {
        in_time(INSTANT, || {
            let mut took: Vec<Duration> = (0..10).map(|_| self.exchange(BY_BUS)).collect();
            took.sort();
            took[5]
        });
    }
}

/// The slot of leases and orders.
fn first_slot() -> u16 {
    slot(Partition::FIRST.tag().to_string().as_bytes())
}

fn is_degraded(gateway: &Gateway) -> bool {
    gateway.metrics()[r#"seawall_dependency_state{dependency="bus",state="degraded"}"#] > 0.0
}

pub fn alive(gateway: &Gateway) -> f64 {
    gateway.metrics()[r#"seawall_cluster_instances{state="alive"}"#]
}

#[test]
fn publications_pass_over_all_masters_and_moved_slots_lose_none() {
    let pair = Pair::start();
    let (one, two) = (pair.gateway("gw-1"), pair.gateway("gw-2"));
    one.shows("seawall_bus_masters", 3.0);
    let channels = [0, 1, 2].map(channel_at);
    let mut talks = [0, 1, 2].map(|master: usize| Talk::on(&channels[master], &one, &two));
    for (master, talk) in talks.iter_mut().enumerate() {
        talk.is_instant();
        assert!(pair.subscribers(master, &channels[master]) > 0);
    }
    until(SOON, "each knows the other by its lease", || alive(&one) == 2.0 && alive(&two) == 2.0);

    // A slot moves while its channel is in use.
    std::thread::scope(|scope| {
        let moving = scope.spawn(|| pair.cluster.move_slot(slot_of(&channels[0]), 0, 1));
        let [talk, ..] = &mut talks;
        for _ in 0..100 {
            talk.exchange(BY_LOG);
        }
        moving.join().expect("the slot moves");
    });
    until(SOON, "the channel is followed at the other master", || {
        talks[0].exchange(BY_LOG);
        pair.subscribers(1, &channels[0]) > 0
    });
    talks.iter_mut().for_each(Talk::is_instant);

    // So do the leases, the orders, and the canaries of the first master. Leases are renewed by `ASK` meanwhile.
    pair.cluster.move_slot_while(first_slot(), 0, 2, || {
        let doubts = [&one, &two].map(|gateway| gateway.metric("seawall_cluster_doubts_total"));
        let begun = Instant::now();
        while begun.elapsed() < LEASE_LIFE + Duration::from_secs(1) {
            for talk in &mut talks {
                talk.exchange(BY_BUS);
            }
            assert_eq!((alive(&one), alive(&two)), (2.0, 2.0), "{LATE}: a lease");
        }
        let since = [&one, &two].map(|gateway| gateway.metric("seawall_cluster_doubts_total"));
        assert_eq!(doubts, since, "{LATE}: a lease");
    });
    until(SOON * 2, "all masters deliver again", || {
        for talk in &mut talks {
            talk.exchange(BY_LOG);
        }
        [&one, &two]
            .iter()
            .all(|gateway| gateway.metric("seawall_bus_delivering") > 0.0 && alive(gateway) == 2.0)
    });
    talks.iter_mut().for_each(Talk::is_instant);
    let leases = || pair.cluster.masters[2].command(&["HLEN", "seawall:{460}:i"]);
    until(SOON, "both leases are at the third master", || leases() == Reply::Number(2));
    assert_eq!(one.metric("seawall_bus_messages_garbled_total"), 0.0);
}

#[test]
fn dead_master_takes_instant_delivery_from_its_channels_alone() {
    let mut pair = Pair::start();
    let (one, two) = (pair.gateway("gw-1"), pair.gateway("gw-2"));
    let mut talks = [0, 1, 2].map(|master: usize| Talk::on(&channel_at(master), &one, &two));
    talks.iter_mut().for_each(Talk::is_instant);
    pair.cluster.masters[2].kill9();
    let [first, second, dead] = &mut talks;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(6) {
        first.is_instant();
        second.is_instant();
        dead.exchange(BY_LOG);
    }
    until(SOON, "both say that a part fails", || is_degraded(&one) && is_degraded(&two));
    one.shows("seawall_bus_masters_delivering", 2.0);
    let mut late = Client::connect(&two);
    late.subscribe(&channel_at(2));
    dead.exchange(BY_LOG);
    assert_eq!(
        publication(&mut late, BY_LOG).0,
        dead.number,
        "a channel that is followed meanwhile is polled too"
    );
    until(SOON, "doctor counts the masters that fail", || {
        pair.doctor(&pair.cluster.url()).contains("1 of the 3 masters")
    });

    pair.cluster.masters[2].start_again();
    until(SOON * 2, "all masters deliver again", || {
        talks[2].exchange(BY_LOG);
        [&one, &two]
            .iter()
            .all(|gateway| gateway.metric("seawall_bus_delivering") > 0.0 && !is_degraded(gateway))
    });
    talks.iter_mut().for_each(Talk::is_instant);
}

#[test]
fn orders_pass_over_the_master_of_the_first_slot_wherever_it_is() {
    let pair = Pair::start();
    let gateways = ["gw-1", "gw-2"].map(|name| {
        let setup = with_api(pair.setup(name, &pair.cluster.url())).env("SEAWALL_AUTH_SECRET", SECRET);
        let gateway = setup.start();
        delivers(&gateway);
        gateway
    });
    until(SOON, "each knows the other", || gateways.iter().all(|gateway| alive(gateway) == 2.0));
    for turn in ["before the move", "after it"] {
        let mut answer = json!({});
        in_time(ORDER_BY_BUS, || {
            let mut ann = Client::open(&gateways[1]).with_connect(json!({"token": token_of("ann")}));
            let begun = Instant::now();
            answer = Backend::of(&gateways[0]).post("/v1/users/ann/disconnect", &json!({})).json();
            ann.expect_close().is(4410, "disconnected");
            // The answer does not wait longer than a second for the others.
            if answer["complete"] == true { begun.elapsed() } else { Duration::MAX }
        });
        assert_eq!(answer["complete"], json!(true), "{turn}: {answer}");
        if turn == "before the move" {
            pair.cluster.move_slot(first_slot(), 0, 1);
            until(SOON, "the link is replaced", || {
                match pair.cluster.masters[1].command(&["PUBSUB", "SHARDNUMSUB", "seawall:{460}:orders"]) {
                    Reply::List(parts) => parts.get(1) == Some(&Reply::Number(2)),
                    other => panic!("{other:?}"),
                }
            });
            gateways.iter().for_each(delivers);
        }
    }
}

#[test]
fn doctor_names_an_unreachable_cluster_and_an_address_of_the_wrong_kind() {
    let pair = Pair::start();
    let said = pair.doctor(&pair.cluster.url());
    assert!(!said.contains("DOWN") && said.contains("\nok       bus"), "{said}");
    for proxy in &pair.cluster.proxies {
        let said = pair.doctor(&format!("redis://{}", proxy.address()));
        assert!(said.contains("is a node of a Redis Cluster: write redis+cluster://"), "{said}");
    }
    let single = crate::servers::Redis::start();
    let said = pair.doctor(&format!("redis+cluster://{}", single.address()));
    assert!(said.contains("is a single Redis and no node of a cluster: write redis://"), "{said}");
    let said = pair.doctor("redis+cluster://127.0.0.1:1,127.0.0.1:2");
    assert!(said.contains("no node of 2 tells the slots of the cluster"), "{said}");
}
