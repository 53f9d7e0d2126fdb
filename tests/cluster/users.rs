//! The registry of users: every instance knows where a user is connected, or says that it does not.

use crate::cluster::rig::{GONE, Rig, SLACK, settled};
use crate::support::backend::{Backend, with_api};
use crate::support::token::{SECRET, token_of};
use crate::support::wait::{LATE, SOON, SetOnDrop, comes_true, until};
use crate::support::{Client, Gateway, Operator, Setup};
use seawall_fault::Mode;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Answers are complete again within this time after an outage, and an additional [`SLACK`].
const COMPLETE: Duration = Duration::from_secs(10);

fn with_users(setup: Setup) -> Setup {
    with_api(setup).env("SEAWALL_AUTH_SECRET", SECRET)
}

fn gateways<const N: usize>(rig: &Rig, names: [&str; N]) -> [Gateway; N] {
    let gateways = names.map(|name| with_users(rig.setup(name)).start());
    settled(&gateways.iter().collect::<Vec<_>>());
    for gateway in &gateways {
        until(SOON, "answers are complete", || user(gateway, "stranger")["complete"] == true);
    }
    gateways
}

fn connect(gateway: &Gateway, user: &str) -> Client {
    Client::open(gateway).with_connect(json!({"token": token_of(user)}))
}

/// The answer to `GET /v1/users/NAME`.
fn user(gateway: &Gateway, name: &str) -> Value {
    let response = Backend::of(gateway).get(&format!("/v1/users/{name}"));
    assert_eq!(response.status, 200, "{response:?}");
    response.json()
}

fn is_offline(answer: &Value) -> bool {
    answer["online"] == false && answer["complete"] == true && answer["connections"] == 0
}

#[track_caller]
fn until_online(gateway: &Gateway, name: &str) {
    until(SOON, "the user is online", || user(gateway, name)["online"] == true);
}

#[test]
fn every_instance_knows_where_a_user_is_connected() {
    let rig = Rig::start();
    let [one, two, three] = gateways(&rig, ["gw-1", "gw-2", "gw-3"]);
    let mut ann = [connect(&one, "ann"), connect(&one, "ann"), connect(&two, "ann")];
    let _bob = connect(&three, "b/o b");
    let mut found = Value::Null;
    until(SOON, "all three connections are known", || {
        found = user(&three, "ann");
        found["connections"] == 3 && found["complete"] == true
    });
    let places: Vec<_> = found["instances"].as_array().expect("a list").iter().collect();
    let place = |at: usize| (places[at]["name"].clone(), places[at]["connections"].clone());
    assert_eq!((place(0), place(1)), ((json!("gw-1"), json!(2)), (json!("gw-2"), json!(1))), "{found}");
    assert!(places[0]["since"].as_u64().is_some_and(|since| since > 1_700_000_000_000), "{found}");
    assert_eq!((&found["complete"], &found["blocked"]), (&json!(true), &json!(false)));
    until(SOON, "a stranger is known to be offline", || is_offline(&user(&one, "eve")));
    let mut backend = Backend::of(&one);
    until(SOON, "the other is known", || user(&one, "b%2Fo%20b")["online"] == true);
    let expected = json!({"complete": true, "users": [{"user": "b/o b", "online": true, "connections": 1},
        {"user": "eve", "online": false, "connections": 0}, {"user": "ann", "online": true, "connections": 3}]});
    let mut looked = Value::Null;
    until(SOON, "the answer is complete", || {
        looked = backend.post("/v1/users/lookup", &json!({"users": ["b/o b", "eve", "ann"]})).json();
        looked["complete"] == true && looked["users"][2]["connections"] == 3
    });
    assert_eq!(looked, expected);
    for (name, online) in [("ann", true), ("eve", false)] {
        // Null while it is not known.
        until(SOON, "it is known which users are online", || {
            let published = backend.post(&format!("/v1/users/{name}/publish"), &json!({"data": 1})).json();
            assert_ne!(published["online"], !online, "{published}");
            published["online"] == online
        });
        until(SOON, "it is known which users are online", || {
            let sent = backend.post(&format!("/v1/users/{name}/signal"), &json!({"data": 1}));
            assert_eq!(sent.status, 202, "{sent:?}");
            sent.json() == json!({"online": online})
        });
    }
    operators_see(&two);
    until(SOON + SOON, "stats have the users", || {
        backend.get("/v1/cluster").json()["totals"]["users_sum"] == 3
    });
    until(SOON, "users are counted", || {
        backend.get("/v1/cluster?users=exact").json()["users"] == json!({"exact": 2, "complete": true})
    });
    assert_eq!(backend.get("/v1/cluster?users=all").status, 400);
    ann[2].close();
    until(SOON, "one connection less", || user(&three, "ann")["connections"] == 2);
    drop(ann);
    until(SOON, "the user is offline", || is_offline(&user(&three, "ann")));
}

fn operators_see(gateway: &Gateway) {
    let answer = Operator::of(gateway).get("/users/ann");
    assert_eq!((answer.status, answer.json()["connections"].clone()), (200, json!(3)));
    let address = Operator::of(gateway).address.to_string();
    let arguments = ["user", "show", "ann"];
    let ran = gateway.setup().run_with(&arguments, &[("SEAWALL_ADMIN_LISTEN", &address)]);
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    assert!(ran.status.success() && lines.len() == 4, "{ran:?}");
    assert_eq!(lines[0], "ann  online");
    assert!(lines[1].starts_with("  gw-1  connections 2  since "), "{text}");
    assert_eq!(lines[3], "ann is not blocked");
}

#[test]
fn users_of_a_killed_instance_are_offline_within_its_bound() {
    let rig = Rig::start();
    let [one, two, three] = gateways(&rig, ["gw-1", "gw-2", "gw-3"]);
    let (_ann, _bob, _both) =
        (connect(&three, "ann"), connect(&two, "bob"), [connect(&two, "cid"), connect(&three, "cid")]);
    for name in ["ann", "bob", "cid"] {
        until_online(&one, name);
    }
    until(SOON, "both connections are known", || user(&one, "cid")["connections"] == 2);
    let (_setup, begun) = (three.kill9(), Instant::now());
    let within = GONE + Duration::from_secs(1) + SLACK;
    for gateway in [&one, &two] {
        let left = within.saturating_sub(begun.elapsed());
        let gone = comes_true(left, || is_offline(&user(gateway, "ann")));
        assert!(gone, "{LATE}: {}", user(gateway, "ann"));
    }
    println!("offline after {:?}", begun.elapsed());
    assert_eq!(user(&one, "cid")["connections"], 1);
    assert_eq!((&user(&one, "bob")["online"], &user(&one, "bob")["complete"]), (&json!(true), &json!(true)));
}

#[test]
fn emptied_redis_gives_no_wrong_answer_and_is_complete_again_soon() {
    let rig = Rig::start();
    let [one, two] = gateways(&rig, ["gw-1", "gw-2"]);
    let clients: Vec<Client> = (0..40).map(|n| connect(&one, &format!("u{n}"))).collect();
    (0..40).for_each(|n| until_online(&two, &format!("u{n}")));
    // A key has a share of look-ups, so the loop asks for two of them.
    let (over, names) = (AtomicBool::new(false), ["u0", "u39"]);
    let ask = |answers: &mut u64, incomplete: &mut u64| {
        let mut backend = Backend::of(&two);
        while !over.load(Ordering::Relaxed) {
            let found = backend.post("/v1/users/lookup", &json!({"users": names})).json();
            let users = found["users"].as_array().expect("a list");
            *answers += 1;
            *incomplete += u64::from(found["complete"] == false);
            assert!(users.iter().all(|user| user["online"] != false), "{found}");
        }
    };
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let (mut answers, mut incomplete) = (0, 0);
            ask(&mut answers, &mut incomplete);
            (answers, incomplete)
        });
        let over = SetOnDrop(&over);
        let doubts = || two.metric("seawall_cluster_doubts_total");
        for _ in 0..3 {
            let before = doubts();
            assert!(rig.redis.command(&["FLUSHALL"]).is_ok());
            until(SOON, "it is noticed", || user(&two, "u0")["complete"] == false || doubts() > before);
            let begun = Instant::now();
            let complete = || {
                let found = user(&two, "u39");
                found["complete"] == true && found["online"] == true
            };
            assert!(comes_true(COMPLETE + SLACK, complete), "{LATE}: {}", user(&two, "u39"));
            println!("complete again after {:?}", begun.elapsed());
        }
        drop(over);
        let (answers, incomplete) = asking.join().expect("no wrong answer");
        println!("{answers} answers, {incomplete} incomplete");
        assert!(incomplete > 0 && answers > incomplete, "{LATE}: answers of both kinds");
    });
    drop(clients);
    until(SOON, "the users are offline", || is_offline(&user(&two, "u39")));
}

#[test]
fn without_redis_answers_say_that_they_are_not_complete() {
    let rig = Rig::start();
    let two = with_users(rig.setup("gw-2"))
        .env("SEAWALL_BUS_URL", &rig.redis.url_through(rig.proxy.address()))
        .start();
    let one = with_users(rig.setup("gw-1")).start();
    settled(&[&one, &two]);
    let (_ann, _bob) = (connect(&one, "ann"), connect(&two, "bob"));
    until_online(&two, "ann");
    until_online(&one, "bob");
    rig.proxy.set(Mode::Refuse);
    rig.proxy.cut();
    until(SOON, "it knows that it does not know", || user(&two, "ann")["complete"] == false);
    let (ann, bob) = (user(&two, "ann"), user(&two, "bob"));
    assert_eq!(
        (&ann["online"], &bob["online"], &bob["complete"]),
        (&Value::Null, &json!(true), &json!(false))
    );
    let published = Backend::of(&two).post("/v1/users/ann/publish", &json!({"data": 1})).json();
    assert_eq!(published["online"], Value::Null, "{published}");
    until(SOON, "the other one misses it", || user(&one, "eve")["complete"] == false);
    let _cid = connect(&two, "cid");
    rig.proxy.set(Mode::Pass);
    until(COMPLETE + SLACK, "it is complete again", || user(&two, "ann")["complete"] == true);
    until(SOON, "a user that connected meanwhile is known", || user(&one, "cid")["online"] == true);
    until(SOON, "it is complete there too", || is_offline(&user(&one, "eve")));
}

#[test]
fn instance_without_a_registry_of_users_makes_the_others_say_so() {
    let rig = Rig::start();
    let one = with_users(rig.setup("gw-1")).start();
    let two = with_users(rig.setup("gw-2")).env("SEAWALL_REGISTRY_USERS", "false").start();
    settled(&[&one, &two]);
    let (_ann, _bob) = (connect(&one, "ann"), connect(&two, "bob"));
    until_online(&one, "ann");
    assert_eq!((&user(&one, "bob")["online"], &user(&one, "bob")["complete"]), (&Value::Null, &json!(false)));
    until_online(&two, "bob");
    assert_eq!((&user(&two, "ann")["online"], &user(&two, "ann")["complete"]), (&Value::Null, &json!(false)));
}
