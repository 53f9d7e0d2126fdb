//! The registry of users over a Redis Cluster: users of all masters are found, while slots move and a master is dead.

use crate::bus::cluster::Pair;
use crate::bus::rig::delivers;
use crate::servers::{RedisCluster, Reply};
use crate::support::backend::{Backend, with_api};
use crate::support::token::{SECRET, token_of};
use crate::support::wait::{LATE, SOON, SetOnDrop, comes_true, until};
use crate::support::{Client, Gateway};
use seawall::id::UserName;
use seawall::wire::slot::{Partition, slot};
use seawall::wire::user_fields::slot_of;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Answers are complete again within this time after a master is back, on a busy machine.
pub const COMPLETE: Duration = Duration::from_secs(40);

fn gateways<const N: usize>(pair: &Pair, names: [&str; N]) -> [Gateway; N] {
    let gateways = names.map(|name| {
        let setup = with_api(pair.setup(name, &pair.cluster.url())).env("SEAWALL_AUTH_SECRET", SECRET);
        setup.start()
    });
    gateways.iter().for_each(delivers);
    for gateway in &gateways {
        until(SOON * 2, "answers are complete", || is_complete(&look_up(gateway, &strangers())));
    }
    gateways
}

/// The slot of the keys of a user's partition.
fn key_slot(user: &str) -> u16 {
    let name = UserName::parse(user).expect("a name");
    slot(Partition::of_slot(slot_of(&name)).tag().to_string().as_bytes())
}

/// Names of users whose bucket is at this master.
pub fn users_at(master: usize, count: usize) -> Vec<String> {
    let names = (0..).map(|number| format!("u{number}"));
    names.filter(|name| RedisCluster::master_of(key_slot(name)) == master).take(count).collect()
}

/// One user at each master that is not connected.
pub fn strangers() -> Vec<String> {
    (0..3).map(|master| users_at(master, 40).pop().expect("many")).collect()
}

fn connect(gateway: &Gateway, user: &str) -> Client {
    Client::open(gateway).with_connect(json!({"token": token_of(user)}))
}

pub fn look_up(gateway: &Gateway, users: &[String]) -> Value {
    let answer = Backend::of(gateway).post("/v1/users/lookup", &json!({"users": users}));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

pub fn is_complete(answer: &Value) -> bool {
    answer["complete"] == true
}

/// True if the answer is complete, and says this of all users.
fn says(answer: &Value, online: &Value) -> bool {
    let users = answer["users"].as_array().expect("a list");
    is_complete(answer) && users.iter().all(|user| user["online"] == *online)
}

pub fn are_online(answer: &Value) -> bool {
    says(answer, &json!(true))
}

/// Checks that no answer is wrong, and that it is complete unless an instance lost its lease.
#[track_caller]
pub fn stay_online(answer: &Value) {
    let mut users = answer["users"].as_array().expect("a list").iter();
    assert!(users.all(|user| user["online"] != false), "{answer}");
    assert!(are_online(answer), "{LATE}: a lease: {answer}");
}

fn are_offline(answer: &Value) -> bool {
    says(answer, &json!(false))
}

#[test]
fn users_at_all_masters_are_found_and_a_moved_slot_loses_none() {
    let pair = Pair::start();
    let [one, two, three] = gateways(&pair, ["gw-1", "gw-2", "gw-3"]);
    let users: Vec<String> = (0..3).flat_map(|master| users_at(master, 10)).collect();
    let mut clients: Vec<Client> = users.iter().map(|user| connect(&one, user)).collect();
    let again = connect(&two, &users[0]);
    until(SOON, "all are online", || are_online(&look_up(&three, &users)));
    until(SOON, "both connections are known", || {
        look_up(&three, &users[..1])["users"][0]["connections"] == 2
    });
    assert!(are_offline(&look_up(&three, &strangers())));
    let exact = || Backend::of(&three).get("/v1/cluster?users=exact").json()["users"].clone();
    until(SOON, "all are counted", || exact() == json!({"exact": 30, "complete": true}));

    // A key has a share of look-ups, so the loop asks for a few of them.
    let asked: Vec<String> = users.iter().step_by(5).cloned().collect();
    let (over, moved) = (AtomicBool::new(false), key_slot(&users[0]));
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                stay_online(&look_up(&three, &asked));
            }
        });
        let over = SetOnDrop(&over);
        let doubts = one.metric("seawall_cluster_doubts_total");
        pair.cluster.move_slot_while(moved, 0, 1, || {
            // Renewals and checks of flushes pass meanwhile.
            let begun = Instant::now();
            until(SOON, "time passes", || begun.elapsed() > Duration::from_secs(3));
            let late = connect(&two, &users[0]);
            until(SOON, "a new connection is known", || {
                look_up(&three, &users[..1])["users"][0]["connections"] == 3
            });
            drop(late);
        });
        assert_eq!(one.metric("seawall_cluster_doubts_total"), doubts, "{LATE}: a lease");
        drop(over);
        asking.join().expect("no wrong answer");
    });
    drop(again);
    until(SOON, "one connection less, at the other master", || {
        look_up(&three, &users[..1])["users"][0]["connections"] == 1
    });
    clients.iter_mut().for_each(Client::close);
    until(SOON, "all are offline", || are_offline(&look_up(&three, &users)));
}

#[test]
fn flush_numbers_of_an_incarnation_without_a_lease_are_removed_after_a_minute() {
    let pair = Pair::start();
    let [_one] = gateways(&pair, ["gw-1"]);
    let masters = &pair.cluster.masters;
    let numbers = |partition: Partition| {
        let tag = partition.tag().to_string();
        let master = RedisCluster::master_of(slot(tag.as_bytes()));
        (&masters[master], format!("seawall:{{{tag}}}:g"))
    };
    let field = |partition: Partition, name: &str| {
        let (master, key) = numbers(partition);
        master.command(&["HGET", &key, name])
    };
    for partition in Partition::all() {
        let (master, key) = numbers(partition);
        assert_eq!(master.command(&["HSET", &key, "zz.1", "7"]), Reply::Number(1), "{key}");
    }
    let removed = || Partition::all().find(|partition| field(*partition, "zz.1") == Reply::Nothing);
    until(Duration::from_secs(200), "it is removed somewhere", || removed().is_some());
    let partition = removed().expect("it was");
    let (master, key) = numbers(partition);
    assert!(matches!(master.command(&["HLEN", &key]), Reply::Number(1..)), "that of the gateway stays");
    assert!(matches!(master.command(&["TTL", &key]), Reply::Number(800..)), "and is kept alive");
}

#[test]
fn dead_master_makes_answers_about_its_users_alone_incomplete() {
    let mut pair = Pair::start();
    let [one, two] = gateways(&pair, ["gw-1", "gw-2"]);
    let [first, second, dead] = [0, 1, 2].map(|master| users_at(master, 5));
    let all: Vec<String> = [&first[..], &second, &dead].concat();
    let mut clients: Vec<Client> = all.iter().map(|user| connect(&one, user)).collect();
    until(SOON, "all are online", || are_online(&look_up(&two, &all)));
    pair.cluster.masters[2].kill9();
    until(SOON, "it is noticed", || !is_complete(&look_up(&two, &dead)));
    // Users that come and leave meanwhile.
    let late: Vec<String> = (0..3).map(|master| users_at(master, 6).pop().expect("many")).collect();
    clients.extend(late.iter().map(|user| connect(&one, user)));
    clients[10].close();
    let begun = Instant::now();
    until(SOON, "late users at the others are found", || {
        are_online(&look_up(&two, &late[..2])) && are_online(&look_up(&two, &first))
    });
    while begun.elapsed() < Duration::from_secs(6) {
        stay_online(&look_up(&two, &[&first[..], &second, &late[..2]].concat()));
        let strangers = look_up(&two, &strangers()[..2]);
        assert!(are_offline(&strangers), "{LATE}: a lease: {strangers}");
        let lost = look_up(&two, &dead);
        let users = lost["users"].as_array().expect("a list");
        assert!(!is_complete(&lost) && users.iter().all(|user| user["online"] != false), "{lost}");
    }
    pair.cluster.masters[2].start_again();
    let begun = Instant::now();
    let (left, stay) = (&dead[..1], [&first[..], &second, &dead[1..], &late].concat());
    let is_right = || {
        let (left, stay) = (look_up(&two, left), look_up(&two, &stay));
        let users = stay["users"].as_array().expect("a list");
        assert!(users.iter().all(|user| user["online"] != false), "{stay}");
        are_offline(&left) && are_online(&stay)
    };
    assert!(comes_true(COMPLETE, is_right), "{LATE}: {} {}", look_up(&two, left), look_up(&two, &stay));
    println!("complete again after {:?}", begun.elapsed());
}
