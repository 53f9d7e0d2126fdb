//! The erasure of a user on one instance with SQLite.

use crate::support::backend::{Backend, READER, is_problem, setup};
use crate::support::token::{SECRET, token_of};
use crate::support::wait::until;
use crate::support::{Client, Gateway, Operator};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

const TEXT: &str = "a-word-of-ann";
/// A search begins 10 s after its order, and a busy machine needs more.
const ERASED: Duration = Duration::from_secs(90);
/// The promise of the guide, and the time for a busy machine.
const FORGOTTEN: Duration = Duration::from_secs(90);

fn gateway() -> Gateway {
    setup().with_admin().env("SEAWALL_AUTH_SECRET", SECRET).start()
}

fn connect(gateway: &Gateway, user: &str) -> Client {
    Client::open(gateway).with_connect(json!({"token": token_of(user)}))
}

fn is_erased(gateway: &Gateway) -> bool {
    gateway.output().contains("user erased")
}

/// Has ann publish this many texts, longer than a page of the file.
fn write(backend: &mut Backend, count: usize) {
    for n in 0..count {
        let data = format!("{TEXT} {n} {}", "x".repeat(6_000));
        let body = json!({"channel": format!("room.{}", n % 3), "user": "ann", "key": format!("k{n}"), "data": data});
        backend.publish(&body);
    }
}

/// The number of files of the store that hold the text.
fn files_with(data: &Path, text: &str) -> usize {
    let files = std::fs::read_dir(data).expect("a folder").filter_map(Result::ok);
    let holds = |path: &Path| {
        std::fs::read(path).is_ok_and(|file| file.windows(text.len()).any(|window| window == text.as_bytes()))
    };
    files.filter(|file| holds(&file.path())).count()
}

#[test]
fn erased_user_leaves_neither_text_nor_name_and_readers_are_notified() {
    let gateway = gateway();
    let mut backend = Backend::of(&gateway);
    let mut reader = connect(&gateway, "bob");
    reader.subscribe("room.0");
    write(&mut backend, 200);
    let kept = backend.publish(&json!({"channel": "room.1", "user": "bob", "data": "of bob"}));
    let data = gateway.setup().data();
    assert!(files_with(&data, TEXT) > 0, "the store holds it");

    let answer = backend.post("/v1/users/ann/erase", &json!({})).json();
    assert_eq!((&answer["kind"], &answer["complete"]), (&json!("erase"), &json!(true)), "{answer}");
    until(ERASED, "it is done", || is_erased(&gateway));
    gateway.logs("publications=200");
    let mut deletes = 0;
    while deletes < 67 {
        let push = reader.next_push("publication");
        deletes += usize::from(push["deletes"].is_u64());
    }
    for room in 0..3 {
        let page = backend.get(&format!("/v1/channels/room.{room}/history?limit=300")).json();
        for publication in page["publications"].as_array().expect("a list") {
            let is_bobs = room == 1 && publication["offset"] == kept["offset"];
            let wanted = if is_bobs { ("bob", json!("of bob")) } else { ("erased", Value::Null) };
            assert_eq!((&publication["user"], &publication["data"]), (&json!(wanted.0), &wanted.1));
            assert_eq!(publication["key"], Value::Null, "{publication}");
        }
    }
    until(FORGOTTEN, "the text is in no file", || files_with(&data, TEXT) == 0);
    // The key is free again, and the user may write.
    let again = backend.publish(&json!({"channel": "room.0", "user": "ann", "key": "k0", "data": "new"}));
    assert_ne!(again["duplicate"], json!(true), "{again}");
}

#[test]
fn erasure_goes_on_after_a_kill() {
    let gateway = gateway();
    let mut backend = Backend::of(&gateway);
    write(&mut backend, 300);
    backend.post("/v1/users/ann/erase", &json!({}));
    let gateway = gateway.kill9().start();
    until(ERASED, "it is done", || is_erased(&gateway) || !names_ann(&gateway));
    assert!(!names_ann(&gateway));
}

#[test]
fn text_that_goes_without_a_delete_is_not_served_from_memory() {
    let gateway = gateway();
    let mut backend = Backend::of(&gateway);
    let mut reader = connect(&gateway, "bob");
    let position = reader.subscribe("room.0");
    let mut ann = connect(&gateway, "ann");
    ann.ask(json!({"publish": {"channel": "room.0", "data": TEXT}}), "published");
    let text = json!({"publish": {"channel": "room.0", "deletes": 1, "data": "sorry"}});
    ann.ask(text, "published");
    while reader.next_push("publication")["deletes"] != json!(1) {}
    backend.post("/v1/users/ann/erase", &json!({}));
    until(ERASED, "it is done", || is_erased(&gateway));
    let recover = || {
        let mut late = connect(&gateway, "eve");
        let from = json!({"epoch": position["epoch"], "offset": 1});
        late.ask(json!({"subscribe": {"channel": "room.0", "recover": from}}), "subscribed");
        late.next_push("publication")
    };
    // The reactors carry out the order of its end.
    until(ERASED, "the name is gone from memory", || recover()["user"] == "erased");
    assert_eq!(recover()["data"], Value::Null);
}

fn names_ann(gateway: &Gateway) -> bool {
    let mut backend = Backend::of(gateway);
    (0..3).any(|room| {
        let page = backend.get(&format!("/v1/channels/room.{room}/history?limit=300")).json();
        page["publications"]
            .as_array()
            .expect("a list")
            .iter()
            .any(|one| one["user"] == "ann" || one["data"] != Value::Null)
    })
}

#[test]
fn erasure_needs_its_right_and_a_user_and_operators_may_give_it() {
    let gateway = gateway();
    let problem = Backend::with(&gateway, READER).post("/v1/users/ann/erase", &json!({}));
    is_problem(&problem, 403, "forbidden");
    let mut backend = Backend::of(&gateway);
    is_problem(&backend.post("/v1/users/anonymous/erase", &json!({})), 400, "malformed");
    is_problem(&backend.post("/v1/users/ann/erase", &json!({"now": true})), 400, "malformed");
    backend.put("/v1/users/ann/block", &json!({"reason": "a word of an operator"}));
    let output = gateway.setup().run(&["user", "erase", "ann"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("(erase)"), "{text}");
    until(ERASED, "it is done", || is_erased(&gateway));
    let block = backend.get("/v1/users/ann/block").json();
    assert_eq!((&block["blocked"], &block["reason"]), (&json!(true), &json!("")), "{block}");
    let listed = Operator::of(&gateway).get("/orders").json();
    let kinds = (&listed["orders"][1]["kind"], &listed["orders"][0]["kind"]);
    assert_eq!(kinds, (&json!("erase"), &json!("erased")), "{listed}");
}
