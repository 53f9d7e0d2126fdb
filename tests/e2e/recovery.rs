//! After a reconnect a client gets each publication once, or learns that it must read history.

use crate::support::{Client, Gateway, SOON, Setup, until};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};

fn fill(gateway: &Gateway, channel: &str, count: usize) -> String {
    let mut client = Client::connect(gateway);
    let ids: Vec<u64> =
        (0..count).map(|n| client.send(json!({"publish": {"channel": channel, "data": n}}))).collect();
    let mut epoch = String::new();
    for id in ids {
        epoch = client.reply(id)["published"]["epoch"].as_str().expect("an epoch").to_string();
    }
    epoch
}

fn subscribe(client: &mut Client, channel: &str, epoch: &str, offset: u64) -> Value {
    let recover = json!({"epoch": epoch, "offset": offset});
    client.ask(json!({"subscribe": {"channel": channel, "recover": recover}}), "subscribed")
}

/// Checks that `subscribed` says not recovered, for this reason; `synced` and live publications follow all the same.
fn not_recovered(client: &mut Client, subscribed: &Value, because: &str, head: u64) {
    assert_eq!((&subscribed["recovered"], &subscribed["because"]), (&json!(false), &json!(because)));
    assert_eq!(subscribed["head"], head);
    let synced = client.next_any_push();
    assert!(synced.get("synced").is_some(), "no replay: {synced}");
    client.publish("c", json!("live"));
    assert_eq!(client.offsets(1), [head + 1]);
}

#[test]
fn missed_publications_are_replayed_in_order_before_synced() {
    let gateway = Setup::new().unlimited().start();
    let epoch = fill(&gateway, "c", 10);
    let mut client = Client::connect(&gateway);
    let subscribed = subscribe(&mut client, "c", &epoch, 4);
    assert_eq!((&subscribed["recovered"], &subscribed["head"]), (&json!(true), &json!(10)));
    for offset in 5..=10 {
        assert_eq!(client.next_any_push()["publication"]["offset"], offset);
    }
    assert_eq!(client.next_any_push()["synced"], json!({"channel": "c", "offset": 10}));
}

#[test]
fn cursor_at_the_head_is_recovered() {
    let gateway = Gateway::start();
    let epoch = fill(&gateway, "c", 3);
    let mut client = Client::connect(&gateway);
    assert_eq!(subscribe(&mut client, "c", &epoch, 3)["recovered"], true);
    assert_eq!(client.next_any_push()["synced"]["offset"], 3);
}

#[test]
fn connect_recovers_several_channels_at_once() {
    let gateway = Gateway::start();
    let epoch = fill(&gateway, "a", 3);
    fill(&gateway, "b", 4);
    let cursor = |channel: &str, epoch: &str, offset: u64| json!({"channel": channel, "epoch": epoch, "offset": offset});
    let recover = json!([cursor("a", &epoch, 1), cursor("b", &epoch, 4), cursor("d", "other", 0)]);
    let mut client = Client::open(&gateway).with_connect(json!({"recover": recover}));
    let recovered: Vec<(String, bool)> = client.connected["recovered"]
        .as_array()
        .expect("one entry for each cursor")
        .iter()
        .map(|entry| (entry["channel"].as_str().unwrap().into(), entry["recovered"] == true))
        .collect();
    assert_eq!(recovered, [("a".into(), true), ("b".into(), true), ("d".into(), false)]);
    assert_eq!(client.connected["recovered"][2]["because"], "epoch_changed");
    let mut synced: Vec<(String, u64)> = (0..3)
        .map(|_| client.next_push("synced"))
        .map(|synced| (synced["channel"].as_str().unwrap().into(), synced["offset"].as_u64().unwrap()))
        .collect();
    synced.sort();
    assert_eq!(synced, [("a".into(), 3), ("b".into(), 4), ("d".into(), 0)]);
    assert_eq!(client.offsets(2), [2, 3]);
    client.publish("b", json!(1));
    assert_eq!(client.offsets(1), [5], "connect.recover also subscribes");
}

#[test]
fn cursor_beyond_the_replay_bound_is_too_far() {
    let gateway = Setup::new().unlimited().start();
    let epoch = fill(&gateway, "c", 302);
    let mut client = Client::connect(&gateway);
    let subscribed = subscribe(&mut client, "c", &epoch, 1);
    not_recovered(&mut client, &subscribed, "too_far", 302);
    let mut client = Client::connect(&gateway);
    assert_eq!(subscribe(&mut client, "c", &epoch, 3)["recovered"], true, "300 are replayed");
    assert_eq!(client.offsets(300), (4..=303).collect::<Vec<u64>>());
}

#[test]
fn cursor_of_another_epoch_or_beyond_the_head_is_epoch_changed() {
    let gateway = Gateway::start();
    let epoch = fill(&gateway, "c", 2);
    for (epoch, offset, head) in [("zzz", 1, 2), ("not an epoch!", 1, 3), (epoch.as_str(), 9, 4)] {
        let mut client = Client::connect(&gateway);
        let subscribed = subscribe(&mut client, "c", epoch, offset);
        not_recovered(&mut client, &subscribed, "epoch_changed", head);
    }
}

#[test]
fn cursor_below_the_floor_is_expired() {
    let gateway = Setup::new().unlimited().toml("[retention]\npublications = 100").start();
    let epoch = fill(&gateway, "c", 250);
    let mut client = Client::connect(&gateway);
    let mut floor = 0;
    until(SOON * 2, "retention moves the floor", || {
        client.publish("other", json!(0));
        let page = client.ask(json!({"history": {"channel": "c", "after": 0, "limit": 1}}), "history");
        floor = page["floor"].as_u64().unwrap();
        if let Some(first) = page["publications"][0]["offset"].as_u64() {
            assert_eq!(first, floor, "the floor is the oldest retained offset");
        }
        floor > 100
    });
    let subscribed = subscribe(&mut client, "c", &epoch, 5);
    not_recovered(&mut client, &subscribed, "expired", 250);
}

#[test]
fn subscribe_with_last_replays_that_many() {
    let gateway = Gateway::start();
    fill(&gateway, "c", 5);
    let mut client = Client::connect(&gateway);
    let subscribed = client.ask(json!({"subscribe": {"channel": "c", "last": 2}}), "subscribed");
    assert_eq!(subscribed["head"], 5);
    assert_eq!(client.offsets(2), [4, 5]);
    assert_eq!(client.next_any_push()["synced"]["offset"], 5);
    let mut client = Client::connect(&gateway);
    client.ask(json!({"subscribe": {"channel": "c", "last": 50}}), "subscribed");
    assert_eq!(client.offsets(5), [1, 2, 3, 4, 5]);
}

#[test]
fn recovery_survives_a_crash() {
    let gateway = Gateway::start();
    let epoch = fill(&gateway, "c", 6);
    let gateway = gateway.kill9().start();
    let mut client = Client::connect(&gateway);
    let subscribed = subscribe(&mut client, "c", &epoch, 2);
    assert_eq!((&subscribed["recovered"], &subscribed["epoch"]), (&json!(true), &json!(epoch)));
    assert_eq!(client.offsets(4), [3, 4, 5, 6]);
}

/// Stops the publisher, also when the test fails first.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reconnects repeatedly, each time from its last offset, and reads a few publications each time.
fn visit(gateway: &Gateway, epoch: &str, rounds: u64) {
    let mut last = 1;
    let mut recovered = 0;
    for round in 0..rounds {
        let (mut client, reply) = reconnect(gateway, epoch, last, round);
        if reply["recovered"] == true {
            recovered += 1;
        } else {
            // On a busy machine the publisher may get too far ahead; the client then starts over at the head.
            assert_eq!(reply["because"], "too_far", "{reply}");
            last = reply["head"].as_u64().unwrap();
        }
        for _ in 0..(round * 7) % 60 + 1 {
            last = follow(&mut client, last, round);
        }
    }
    assert!(recovered > 0, "always too far behind: the load is too much for this machine");
}

/// Reads one publication and returns its offset: the next one, or the first after a `lag` that names the gap.
fn follow(client: &mut Client, mut last: u64, round: u64) -> u64 {
    loop {
        let push = client.next_any_push();
        if let Some(offset) = push["publication"]["offset"].as_u64() {
            assert_eq!(offset, last + 1, "round {round}");
            return offset;
        }
        if let Some(head) = push["lag"]["head"].as_u64() {
            // As above: the publisher got ahead while the log was read.
            assert_eq!(push["lag"]["from"], last + 1, "round {round}");
            last = head;
        }
    }
}

/// Recovers in `connect` or in `subscribe`, and returns the outcome.
fn reconnect(gateway: &Gateway, epoch: &str, last: u64, round: u64) -> (Client, Value) {
    if round.is_multiple_of(2) {
        let cursor = json!({"channel": "c", "epoch": epoch, "offset": last});
        let client = Client::open(gateway).with_connect(json!({"recover": [cursor]}));
        let outcome = client.connected["recovered"][0].clone();
        return (client, outcome);
    }
    let mut client = Client::connect(gateway);
    let outcome = subscribe(&mut client, "c", epoch, last);
    (client, outcome)
}

/// Publishes as fast as it is acknowledged until stopped, and returns the head.
fn publish_until(gateway: &Gateway, stop: &AtomicBool) -> u64 {
    let mut client = Client::connect(gateway);
    let mut head = 1;
    while !stop.load(Ordering::Relaxed) {
        let ids: Vec<u64> =
            (0..4).map(|n| client.send(json!({"publish": {"channel": "c", "data": n}}))).collect();
        for id in ids {
            head = client.reply(id)["published"]["offset"].as_u64().unwrap();
        }
    }
    head
}

fn reconnect_under_load(reactors: &str, clients: usize) {
    let gateway = Setup::new().unlimited().arguments(&["--reactors", reactors]).start();
    let epoch = fill(&gateway, "c", 1);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let publisher = scope.spawn(|| publish_until(&gateway, &stop));
        let stopper = StopOnDrop(&stop);
        let clients: Vec<_> = (0..clients).map(|_| scope.spawn(|| visit(&gateway, &epoch, 60))).collect();
        let all_succeeded = clients.into_iter().map(|client| client.join()).all(|visit| visit.is_ok());
        drop(stopper);
        let head = publisher.join().unwrap();
        assert!(all_succeeded, "a client skipped or repeated a publication");
        let mut client = Client::connect(&gateway);
        let page = client.ask(json!({"history": {"channel": "c", "after": head - 1}}), "history");
        assert_eq!(page["head"], head);
    });
}

#[test]
fn single_client_reconnecting_under_load_gets_each_publication_once() {
    reconnect_under_load("1", 1);
}

#[test]
fn several_clients_reconnecting_under_load_get_each_publication_once() {
    reconnect_under_load("2", 3);
}

#[test]
fn reconnecting_client_learns_of_a_new_epoch() {
    let gateway = Gateway::start();
    let old = fill(&gateway, "c", 3);
    let refused = gateway.setup().run(&["store", "new-epoch"]);
    assert!(!refused.status.success(), "the folder is in use");
    let setup = gateway.kill9();
    let done = setup.run(&["store", "new-epoch"]);
    assert!(done.status.success(), "{done:?}");
    let gateway = setup.start();
    let mut client = Client::connect(&gateway);
    let subscribed = subscribe(&mut client, "c", &old, 3);
    assert_ne!(subscribed["epoch"], json!(old));
    not_recovered(&mut client, &subscribed, "epoch_changed", 3);
}
