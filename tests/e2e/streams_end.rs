//! Every stream ends exactly once: by its producer, by people, or by the gateway.

use crate::support::stream::{self, CHANNEL, Producer, View};
use crate::support::{Certificate, Client, Gateway};
use serde_json::{Value, json};
use std::time::Instant;

fn asker(gateway: &Gateway) -> Client {
    let mut asker = stream::user(gateway, "ann", &["subscribe"]);
    asker.subscribe(CHANNEL);
    asker
}

fn cancel(offset: u64) -> Value {
    json!({"cancel": {"channel": CHANNEL, "offset": offset}})
}

#[test]
fn cancel_by_the_asker_gives_the_producer_time_to_end_the_stream() {
    let gateway = stream::setup().env("SEAWALL_STREAMS_CANCEL_MS", "60000").start();
    let mut asker = asker(&gateway);
    let mut polite = Producer::begin(stream::bot(&gateway), "polite", json!({}));
    polite.append("half an ans");
    let mut view = View::of(polite.offset);
    let asked = asker.ask(cancel(polite.offset), "cancelling");
    assert_eq!((&asked["channel"], &asked["offset"]), (&json!(CHANNEL), &json!(polite.offset)));
    let notice = polite.client.next_push("cancel");
    assert_eq!(
        (&notice["offset"], &notice["gen"], &notice["user"]),
        (&json!(polite.offset), &json!(1), &json!("ann"))
    );
    assert!(notice["end_ms"].as_u64().is_some_and(|left| left <= 60_000), "{notice}");
    polite.append("wer");
    view.read(&mut asker, "the text, cancelled", |view| {
        (&*view.text, &*view.state) == ("half an answer", "cancelling")
    });
    polite.end("cancelled");
    let end = view.read_to_end(&mut asker, "cancelled");
    assert_eq!(end["data"], json!({"text": "half an answer", "begun": {"agent": "polite"}}));
    let over = asker.ask(cancel(polite.offset), "ended");
    assert_eq!((&over["state"], &over["duplicate"]), (&json!("cancelled"), &json!(true)));
}

#[test]
fn stream_whose_producer_takes_no_notice_of_a_cancel_is_ended() {
    let gateway = stream::setup().env("SEAWALL_STREAMS_CANCEL_MS", "1000").start();
    let mut asker = asker(&gateway);
    let mut deaf = Producer::begin(stream::bot(&gateway), "deaf", json!({}));
    deaf.append("on and on");
    asker.ask(cancel(deaf.offset), "cancelling");
    let end = View::of(deaf.offset).read_to_end(&mut asker, "cancelled");
    assert_eq!((&end["data"]["text"], &end["user"]), (&json!("on and on"), &json!("bot")));
    let late = deaf.piece(json!({"at": 9, "text": "."}));
    assert_eq!(deaf.client.refused(late, "ended")["edit"], end["offset"]);
}

#[test]
fn author_stops_their_own_producer_over_tls_without_any_right() {
    let setup = stream::setup().tls(Certificate::new()).env("SEAWALL_STREAMS_CANCEL_MS", "60000");
    let gateway = setup.start();
    let mut reader = stream::user(&gateway, "bob", &["subscribe"]);
    reader.subscribe(CHANNEL);
    let mut producer = Producer::begin(stream::bot(&gateway), "one", json!({}));
    // Many records.
    let long = "wörd ".repeat(5_000);
    producer.append(&long);
    let mut view = View::of(producer.offset);
    view.read(&mut reader, "all of the text", |view| view.text == long);
    let mut author = stream::user(&gateway, "bot", &[]);
    author.ask(producer.about("cancel", json!({})), "cancelling");
    let notice = producer.client.next_push("cancel");
    assert_eq!((&notice["offset"], &notice["user"]), (&json!(producer.offset), &json!("bot")));
    producer.end("cancelled");
    let end = view.read_to_end(&mut reader, "cancelled");
    assert_eq!(end["data"]["text"], long);
}

#[test]
fn streams_are_written_and_ended_by_those_with_the_right_to_it() {
    let gateway = stream::setup().env("SEAWALL_STREAMS_CANCEL_MS", "100").start();
    let mut producer = Producer::begin(stream::bot(&gateway), "one", json!({}));
    producer.append("mine");
    let mut other = stream::user(&gateway, "eve", &["subscribe", "publish", "stream"]);
    for command in ["append", "restart", "cancel"] {
        other.refused(producer.about(command, json!({})), "forbidden");
    }
    other.refused(producer.about("end", json!({"state": "completed"})), "forbidden");
    let mut plain = stream::user(&gateway, "bot", &["subscribe", "publish"]);
    let begin = json!({"publish": {"channel": CHANNEL, "data": 1, "stream": {}}});
    plain.refused(begin, "forbidden");
    plain.refused(producer.piece(json!({"text": "x"})), "forbidden");
    let mut moderator = stream::user(&gateway, "mod", &["subscribe", "publish", "moderate"]);
    other.subscribe(CHANNEL);
    moderator.ask(producer.about("cancel", json!({})), "cancelling");
    View::of(producer.offset).read(&mut other, "the end", |view| view.end.is_some());
    // An edit and a delete of the begin.
    let mut edited = Producer::begin(producer.client, "two", json!({}));
    edited.append("to be replaced");
    let edit = json!({"publish": {"channel": CHANNEL, "edits": edited.offset, "data": {"text": "instead"}}});
    let offset = edited.client.ask(edit, "published")["offset"].clone();
    let late = edited.piece(json!({"text": "x"}));
    let error = edited.client.refused(late, "ended");
    assert_eq!((&error["state"], &error["edit"]), (&json!("replaced"), &offset));
    let mut deleted = Producer::begin(edited.client, "three", json!({}));
    deleted.append("to be deleted");
    let mut view = View::of(deleted.offset);
    view.read(&mut other, "the text", |view| view.text == "to be deleted");
    moderator.ask(json!({"publish": {"channel": CHANNEL, "deletes": deleted.offset}}), "published");
    view.read(&mut other, "the delete", |view| view.end.is_some());
    assert_eq!(view.end.expect("just read")["stream"], "deleted");
}

/// Longer than a test takes.
const FOR_LONG: (&str, &str) = ("SEAWALL_STREAMS_ORPHAN_MS", "600000");

#[test]
fn stream_of_a_lost_producer_is_paused_and_goes_on_when_it_is_back() {
    let gateway = stream::setup().env(FOR_LONG.0, FOR_LONG.1).start();
    let mut reader = asker(&gateway);
    let mut producer = Producer::begin(stream::bot(&gateway), "run", json!({"idle_ms": 600_000}));
    producer.append("one ");
    let mut view = View::of(producer.offset);
    producer.client.close();
    view.read(&mut reader, "it is paused", |view| view.state == "paused");
    let mut producer = Producer::begin(stream::bot(&gateway), "run", json!({}));
    assert_eq!((producer.generation, producer.next), (1, 4), "it goes on where it was");
    producer.append("piece");
    view.read(&mut reader, "it goes on", |view| (&*view.text, &*view.state) == ("one piece", "streaming"));
    producer.end("completed");
    view.read_to_end(&mut reader, "completed");
}

#[test]
fn lost_producer_is_waited_for_and_then_its_stream_is_interrupted() {
    let gateway = stream::setup().env("SEAWALL_STREAMS_ORPHAN_MS", "2500").start();
    let mut reader = asker(&gateway);
    let mut lost = Producer::begin(stream::bot(&gateway), "lost", json!({}));
    lost.append("the beginning of");
    // Silence ends a stream whose producer is there. It has no text, because silence may end it before that is written.
    let silent = Producer::begin(stream::bot(&gateway), "silent", json!({"idle_ms": 1_000}));
    let mut views = [View::of(lost.offset), View::of(silent.offset)];
    let since = Instant::now();
    lost.client.close();
    while views.iter().any(|view| view.end.is_none()) {
        let push = reader.next_any_push();
        views.iter_mut().for_each(|view| view.take(&push));
    }
    assert!(since.elapsed().as_millis() >= 2_500, "the gateway did not wait for the producer");
    let ended = |view: &View| {
        let end = view.end.as_ref().expect("read above");
        (end["stream"].clone(), end["data"]["cause"].clone(), end["data"]["text"].clone())
    };
    assert_eq!(ended(&views[0]), (json!("interrupted"), json!("producer_lost"), json!("the beginning of")));
    assert_eq!(ended(&views[1]), (json!("interrupted"), json!("idle"), json!("")));
    // Begun again after its end, a stream says how it ended.
    let begin =
        json!({"publish": {"channel": CHANNEL, "key": "lost", "data": {"agent": "lost"}, "stream": {}}});
    let published = stream::bot(&gateway).ask(begin, "published");
    assert_eq!(
        (&published["duplicate"], &published["stream"]["state"]),
        (&json!(true), &json!("interrupted"))
    );
    assert_eq!(published["stream"]["edit"], views[0].end.as_ref().expect("an end")["offset"]);
}

#[test]
fn acknowledged_text_survives_a_kill_and_its_producer_goes_on() {
    let gateway = stream::setup().env(FOR_LONG.0, FOR_LONG.1).start();
    let mut producer = Producer::begin(stream::bot(&gateway), "run", json!({}));
    let mut text = String::new();
    for word in 0..20 {
        let word = format!("wörd {word} ");
        text.push_str(&word);
        producer.append(&word);
    }
    // These may or may not be stored.
    for word in ["not ", "acknowledged"] {
        let piece = producer.piece(json!({"text": word}));
        producer.client.send_text(&piece.to_string());
    }
    let gateway = gateway.kill9().start();
    let mut reader = stream::user(&gateway, "ann", &["subscribe"]);
    reader.subscribe(CHANNEL);
    let mut view = View::of(producer.offset);
    let mut producer = Producer::begin(stream::bot(&gateway), "run", json!({}));
    assert!(
        producer.next as usize >= text.len(),
        "acknowledged and lost: {} of {}",
        producer.next,
        text.len()
    );
    text.push_str("not acknowledged");
    let rest = text[producer.next as usize..].to_owned() + " and the end";
    producer.append(&rest);
    text.push_str(" and the end");
    producer.end("completed");
    let end = view.read_to_end(&mut reader, "completed");
    assert_eq!(end["data"], json!({"text": text, "begun": {"agent": "run"}}));
}
