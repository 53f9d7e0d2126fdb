//! Streams of several gateways on one PostgreSQL: producers, readers and gateways come and go, and every stream ends once with its text.

use crate::cluster::rig::Rig;
use crate::support::backend::with_api;
use crate::support::commands::CommandBody;
use crate::support::stream::{self, CHANNEL, Producer, View};
use crate::support::wait::{LATE, SOON, comes_true, until};
use crate::support::{Client, Gateway};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::fs;
use std::time::{Duration, Instant};

/// Streams that are written when their gateway is killed.
const STREAMS: usize = 50;
/// Bytes of a stream that wait for their commit. Its whole text must fit in one publication, however slow the machine is.
const AHEAD_MAX: u64 = 2_000;
/// How long the store is stopped: longer than a look at it, and than the wait for one statement.
const STOPPED: Duration = Duration::from_secs(12);
/// The bound on the end of a stream without a producer: the store waits for it, and only then sweeps. The rest is for a busy machine.
const UNATTENDED: Duration = Duration::from_secs(120);

fn start(rig: &Rig, name: &str, settings: &[(&str, &str)]) -> Gateway {
    let setup = stream::with_streams(rig.setup(name)).with_slow_store();
    let setup = setup.env("SEAWALL_STREAMS_OPEN_PER_CHANNEL", "128");
    settings.iter().fold(setup, |setup, (name, value)| setup.env(name, value)).start()
}

fn reader(gateway: &Gateway) -> Client {
    let mut reader = stream::user(gateway, "ann", &["subscribe"]);
    reader.subscribe(CHANNEL);
    reader
}

/// Stops a gateway, and waits until none of its threads runs.
fn stop(gateway: &Gateway) {
    gateway.signal(Signal::STOP);
    let tasks = format!("/proc/{}/task", gateway.pid());
    let is_stopped = |task: &fs::DirEntry| {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
    };
    until(SOON, "all threads are stopped", || {
        fs::read_dir(&tasks).expect("it lives").all(|task| is_stopped(&task.expect("readable")))
    });
}

/// The publications that ended a stream, from the history.
fn ends(client: &mut Client, offset: u64) -> Vec<Value> {
    let page = client.ask(json!({"history": {"channel": CHANNEL, "limit": 1000}}), "history");
    let publications = page["publications"].as_array().expect("a page");
    publications.iter().filter(|publication| publication["edits"] == offset).cloned().collect()
}

/// One of many streams of a connection.
struct Written {
    key: String,
    offset: u64,
    text: String,
    /// The end of what was acknowledged.
    acknowledged: u64,
    /// A piece was refused or in doubt, so everything that is not acknowledged is to be sent again.
    is_doubtful: bool,
}

impl Written {
    fn new(key: String) -> Written {
        Written { key, offset: 0, text: String::new(), acknowledged: 0, is_doubtful: false }
    }

    fn begin(&self) -> Value {
        json!({"publish": {"channel": CHANNEL, "key": self.key, "data": {}, "stream": {"for": "ann"}}})
    }

    /// `append` of everything from a position on.
    fn piece(&self, at: u64) -> Value {
        let text = &self.text[at as usize..];
        json!({"append": {"channel": CHANNEL, "offset": self.offset, "gen": 1, "at": at, "text": text}})
    }
}

fn note(streams: &mut [Written], appended: &Value) {
    let next = appended["next"].as_u64().expect("a position");
    let stream = streams.iter_mut().find(|stream| appended["offset"] == stream.offset).expect("one of them");
    stream.acknowledged = stream.acknowledged.max(next);
}

/// Takes an error about a piece: the store may be too slow for one, and then the next ones of its stream leave a gap.
fn note_error(streams: &mut [Written], error: &Value) {
    println!("sent again after {error}");
    let stream = streams.iter_mut().find(|stream| error["offset"] == stream.offset).expect("one of them");
    let is_slow = error["dependency"] == "store"
        && matches!(error["code"].as_str(), Some("unavailable" | "unconfirmed"));
    assert!(is_slow || (stream.is_doubtful && error["code"] == "gap"), "{error}");
    stream.is_doubtful = true;
}

/// Adds a word to each of the streams of a connection that is not too far ahead of the store.
fn write(bot: &mut Client, streams: &mut [Written], word: usize) {
    let is_behind = |stream: &&mut Written| stream.text.len() as u64 <= stream.acknowledged + AHEAD_MAX;
    for stream in streams.iter_mut().filter(is_behind) {
        let at = stream.text.len() as u64;
        stream.text.push_str(&format!("wörd {word} of {}; ", stream.key));
        bot.send_text(&stream.piece(at).to_string());
    }
}

/// Takes what the gateway says of the streams of a connection, and sends again what it refused.
fn hear(bot: &mut Client, streams: &mut [Written]) {
    while let Some(appended) = bot.next_push_within("appended", Duration::from_millis(1)) {
        note(streams, &appended);
    }
    let mut refused = HashSet::new();
    while let Some(error) = bot.next_push_within("error", Duration::ZERO) {
        note_error(streams, &error);
        refused.insert(error["offset"].as_u64());
    }
    for stream in streams.iter().filter(|stream| refused.contains(&Some(stream.offset))) {
        bot.send_text(&stream.piece(stream.acknowledged).to_string());
    }
}

#[test]
fn streams_of_a_killed_gateway_go_on_at_another_without_a_hole_or_a_repeat() {
    let rig = Rig::start();
    // Streams begin and end in turn: on a busy machine the last waits for long.
    let idle_ms = ("SEAWALL_STREAMS_IDLE_MS", "600000");
    let (one, two) = (start(&rig, "gw-1", &[idle_ms]), start(&rig, "gw-2", &[idle_ms]));
    let mut reader = reader(&two);
    let mut bot = stream::bot(&one);
    let keys = (0..STREAMS).map(|number| format!("run-{number}"));
    let mut streams: Vec<Written> = keys.map(Written::new).collect();
    for stream in &mut streams {
        stream.offset = bot.ask_again(&stream.begin(), "published")["offset"].as_u64().expect("an offset");
    }
    let mut views: Vec<View> = streams.iter().map(|stream| View::of(stream.offset)).collect();
    let mut word = 0;
    let written = comes_true(SOON, || {
        word += 1;
        write(&mut bot, &mut streams, word);
        hear(&mut bot, &mut streams);
        streams.iter().all(|stream| stream.acknowledged > 200)
    });
    assert!(written, "{LATE}: load");
    // These may or may not be stored.
    write(&mut bot, &mut streams, word + 1);
    let _ended = one.kill9();
    let mut bot = stream::bot(&two);
    for stream in &mut streams {
        let published = bot.ask_again(&stream.begin(), "published");
        assert_eq!((&published["duplicate"], &published["offset"]), (&json!(true), &json!(stream.offset)));
        let next = published["stream"]["next"].as_u64().expect("it is open");
        assert!(next >= stream.acknowledged, "acknowledged and lost: {next} of {}", stream.acknowledged);
        stream.text.push_str("and the end");
        let appended = bot.ask_again(&stream.piece(next), "appended");
        assert_eq!(appended["next"], stream.text.len(), "{}", stream.key);
    }
    for stream in &streams {
        let end = json!({"channel": CHANNEL, "offset": stream.offset, "at": stream.text.len(), "state": "completed"});
        bot.ask_again(&json!({"end": end}), "ended");
    }
    let deadline = Instant::now() + SOON;
    while views.iter().any(|view| view.end.is_none()) {
        assert!(Instant::now() < deadline, "{LATE}: not all streams ended");
        let push = reader.next_any_push();
        views.iter_mut().for_each(|view| view.take(&push));
    }
    for (view, stream) in views.iter().zip(&streams) {
        assert_eq!(view.end.as_ref().expect("it ended")["data"]["text"], *stream.text);
        // An end replaces pieces that the reader's gateway had to read from the store.
        assert!(stream.text.starts_with(&view.text), "{view:?}");
    }
    rig.every_stream_ends(SOON);
}

#[test]
fn stopped_gateway_that_continues_shows_only_what_is_stored() {
    let rig = Rig::start();
    let (one, two) = (start(&rig, "gw-1", &[]), start(&rig, "gw-2", &[]));
    let (mut here, mut there) = (reader(&one), reader(&two));
    let mut before = Producer::begin(stream::bot(&one), "run", json!({}));
    before.append("before ");
    let mut views = [View::of(before.offset), View::of(before.offset)];
    views[0].read(&mut here, "the first words", |view| view.text == "before ");
    stop(&one);
    let lost = before.piece(json!({"gen": 1, "at": before.next, "text": "of the stopped one"}));
    before.client.send_text(&lost.to_string());
    let mut after = Producer::begin(stream::bot(&two), "run", json!({}));
    assert_eq!((after.offset, after.next), (before.offset, before.next), "it goes on where it was");
    after.append("after");
    views[1].read(&mut there, "the words after", |view| view.text == "before after");
    one.signal(Signal::CONT);
    let error = before.client.next_push("error");
    assert_eq!((&error["code"], &error["offset"]), (&json!("diverged"), &json!(before.offset)), "{error}");
    views[0].read(&mut here, "the words after", |view| view.text == "before after");
    after.append(", and the end");
    after.end("completed");
    for (view, client) in views.iter_mut().zip([&mut here, &mut there]) {
        let end = view.read_to_end(client, "completed");
        assert_eq!(end["data"]["text"], "before after, and the end");
    }
    assert_eq!(ends(&mut there, after.offset).len(), 1);
    rig.every_stream_ends(SOON);
}

#[test]
fn producer_moves_to_another_gateway_while_both_serve() {
    let rig = Rig::start();
    let (one, two) = (start(&rig, "gw-1", &[]), start(&rig, "gw-2", &[]));
    let (mut here, mut there) = (reader(&one), reader(&two));
    let mut producer = Producer::begin(stream::bot(&one), "run", json!({}));
    let mut views = [View::of(producer.offset), View::of(producer.offset)];
    let mut text = String::new();
    for step in 0..6 {
        let word = format!("step {step} ");
        producer.append(&word);
        text.push_str(&word);
        // Attached there before it is detached here.
        let next = Producer::begin(stream::bot([&two, &one][step % 2]), "run", json!({}));
        assert_eq!((next.offset, next.next), (producer.offset, text.len() as u64), "step {step}");
        let mut last = std::mem::replace(&mut producer, next);
        last.client.close();
    }
    producer.end("completed");
    for (view, client) in views.iter_mut().zip([&mut here, &mut there]) {
        let end = view.read_to_end(client, "completed");
        assert_eq!(end["data"]["text"], *text);
    }
    assert_eq!(ends(&mut there, producer.offset).len(), 1);
    rig.every_stream_ends(SOON);
}

#[test]
fn cancel_at_one_gateway_reaches_the_producer_at_another() {
    let rig = Rig::start();
    let pair = |names: [&str; 2], cancel_ms| {
        names.map(|name| start(&rig, name, &[("SEAWALL_STREAMS_CANCEL_MS", cancel_ms)]))
    };
    let [one, two] = pair(["gw-1", "gw-2"], "60000");
    let mut asker = reader(&two);
    let cancel = |offset: u64| json!({"cancel": {"channel": CHANNEL, "offset": offset}});
    let mut polite = Producer::begin(stream::bot(&one), "polite", json!({}));
    polite.append("half an ans");
    asker.ask(cancel(polite.offset), "cancelling");
    let notice = polite.client.next_push("cancel");
    assert_eq!((&notice["offset"], &notice["user"]), (&json!(polite.offset), &json!("ann")));
    polite.append("wer");
    polite.end("cancelled");
    let mut view = View::of(polite.offset);
    let end = view.read_to_end(&mut asker, "cancelled");
    assert_eq!(end["data"]["text"], "half an answer");
    // A producer that takes no notice.
    let [one, two] = pair(["gw-3", "gw-4"], "1000");
    let mut asker = reader(&two);
    let mut deaf = Producer::begin(stream::bot(&one), "deaf", json!({}));
    deaf.append("on and on");
    asker.ask(cancel(deaf.offset), "cancelling");
    let mut view = View::of(deaf.offset);
    let end = view.read_to_end(&mut asker, "cancelled");
    assert_eq!(end["user"], "bot");
    let late = deaf.piece(json!({"at": 9, "text": "."}));
    assert_eq!(deaf.client.refused(late, "ended")["edit"], end["offset"]);
    for offset in [polite.offset, deaf.offset] {
        assert_eq!(ends(&mut asker, offset).len(), 1);
    }
    rig.every_stream_ends(SOON);
}

#[test]
fn stream_whose_producer_and_gateway_are_gone_is_ended_by_another() {
    let rig = Rig::start();
    let settings = [("SEAWALL_STREAMS_IDLE_MS", "8000"), ("SEAWALL_STREAMS_ORPHAN_MS", "1000")];
    let (one, two) = (start(&rig, "gw-1", &settings), start(&rig, "gw-2", &settings));
    let mut reader = reader(&two);
    let mut producer = Producer::begin(stream::bot(&one), "run", json!({}));
    producer.append("the beginning of");
    let _ended = one.kill9();
    let mut view = View::of(producer.offset);
    view.read_within(UNATTENDED, &mut reader, "the end", |view| view.end.is_some());
    let end = view.read_to_end(&mut reader, "interrupted");
    assert_eq!(end["data"]["text"], "the beginning of");
    assert_eq!(ends(&mut reader, producer.offset).len(), 1);
    rig.every_stream_ends(SOON);
}

#[test]
fn text_is_whole_when_connections_to_the_store_end_while_it_is_written() {
    let rig = Rig::start();
    let (one, two) = (start(&rig, "gw-1", &[]), start(&rig, "gw-2", &[]));
    let mut reader = reader(&two);
    let mut producer = Producer::begin(stream::bot(&one), "run", json!({}));
    let (mut view, mut text) = (View::of(producer.offset), String::new());
    for round in 0..5 {
        for word in 0..20 {
            let word = format!("wörd {word} of {round}; ");
            let piece = producer.piece(json!({"gen": 1, "at": text.len(), "text": word}));
            producer.client.send_text(&piece.to_string());
            text.push_str(&word);
        }
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'seawall'";
        rig.store.sql(cut);
        producer.acknowledged(text.len() as u64);
    }
    view.read(&mut reader, "all of the text", |view| view.text == text);
    let ended = comes_true(SOON, || {
        let end = producer.about("end", json!({"gen": 1, "at": text.len(), "state": "completed"}));
        producer.client.command(end).get("ended").is_some()
    });
    assert!(ended, "the end is never stored");
    assert_eq!(view.read_to_end(&mut reader, "completed")["data"]["text"], *text);
    assert_eq!(ends(&mut reader, producer.offset).len(), 1);
    rig.every_stream_ends(SOON);
}

#[test]
fn stopped_store_slows_producers_and_loses_nothing() {
    let rig = Rig::start();
    let (one, two) = (start(&rig, "gw-1", &[]), start(&rig, "gw-2", &[]));
    let (mut readers, mut bots) = ([reader(&two), reader(&one)], [stream::bot(&one), stream::bot(&two)]);
    let mut written = ["first", "second"].map(|key| [Written::new(key.to_owned())]);
    for (bot, [stream]) in bots.iter_mut().zip(&mut written) {
        stream.offset = bot.ask_again(&stream.begin(), "published")["offset"].as_u64().expect("an offset");
    }
    let mut word = 0;
    let mut step = |bots: &mut [Client], written: &mut [[Written; 1]]| {
        word += 1;
        for (bot, streams) in bots.iter_mut().zip(written) {
            write(bot, streams, word);
            hear(bot, streams);
        }
    };
    let goes = comes_true(SOON, || {
        step(&mut bots, &mut written);
        written.iter().all(|[stream]| stream.acknowledged > 200)
    });
    assert!(goes, "{LATE}: load");
    let acknowledged =
        |written: &[[Written; 1]]| written.iter().map(|[stream]| stream.acknowledged).sum::<u64>();
    rig.store.sigstop();
    // Answers to commits before it was stopped may be on their way.
    hear(&mut bots[0], &mut written[0]);
    let before = acknowledged(&written);
    let again = Instant::now() + STOPPED;
    while Instant::now() < again {
        step(&mut bots, &mut written);
    }
    let meanwhile = acknowledged(&written) - before;
    rig.store.sigcont();
    assert!(meanwhile <= 2 * AHEAD_MAX, "{meanwhile} bytes were acknowledged without a store");
    let goes = comes_true(SOON + SOON, || {
        bots.iter_mut().zip(&mut written).for_each(|(bot, streams)| hear(bot, streams));
        written.iter().all(|[stream]| stream.acknowledged == stream.text.len() as u64)
    });
    assert!(goes, "{LATE}: the rest is stored");
    for ((bot, reader), [stream]) in bots.iter_mut().zip(&mut readers).zip(&written) {
        let end = json!({"channel": CHANNEL, "offset": stream.offset, "at": stream.text.len(), "state": "completed"});
        bot.ask_again(&json!({"end": end}), "ended");
        let end = View::of(stream.offset).read_to_end(reader, "completed");
        assert_eq!(end["data"]["text"], *stream.text);
        assert_eq!(ends(reader, stream.offset).len(), 1);
    }
    rig.every_stream_ends(SOON);
}

#[test]
fn stream_goes_on_after_its_store_got_another_epoch() {
    let rig = Rig::start();
    let patient = [("SEAWALL_STREAMS_IDLE_MS", "600000"), ("SEAWALL_STREAMS_ORPHAN_MS", "600000")];
    let mut one = start(&rig, "gw-1", &patient);
    let mut before = stream::user(&one, "ann", &["subscribe"]);
    let epoch = before.subscribe(CHANNEL)["epoch"].clone();
    let mut producer = Producer::begin(stream::bot(&one), "run", json!({}));
    producer.append("before ");
    View::of(producer.offset).read(&mut before, "the first word", |view| view.text == "before ");
    let replaced =
        rig.setup("epoch").run_with(&["store", "new-epoch"], &[("SEAWALL_STORE_URL", &rig.store.url())]);
    assert!(replaced.status.success(), "{replaced:?}");
    for client in [&mut before, &mut producer.client] {
        assert_eq!(client.next_push("bye")["code"], 1012);
    }
    until(SOON, "it has ended", || !one.is_running());
    let two = start(&rig, "gw-2", &patient);
    let mut reader = stream::user(&two, "ann", &["subscribe"]);
    let known = json!({producer.offset.to_string(): [1, 7]});
    let place = json!({"epoch": epoch, "offset": producer.offset});
    let subscribe = json!({"subscribe": {"channel": CHANNEL, "recover": place, "streams": known}});
    let subscribed = reader.ask(subscribe, "subscribed");
    assert_eq!((&subscribed["recovered"], &subscribed["because"]), (&json!(false), &json!("epoch_changed")));
    let whole = reader.next_push("stream");
    assert_eq!((&whole["at"], &whole["text"]), (&json!(0), &json!("before ")), "it begins with nothing");
    let mut view = View::of(producer.offset);
    view.take(&json!({"stream": whole}));
    let mut after = Producer::begin(stream::bot(&two), "run", json!({}));
    assert_eq!((after.offset, after.next), (producer.offset, 7), "it goes on where it was");
    after.append("after");
    after.end("completed");
    assert_eq!(view.read_to_end(&mut reader, "completed")["data"]["text"], "before after");
    rig.every_stream_ends(SOON);
}

#[test]
fn commands_over_http_go_on_at_another_gateway_after_the_first_was_killed() {
    let rig = Rig::start();
    let api = |name| with_api(stream::with_streams(rig.setup(name)).with_slow_store()).start();
    let (one, two) = (api("gw-1"), api("gw-2"));
    let mut reader = reader(&two);
    let begin =
        json!({"id": 1, "publish": {"channel": CHANNEL, "key": "run", "data": {}, "stream": {"for": "ann"}}});
    let append = |at: u64, text: &str| json!({"id": 2, "append": {"channel": CHANNEL, "offset": 1, "at": at, "text": text}});
    let mut body = CommandBody::open(&one);
    body.send(std::slice::from_ref(&begin));
    assert_eq!(body.head().status, 200);
    assert_eq!(body.reply("published")["offset"], 1);
    body.send(&[append(0, "before ")]);
    assert_eq!(body.reply("appended")["next"], 7);
    let _killed = one.kill9();
    let mut body = CommandBody::open(&two);
    body.send(&[begin]);
    assert_eq!(body.head().status, 200);
    let published = body.reply("published");
    assert_eq!((&published["duplicate"], &published["stream"]["next"]), (&json!(true), &json!(7)));
    body.send(&[append(0, "before "), append(7, "after")]);
    while body.reply("appended")["next"] != 12 {}
    let mut view = View::of(1);
    view.read(&mut reader, "both pieces", |view| view.text == "before after");
    body.send(&[json!({"id": 3, "end": {"channel": CHANNEL, "offset": 1, "at": 12, "state": "completed"}})]);
    assert_eq!(body.reply("ended")["state"], "completed");
    body.end();
    body.rest();
    let end = view.read_to_end(&mut reader, "completed");
    assert_eq!((&end["data"]["text"], ends(&mut reader, 1).len()), (&json!("before after"), 1));
    rig.every_stream_ends(SOON);
}
