//! The cost of the log compared with bare SQLite: `cargo test --release -- --ignored store_against_a_bare_loop`.

use super::super::connection::{self, Checkpoint};
use super::super::retention::{Duty, SliceRows};
use super::relay_support::{Desk, route};
use super::support::{KEEP_ALL, Shelf, append, changing, delete, edit, plain};
use crate::job::Append;
use crate::job::relay::{ClaimOutcome, Claimed, RelayAnswer, RelayOutcome, RelayWork, SettleOutcome};
use crate::store::idempotency::digest;
use crate::store::retention::Rest;
use crate::wire::publication::Change;
use rusqlite::params;
use std::time::{Duration, Instant};

const BATCH: usize = 200;
const CHANNELS: usize = 50;
const BATCHES: usize = 60;

/// Batches of 200 over 50 channels, against a loop that commits the same rows and checks nothing. The rounds alternate, so that
/// a noisy machine disturbs both.
#[test]
#[ignore = "a measurement, to be read and not to pass"]
#[allow(clippy::disallowed_methods, reason = "a measurement needs the clock")]
fn store_against_a_bare_loop() {
    let (mut log_took, mut bare_took) = (Duration::ZERO, Duration::ZERO);
    let mut shelf = Shelf::new(KEEP_ALL);
    let bare_shelf = Shelf::new(KEEP_ALL);
    let bare = connection::writer(&bare_shelf.path()).expect("a connection");
    connection::prepare_writer(&bare).expect("the same settings");
    for round in 0..BATCHES {
        let jobs = batch(round);
        let begun = Instant::now();
        shelf.append(&jobs, round as u64);
        log_took += begun.elapsed();
        let begun = Instant::now();
        commit_bare(&bare, &jobs, round);
        bare_took += begun.elapsed();
    }
    let per_s = |took: Duration| (BATCH * BATCHES) as f64 / took.as_secs_f64();
    let (log, bare) = (per_s(log_took), per_s(bare_took));
    println!("log {log:.0}/s, bare loop {bare:.0}/s, ratio {:.2}", log / bare);
}

/// How long appends wait for a delete of a publication with all its edits, each of the largest size.
#[test]
#[ignore = "a measurement, to be read and not to pass"]
#[allow(clippy::disallowed_methods, reason = "a measurement needs the clock")]
fn delete_of_a_publication_with_a_hundred_large_edits() {
    let mut shelf = Shelf::new(KEEP_ALL);
    let text = format!("\"{}\"", "x".repeat(65_000));
    shelf.offset(plain("c", &text), 1);
    for _ in 0..100 {
        shelf.offset(changing(edit(1), plain("c", &text)), 2);
    }
    let begun = Instant::now();
    shelf.offset(changing(delete(1), plain("c", "null")), 3);
    println!("delete {:?}", begun.elapsed());
    let mut longest = Duration::ZERO;
    loop {
        let begun = Instant::now();
        let slice = shelf.log.retain(Duty::Erase, 3, SliceRows::MAX).expect("a slice");
        longest = longest.max(begun.elapsed());
        if slice.rest == Rest::None {
            break;
        }
    }
    println!("longest slice {longest:?}");
}

fn batch(round: usize) -> Vec<Append> {
    (0..BATCH)
        .map(|n| {
            let data = format!("{{\"text\":\"{}\"}}", "message ".repeat(12));
            let key = format!("01J9ZK5M7Q8R3S6T{:010}", round * BATCH + n);
            append(&format!("channel-{}", n % CHANNELS), "some-user", Some(&key), &data)
        })
        .collect()
}

fn commit_bare(bare: &rusqlite::Connection, jobs: &[Append], round: usize) {
    bare.execute_batch("BEGIN IMMEDIATE").expect("begins");
    for (n, job) in jobs.iter().enumerate() {
        let channel = (n % CHANNELS) as i64 + 1;
        let offset = (round * BATCH / CHANNELS + n / CHANNELS) as i64 + 1;
        let key = job.key.as_ref().expect("a key").as_str();
        bare.prepare_cached("INSERT INTO publications VALUES (?1, ?2, ?3, ?4, 0, NULL, NULL, ?5)")
            .expect("prepares")
            .execute(params![(channel << 39) | offset, job.user.as_str(), key, offset, &*job.data])
            .expect("inserts");
        bare.prepare_cached("INSERT INTO keys VALUES (?1, ?2, ?3, ?4, ?5, ?6)")
            .expect("prepares")
            .execute(params![channel, job.user.as_str(), key, offset, offset, digest(Change::None, "")])
            .expect("inserts");
    }
    bare.execute_batch("COMMIT").expect("commits");
}

/// Bytes of the write-ahead log for each byte of text, and the time of a flush, while each stream gets a token of 8 bytes in each flush.
#[test]
#[ignore = "a measurement, to be read and not to pass"]
#[allow(clippy::disallowed_methods, reason = "a measurement needs the clock")]
fn write_ahead_log_of_streams() {
    const FLUSHES: usize = 100;
    for streams in [1, 100, 1_000] {
        let mut shelf = Shelf::new(KEEP_ALL);
        let ids: Vec<_> = (0..streams).map(|n| shelf.begin(&format!("c{n}"))).collect();
        shelf.log.checkpoint(Checkpoint::Truncate).expect("an empty log");
        let mut took = Vec::new();
        for _ in 0..FLUSHES {
            ids.iter().for_each(|id| shelf.take(id, "a token "));
            let begun = Instant::now();
            shelf.flush();
            took.push(begun.elapsed());
        }
        took.sort();
        let bytes = shelf.log.checkpoint(Checkpoint::Look).expect("a look").bytes;
        let ratio = bytes as f64 / (FLUSHES * streams * 8) as f64;
        println!("{streams} streams: {ratio:.1} bytes a byte, p50 {:?}, p99 {:?}", took[50], took[99]);
    }
}

/// The bar of the log, in the number of its pages, which no machine changes: some 31 bytes of a row, and some 3 pages of a commit.
#[test]
fn log_of_many_streams_takes_less_than_five_and_a_half_bytes_for_a_byte_of_text() {
    const FLUSHES: u64 = 30;
    let mut shelf = Shelf::new(KEEP_ALL);
    let ids: Vec<_> = (0..1_000).map(|n| shelf.begin(&format!("c{n}"))).collect();
    // Positions then take two bytes.
    ids.iter().for_each(|id| shelf.take(id, &"x".repeat(200)));
    shelf.flush();
    shelf.log.checkpoint(Checkpoint::Truncate).expect("an empty log");
    for _ in 0..FLUSHES {
        ids.iter().for_each(|id| shelf.take(id, "a token "));
        shelf.flush();
    }
    let bytes = shelf.log.checkpoint(Checkpoint::Look).expect("a look").bytes;
    assert!(2 * bytes < 11 * FLUSHES * 8_000, "{bytes}");
}

/// Questions per second that 32 channels in flight get through: `cargo test --release -- --ignored claims_per_second`.
#[test]
#[ignore = "a measurement, to be read and not to pass"]
#[allow(clippy::disallowed_methods, reason = "a measurement needs the clock")]
fn claims_per_second() {
    let mut desk = Desk::new(vec![route()]);
    for _ in 0..10 {
        for channel in 0..32 {
            desk.ask(plain(&format!("t{channel}"), "\"why is the sky blue\""));
        }
    }
    let (begun, mut done) = (std::time::Instant::now(), 0);
    let mut held: Vec<_> = (0..32).map(|channel| desk.claimed(&format!("t{channel}"))).collect();
    while !held.is_empty() {
        let settle = |claimed: &Claimed| RelayWork::Settle {
            channel: claimed.channel.clone(),
            fence: claimed.fence,
            outcome: RelayOutcome::Done,
        };
        done += held.len();
        let answers = desk.calls(held.iter().map(settle));
        held = answers
            .into_iter()
            .filter_map(|answer| match answer {
                RelayAnswer::Settle(SettleOutcome::Settled(ClaimOutcome::Claimed(next))) => Some(*next),
                _ => None,
            })
            .collect();
    }
    println!("{done} questions, {:.0}/s", f64::from(done as u32) / begun.elapsed().as_secs_f64());
}
