//! Rosters: one join and one leave for each user, nothing without a right, and few frames in a storm.

use crate::support::backend::{Backend, READER, with_api};
use crate::support::token::{SECRET, claims, token};
use crate::support::wait::LATE;
use crate::support::{Client, Gateway, Operator, SOON, Setup, Upgrade, until};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

const ALL: [&str; 5] = ["subscribe", "publish", "create", "present", "presence"];

fn with_secret() -> Setup {
    let setup = Setup::new().env("SEAWALL_AUTH_SECRET", SECRET).arguments(&["--reactors", "2"]).unlimited();
    // A busy machine admits fewer, and a crowd connects.
    setup.limit("admissions_per_s", 1_000_000)
}

fn signed(user: &str, rights: &[&str]) -> String {
    let mut claims = claims(user);
    claims["channels"] = json!([{"pattern": "*", "rights": rights}]);
    claims["info"] = json!({"name": user.to_uppercase()});
    token(&claims)
}

fn connect(gateway: &Gateway, user: &str) -> Client {
    Client::open(gateway).with_connect(json!({"token": signed(user, &ALL)}))
}

/// Subscribes with these further members, and waits until the subscription has begun.
fn enter(client: &mut Client, mut arguments: Value) {
    arguments["channel"] = json!("c");
    client.ask(json!({"subscribe": arguments}), "subscribed");
    client.next_push("synced");
}

fn present(gateway: &Gateway, user: &str) -> Client {
    let mut client = connect(gateway, user);
    enter(&mut client, json!({"present": {}}));
    client
}

/// A watcher of the members, and the users of its first snapshot.
fn watcher(gateway: &Gateway) -> (Client, Value) {
    let mut client = connect(gateway, "watcher");
    enter(&mut client, json!({"watch": "members"}));
    let snapshot = client.next_push("presence");
    (client, snapshot)
}

fn users(members: &Value) -> Vec<&str> {
    members.as_array().into_iter().flatten().filter_map(|member| member["user"].as_str()).collect()
}

#[test]
fn three_tabs_of_one_user_join_once_and_leave_once() {
    let gateway = with_secret().start();
    let (mut watcher, snapshot) = watcher(&gateway);
    assert_eq!((&snapshot["users"], &snapshot["members"]), (&json!(0), &json!([])));
    assert_eq!(snapshot["complete"], true);
    let mut tabs: Vec<Client> = (0..3).map(|_| present(&gateway, "ann")).collect();
    let (mut joins, mut connections) = (0, 0);
    while connections < 3 {
        let push = watcher.next_push("presence");
        joins += users(&push["joined"]).len();
        connections = push["connections"].as_u64().expect("a number");
        assert_eq!(push["users"], 1, "{push}");
        for list in ["joined", "changed"] {
            for member in push[list].as_array().into_iter().flatten() {
                assert_eq!((&member["user"], &member["info"]["name"]), (&json!("ann"), &json!("ANN")));
            }
        }
    }
    assert_eq!(joins, 1);
    tabs.iter_mut().for_each(Client::close);
    let mut left = Vec::new();
    while connections > 0 {
        let push = watcher.next_push("presence");
        left.extend(push["left"].as_array().into_iter().flatten().cloned());
        connections = push["connections"].as_u64().expect("a number");
    }
    assert_eq!(left, [json!("ann")]);
}

#[test]
fn return_within_the_grace_is_not_seen_and_a_lost_connection_is() {
    let gateway = with_secret().env("SEAWALL_PRESENCE_GRACE_MS", "8000").start();
    let mut members: Vec<(String, Client)> =
        (0..10).map(|n| format!("u{n}")).map(|user| (user.clone(), present(&gateway, &user))).collect();
    let (mut watcher, mut push) = watcher(&gateway);
    while push["users"] != 10 {
        push = watcher.next_push("presence");
    }
    let cursor = |present: Value| json!({"channel": "c", "epoch": "0", "offset": 0, "present": present});
    let gone = Instant::now();
    let users: Vec<String> = members.drain(..).map(|(user, _)| user).collect();
    // One that came earlier would be a second connection for a moment.
    until(SOON, "all losses are noticed", || gateway.metric("seawall_connections") <= 2.0);
    let returned: Vec<Client> = users
        .into_iter()
        .map(|user| {
            let recover = json!({"token": signed(&user, &ALL), "recover": [cursor(json!({}))]});
            Client::open(&gateway).with_connect(recover)
        })
        .collect();
    // The grace of each began after this.
    assert!(gone.elapsed() < Duration::from_millis(7_500), "{LATE}: back within the grace");
    let push = watcher.next_push_within("presence", Duration::from_millis(9_000));
    assert_eq!(push, None, "no watcher sees a return");
    let lost = Instant::now();
    drop(returned);
    let push = watcher.next_push("presence");
    assert!(lost.elapsed() >= Duration::from_millis(7_500), "after the grace: {:?}", lost.elapsed());
    let mut left = users_left(&push);
    while left.len() < 10 {
        left.extend(users_left(&watcher.next_push("presence")));
    }
    assert_eq!(left.iter().collect::<BTreeSet<_>>().len(), 10, "{left:?}");
}

fn users_left(push: &Value) -> Vec<String> {
    push["left"].as_array().into_iter().flatten().filter_map(Value::as_str).map(String::from).collect()
}

#[test]
fn roster_is_for_those_with_the_rights_only() {
    let gateway = with_secret().start();
    let _ann = present(&gateway, "ann");
    let mut plain =
        Client::open(&gateway).with_connect(json!({"token": signed("ben", &["subscribe", "publish"])}));
    for arguments in [json!({"present": {}}), json!({"watch": "members"}), json!({"watch": "count"})] {
        let mut subscribe = arguments;
        subscribe["channel"] = json!("c");
        plain.refused(json!({"subscribe": subscribe}), "forbidden");
    }
    plain.subscribe("c");
    plain.refused(json!({"present": {"channel": "c"}}), "forbidden");
    plain.refused(json!({"presence": {"channel": "c"}}), "forbidden");
    // A subscriber that does not watch is sent nothing, and is not shown.
    let (mut watcher, snapshot) = watcher(&gateway);
    assert_eq!(users(&snapshot["members"]), ["ann"]);
    let _cat = present(&gateway, "cat");
    assert_eq!(users(&watcher.next_push("presence")["joined"]), ["cat"]);
    plain.expect_no("presence");
    // A refresh that takes the right ends the frames, and says so.
    let fewer = signed("watcher", &["subscribe", "publish"]);
    watcher.ask(json!({"refresh": {"token": fewer}}), "refreshed");
    assert_eq!(watcher.next_push("presence"), json!({"channel": "c", "ended": "forbidden"}));
    let mut other = connect(&gateway, "dan");
    other.refused(json!({"present": {"channel": "c"}}), "not_subscribed");
    other.refused(json!({"absent": {"channel": "c"}}), "not_subscribed");
}

#[test]
fn states_change_and_absent_keeps_the_subscription() {
    let gateway = with_secret().start();
    let (mut watcher, _) = watcher(&gateway);
    let mut ann = connect(&gateway, "ann");
    enter(&mut ann, json!({"present": {"state": "active"}}));
    let push = watcher.next_push("presence");
    assert_eq!((&push["joined"][0]["state"], &push["complete"]), (&json!("active"), &json!(true)));
    let revision = push["revision"].as_u64().expect("a number");
    assert_eq!(
        ann.ask(json!({"present": {"channel": "c", "state": "away"}}), "present"),
        json!({"channel": "c"})
    );
    let push = watcher.next_push("presence");
    assert_eq!((&push["changed"][0]["state"], &push["revision"]), (&json!("away"), &json!(revision + 1)));
    ann.ask(json!({"absent": {"channel": "c"}}), "absent");
    assert_eq!(watcher.next_push("presence")["left"], json!(["ann"]));
    let offset = ann.publish("c", json!("still here"));
    assert_eq!(ann.next_push("publication")["offset"], offset);
    ann.refused(json!({"present": {"channel": "c", "state": "AWAY"}}), "malformed");
}

#[test]
fn anonymous_clients_are_one_user_with_many_connections() {
    let gateway = Gateway::start();
    let mut clients: Vec<Client> = (0..3).map(|_| Client::connect(&gateway)).collect();
    for client in &mut clients {
        enter(client, json!({"present": {}, "watch": "count"}));
    }
    let mut push = clients[0].next_push("presence");
    while push["connections"] != 3 {
        push = clients[0].next_push("presence");
    }
    assert_eq!(push["users"], 1, "{push}");
    assert!(push.get("joined").is_none() && push.get("members").is_none(), "numbers alone: {push}");
    let page = clients[1].ask(json!({"presence": {"channel": "c"}}), "presence");
    assert_eq!((users(&page["members"]), &page["members"][0]["connections"]), (vec!["anonymous"], &json!(3)));
}

#[test]
fn operators_and_backends_read_a_roster() {
    let gateway = with_api(with_secret().with_admin()).start();
    let mut ann = connect(&gateway, "ann b/c");
    enter(&mut ann, json!({"present": {"state": "away"}}));
    let _ben = present(&gateway, "ben");
    let of = |page: &Value| users(&page["members"]).into_iter().map(String::from).collect::<Vec<_>>();
    let page = Operator::of(&gateway).get("/channels/c/presence").json();
    assert_eq!((of(&page), &page["complete"]), (vec!["ann b/c".into(), "ben".into()], &json!(true)));
    let page = Operator::of(&gateway).get("/channels/c/presence/ann%20b%2Fc").json();
    assert_eq!(of(&page), ["ben"]);
    let output = gateway.setup().run_with(&["presence", "c"], &[]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with("c  users 2  connections 2\nann b/c  connections 1  since "), "{text}");
    assert!(text.contains("UTC  away\nben  "), "{text}");
    let mut backend = Backend::of(&gateway);
    let page = backend.get("/v1/channels/c/presence?limit=1").json();
    assert_eq!((of(&page), &page["more"]), (vec!["ann b/c".to_owned()], &json!(true)));
    assert_eq!(of(&backend.get("/v1/channels/c/presence?after=ann%20b%2Fc").json()), ["ben"]);
    let channel = backend.get("/v1/channels/c").json();
    let numbers = (&channel["head"], &channel["users"], &channel["connections"], &channel["complete"]);
    assert_eq!(numbers, (&json!(0), &json!(2), &json!(2), &json!(true)), "{channel}");
    let refused = Backend::with(&gateway, READER).get("/v1/channels/c/presence");
    assert_eq!(refused.status, 403, "{refused:?}");
}

#[test]
fn rosters_of_a_connection_are_bounded_and_can_be_off() {
    let gateway = with_secret().env("SEAWALL_PRESENCE_CHANNELS", "2").start();
    let mut ann = connect(&gateway, "ann");
    for channel in ["a", "b"] {
        ann.ask(json!({"subscribe": {"channel": channel, "present": {}}}), "subscribed");
    }
    let error = ann.refused(json!({"subscribe": {"channel": "d", "watch": "count"}}), "too_large");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("presence.channels is 2")), "{error}");
    ann.ask(json!({"unsubscribe": {"channel": "a"}}), "unsubscribed");
    ann.ask(json!({"subscribe": {"channel": "d", "watch": "count"}}), "subscribed");
    let cursor = |channel| json!({"channel": channel, "epoch": "0", "offset": 0, "present": {}});
    let recover = json!({"token": signed("ann", &ALL), "recover": [cursor("a"), cursor("b"), cursor("d")]});
    let connected = Client::open(&gateway).with_connect(recover).connected;
    let refused: Vec<&Value> = connected["recovered"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| &entry["presence_refused"])
        .collect();
    assert_eq!(refused, [&Value::Null, &Value::Null, &json!("too_large")]);
    let gateway = with_secret().env("SEAWALL_PRESENCE_ENABLED", "false").start();
    let mut ann = connect(&gateway, "ann");
    let error = ann.refused(json!({"subscribe": {"channel": "a", "present": {}}}), "forbidden");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("presence.enabled")), "{error}");
}

/// Connections that are not on the roster yet, of users `u0` and on.
fn crowd(gateway: &Gateway, count: usize) -> Vec<Client> {
    thread::scope(|scope| {
        let open = |at: usize| -> Vec<Client> {
            (at..count).step_by(4).map(|n| connect(gateway, &format!("u{n}"))).collect()
        };
        let parts: Vec<_> = (0..4).map(|at| scope.spawn(move || open(at))).collect();
        parts.into_iter().flat_map(|part| part.join().expect("connected")).collect()
    })
}

#[test]
fn storm_of_joins_is_few_frames_and_every_member_is_on_a_page_once() {
    const MEMBERS: usize = 1_500;
    let gateway = with_secret().env("SEAWALL_PRESENCE_MEMBERS", "2000").start();
    let mut watchers: Vec<Client> = (0..3).map(|_| watcher(&gateway).0).collect();
    let mut crowd = crowd(&gateway, MEMBERS);
    let began = Instant::now();
    for client in &mut crowd {
        client.send(json!({"subscribe": {"channel": "c", "present": {}}}));
    }
    for watcher in &mut watchers {
        let mut arrivals = Vec::new();
        loop {
            let push = watcher.next_push("presence");
            arrivals.push(began.elapsed());
            if push["users"] == MEMBERS {
                break;
            }
        }
        // The gateway's distance is 250 ms; what waits in the socket arrives at once.
        let most = 2 + began.elapsed().as_millis() as usize / 250;
        assert!(arrivals.len() <= most, "{} frames in {:?}", arrivals.len(), began.elapsed());
    }
    let mut found: Vec<String> = Vec::new();
    loop {
        let mut ask = json!({"presence": {"channel": "c"}});
        if let Some(last) = found.last() {
            ask["presence"]["after"] = json!(last);
        }
        let page = watchers[0].ask(ask, "presence");
        found.extend(users(&page["members"]).into_iter().map(String::from));
        if page.get("more").is_none() {
            break;
        }
    }
    let expected: BTreeSet<String> = (0..MEMBERS).map(|n| format!("u{n}")).collect();
    assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
    let value = |name: &str| gateway.metric(&format!("seawall_presence_{name}"));
    until(SOON, "all are counted", || {
        (value("members"), value("memberships")) == (MEMBERS as f64, MEMBERS as f64)
    });
    assert_eq!(value("recounts_total"), 0.0);
}

#[test]
fn watcher_that_does_not_read_gets_a_snapshot_when_it_does() {
    let gateway = with_secret().limit("outbox_bytes", 65_536).start();
    let mut ann = present(&gateway, "ann");
    let upgrade = Upgrade::default().receive_buffer(4_096);
    let mut slow =
        Client::open_with(gateway.address, &upgrade).with_connect(json!({"token": signed("slow", &ALL)}));
    enter(&mut slow, json!({"watch": "members"}));
    let mut roster: BTreeSet<String> = BTreeSet::new();
    let snapshot = slow.next_push("presence");
    roster.extend(users(&snapshot["members"]).into_iter().map(String::from));
    let data = "x".repeat(60_000);
    let missed = || gateway.metric("seawall_presence_frames_missed_total") > 0.0;
    let mut others = Vec::new();
    until(SOON, "a frame is missed", || {
        ann.publish("c", json!(data));
        others.push(present(&gateway, &format!("u{}", others.len())));
        missed()
    });
    ann.ask(json!({"absent": {"channel": "c"}}), "absent");
    // The next frames and the snapshot, in order: each difference fits to what was there before.
    let deadline = Instant::now() + SOON;
    while roster.len() != others.len() || roster.contains("ann") {
        let left = deadline.saturating_duration_since(Instant::now());
        let push = slow.next_push_within("presence", left);
        let push = push.unwrap_or_else(|| panic!("{}", slow.missing("the roster becomes true")));
        if let Some(members) = push.get("members") {
            roster = users(members).into_iter().map(String::from).collect();
        }
        for user in users(&push["joined"]) {
            assert!(roster.insert(user.into()), "{user} joined twice");
        }
        for user in users_left(&push) {
            assert!(roster.remove(&user), "{user} left twice");
        }
    }
}
