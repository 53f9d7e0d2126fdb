//! Texts of backends that are longer than a publication.

use crate::support::relay::{self, ASSISTANT, RelayBackend, ask, ended, ended_in_log};
use crate::support::wait::{SOON, until};
use crate::support::{Client, Gateway, stream};
use serde_json::{Value, json};

const THREAD: &str = "thread.1";

/// A gateway whose publications have so few bytes that a short text fills some.
#[track_caller]
fn gateway(backend: &RelayBackend, message_bytes: u32) -> Gateway {
    let bytes = message_bytes.to_string();
    let setup = backend.setup("").env("SEAWALL_LIMITS_FRAME_BYTES", &bytes);
    setup.env("SEAWALL_LIMITS_MESSAGE_BYTES", &bytes).start()
}

/// A user that asks and reads.
#[track_caller]
fn asker(gateway: &Gateway) -> Client {
    let mut asker = stream::user(gateway, "ann", &["subscribe", "publish", "history"]);
    asker.subscribe(THREAD);
    asker
}

/// Waits for the begin of the stream that continues another one.
#[track_caller]
fn continued(asker: &mut Client, offset: u64) -> u64 {
    let mut next = None;
    until(SOON, "the answer continues", || {
        let page = asker.ask(json!({"history": {"channel": THREAD}}), "history");
        let publications = page["publications"].as_array().expect("a page");
        next =
            publications.iter().find(|it| it["data"]["continues"] == offset).map(|it| it["offset"].clone());
        next.is_some()
    });
    next.and_then(|offset| offset.as_u64()).expect("just found")
}

#[test]
fn answer_that_outgrows_a_publication_continues_in_the_next_ones() {
    let backend = RelayBackend::start();
    let gateway = gateway(&backend, 4_096);
    let text: String =
        (0..500).map(|line| format!("{line} \"quoted\" \\ é€\u{1f469}\u{200d}\u{1f680}\n")).collect();
    let characters: Vec<char> = text.chars().collect();
    let pieces: Vec<String> = characters.chunks(700).map(|piece| piece.iter().collect()).collect();
    backend.mode(json!({"mode": "text", "pieces": pieces}));
    let mut asker = asker(&gateway);
    let (question, answer) = ask(&mut asker, THREAD, "hello?");
    let (mut joined, mut parts, mut offset) = (String::new(), 0, answer);
    loop {
        let end = ended_in_log(&mut asker, THREAD, offset);
        assert_eq!((&end["stream"], &end["user"]), (&json!("completed"), &json!(ASSISTANT)));
        joined.push_str(end["data"]["text"].as_str().expect("a text"));
        parts += 1;
        assert!(text.starts_with(&joined), "{joined}");
        if joined.len() == text.len() {
            break;
        }
        assert!(joined.ends_with('\n'), "{joined}");
        offset = continued(&mut asker, offset);
    }
    assert!(parts > 3, "{parts} parts");
    backend.kept_order(THREAD, &[question]);
    // The route goes on.
    backend.mode(json!({"mode": "text", "pieces": ["short"]}));
    let (_, answer) = ask(&mut asker, THREAD, "shorter?");
    assert_eq!(ended(&mut asker, &mut relay::view(THREAD, answer), "completed"), "short");
}

#[test]
fn answer_without_end_fails_after_sixteen_publications() {
    let backend = RelayBackend::start();
    let gateway = gateway(&backend, 300);
    backend.mode(json!({"mode": "text", "pieces": vec!["0123456789"; 400]}));
    let mut asker = asker(&gateway);
    let (_, mut offset) = ask(&mut asker, THREAD, "hello?");
    for _ in 1..16 {
        assert_eq!(ended_in_log(&mut asker, THREAD, offset)["stream"], "completed");
        offset = continued(&mut asker, offset);
    }
    let end = ended_in_log(&mut asker, THREAD, offset);
    assert_eq!((&end["stream"], &end["data"]["text"]), (&json!("failed"), &json!("0123456789".repeat(20))));
    gateway.logs("the text needs more than 16 publications");
}

#[test]
fn cancel_of_a_later_part_stops_the_response() {
    let backend = RelayBackend::start();
    let gateway = gateway(&backend, 1_000);
    backend.mode(json!({"mode": "endless", "ms": 10}));
    let mut asker = asker(&gateway);
    let (question, mut offset) = ask(&mut asker, THREAD, "hello?");
    loop {
        offset = continued(&mut asker, offset);
        let id = asker.send(json!({"cancel": {"channel": THREAD, "offset": offset}}));
        let reply = asker.reply(id);
        // A part may be complete before the cancel arrives.
        if reply.get("ended").is_none() {
            assert!(reply.get("cancelling").is_some(), "{reply}");
            break;
        }
    }
    let end = ended_in_log(&mut asker, THREAD, offset);
    assert!(["cancelled", "completed"].map(Value::from).contains(&end["stream"]), "{end}");
    until(SOON, "the response is closed", || {
        backend.ledger().iter().any(|line| line["type"] == "closed" && line["offset"] == question)
    });
    let page = asker.ask(json!({"history": {"channel": THREAD}}), "history");
    let publications = page["publications"].as_array().expect("a page");
    assert!(publications.iter().all(|it| it["data"]["continues"] != offset), "{page}");
}
