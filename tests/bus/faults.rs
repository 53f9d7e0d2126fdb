//! Faults of the bus: clients are notified and stay connected, every publication arrives once, in order, and the bus
//! recovers.

use crate::bus::rig::{Rig, delivers, publication};
use crate::support::Client;
use crate::support::wait::{LATE, SOON, until};
use seawall_fault::{Direction, Garble, Mode};
use serde_json::json;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// The status that clients get during a fault.
enum Notice {
    /// `degraded`, within this time.
    Within(Duration),
    /// None, because the fault ends before it counts as an outage.
    Nothing,
}

/// One way for the bus to fail, and how to repair it.
struct Way {
    name: &'static str,
    fail: fn(&mut Rig),
    repair: fn(&mut Rig),
    notice: Notice,
    back: Duration,
}

/// Canaries find a hard fault; a silent one takes two probes of two seconds, five seconds apart.
const HARD: Notice = Notice::Within(Duration::from_secs(4 + 8));
const SILENT: Notice = Notice::Within(Duration::from_secs(11 + 9));
/// While the bus does not deliver, the logs are polled each second, otherwise every ten. The rest is for a busy machine.
const BY_LOG: Duration = Duration::from_secs(9);
/// The first outage in a minute ends two seconds after its cause; the rest is for a busy machine.
const RECOVERY: Duration = Duration::from_secs(25);
/// A fault that recurs within a minute is damped: recovery takes up to 18 s. The rest is for a busy machine.
const AFTER_FLAPS: Duration = Duration::from_secs(50);

const ENDINGS: [Way; 4] = [
    Way {
        name: "killed",
        fail: |rig| rig.redis.kill9(),
        repair: |rig| rig.redis.start_again(),
        notice: HARD,
        back: RECOVERY,
    },
    Way {
        name: "refused",
        fail: |rig| {
            rig.proxy.set(Mode::Refuse);
            rig.proxy.cut();
        },
        repair: |rig| rig.proxy.set(Mode::Pass),
        notice: HARD,
        back: RECOVERY,
    },
    Way {
        name: "reset",
        fail: |rig| rig.proxy.set(Mode::Reset),
        repair: |rig| rig.proxy.set(Mode::Pass),
        notice: HARD,
        back: RECOVERY,
    },
    Way {
        name: "subscriptions ended once",
        fail: |rig| {
            assert!(rig.redis.end_subscriptions() > 0);
        },
        repair: |_| {},
        notice: Notice::Nothing,
        back: RECOVERY,
    },
];

const SILENCES: [Way; 3] = [
    Way {
        name: "frozen",
        fail: |rig| rig.redis.sigstop(),
        repair: |rig| rig.redis.sigcont(),
        notice: SILENT,
        back: RECOVERY,
    },
    Way {
        name: "stalled",
        fail: |rig| rig.proxy.set(Mode::Stall),
        repair: |rig| rig.proxy.set(Mode::Pass),
        notice: SILENT,
        back: RECOVERY,
    },
    Way {
        name: "half open",
        fail: |rig| rig.proxy.set(Mode::HalfOpen(Direction::Answers)),
        repair: |rig| rig.proxy.set(Mode::Pass),
        notice: SILENT,
        back: RECOVERY,
    },
];

const LIES: [Way; 3] = [
    Way {
        name: "dead pub/sub behind a green PING",
        fail: |rig| rig.redis.deny_channels(),
        repair: |rig| rig.redis.allow_channels(),
        notice: SILENT,
        back: RECOVERY,
    },
    Way {
        name: "garbled",
        fail: |rig| {
            rig.proxy.set(Mode::Garble(Garble { seed: 7, every: NonZeroU32::MIN.saturating_add(39) }))
        },
        repair: |rig| rig.proxy.set(Mode::Pass),
        notice: SILENT,
        back: AFTER_FLAPS,
    },
    Way {
        name: "a replica",
        fail: |rig| rig.redis.read_only(),
        repair: |rig| rig.redis.read_write(),
        notice: SILENT,
        back: RECOVERY,
    },
];

#[test]
fn publications_arrive_when_the_bus_connection_ends() {
    each(&ENDINGS);
}

#[test]
fn publications_arrive_when_the_bus_falls_silent() {
    each(&SILENCES);
}

#[test]
fn publications_arrive_when_the_bus_misbehaves_while_it_answers() {
    each(&LIES);
}

/// Starts new gateways for each way, because an outage soon after another ends later, by design.
fn each(ways: &[Way]) {
    let mut rig = Rig::start();
    for way in ways {
        eprintln!("— {}", way.name);
        fails(&mut rig, way);
    }
}

fn fails(rig: &mut Rig, way: &Way) {
    let (one, two) = (rig.delivering("gw-1"), rig.delivering("gw-2"));
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
    match way.notice {
        Notice::Within(bound) => {
            for client in [&mut publisher, &mut subscriber] {
                let status = client.next_status("degraded", bound);
                assert_eq!(status["lost"], json!(["instant_delivery"]), "{}", way.name);
            }
        }
        Notice::Nothing => {}
    }
    let (notified, asked) = (failed.elapsed(), Instant::now());
    exchange(&mut publisher, &mut subscriber, 5);
    let arrived = asked.elapsed();
    // A newcomer is admitted, gets the status, and gets the publications.
    let mut newcomer = Client::open(&two).with_connect(json!({}));
    newcomer.subscribe(&channel);
    exchange(&mut publisher, &mut subscriber, 1);
    assert_eq!(publication(&mut newcomer, BY_LOG).0, 8, "{}", way.name);
    (way.repair)(rig);
    let repaired = Instant::now();
    match way.notice {
        Notice::Within(_) => {
            publisher.next_status("ok", way.back);
            subscriber.next_status("ok", way.back);
            let back = repaired.elapsed();
            println!(
                "{}: notified after {notified:?}, five publications there after {arrived:?}, back after {back:?}",
                way.name
            );
        }
        Notice::Nothing => {
            delivers(&two);
            // Longer than a short fault may last, and than the first canary may take.
            let status = newcomer.next_push_within("status", Duration::from_secs(5));
            assert_eq!(status, None, "{LATE}: the end of the short fault");
            for client in [&mut publisher, &mut subscriber] {
                assert_eq!(client.find("status"), None, "{LATE}: the end of the short fault");
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
fn gateway_starts_without_its_bus_and_connects_later() {
    let mut rig = Rig::start();
    rig.redis.stop();
    let (one, two) = (rig.proxied("gw-1").start(), rig.proxied("gw-2").start());
    let (mut publisher, mut subscriber) = (Client::connect(&one), Client::connect(&two));
    subscriber.subscribe("c");
    publisher.publish("c", json!(1));
    assert_eq!(publication(&mut subscriber, BY_LOG), (1, json!(1)));
    rig.redis.start_again();
    delivers(&two);
    delivers(&one);
    publisher.publish("c", json!(2));
    assert_eq!(publication(&mut subscriber, BY_LOG), (2, json!(2)));
    until(SOON, "publications arrive by the bus", || two.metric("seawall_bus_publications_total") > 0.0);
}

#[test]
fn thousand_channels_are_followed_again_after_a_bus_outage() {
    let mut rig = Rig::start();
    let (one, two) = (rig.delivering("gw-1"), rig.delivering("gw-2"));
    let mut publisher = Client::connect(&one);
    let mut subscribers: Vec<Client> = (0..10).map(|_| Client::connect(&two)).collect();
    for (number, client) in subscribers.iter_mut().enumerate() {
        for channel in 0..100 {
            client.subscribe(&format!("c{}", number * 100 + channel));
        }
    }
    two.shows("seawall_bus_channels", 1_000.0);
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

/// Every attempt is accepted and refused at once: without a pause that would be thousands of connections a second.
#[test]
fn bus_that_refuses_subscriptions_is_retried_with_a_pause() {
    let rig = Rig::start();
    let gateway = rig.delivering("gw-1");
    let mut client = Client::connect(&gateway);
    rig.redis.deny_channels();
    client.next_status("degraded", SOON);
    let (before, begun) = (connections(&rig), Instant::now());
    let status = client.next_push_within("status", Duration::from_secs(3));
    assert!(status.as_ref().is_none_or(|status| status["level"] != "ok"), "{status:?}");
    let (made, seconds) = (connections(&rig) - before, begun.elapsed().as_secs_f64());
    // The receiver makes two to three a second, the probe four, the sender none, and the last look is one.
    assert!(made > 1 && made as f64 <= 13.0 * seconds, "{made} connections in {seconds} s");
}

fn connections(rig: &Rig) -> u64 {
    let crate::servers::Reply::Text(info) = rig.redis.command(&["INFO", "stats"]) else {
        panic!("INFO is answered with a text");
    };
    let line = info.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
    line.and_then(|count| count.trim().parse().ok()).expect("a count")
}
