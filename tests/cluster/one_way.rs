//! One direction between an instance and its servers is cut in the kernel: packets are dropped, and no end is notified.
//!
//! Each instance reaches the servers at an address of loopback of its own, so that rules can tell the instances apart.

use crate::cluster::namespace::{Cuts, inside};
use crate::cluster::rig::{GONE, Rig, SLACK, becomes, cluster, is_alive, never, settled};
use crate::servers::{Postgres, Redis};
use crate::support::token::{SECRET, claims, token};
use crate::support::wait::{LATE, SOON, until};
use crate::support::{Client, Gateway};
use seawall_fault::Proxy;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;

/// Where the mute instance, whose requests are dropped, and the deaf one, whose answers are dropped, reach their servers.
const MUTE: &str = "127.0.0.2";
const DEAF: &str = "127.0.0.3";
/// How long the cut is watched after it is noticed.
const WATCHED: Duration = Duration::from_secs(3);
/// All is as before within this time after the end of a cut.
const HEALED: Duration = Duration::from_secs(6);
/// A publication reaches an instance without the bus within a second, and on a busy machine within this time.
const FROM_THE_LOG: Duration = Duration::from_secs(9);
/// All rosters are complete again within this time after the end of a cut: the bar, and the rest for a slow machine.
const COMPLETE: Duration = Duration::from_secs(25);

fn connect(gateway: &Gateway, user: &str) -> Client {
    let mut claims = claims(user);
    let rights = ["subscribe", "publish", "create", "present", "presence"];
    claims["channels"] = json!([{"pattern": "*", "rights": rights}]);
    Client::open(gateway).with_connect(json!({"token": token(&claims)}))
}

/// A user that is present in a channel and watches its roster.
struct Watcher {
    client: Client,
    /// The last frame, and the users that left.
    frame: Value,
    left: Vec<Value>,
}

impl Watcher {
    fn enter(gateway: &Gateway, user: &str) -> Watcher {
        let mut client = connect(gateway, user);
        client
            .ask(json!({"subscribe": {"channel": "room", "present": {}, "watch": "members"}}), "subscribed");
        Watcher { client, frame: Value::Null, left: Vec::new() }
    }

    fn look(&mut self) {
        while let Some(frame) = self.client.next_push_within("presence", Duration::ZERO) {
            self.left.extend(frame["left"].as_array().into_iter().flatten().cloned());
            self.frame = frame;
        }
    }

    fn knows_all(&mut self) -> bool {
        self.look();
        self.frame["complete"] == true && self.frame["users"] == 3
    }
}

/// Waits until each watcher knows all three, and checks that none was seen to leave.
#[track_caller]
fn all_are_known(watchers: &mut [Watcher; 3]) {
    for watcher in watchers {
        until(COMPLETE + SLACK, "all are known", || watcher.knows_all());
        assert_eq!(watcher.left, [Value::Null; 0], "no user left");
    }
}

struct Instances {
    rig: Rig,
    one: Gateway,
    mute: Gateway,
    deaf: Gateway,
}

impl Instances {
    fn start() -> Instances {
        let redis = Redis::start_with(&[("bind", "0.0.0.0")]);
        let proxy = Proxy::start(redis.address()).expect("the proxy starts");
        let store = Postgres::start_with(&[("listen_addresses", "*")]);
        let rig = Rig { store, redis, proxy };
        let start = |name: &str, address: &str| {
            let at =
                |server: SocketAddr| SocketAddr::new(address.parse().expect("an address"), server.port());
            let setup = rig.setup(name).env("SEAWALL_AUTH_SECRET", SECRET).limit("ping_ms", 60_000);
            let setup = setup.env("SEAWALL_BUS_URL", &rig.redis.url_through(at(rig.redis.address())));
            setup.env("SEAWALL_STORE_URL", &rig.store.url_through(at(rig.store.address()))).start()
        };
        let (one, mute, deaf) = (start("one", "127.0.0.1"), start("mute", MUTE), start("deaf", DEAF));
        settled(&[&one, &mute, &deaf]);
        Instances { rig, one, mute, deaf }
    }

    fn cut(&self, cuts: &Cuts, server: SocketAddr) {
        cuts.requests(MUTE, server.port());
        cuts.answers(DEAF, server.port());
    }

    /// Waits until all see all others alive.
    #[track_caller]
    fn heal(&self, cuts: &Cuts) {
        cuts.heal();
        for name in ["mute", "deaf"] {
            let took = becomes(&self.one, name, "alive", HEALED);
            println!("{name} is alive {took:?} after the end of the cut");
        }
        settled(&[&self.one, &self.mute, &self.deaf]);
    }
}

/// Publishes at one gateway until a subscriber at another has got one of the publications.
#[track_caller]
fn delivers(from: &Gateway, to: &Gateway, channel: &str) {
    let mut subscriber = connect(to, "reader");
    subscriber.subscribe(channel);
    connect(from, "author").publish(channel, json!(1));
    let came = subscriber.next_push_within("publication", FROM_THE_LOG);
    assert!(came.is_some(), "{LATE}: {channel} is not delivered");
}

/// The servers that are cut off: what the others see, and what the instances themselves see.
fn redis_cut(instances: &Instances, cuts: &Cuts) {
    let Instances { rig, one, mute, deaf } = instances;
    instances.cut(cuts, rig.redis.address());
    for (name, gateway) in [("mute", mute), ("deaf", deaf)] {
        becomes(one, name, "isolated", GONE);
        until(SOON, "it knows that it is cut off", || cluster(gateway)["redis"]["up"] == false);
        is_alive(gateway, "one", "its row shows it");
        delivers(one, gateway, &format!("to-{name}"));
        delivers(gateway, one, &format!("from-{name}"));
    }
    until(SOON, "loads are not known", || cluster(one)["complete"] == false);
    for name in ["mute", "deaf"] {
        never(one, name, &["gone", "left", ""], WATCHED);
    }
    instances.heal(cuts);
}

fn store_is_up(gateway: &Gateway) -> bool {
    gateway.metrics()[r#"seawall_dependency_up{dependency="store"}"#] > 0.0
}

fn store_cut(instances: &Instances, cuts: &Cuts) {
    let Instances { rig, one, mute, deaf } = instances;
    instances.cut(cuts, rig.store.address());
    for (name, gateway) in [("mute", mute), ("deaf", deaf)] {
        until(SOON + SOON, "it knows that it is cut off", || !store_is_up(gateway));
        never(one, name, &["gone", "isolated", "left", ""], WATCHED);
        is_alive(gateway, "one", "its lease shows it");
    }
    instances.heal(cuts);
}

/// An instance that reaches neither server looks like a dead one to the others, and judges no other itself.
fn both_cut(instances: &Instances, cuts: &Cuts) {
    let Instances { rig, one, mute, deaf } = instances;
    instances.cut(cuts, rig.redis.address());
    instances.cut(cuts, rig.store.address());
    for (name, gateway) in [("mute", mute), ("deaf", deaf)] {
        becomes(one, name, "gone", GONE + SLACK);
        never(gateway, "one", &["gone", "isolated", "left", ""], WATCHED);
    }
    instances.heal(cuts);
}

#[test]
fn instance_cut_off_in_one_direction_is_isolated_and_heals() {
    inside(|| {
        let (instances, cuts) = (Instances::start(), Cuts::none());
        let Instances { one, mute, deaf, .. } = &instances;
        let mut watchers =
            [(one, "ann"), (mute, "bob"), (deaf, "cid")].map(|(at, user)| Watcher::enter(at, user));
        all_are_known(&mut watchers);
        redis_cut(&instances, &cuts);
        all_are_known(&mut watchers);
        store_cut(&instances, &cuts);
        all_are_known(&mut watchers);
        both_cut(&instances, &cuts);
    });
}
