//! The bus fails, each way: people are told, nobody is disconnected, everything arrives in order and once, and it comes back.

use crate::bus::rig::{Rig, delivers, publication};
use crate::support::Client;
use crate::support::wait::{SOON, until};
use seawall_fault::{Direction, Garble, Mode};
use serde_json::json;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// What clients are to hear of a fault.
enum Told {
    /// `degraded`, within this.
    Within(Duration),
    /// Nothing: it is over before it is an outage.
    Nothing,
}

/// A way in which a bus fails, and comes back.
struct Way {
    name: &'static str,
    fail: fn(&mut Rig),
    mend: fn(&mut Rig),
    told: Told,
    back: Duration,
}

/// Hard faults are met by the canaries at the latest; a silent one by two looks of two seconds, five seconds apart.
const HARD: Told = Told::Within(Duration::from_secs(4));
const SILENT: Told = Told::Within(Duration::from_secs(11));
/// While the bus does not deliver, the logs are looked at each second.
const BY_LOG: Duration = Duration::from_secs(4);
/// An outage that was the first for a minute is over two seconds after its cause; the rest is for a busy machine.
const RECOVERY: Duration = Duration::from_secs(8);
/// What comes and goes within a minute is believed later: at most 18 s.
const AFTER_FLAPS: Duration = Duration::from_secs(25);

const ENDINGS: [Way; 4] = [
    Way {
        name: "killed",
        fail: |rig| rig.redis.kill9(),
        mend: |rig| rig.redis.start_again(),
        told: HARD,
        back: RECOVERY,
    },
    Way {
        name: "refused",
        fail: |rig| {
            rig.proxy.set(Mode::Refuse);
            rig.proxy.cut();
        },
        mend: |rig| rig.proxy.set(Mode::Pass),
        told: HARD,
        back: RECOVERY,
    },
    Way {
        name: "reset",
        fail: |rig| rig.proxy.set(Mode::Reset),
        mend: |rig| rig.proxy.set(Mode::Pass),
        told: HARD,
        back: RECOVERY,
    },
    Way {
        name: "subscriptions ended once",
        fail: |rig| {
            assert!(rig.redis.end_subscriptions() > 0);
        },
        mend: |_| {},
        told: Told::Nothing,
        back: RECOVERY,
    },
];

const SILENCES: [Way; 3] = [
    Way {
        name: "frozen",
        fail: |rig| rig.redis.sigstop(),
        mend: |rig| rig.redis.sigcont(),
        told: SILENT,
        back: RECOVERY,
    },
    Way {
        name: "stalled",
        fail: |rig| rig.proxy.set(Mode::Stall),
        mend: |rig| rig.proxy.set(Mode::Pass),
        told: SILENT,
        back: RECOVERY,
    },
    Way {
        name: "half open",
        fail: |rig| rig.proxy.set(Mode::HalfOpen(Direction::Answers)),
        mend: |rig| rig.proxy.set(Mode::Pass),
        told: SILENT,
        back: RECOVERY,
    },
];

const LIES: [Way; 3] = [
    Way {
        name: "dead pub/sub behind a green PING",
        fail: |rig| rig.redis.deny_channels(),
        mend: |rig| rig.redis.allow_channels(),
        told: SILENT,
        back: RECOVERY,
    },
    Way {
        name: "garbled",
        fail: |rig| {
            rig.proxy.set(Mode::Garble(Garble { seed: 7, every: NonZeroU32::MIN.saturating_add(39) }))
        },
        mend: |rig| rig.proxy.set(Mode::Pass),
        told: SILENT,
        back: AFTER_FLAPS,
    },
    Way {
        name: "a replica",
        fail: |rig| rig.redis.read_only(),
        mend: |rig| rig.redis.read_write(),
        told: SILENT,
        back: RECOVERY,
    },
];

#[test]
fn a_bus_that_ends_is_made_up_for() {
    each(&ENDINGS);
}

#[test]
fn a_bus_that_falls_silent_is_made_up_for() {
    each(&SILENCES);
}

#[test]
fn a_bus_that_lies_is_made_up_for() {
    each(&LIES);
}

/// Gateways of its own for each way: an outage soon after another is over later, by design.
fn each(ways: &[Way]) {
    let mut rig = Rig::start();
    for way in ways {
        eprintln!("— {}", way.name);
        fails(&mut rig, way);
    }
}

fn fails(rig: &mut Rig, way: &Way) {
    let (one, two) = (rig.gateway("gw-1"), rig.gateway("gw-2"));
    let (mut publisher, mut subscriber) = (Client::connect(&one), Client::connect(&two));
    let channel = way.name.replace([' ', '/'], "-");
    subscriber.subscribe(&channel);
    let mut published = 0;
    let mut exchange = |publisher: &mut Client, subscriber: &mut Client, count: u64| {
        for _ in 0..count {
            published += 1;
            assert_eq!(publisher.publish(&channel, json!(published)), published, "{}", way.name);
        }
        for number in published - count + 1..=published {
            assert_eq!(publication(subscriber, BY_LOG), (number, json!(number)), "{}", way.name);
        }
    };
    exchange(&mut publisher, &mut subscriber, 2);
    (way.fail)(rig);
    let failed = Instant::now();
    match way.told {
        Told::Within(bound) => {
            for client in [&mut publisher, &mut subscriber] {
                let told = client.next_status("degraded", bound);
                assert_eq!(told["lost"], json!(["instant_delivery"]), "{}", way.name);
            }
        }
        Told::Nothing => {}
    }
    let (told, asked) = (failed.elapsed(), Instant::now());
    exchange(&mut publisher, &mut subscriber, 5);
    let arrived = asked.elapsed();
    // A newcomer is let in, hears how it stands, and gets what is there.
    let mut newcomer = Client::open(&two).with_connect(json!({}));
    newcomer.subscribe(&channel);
    exchange(&mut publisher, &mut subscriber, 1);
    assert_eq!(publication(&mut newcomer, BY_LOG).0, 8, "{}", way.name);
    (way.mend)(rig);
    let mended = Instant::now();
    match way.told {
        Told::Within(_) => {
            publisher.next_status("ok", way.back);
            subscriber.next_status("ok", way.back);
            let back = mended.elapsed();
            println!(
                "{}: told after {told:?}, five publications there after {arrived:?}, back after {back:?}",
                way.name
            );
        }
        Told::Nothing => {
            delivers(&two);
            // Longer than a blink may last, and than a first canary may take.
            assert_eq!(newcomer.next_push_within("status", Duration::from_secs(5)), None);
            for client in [&mut publisher, &mut subscriber] {
                client.expect_no("status");
            }
        }
    }
    let before = two.metric("seawall_bus_publications_total");
    until(SOON, "the bus delivers again", || {
        exchange(&mut publisher, &mut subscriber, 1);
        two.metric("seawall_bus_publications_total") > before
    });
}

#[test]
fn a_gateway_starts_without_its_bus_and_finds_it_later() {
    let mut rig = Rig::start();
    rig.redis.stop();
    let (one, two) = (rig.setup("gw-1").start(), rig.setup("gw-2").start());
    let (mut publisher, mut subscriber) = (Client::connect(&one), Client::connect(&two));
    subscriber.subscribe("c");
    publisher.publish("c", json!(1));
    assert_eq!(publication(&mut subscriber, BY_LOG), (1, json!(1)));
    rig.redis.start_again();
    delivers(&two);
    delivers(&one);
    publisher.publish("c", json!(2));
    assert_eq!(publication(&mut subscriber, BY_LOG), (2, json!(2)));
    until(SOON, "by the bus", || two.metric("seawall_bus_publications_total") > 0.0);
}

#[test]
fn a_thousand_channels_are_followed_again_after_the_bus_was_away() {
    let mut rig = Rig::start();
    let (one, two) = (rig.gateway("gw-1"), rig.gateway("gw-2"));
    let mut publisher = Client::connect(&one);
    let mut subscribers: Vec<Client> = (0..10).map(|_| Client::connect(&two)).collect();
    for (number, client) in subscribers.iter_mut().enumerate() {
        for channel in 0..100 {
            client.subscribe(&format!("c{}", number * 100 + channel));
        }
    }
    assert_eq!(two.metric("seawall_bus_channels"), 1_000.0);
    rig.redis.kill9();
    publisher.next_status("degraded", SOON);
    rig.redis.start_again();
    publisher.next_status("ok", RECOVERY);
    delivers(&two);
    let mut subscribed = 0;
    until(SOON, "all channels are subscribed to", || {
        subscribed = subscriptions(&rig);
        subscribed >= 1_000
    });
    assert_eq!(publisher.publish("c999", json!("last")), 1);
    assert_eq!(publication(&mut subscribers[9], BY_LOG), (1, json!("last")));
}

fn subscriptions(rig: &Rig) -> usize {
    match rig.redis.command(&["PUBSUB", "CHANNELS", "seawall:c:*"]) {
        crate::servers::Reply::List(names) => names.len(),
        other => panic!("{other:?}"),
    }
}

/// Every try is accepted and refused at once: without a pause that would be thousands of connections a second.
#[test]
fn a_bus_that_refuses_subscriptions_is_not_dialled_without_a_pause() {
    let rig = Rig::start();
    let gateway = rig.gateway("gw-1");
    let mut client = Client::connect(&gateway);
    rig.redis.deny_channels();
    client.next_status("degraded", SOON);
    let before = connections(&rig);
    assert_eq!(client.next_push_within("status", Duration::from_secs(3)), None);
    let made = connections(&rig) - before;
    // The listener two to three a second, the probe four, and the sender none.
    assert!((3..=40).contains(&made), "{made} connections in 3 s");
}

fn connections(rig: &Rig) -> u64 {
    let crate::servers::Reply::Text(info) = rig.redis.command(&["INFO", "stats"]) else {
        panic!("INFO is answered with a text");
    };
    let line = info.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
    line.and_then(|count| count.trim().parse().ok()).expect("a count")
}
