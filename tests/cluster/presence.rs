//! Presence across instances: what watchers at each of them see of users at all of them.

use crate::cluster::rig::{GONE, Rig, SLACK, cluster, settled};
use crate::servers::Watched;
use crate::support::token::{SECRET, claims, token};
use crate::support::wait::{LATE, SOON, until};
use crate::support::{Client, Gateway, Operator, Setup};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const ALL: [&str; 5] = ["subscribe", "publish", "create", "present", "presence"];
const GRACE: Duration = Duration::from_secs(10);
/// Members of a killed instance are gone everywhere within this time, and an additional [`SLACK`].
const GHOSTS_GONE: Duration = Duration::from_secs(16);
/// Kills in a row; `SEAWALL_TEST_KILLS` sets another number.
const KILLS: u32 = 2;
/// After a fault of Redis, rosters are complete again within this time.
const COMPLETE: Duration = Duration::from_secs(10);

/// A gateway with users. Clients that read nothing answer no ping.
fn setup(rig: &Rig, name: &str) -> Setup {
    rig.setup(name).env("SEAWALL_AUTH_SECRET", SECRET).limit("ping_ms", 3_600_000).unlimited()
}

fn start<const N: usize>(rig: &Rig, names: [&str; N]) -> [Gateway; N] {
    let gateways = names.map(|name| setup(rig, name).start());
    settled(&gateways.iter().collect::<Vec<_>>());
    gateways
}

fn connect(gateway: &Gateway, user: &str) -> Client {
    let mut claims = claims(user);
    claims["channels"] = json!([{"pattern": "*", "rights": ALL}]);
    claims["info"] = json!({"name": user.to_uppercase()});
    Client::open(gateway).with_connect(json!({"token": token(&claims)}))
}

fn present(gateway: &Gateway, user: &str) -> Client {
    let mut client = connect(gateway, user);
    client.ask(json!({"subscribe": {"channel": "c", "present": {"state": "active"}}}), "subscribed");
    client
}

/// A watcher, and the roster as it was sent it.
struct Watcher {
    client: Client,
    /// Users with their connections.
    members: BTreeMap<String, u64>,
    is_complete: bool,
    joins: BTreeMap<String, u32>,
    leaves: BTreeMap<String, u32>,
    /// Frames with a difference.
    changes: Vec<Value>,
}

fn entries(list: &Value) -> impl Iterator<Item = (String, u64)> {
    list.as_array().into_iter().flatten().map(|member| {
        let user = member["user"].as_str().expect("a user").to_owned();
        (user, member["connections"].as_u64().expect("a number"))
    })
}

impl Watcher {
    fn of(gateway: &Gateway) -> Watcher {
        let mut watcher = Watcher::begin(gateway);
        watcher.until(SOON, "its first snapshot is complete", |watcher| watcher.is_complete);
        watcher
    }

    fn begin(gateway: &Gateway) -> Watcher {
        let mut client = connect(gateway, "watcher");
        client.ask(json!({"subscribe": {"channel": "c", "watch": "members"}}), "subscribed");
        let (members, joins, leaves) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Watcher { client, members, is_complete: false, joins, leaves, changes: Vec::new() }
    }

    /// Takes the frames that have come, waiting for the first one up to this long.
    fn look(&mut self, within: Duration) {
        let mut rest = within;
        while let Some(push) = self.client.next_push_within("presence", rest) {
            self.take(&push);
            rest = Duration::from_millis(1);
        }
    }

    fn take(&mut self, push: &Value) {
        if push["members"].is_array() {
            self.members = entries(&push["members"]).collect();
        }
        for (user, connections) in entries(&push["joined"]) {
            assert!(self.members.insert(user.clone(), connections).is_none(), "{user} joined twice");
            *self.joins.entry(user).or_default() += 1;
        }
        for (user, connections) in entries(&push["changed"]) {
            self.members.insert(user, connections);
        }
        for user in push["left"].as_array().into_iter().flatten() {
            let user = user.as_str().expect("a user");
            assert!(self.members.remove(user).is_some(), "{user} left twice");
            *self.leaves.entry(user.to_owned()).or_default() += 1;
        }
        if ["joined", "changed", "left"].iter().any(|name| push.get(name).is_some()) {
            self.changes.push(push.clone());
        }
        self.is_complete = push["complete"] == true;
        assert_eq!(push["users"], self.members.len(), "{push}");
    }

    #[track_caller]
    fn until(&mut self, within: Duration, what: &str, mut is_so: impl FnMut(&Watcher) -> bool) {
        let deadline = Instant::now() + within;
        while !is_so(self) {
            assert!(Instant::now() < deadline, "{LATE}: {what}: {:?}", self.members);
            self.look(Duration::from_millis(50));
        }
    }

    fn users(&self) -> BTreeSet<String> {
        self.members.keys().cloned().collect()
    }
}

fn names(range: std::ops::Range<u32>) -> BTreeSet<String> {
    range.map(|number| format!("u{number}")).collect()
}

fn page(gateway: &Gateway) -> Value {
    Operator::of(gateway).get("/channels/c/presence").json()
}

#[test]
fn join_and_leave_are_seen_at_the_other_instances() {
    let rig = Rig::start();
    let gateways = start(&rig, ["gw-1", "gw-2", "gw-3"]);
    let mut watchers: Vec<Watcher> = gateways.iter().map(Watcher::of).collect();
    let mut ann = present(&gateways[0], "ann");
    for watcher in &mut watchers {
        watcher.until(SOON, "ann is seen", |watcher| watcher.members.contains_key("ann"));
        assert_eq!(watcher.changes[0]["joined"][0]["info"], json!({"name": "ANN"}));
        assert_eq!(watcher.changes[0]["joined"][0]["state"], "active");
    }
    ann.ask(json!({"present": {"channel": "c", "state": "away"}}), "present");
    for watcher in &mut watchers {
        watcher.until(SOON, "her state is seen", |watcher| {
            watcher.changes.iter().any(|change| change["changed"][0]["state"] == "away")
        });
    }
    // Pages are of the whole service, at instances with and without watchers.
    for gateway in &gateways {
        until(SOON, "the page is complete", || {
            let page = page(gateway);
            page["complete"] == true && page["users"] == 1 && page.get("missing").is_none()
        });
    }
    ann.close();
    for watcher in &mut watchers {
        watcher.until(SOON, "she left", |watcher| watcher.members.is_empty());
        assert_eq!((watcher.joins["ann"], watcher.leaves["ann"]), (1, 1));
    }
}

#[test]
fn user_on_three_devices_at_two_instances_joins_once_and_leaves_once() {
    let rig = Rig::start();
    let [one, two, three] = start(&rig, ["gw-1", "gw-2", "gw-3"]);
    let mut watchers = [Watcher::of(&one), Watcher::of(&two), Watcher::of(&three)];
    let mut devices = [present(&one, "ann"), present(&one, "ann"), present(&two, "ann")];
    for watcher in &mut watchers {
        watcher.until(SOON + SOON, "three connections", |watcher| watcher.members.get("ann") == Some(&3));
    }
    devices.iter_mut().for_each(Client::close);
    for watcher in &mut watchers {
        watcher.until(SOON, "she left", |watcher| watcher.members.is_empty());
        assert_eq!((watcher.joins["ann"], watcher.leaves["ann"]), (1, 1), "{:?}", watcher.changes);
    }
}

#[test]
fn members_of_a_killed_instance_leave_each_watcher_once() {
    let rig = Rig::start();
    let [one, two, mut three] = start(&rig, ["gw-1", "gw-2", "gw-3"]);
    let mut watchers = [Watcher::of(&one), Watcher::of(&two)];
    let _stay: Vec<Client> = (0..10).map(|number| present(&one, &format!("u{number}"))).collect();
    let kills =
        std::env::var("SEAWALL_TEST_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    for kill in 1..=kills {
        let _die: Vec<Client> = (10..40).map(|number| present(&three, &format!("u{number}"))).collect();
        for watcher in &mut watchers {
            watcher.until(SOON, "all are seen", |watcher| watcher.users() == names(0..40));
        }
        let killed = Instant::now();
        let setup = three.kill9();
        for watcher in &mut watchers {
            watcher.until(GHOSTS_GONE + SLACK, "they left", |watcher| watcher.users() == names(0..10));
            let gone = killed.elapsed();
            println!("kill {kill}: gone after {gone:?}");
            assert!(gone >= GRACE, "not before the grace: {gone:?}");
            assert!(watcher.leaves.values().all(|leaves| *leaves == kill), "{:?}", watcher.leaves);
            assert_eq!(watcher.leaves.len(), 30);
            assert!(watcher.is_complete);
        }
        three = setup.start();
        settled(&[&one, &two, &three]);
    }
}

#[test]
fn clients_of_a_killed_instance_that_return_within_the_grace_are_not_seen_to_leave() {
    let rig = Rig::start();
    let [one, two, three] = start(&rig, ["gw-1", "gw-2", "gw-3"]);
    let mut watchers = [Watcher::of(&one), Watcher::of(&two)];
    let die: Vec<Client> = (0..30).map(|number| present(&three, &format!("u{number}"))).collect();
    for watcher in &mut watchers {
        watcher.until(SOON, "all are seen", |watcher| watcher.users() == names(0..30));
        watcher.changes.clear();
    }
    let killed = Instant::now();
    drop((three.kill9(), die));
    let _back: Vec<Client> = (0..30)
        .map(|number| present(if number % 2 == 0 { &one } else { &two }, &format!("u{number}")))
        .collect();
    assert!(killed.elapsed() < GRACE, "{LATE}: back within the grace");
    let until = killed + GONE + GRACE + Duration::from_secs(3);
    see_no_change(&mut watchers, until, &names(0..30));
}

/// Checks that the watchers see no change until this time, and these users at the end.
fn see_no_change(watchers: &mut [Watcher], until: Instant, users: &BTreeSet<String>) {
    for watcher in watchers {
        while Instant::now() < until {
            watcher.look(Duration::from_millis(500));
        }
        watcher.look(Duration::from_millis(1));
        assert_eq!(watcher.changes, Vec::<Value>::new(), "no push");
        assert_eq!(watcher.users(), *users);
    }
}

#[test]
fn members_that_move_off_a_draining_instance_are_not_seen_to_leave() {
    let rig = Rig::start();
    let [one, two] = start(&rig, ["gw-1", "gw-2"]);
    let mut three =
        setup(&rig, "gw-3").drain("accept", 500).drain("close", 20_000).drain("exit", 25_000).start();
    settled(&[&one, &two, &three]);
    let mut watchers = [Watcher::of(&one), Watcher::of(&two)];
    let mut moving: Vec<Client> = (0..12).map(|number| present(&three, &format!("u{number}"))).collect();
    for watcher in &mut watchers {
        watcher.until(SOON, "all are seen", |watcher| watcher.users() == names(0..12));
        watcher.changes.clear();
    }
    three.signal(Signal::TERM);
    let mut moved = Vec::new();
    for (number, client) in moving.iter_mut().enumerate() {
        client.next_push("drain");
        // The other connection is there before this one ends.
        moved.push(present(if number % 2 == 0 { &one } else { &two }, &format!("u{number}")));
        client.close();
    }
    assert_eq!(three.ends_within(SOON * 4), Some(0));
    see_no_change(&mut watchers, Instant::now() + GRACE + Duration::from_secs(3), &names(0..12));
}

/// Does something to Redis and has users come and go meanwhile, and checks that no other user is seen to leave.
fn redis_fault(gateways: &[Gateway; 3], fault: impl FnOnce(&mut dyn FnMut())) {
    let mut watchers: Vec<Watcher> = gateways.iter().map(Watcher::of).collect();
    let mut stay: Vec<Client> =
        (0..30).map(|number| present(&gateways[number % 3], &format!("u{number}"))).collect();
    for watcher in &mut watchers {
        watcher.until(SOON, "all are seen", |watcher| watcher.users() == names(0..30));
    }
    fault(&mut || {
        stay.extend((30..36).map(|number| present(&gateways[number % 3], &format!("u{number}"))));
        stay.drain(0..3).for_each(|mut client| client.close());
    });
    let healed = Instant::now();
    for (watcher, gateway) in watchers.iter_mut().zip(gateways) {
        let wanted = names(3..36);
        until(COMPLETE + SLACK, "the roster is complete and true", || {
            watcher.look(Duration::from_millis(50));
            let page = page(gateway);
            watcher.is_complete && page["complete"] == true && watcher.users() == wanted
        });
        let left: BTreeSet<&str> = watcher.leaves.keys().map(String::as_str).collect();
        assert_eq!(left, BTreeSet::from(["u0", "u1", "u2"]), "no other left");
    }
    println!("complete and true after {:?}", healed.elapsed());
}

#[test]
fn emptied_redis_makes_no_user_leave() {
    let rig = Rig::start();
    let gateways = start(&rig, ["gw-1", "gw-2", "gw-3"]);
    redis_fault(&gateways, |come_and_go| {
        assert!(rig.redis.command(&["FLUSHALL"]).is_ok());
        come_and_go();
    });
}

#[test]
fn restart_of_redis_makes_no_user_leave() {
    let mut rig = Rig::start();
    let gateways = start(&rig, ["gw-1", "gw-2", "gw-3"]);
    redis_fault(&gateways, |come_and_go| {
        rig.redis.stop();
        rig.redis.start_again();
        come_and_go();
    });
}

#[test]
fn failover_to_a_replica_that_lacks_writes_makes_no_user_leave() {
    let (rig, mut watched) = (Rig::start(), Watched::start());
    let gateways =
        ["gw-1", "gw-2", "gw-3"].map(|name| setup(&rig, name).env("SEAWALL_BUS_URL", &watched.url()).start());
    settled(&gateways.iter().collect::<Vec<_>>());
    redis_fault(&gateways, |come_and_go| {
        // The replica loses its master, which has no password, and cannot come back with one.
        let [master, replica] = &mut watched.servers;
        assert!(replica.command(&["CONFIG", "SET", "masterauth", "none"]).is_ok());
        master.command(&["CLIENT", "KILL", "TYPE", "replica"]);
        come_and_go();
        until(SOON, "joins and leaves are written to the master", || {
            gateways.iter().all(|gateway| page(gateway)["users"] == 33)
        });
        master.kill9();
        let port = replica.address().port();
        until(SOON * 6, "the replica is promoted", || {
            watched.sentinels.iter().all(|sentinel| sentinel.master_port() == Some(port))
        });
    });
    for gateway in &gateways {
        let report = cluster(gateway);
        assert_eq!(report["redis"]["kind"], "sentinel", "{report}");
        until(SOON, "it knows that writes are lost", || {
            cluster(gateway)["registry"]["doubts"].as_u64() >= Some(1)
        });
    }
}

#[test]
fn roster_first_watched_without_redis_is_complete_once_redis_is_back() {
    let mut rig = Rig::start();
    let gateways = start(&rig, ["gw-1", "gw-2"]);
    let _ann = present(&gateways[0], "ann");
    rig.redis.stop();
    let mut watcher = Watcher::begin(&gateways[1]);
    // Its topic is asked for while there is no connection.
    let push = watcher.client.next_push("presence");
    assert_eq!(push["complete"], false, "{push}");
    watcher.take(&push);
    rig.redis.start_again();
    watcher.until(COMPLETE + SLACK, "the roster is complete", |watcher| {
        watcher.is_complete && watcher.members.contains_key("ann")
    });
}
