//! Streams from their begin to their end: readers see exactly what is stored, and no error takes anything away.

use crate::support::stream::{self, CHANNEL, Producer, View};
use crate::support::token::token_of;
use crate::support::{Client, Upgrade};
use serde_json::{Value, json};

/// Characters of one to four bytes, escapes, a NUL, a combining mark and joined emoji.
const TEXT: &str = "aé漢😀\u{0}\"\\\n\u{301}👩\u{200d}🚀 end";

#[test]
fn readers_see_what_is_stored_and_the_end_repeats_it() {
    let gateway = stream::setup().start();
    let mut reader = stream::user(&gateway, "ann", &["subscribe"]);
    reader.subscribe(CHANNEL);
    let mut producer = Producer::begin(stream::bot(&gateway), "run", json!({"events": "keep"}));
    assert_eq!((producer.offset, producer.generation, producer.next), (1, 1, 0));
    let begin = reader.next_push("publication");
    assert_eq!((&begin["stream"], &begin["data"]), (&json!("begun"), &json!({"agent": "run"})));
    let mut view = View::of(1);
    // Without ids: a character at a time, an event in the middle, and a sign of life.
    let mut at = 0;
    for (place, character) in TEXT.chars().enumerate() {
        let text = producer.piece(json!({"gen": 1, "at": at, "text": character.to_string()}));
        producer.client.send_text(&text.to_string());
        at += character.len_utf8() as u64;
        if place == 5 {
            let event = json!({"type": "tool_executing", "data": {"tool_name": "search"}});
            let event = producer.piece(json!({"gen": 1, "at": at, "event": event}));
            producer.client.send_text(&event.to_string());
            at += 1;
        }
    }
    let alive = producer.piece(json!({"at": at}));
    producer.client.send_text(&alive.to_string());
    producer.acknowledged(at);
    view.read(&mut reader, "all of the text", |view| view.next == at);
    assert_eq!(view.text, TEXT);
    assert_eq!(
        view.events[0].as_array().unwrap()[1..],
        [json!("tool_executing"), json!({"tool_name": "search"})]
    );
    let ended = producer.end("completed");
    assert_eq!(ended["state"], "completed");
    let end = view.read_to_end(&mut reader, "completed");
    assert_eq!(end["data"], json!({"text": TEXT, "begun": {"agent": "run"}, "events": view.events}));
    assert_eq!((&end["offset"], &end["edits"], &end["user"]), (&ended["edit"], &json!(1), &json!("bot")));
    let again = producer.end("completed");
    assert_eq!((&again["edit"], &again["duplicate"]), (&ended["edit"], &json!(true)));
    // A client that knows nothing of streams: a publication and its edit.
    let history = reader.ask(json!({"history": {"channel": CHANNEL}}), "history");
    let of = |name: &str| -> Vec<Value> {
        let publications = history["publications"].as_array().expect("a page");
        publications.iter().map(|publication| publication[name].clone()).collect()
    };
    assert_eq!(
        (of("stream"), of("edits")),
        (vec![json!("begun"), json!("completed")], vec![Value::Null, json!(1)])
    );
    assert_eq!(of("data"), [json!({"agent": "run"}), end["data"].clone()]);
}

#[test]
fn repeats_and_overlaps_at_every_byte_change_nothing() {
    let gateway = stream::setup().start();
    let mut producer = Producer::begin(stream::bot(&gateway), "run", json!({}));
    producer.append(TEXT);
    let length = TEXT.len();
    let mut text = TEXT.to_owned();
    for cut in 0..=length {
        let (before, after) = match (TEXT.get(..cut), TEXT.get(cut..)) {
            (Some(before), Some(after)) => (before, after),
            _ => {
                // No text begins inside a character.
                let inside = producer.piece(json!({"at": cut, "text": "x"}));
                let error = producer.client.refused(inside, "diverged");
                assert_eq!((&error["channel"], &error["offset"]), (&json!(CHANNEL), &json!(1)));
                continue;
            }
        };
        let known = producer.piece(json!({"gen": 1, "at": 0, "text": before}));
        assert_eq!(producer.client.ask_again(&known, "appended")["next"], text.len());
        // The whole tail again, and one byte more.
        text.push('+');
        let more =
            producer.piece(json!({"gen": 1, "at": cut, "text": format!("{after}{}", &text[length..])}));
        assert_eq!(producer.client.ask_again(&more, "appended")["next"], text.len(), "cut at {cut}");
    }
    for (at, piece, code) in
        [(0, "b", "diverged"), (text.len() + 1, "x", "gap"), (text.len() - 1, "-", "diverged")]
    {
        let wrong = producer.piece(json!({"gen": 1, "at": at, "text": piece}));
        assert_eq!(producer.client.refused(wrong, code)["next"], text.len(), "{code}");
    }
    // Without an id the error names the stream.
    let wrong = producer.piece(json!({"gen": 1, "at": text.len() + 9, "text": "x"}));
    producer.client.send_text(&wrong.to_string());
    let error = producer.client.next_push("error");
    assert_eq!(
        (&error["code"], &error["offset"], &error["next"]),
        (&json!("gap"), &json!(1), &json!(text.len()))
    );
    producer.next = text.len() as u64;
    producer.end("failed");
    let late = producer.piece(json!({"at": text.len(), "text": "x"}));
    let error = producer.client.refused(late, "ended");
    assert_eq!((&error["state"], &error["edit"]), (&json!("failed"), &json!(2)));
    let page = producer.client.ask(json!({"history": {"channel": CHANNEL}}), "history");
    assert_eq!(page["publications"][1]["data"]["text"], *text);
}

#[test]
fn restart_empties_the_text_and_fences_the_run_before() {
    let gateway = stream::setup().start();
    let mut reader = stream::user(&gateway, "ann", &["subscribe"]);
    reader.subscribe(CHANNEL);
    let mut producer = Producer::begin(stream::bot(&gateway), "run", json!({}));
    let mut view = View::of(producer.offset);
    producer.append("a first answer");
    view.read(&mut reader, "the first text", |view| view.text == "a first answer");
    let restart = producer.about("restart", json!({}));
    let restarted = producer.client.ask(restart, "restarted");
    assert_eq!((&restarted["gen"], &restarted["next"]), (&json!(2), &json!(0)));
    let stale = producer.piece(json!({"gen": 1, "at": 14, "text": "!"}));
    assert_eq!(producer.client.refused(stale, "stale")["gen"], 2);
    (producer.generation, producer.next) = (2, 0);
    producer.append("another");
    view.read(&mut reader, "the second text", |view| (view.generation, &*view.text) == (2, "another"));
    assert!(view.wholes > 0, "a frame that is not whole does not replace a text");
    producer.end("completed");
    let end = view.read_to_end(&mut reader, "completed");
    assert_eq!(end["data"]["text"], "another");
}

#[test]
fn one_who_joins_gets_each_open_stream_in_one_frame_before_synced() {
    let gateway = stream::setup().start();
    let mut first = Producer::begin(stream::bot(&gateway), "one", json!({}));
    let mut second = Producer::begin(stream::bot(&gateway), "two", json!({}));
    for word in ["so ", "much ", "text ", "already"] {
        first.append(word);
    }
    let event = second.piece(json!({"at": 0, "event": {"type": "thinking"}}));
    assert_eq!(second.client.ask_again(&event, "appended")["next"], 1);
    second.next = 1;
    let mut late = stream::user(&gateway, "ann", &["subscribe"]);
    late.ask(json!({"subscribe": {"channel": CHANNEL, "last": 10}}), "subscribed");
    let mut views = [View::of(first.offset), View::of(second.offset)];
    loop {
        let push = late.next_any_push();
        views.iter_mut().for_each(|view| view.take(&push));
        if push.get("synced").is_some() {
            break;
        }
    }
    assert_eq!(views.each_ref().map(|view| view.wholes), [1, 1]);
    assert_eq!(views[0].text, "so much text already");
    assert_eq!(views[1].events, [json!([0, "thinking", null])]);
    // From a position of its own.
    let known = json!({"stream": {"channel": CHANNEL, "offset": first.offset, "gen": 1, "after": 13}});
    let rest = late.ask(known, "stream");
    assert_eq!((&rest["at"], &rest["text"], &rest["next"]), (&json!(13), &json!("already"), &json!(20)));
    late.refused(json!({"stream": {"channel": CHANNEL, "offset": 99}}), "not_found");
    first.append("!");
    for (producer, view) in [&mut first, &mut second].into_iter().zip(&mut views) {
        producer.end("completed");
        view.read_to_end(&mut late, "completed");
    }
}

#[test]
fn one_who_returns_gets_the_rest_of_each_stream_that_it_names() {
    let gateway = stream::setup().start();
    let mut producers =
        ["one", "two", "three"].map(|key| Producer::begin(stream::bot(&gateway), key, json!({})));
    let mut before = stream::user(&gateway, "ann", &["subscribe"]);
    let subscribed = before.subscribe(CHANNEL);
    producers.iter_mut().for_each(|producer| producer.append("wörd "));
    before.close();
    producers.iter_mut().for_each(|producer| producer.append("by wörd"));
    // The third is of another generation than the client says.
    let known = json!({"1": [1, 6], "3": [2, 6]});
    let place = json!({"epoch": subscribed["epoch"], "offset": 3});
    let cursor = json!({"channel": CHANNEL, "epoch": place["epoch"], "offset": 3, "streams": known});
    let connected =
        Client::open(&gateway).with_connect(json!({"token": token_of("ann"), "recover": [cursor]}));
    let mut subscribing = stream::user(&gateway, "ann", &["subscribe"]);
    let subscribe = json!({"subscribe": {"channel": CHANNEL, "recover": place, "streams": known}});
    assert_eq!(subscribing.ask(subscribe, "subscribed")["recovered"], true);
    for mut client in [connected, subscribing] {
        let shown = [(); 3].map(|()| client.next_push("stream"));
        let of = |name: &str| shown.each_ref().map(|frame| frame[name].clone());
        assert_eq!(of("offset"), [1, 2, 3].map(Value::from));
        assert_eq!(of("at"), [6, 0, 0].map(Value::from));
        assert_eq!(of("text"), ["by wörd", "wörd by wörd", "wörd by wörd"].map(Value::from));
        assert_eq!(of("next"), [14, 14, 14].map(Value::from));
    }
    let mut lost = stream::user(&gateway, "ann", &["subscribe"]);
    let subscribe = json!({"channel": CHANNEL, "recover": {"epoch": "other", "offset": 3}, "streams": known});
    assert_eq!(lost.ask(json!({"subscribe": subscribe}), "subscribed")["recovered"], false);
    assert_eq!(lost.next_push("stream")["at"], 0, "another log has other streams at these offsets");
    let many: serde_json::Map<String, Value> = (1..=257).map(|n| (n.to_string(), json!([1, 0]))).collect();
    let subscribe = json!({"channel": CHANNEL, "recover": place, "streams": many});
    lost.refused(json!({"subscribe": subscribe}), "too_large");
}

const CHANNELS: usize = 8;
const STREAMS: usize = 16;

#[test]
fn slow_reader_misses_frames_and_no_text() {
    // A busy machine takes long to write all of it, and meanwhile nothing is read.
    let patient = stream::setup().limit("stall_ms", 600_000).limit("pong_ms", 600_000);
    let gateway = patient.limit("outbox_bytes", 65_536).start();
    let upgrade = Upgrade::default().receive_buffer(4096);
    let mut slow =
        Client::open_with(gateway.address, &upgrade).with_connect(json!({"token": token_of("ann")}));
    let channels: Vec<String> = (0..CHANNELS).map(|number| format!("c{number}")).collect();
    channels.iter().for_each(|channel| drop(slow.subscribe(channel)));
    let mut bot = stream::bot(&gateway);
    // Streams that together have more text than the sockets' buffers and the outbox hold.
    let text = "0123456789".repeat(6_000);
    let mut all = |command: fn(&str, u64, &str) -> Value, kind: &str| -> Vec<Value> {
        let streams =
            channels.iter().flat_map(|channel| (1..=STREAMS as u64).map(move |offset| (channel, offset)));
        let sent: Vec<(Value, u64)> = streams
            .map(|(channel, offset)| command(channel, offset, &text))
            .map(|command| (command.clone(), bot.send(command)))
            .collect();
        // A busy machine may not store so much in time.
        sent.into_iter()
            .map(|(command, id)| {
                let reply = bot.reply(id);
                if let Some(value) = reply.get(kind) {
                    return value.clone();
                }
                let code = reply["error"]["code"].as_str();
                assert!(matches!(code, Some("unavailable" | "unconfirmed")), "{command} is refused: {reply}");
                bot.ask_again(&command, kind)
            })
            .collect()
    };
    let begun = all(
        |channel, offset, _| json!({"publish": {"channel": channel, "key": format!("run-{offset}"), "data": 1, "stream": {}}}),
        "published",
    );
    let mut views: Vec<View> = begun.iter().map(View::begun).collect();
    for at in [0, 30_000] {
        let half = if at == 0 { first_half } else { second_half };
        let appended = all(half, "appended");
        assert!(appended.iter().all(|appended| appended["next"] == at + 30_000), "{appended:?}");
    }
    all(
        |channel, offset, _| json!({"end": {"channel": channel, "offset": offset, "state": "completed"}}),
        "ended",
    );
    while views.iter().any(|view| view.end.is_none()) {
        let push = slow.next_any_push();
        views.iter_mut().for_each(|view| view.take(&push));
    }
    let end_text =
        |view: &View| view.end.as_ref().and_then(|end| end["data"]["text"].as_str()) == Some(&text);
    assert!(views.iter().all(end_text), "the end has all of the text");
    assert!(
        views.iter().all(|view| text.starts_with(&view.text)),
        "the text that was shown is its beginning"
    );
    assert!(views.iter().any(|view| view.text.len() < text.len()), "the reader was never behind");
}

fn first_half(channel: &str, offset: u64, text: &str) -> Value {
    json!({"append": {"channel": channel, "offset": offset, "at": 0, "text": text[..30_000]}})
}

fn second_half(channel: &str, offset: u64, text: &str) -> Value {
    json!({"append": {"channel": channel, "offset": offset, "at": 30_000, "text": text[30_000..]}})
}
