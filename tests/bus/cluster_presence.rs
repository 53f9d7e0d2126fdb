//! Rosters over a Redis Cluster: all instances see the members of all channels, while slots move and a master is dead.

use crate::bus::cluster::{Pair, alive, channel_at, slot_of};
use crate::bus::rig::delivers;
use crate::support::token::{SECRET, claims, token};
use crate::support::wait::{LATE, SOON, until};
use crate::support::{Client, Gateway};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A change arrives by a message; without one, a roster is read every ten seconds, or every second while messages are lost.
pub const BY_MESSAGE: Duration = Duration::from_secs(6);
/// Rosters are complete again within this time after a master is back, on a busy machine.
const COMPLETE: Duration = Duration::from_secs(40);

fn gateways<const N: usize>(pair: &Pair, names: [&str; N]) -> [Gateway; N] {
    let gateways = names.map(|name| {
        pair.setup(name, &pair.cluster.url()).with_admin().env("SEAWALL_AUTH_SECRET", SECRET).start()
    });
    gateways.iter().for_each(delivers);
    until(SOON, "each knows the others", || gateways.iter().all(|gateway| alive(gateway) == N as f64));
    gateways
}

fn connect(gateway: &Gateway, user: &str) -> Client {
    let mut claims = claims(user);
    let rights = ["subscribe", "publish", "create", "present", "presence"];
    claims["channels"] = json!([{"pattern": "*", "rights": rights}]);
    Client::open(gateway).with_connect(json!({"token": token(&claims)}))
}

pub fn enter(gateway: &Gateway, user: &str, channel: &str) -> Client {
    let mut client = connect(gateway, user);
    client.ask(json!({"subscribe": {"channel": channel, "present": {"state": "active"}}}), "subscribed");
    client
}

/// A watcher of one channel, and the roster as it was sent it.
pub struct Watcher {
    client: Client,
    pub channel: String,
    pub users: BTreeSet<String>,
    joins: BTreeMap<String, u32>,
    pub leaves: BTreeMap<String, u32>,
    pub is_complete: bool,
    /// It was incomplete since this was cleared.
    pub was_incomplete: bool,
}

impl Watcher {
    pub fn of(gateway: &Gateway, channel: &str) -> Watcher {
        let mut client = connect(gateway, "watcher");
        client.ask(json!({"subscribe": {"channel": channel, "watch": "members"}}), "subscribed");
        let (users, joins, leaves) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        let channel = channel.to_owned();
        let (is_complete, was_incomplete) = (false, false);
        let mut watcher = Watcher { client, channel, users, joins, leaves, is_complete, was_incomplete };
        watcher.until(SOON * 2, "its roster is complete", |watcher| watcher.is_complete);
        watcher.was_incomplete = false;
        watcher
    }

    pub fn look(&mut self, within: Duration) {
        let mut rest = within;
        while let Some(push) = self.client.next_push_within("presence", rest) {
            self.take(&push);
            rest = Duration::from_millis(1);
        }
    }

    fn take(&mut self, push: &Value) {
        let name = |value: &Value| value["user"].as_str().or(value.as_str()).expect("a user").to_owned();
        let names = |list: &Value| list.as_array().into_iter().flatten().map(name).collect::<Vec<_>>();
        if push["members"].is_array() {
            self.users = names(&push["members"]).into_iter().collect();
        }
        for user in names(&push["joined"]) {
            self.users.insert(user.clone());
            *self.joins.entry(user).or_default() += 1;
        }
        for user in names(&push["left"]) {
            self.users.remove(&user);
            *self.leaves.entry(user).or_default() += 1;
        }
        self.is_complete = push["complete"] == true;
        self.was_incomplete |= !self.is_complete;
    }

    #[track_caller]
    pub fn until(&mut self, within: Duration, what: &str, mut is_so: impl FnMut(&Watcher) -> bool) {
        let deadline = Instant::now() + within;
        while !is_so(self) {
            let (channel, users, complete) = (&self.channel, &self.users, self.is_complete);
            assert!(Instant::now() < deadline, "{LATE}: {channel}: {what}: {users:?} {complete}");
            self.look(Duration::from_millis(50));
        }
    }

    #[track_caller]
    pub fn sees(&mut self, user: &str, within: Duration) {
        self.until(within, user, |watcher| watcher.users.contains(user));
    }
}

#[test]
fn members_are_seen_over_each_master_and_after_a_slot_moved() {
    let pair = Pair::start();
    let gateways = gateways(&pair, ["gw-1", "gw-2", "gw-3"]);
    let channels = [0, 1, 2].map(channel_at);
    let mut watchers: Vec<Watcher> =
        (0..9).map(|n| Watcher::of(&gateways[n / 3], &channels[n % 3])).collect();
    let mut members = Vec::new();
    for (number, user) in ["ann", "bob", "cid"].into_iter().enumerate() {
        members.extend(channels.iter().map(|channel| enter(&gateways[number], user, channel)));
        watchers.iter_mut().for_each(|watcher| watcher.sees(user, BY_MESSAGE));
    }
    // No other master hears of it.
    let tag = seawall::wire::slot::Partition::of(&channels[0]).tag();
    let topic = format!("seawall:{{{tag}}}:p:{}", channels[0]);
    let heard = |master: usize| {
        format!("{:?}", pair.cluster.masters[master].command(&["PUBSUB", "SHARDNUMSUB", &topic]))
    };
    assert!(heard(0).contains("Number(3)") && heard(1).contains("Number(0)"), "{} {}", heard(0), heard(1));

    pair.cluster.move_slot(slot_of(&channels[0]), 0, 2);
    members.push(enter(&gateways[1], "dan", &channels[0]));
    let moved = |watcher: &&mut Watcher| watcher.channel == channels[0];
    watchers.iter_mut().filter(moved).for_each(|watcher| watcher.sees("dan", SOON));
    for watcher in watchers.iter_mut().filter(moved) {
        watcher.until(COMPLETE, "it is complete again", |watcher| watcher.is_complete);
    }
    until(SOON, "it is followed at the other master", || heard(2).contains("Number(3)"));
    members.push(enter(&gateways[2], "eve", &channels[0]));
    watchers.iter_mut().filter(moved).for_each(|watcher| watcher.sees("eve", BY_MESSAGE));
    members.iter_mut().for_each(Client::close);
    for watcher in &mut watchers {
        watcher.until(SOON, "all left", |watcher| watcher.users.is_empty());
        assert!(watcher.leaves.values().all(|leaves| *leaves == 1), "{:?}", watcher.leaves);
        assert_eq!(watcher.leaves.keys().collect::<Vec<_>>(), watcher.joins.keys().collect::<Vec<_>>());
    }
}

#[test]
fn dead_master_makes_its_rosters_alone_incomplete_and_no_member_leaves() {
    let mut pair = Pair::start();
    let [one, two] = gateways(&pair, ["gw-1", "gw-2"]);
    let channels = [0, 1, 2].map(channel_at);
    let mut members: Vec<Client> = Vec::new();
    for channel in &channels {
        members.extend((0..5).map(|n| enter(&one, &format!("u{n}"), channel)));
        members.extend((5..8).map(|n| enter(&two, &format!("u{n}"), channel)));
    }
    let mut watchers: Vec<Watcher> =
        (0..6).map(|n| Watcher::of([&one, &two][n / 3], &channels[n % 3])).collect();
    for watcher in &mut watchers {
        watcher.until(SOON, "all are seen", |watcher| watcher.users.len() == 8);
    }
    pair.cluster.masters[2].kill9();
    let is_dead = |watcher: &Watcher| watcher.channel == channels[2];
    for watcher in watchers.iter_mut().filter(|watcher| is_dead(watcher)) {
        watcher.until(SOON, "it is known to be incomplete", |watcher| !watcher.is_complete);
    }
    let begun = Instant::now();
    for number in 0.. {
        if begun.elapsed() > Duration::from_secs(8) {
            break;
        }
        let user = format!("late{number}");
        members.extend(channels.iter().map(|channel| enter(&one, &user, channel)));
        for watcher in &mut watchers {
            match is_dead(watcher) {
                true => watcher.look(Duration::from_millis(100)),
                false => watcher.sees(&user, BY_MESSAGE),
            }
        }
    }
    for watcher in &watchers {
        // No lease of an instance ends meanwhile.
        assert_eq!(watcher.was_incomplete, is_dead(watcher), "{LATE}: a lease: {}", watcher.channel);
        assert!(watcher.leaves.is_empty(), "{}: {:?}", watcher.channel, watcher.leaves);
    }
    // It comes back empty.
    pair.cluster.masters[2].start_again();
    let begun = Instant::now();
    let all = members.len() / 3;
    for watcher in &mut watchers {
        let left = COMPLETE.saturating_sub(begun.elapsed());
        watcher
            .until(left, "it is complete again", |watcher| watcher.is_complete && watcher.users.len() == all);
    }
    println!("complete again after {:?}", begun.elapsed());
    let last = channels.each_ref().map(|channel| enter(&two, "last", channel));
    for watcher in &mut watchers {
        watcher.sees("last", BY_MESSAGE);
        assert!(watcher.leaves.is_empty(), "{}: {:?}", watcher.channel, watcher.leaves);
        assert!(watcher.joins.values().all(|joins| *joins == 1), "{:?}", watcher.joins);
    }
    drop(last);
}
