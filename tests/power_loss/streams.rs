//! Repeated power losses while streams are written: what was acknowledged or shown must be stored afterwards, and each stream goes on
//! where it was, to one end with its whole text.

use crate::machine::{Machine, WithPostgres, WithSqlite};
use crate::support::stream::{CHANNEL, Producer, View};
use crate::support::wait::{LATE, comes_true, size};
use crate::support::{Client, Gateway, SOON};
use fastrand::Rng;
use seawall_power_loss::{Sync, WrittenBack};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

/// Streams that are written when the power fails.
const STREAMS: usize = 4;
/// Power losses of one test, unless `SEAWALL_TEST_LOSSES` is set.
const LOSSES: usize = 5;
/// The power fails after a random number of acknowledgements, at least one and fewer than this.
const MOMENT: usize = 160;
/// Pieces of one stream that wait for their commits.
const AT_ONCE: usize = 4;

/// A stream that a power loss interrupted.
struct Written {
    key: String,
    offset: u64,
    /// All that was sent, from the beginning.
    text: String,
    /// The end of what was acknowledged.
    acknowledged: usize,
    /// The text that a reader saw last.
    shown: String,
}

impl Written {
    /// Appends with several pieces pending until the connection breaks, or the store fails a moment before the gateway.
    fn write(&mut self, mut producer: Producer, acknowledged: &AtomicUsize) {
        let generation = producer.generation;
        loop {
            let mut waiting = Vec::new();
            for _ in 0..AT_ONCE {
                let at = self.text.len();
                let piece = format!("wörd {at} of {}; ", self.key).repeat(1 + at % 9);
                self.text.push_str(&piece);
                let append = producer.piece(json!({"gen": generation, "at": at, "text": piece}));
                let Ok(id) = producer.client.try_send(append) else { return };
                waiting.push(id);
            }
            for id in waiting {
                let Some(reply) = producer.client.try_reply(id) else { return };
                let Some(next) = reply["appended"]["next"].as_u64() else {
                    let code = reply["error"]["code"].as_str();
                    assert!(matches!(code, Some("unavailable" | "unconfirmed" | "overloaded")), "{reply}");
                    return;
                };
                self.acknowledged = next as usize;
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Takes the stream up again, checks what is stored, and ends it. Returns its offset and its whole text.
    fn end(self, gateway: &Gateway, loss: &str) -> (u64, String) {
        let mut reader = Client::connect(gateway);
        reader.subscribe(CHANNEL);
        let mut producer = Producer::begin(Client::connect(gateway), &self.key, json!({}));
        let stored = producer.next as usize;
        assert_eq!(producer.offset, self.offset, "{loss}");
        assert!(
            self.acknowledged.max(self.shown.len()) <= stored && stored <= self.text.len(),
            "{loss}: {stored} bytes are stored of {}; {} were acknowledged, {} shown",
            self.text.len(),
            self.acknowledged,
            self.shown.len()
        );
        assert!(self.text.starts_with(&self.shown), "{loss}: a reader saw another text: {}", self.shown);
        let mut text = self.text[..stored].to_owned();
        let mut view = View::of(self.offset);
        view.read(&mut reader, "all that is stored", |view| view.next == stored as u64);
        assert_eq!(view.text, text, "{loss}");
        let rest = "and the end";
        text.push_str(rest);
        producer.append(rest);
        producer.end("completed");
        assert_eq!(view.read_to_end(&mut reader, "completed")["data"]["text"], *text, "{loss}");
        (self.offset, text)
    }
}

/// Writes streams, and reads them, until the power fails at a random moment.
fn work_until_power_fails(machine: &mut impl Machine, loss: usize, random: &mut Rng) -> Vec<Written> {
    let begun: Vec<Producer> = (0..STREAMS)
        .map(|n| Producer::begin(Client::connect(machine.gateway()), &format!("run-{loss}-{n}"), json!({})))
        .collect();
    let views = begun.iter().map(|producer| View::of(producer.offset)).collect();
    let mut streams: Vec<Written> = begun
        .iter()
        .enumerate()
        .map(|(n, producer)| Written {
            key: format!("run-{loss}-{n}"),
            offset: producer.offset,
            text: String::new(),
            acknowledged: 0,
            shown: String::new(),
        })
        .collect();
    let mut reader = Client::connect(machine.gateway());
    reader.subscribe(CHANNEL);
    let acknowledged = AtomicUsize::new(0);
    let moment = random.usize(1..MOMENT);
    let (loaded, views) = thread::scope(|scope| {
        let reading = scope.spawn(|| read(reader, views));
        for (stream, producer) in streams.iter_mut().zip(begun) {
            scope.spawn(|| stream.write(producer, &acknowledged));
        }
        let loaded = comes_true(SOON, || acknowledged.load(Ordering::Relaxed) >= moment);
        machine.fail_power(random);
        (loaded, reading.join())
    });
    assert!(loaded, "{LATE}: no load");
    for (stream, view) in streams.iter_mut().zip(views.expect("the reader does not panic")) {
        stream.shown = view.text;
    }
    streams
}

/// Reads until the connection breaks.
fn read(mut reader: Client, mut views: Vec<View>) -> Vec<View> {
    while let Some(push) = reader.next_any_push_by(Instant::now() + SOON) {
        views.iter_mut().for_each(|view| view.take(&push));
    }
    views
}

/// Checks that each stream that ended is still there, once, with its whole text.
fn check_ends(gateway: &Gateway, ended: &[(u64, String)], loss: &str) {
    let publications = history(gateway);
    for (offset, text) in ended {
        let ends = publications.iter().filter(|publication| publication["edits"] == *offset);
        let texts: Vec<&Value> = ends.map(|end| &end["data"]["text"]).collect();
        assert_eq!(texts, [text], "{loss}: the ends of the stream at {offset}");
    }
}

/// All publications of the channel.
fn history(gateway: &Gateway) -> Vec<Value> {
    let (mut client, mut all) = (Client::connect(gateway), Vec::new());
    loop {
        let history = json!({"history": {"channel": CHANNEL, "after": all.len(), "limit": 300}});
        let page = client.ask(history, "history");
        let publications = page["publications"].as_array().expect("a page");
        all.extend(publications.iter().cloned());
        if page["head"] == all.len() {
            return all;
        }
    }
}

fn losses(name: &str, mut machine: impl Machine) {
    let seed = size("SEED", Rng::new().usize(0..1_000_000));
    println!("{name}: SEED={seed}");
    let (mut random, mut ended) = (Rng::with_seed(seed as u64), Vec::new());
    let (mut sent, mut stored, mut shown, mut unsynced) = (0, 0, 0, 0);
    for number in 1..=size("SEAWALL_TEST_LOSSES", LOSSES) {
        let loss = format!("loss {number} of SEED={seed}");
        let streams = work_until_power_fails(&mut machine, number, &mut random);
        unsynced += usize::from(machine.cut(WrittenBack::Some, &mut random).unsynced > 0);
        machine.start_again();
        check_ends(machine.gateway(), &ended, &loss);
        for stream in streams {
            (sent, shown) = (sent + stream.text.len(), shown + stream.shown.len());
            ended.push(stream.end(machine.gateway(), &loss));
            stored += ended.last().map_or(0, |(_, text)| text.len());
        }
    }
    println!(
        "{name}: {} streams, {sent} bytes sent, {shown} shown, {stored} stored; {unsynced} losses hit unsynced files",
        ended.len()
    );
    assert!(
        shown > 0 && unsynced > 0,
        "the power never failed between a write and its sync, so nothing was tested"
    );
}

#[test]
fn sqlite_keeps_what_streams_acknowledged_or_showed() {
    losses("streams in SQLite", WithSqlite::start(Sync::Honest));
}

#[test]
fn postgresql_keeps_what_streams_acknowledged_or_showed() {
    losses("streams in PostgreSQL", WithPostgres::start(Sync::Honest, &[]));
}
