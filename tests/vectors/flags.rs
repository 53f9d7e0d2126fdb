//! `flags.json`: the buckets of users, which all instances and releases must agree on, and the rules of a flag.

use super::{names_differ, read};
use seawall::flag::{ClientGate, Flag, FlagKey, bucket};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    about: String,
    buckets: Vec<Bucket>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bucket {
    flag: String,
    user: String,
    bucket: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    flag: Box<str>,
    rollout: u8,
    #[serde(default)]
    users: Vec<Box<str>>,
    #[serde(default)]
    clients: Vec<String>,
    user: Option<String>,
    #[serde(default)]
    client: String,
    on: bool,
}

#[test]
fn flag_is_on_for_the_clients_of_the_examples() {
    let File { about, buckets, cases } = read("flags.json");
    assert!(!about.is_empty() && !buckets.is_empty());
    for Bucket { flag, user, bucket: expected } in buckets {
        assert_eq!(bucket(&flag, &user), expected, "{flag} {user}");
    }
    names_differ(cases.iter().map(|case| case.name.as_str()));
    for Case { name, flag, rollout, users, clients, user, client, on } in cases {
        let clients = clients.iter().map(|gate| ClientGate::parse(gate).expect("a gate")).collect();
        let flag = Flag { name: flag, rollout, users, clients };
        let key = user.as_deref().map_or(FlagKey::Anonymous, FlagKey::User);
        assert_eq!(flag.is_on(key, &client), on, "{name}");
    }
}
