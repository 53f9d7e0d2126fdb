//! Streams that are written at one gateway and read at another: readers see what is stored, whatever the bus does.

use crate::bus::cluster::{Pair, channel_at};
use crate::bus::rig::{Rig, delivers};
use crate::support::Gateway;
use crate::support::stream::{self, CHANNEL, Producer, View};
use crate::support::wait::{SOON, until};
use seawall_fault::{Mode, Pace};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Characters of one to four bytes, escapes, a NUL, a combining mark and joined emoji.
const TEXT: &str = "aé漢😀\u{0}\"\\\n\u{301}👩\u{200d}🚀 end";
/// While the bus does not deliver, open streams are read each second. Silence is noticed after 3.5 s. The rest is for a busy machine.
const BY_LOOKS: Duration = Duration::from_secs(15);

/// The delay of a bus that is late: longer than the silence that is noticed.
const LATENCY: Duration = Duration::from_secs(5);

fn pair(rig: &Rig) -> (Gateway, Gateway) {
    let start = |name| stream::with_streams(rig.proxied(name)).with_slow_store().start();
    let (one, two) = (start("gw-1"), start("gw-2"));
    delivers(&one);
    delivers(&two);
    (one, two)
}

#[test]
fn reader_at_another_gateway_sees_pieces_states_and_the_end() {
    let rig = Rig::start();
    let (one, two) = pair(&rig);
    let mut reader = stream::user(&two, "ann", &["subscribe"]);
    reader.subscribe(CHANNEL);
    let mut producer = Producer::begin(stream::bot(&one), "run", json!({"events": "keep"}));
    let begin = reader.next_push("publication");
    assert_eq!((&begin["stream"], &begin["data"]), (&json!("begun"), &json!({"agent": "run"})));
    let mut view = View::of(producer.offset);
    for (place, character) in TEXT.chars().enumerate() {
        producer.append(&character.to_string());
        if place == 5 {
            let event = json!({"type": "tool_executing", "data": {"tool_name": "search"}});
            let event = producer.piece(json!({"gen": 1, "at": producer.next, "event": event}));
            producer.client.ask_again(&event, "appended");
            producer.next += 1;
        }
        let next = producer.next;
        view.read(&mut reader, "the piece", |view| view.next == next);
    }
    assert_eq!(view.text, TEXT);
    let restart = producer.about("restart", json!({}));
    producer.client.ask(restart, "restarted");
    view.read(&mut reader, "the new generation", |view| view.generation == 2 && view.text.is_empty());
    (producer.generation, producer.next) = (2, 0);
    producer.append("another text");
    producer.end("completed");
    let end = view.read_to_end(&mut reader, "completed");
    assert_eq!(end["data"]["begun"], json!({"agent": "run"}));
    assert!(two.metric("seawall_bus_stream_changes_total") > 0.0, "nothing came over the bus");
    assert_eq!(two.metric("seawall_bus_messages_garbled_total"), 0.0);
}

#[test]
fn text_goes_on_in_steps_while_the_bus_does_not_deliver() {
    let rig = Rig::start();
    let (one, two) = pair(&rig);
    let mut reader = stream::user(&two, "ann", &["subscribe"]);
    reader.subscribe(CHANNEL);
    let cut = |mode| {
        rig.proxy.set(mode);
        rig.proxy.cut();
    };
    let late = Pace { bytes_per_s: None, latency: LATENCY };
    let faults: [(&str, &dyn Fn()); 4] = [
        ("refused", &|| cut(Mode::Refuse)),
        ("stalled", &|| cut(Mode::Stall)),
        ("silent", &|| rig.proxy.set(Mode::Stall)),
        // The frames that come late are known by then.
        ("late", &|| rig.proxy.set(Mode::Slow(late))),
    ];
    for (name, fail) in faults {
        let mut producer = Producer::begin(stream::bot(&one), name, json!({}));
        let mut view = View::of(producer.offset);
        let mut text = String::new();
        let mut write = |producer: &mut Producer, word: &str| {
            producer.append(word);
            text.push_str(word);
            text.clone()
        };
        let written = write(&mut producer, "with the bus ");
        view.read(&mut reader, "the first words", |view| view.text == written);
        fail();
        let mut slowest = Duration::ZERO;
        for word in 0..8 {
            let written = write(&mut producer, &format!("wörd {word} "));
            let since = Instant::now();
            view.read(&mut reader, "the words", |view| view.text == written);
            slowest = slowest.max(since.elapsed());
        }
        println!("{name}: words were there after {slowest:?} at most");
        assert!(slowest < BY_LOOKS, "{name}: {slowest:?}");
        // A reader that joins now has all of it.
        let mut late = stream::user(&two, "ann", &["subscribe"]);
        late.subscribe(CHANNEL);
        let (mut joined, written) = (View::of(producer.offset), write(&mut producer, "and on "));
        joined.read(&mut late, "all of the text", |view| view.text == written);
        rig.proxy.set(Mode::Pass);
        delivers(&two);
        let written = write(&mut producer, "to the end");
        view.read(&mut reader, "the last words", |view| view.text == written);
        producer.end("completed");
        for (view, client) in [(&mut view, &mut reader), (&mut joined, &mut late)] {
            assert_eq!(view.read_to_end(client, "completed")["data"]["text"], *written, "{name}");
        }
    }
    let before = two.metric("seawall_bus_stream_changes_total");
    let mut producer = Producer::begin(stream::bot(&one), "after", json!({}));
    until(SOON, "pieces come over the bus again", || {
        producer.append("more ");
        two.metric("seawall_bus_stream_changes_total") > before
    });
}

#[test]
fn streams_pass_over_each_master_of_a_cluster() {
    let pair = Pair::start();
    let start = |name| stream::with_streams(pair.setup(name, &pair.cluster.url())).with_slow_store().start();
    let (one, two) = (start("gw-1"), start("gw-2"));
    delivers(&one);
    delivers(&two);
    let mut reader = stream::user(&two, "ann", &["subscribe"]);
    let mut bot = stream::bot(&one);
    for master in 0..3 {
        let channel = channel_at(master);
        reader.subscribe(&channel);
        let before = two.metric("seawall_bus_stream_changes_total");
        let begin = json!({"publish": {"channel": channel, "data": {}, "stream": {}}});
        let mut view = View::begun(&bot.ask(begin, "published"));
        let about = |mut members: Value| {
            (members["channel"], members["offset"]) = (json!(channel), json!(view.offset));
            members
        };
        bot.ask_again(&json!({"append": about(json!({"at": 0, "text": TEXT}))}), "appended");
        let (more, end) = (about(json!({"text": "+"})), about(json!({"state": "completed"})));
        view.read(&mut reader, "the text", |view| view.text == TEXT);
        // The gateway may have read the first ones from the store.
        until(SOON, "pieces come over this master", || {
            bot.ask_again(&json!({"append": more}), "appended");
            two.metric("seawall_bus_stream_changes_total") > before
        });
        bot.ask_again(&json!({"end": end}), "ended");
        view.read_to_end(&mut reader, "completed");
    }
}
