//! A master of a Redis Cluster that hangs: it accepts connections, and answers nothing.

use crate::bus::cluster::{Pair, alive, channel_at};
use crate::bus::cluster_presence::{BY_MESSAGE, Watcher, enter};
use crate::bus::cluster_users::{
    COMPLETE, are_online, is_complete, look_up, stay_online, strangers, users_at,
};
use crate::bus::rig::delivers;
use crate::support::backend::with_api;
use crate::support::token::SECRET;
use crate::support::wait::{LATE, SOON, until};
use crate::support::{Client, Gateway};
use std::time::{Duration, Instant};

/// Longer than a lease lives, and than the cluster takes to call the master failed.
const HANGS: Duration = Duration::from_secs(6);

#[test]
fn hanging_master_makes_its_rosters_and_users_alone_unknown_and_ends_no_incarnation() {
    let pair = Pair::start();
    let gateways = ["gw-1", "gw-2"].map(|name| {
        let setup = with_api(pair.setup(name, &pair.cluster.url())).env("SEAWALL_AUTH_SECRET", SECRET);
        setup.start()
    });
    gateways.iter().for_each(delivers);
    let [one, two] = &gateways;
    until(SOON, "each knows the other", || gateways.iter().all(|gateway| alive(gateway) == 2.0));
    until(SOON * 2, "answers are complete", || is_complete(&look_up(two, &strangers())));
    let channels = [0, 1, 2].map(channel_at);
    // One user at each master, present in the channel of another one.
    let users: Vec<String> = (0..3).map(|master| users_at(master, 1).remove(0)).collect();
    let enter_all = |user: &str| channels.each_ref().map(|channel| enter(one, user, channel));
    let mut members: Vec<Client> = users.iter().flat_map(|user| enter_all(user)).collect();
    let mut watchers = channels.each_ref().map(|channel| Watcher::of(two, channel));
    for watcher in &mut watchers {
        watcher.until(SOON, "all are seen", |watcher| watcher.users.len() == 3);
    }
    until(SOON, "all are online", || are_online(&look_up(two, &users)));
    let doubts = |gateway: &Gateway| gateway.metric("seawall_cluster_doubts_total");
    let before = [one, two].map(doubts);

    pair.cluster.masters[2].sigstop();
    let [first, second, hangs] = &mut watchers;
    hangs.until(SOON, "it is known to be incomplete", |watcher| !watcher.is_complete);
    until(SOON, "its users are unknown", || !is_complete(&look_up(two, &users[2..])));
    let begun = Instant::now();
    for number in 0.. {
        if begun.elapsed() > HANGS {
            break;
        }
        let user = format!("late{number}");
        members.extend(enter_all(&user));
        first.sees(&user, BY_MESSAGE);
        second.sees(&user, BY_MESSAGE);
        stay_online(&look_up(two, &users[..2]));
        hangs.look(Duration::from_millis(100));
        assert_eq!((alive(one), alive(two)), (2.0, 2.0), "{LATE}: a lease, after {:?}", begun.elapsed());
    }
    assert_eq!([one, two].map(doubts), before, "{LATE}: a lease");
    assert!(!first.was_incomplete && !second.was_incomplete, "{LATE}: a lease");

    pair.cluster.masters[2].sigcont();
    let (begun, all) = (Instant::now(), members.len() / 3);
    for watcher in &mut watchers {
        let left = COMPLETE.saturating_sub(begun.elapsed());
        watcher
            .until(left, "it is complete again", |watcher| watcher.is_complete && watcher.users.len() == all);
        assert!(watcher.leaves.is_empty(), "{}: {:?}", watcher.channel, watcher.leaves);
    }
    until(COMPLETE, "all users are known again", || are_online(&look_up(two, &users)));
    println!("complete again after {:?}", begun.elapsed());
}
