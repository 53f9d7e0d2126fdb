//! Replays the fuzz targets' named corpora, and seeded mutations of them, without a fuzzer.

#[path = "../../fuzz/src/lib.rs"]
mod targets;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Mutations of a whole corpus.
const MUTATIONS: usize = 3_000;

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<(String, Vec<u8>)> = entries
        .map(|entry| entry.expect("readable"))
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        .filter(|(name, _)| !name.starts_with('.'))
        .map(|(name, path)| (name, fs::read(path).expect("readable")))
        .collect();
    files.sort();
    files
}

/// Applies one to four small changes, some with pieces of `other`.
fn mutated(bytes: &[u8], other: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..random.usize(1..=4) {
        let at = random.usize(0..=bytes.len());
        match random.u8(0..6) {
            0 if at < bytes.len() => bytes[at] = random.u8(..),
            1 if at < bytes.len() => bytes[at] ^= 1 << random.u8(0..8),
            2 => bytes.insert(at, random.u8(..)),
            3 => drop(bytes.drain(at..random.usize(at..=bytes.len().min(at + 16)))),
            4 => {
                let from = random.usize(0..=other.len());
                let piece = &other[from..random.usize(from..=other.len().min(from + 64))];
                bytes.splice(at..at, piece.iter().copied());
            }
            _ => bytes.truncate(at),
        }
    }
    bytes
}

/// Runs a check, and prints an input that fails in a form that can be saved as a file.
fn replay(check: fn(&[u8]), what: &str, bytes: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| check(bytes))).is_err() {
        panic!("{what} fails: b\"{}\"", bytes.escape_ascii());
    }
}

fn replay_target(name: &str) {
    let (_, check) = targets::TARGETS.iter().find(|(target, _)| *target == name).expect("a target");
    let files = corpus(name);
    assert!((5..=40).contains(&files.len()), "{name} has {} files", files.len());
    let mut random = fastrand::Rng::with_seed(0x5EA);
    for (file, bytes) in &files {
        replay(*check, &format!("{name}/{file}"), bytes);
        for number in 0..MUTATIONS / files.len() {
            let (_, other) = &files[random.usize(0..files.len())];
            replay(*check, &format!("{name}/{file} mutated, {number}"), &mutated(bytes, other, &mut random));
        }
    }
}

#[test]
fn corpus_of_heads_passes() {
    replay_target("head");
}

#[test]
fn corpus_of_proxy_headers_passes() {
    replay_target("proxy");
}

#[test]
fn corpus_of_frames_passes() {
    replay_target("frames");
}

#[test]
fn corpus_of_commands_passes() {
    replay_target("command");
}

#[test]
fn corpus_of_configurations_passes() {
    replay_target("config");
}

#[test]
fn corpus_of_envelopes_passes() {
    replay_target("envelope");
}

#[test]
fn corpus_of_tokens_passes() {
    replay_target("token");
}

#[test]
fn corpus_of_key_sets_passes() {
    replay_target("key_set");
}

#[test]
fn corpus_of_introspections_passes() {
    replay_target("introspection");
}

#[test]
fn corpus_of_permissions_passes() {
    replay_target("permission");
}

#[test]
fn corpus_of_admin_requests_passes() {
    replay_target("admin");
}

#[test]
fn corpus_of_api_bodies_passes() {
    replay_target("api");
}

#[test]
fn corpus_of_relay_responses_passes() {
    replay_target("relay");
}

#[test]
fn corpus_of_rows_with_pieces_passes() {
    replay_target("parts");
}

#[test]
fn corpus_of_redis_replies_passes() {
    replay_target("redis");
}

#[test]
fn corpus_of_roster_segments_passes() {
    replay_target("segment");
}

#[test]
fn corpus_of_postgres_messages_passes() {
    replay_target("postgres");
}

#[test]
fn corpus_of_operations_passes() {
    replay_target("operations");
}

/// Outcomes that the operations do not cause: other targets or nothing in the engine does.
const NOT_REACHED: [&str; 13] = [
    "close 1001",
    "close 4403",
    "close 4410",
    "close 4425",
    "close 4503",
    "close 4504",
    "close 4505",
    "close 4506",
    "error diverged",
    "error draining",
    "error ended",
    "error gap",
    "error stale",
];

#[test]
fn corpus_of_operations_reaches_every_outcome() {
    let mut total: std::collections::BTreeMap<String, u64> = std::collections::BTreeMap::new();
    for (_, bytes) in corpus("operations") {
        for (name, count) in targets::operations::reached(&bytes) {
            *total.entry(name).or_default() += count;
        }
    }
    let jobs = ["append", "read", "admission", "release", "interest"].map(|job| format!("refused {job}"));
    for name in total.keys().cloned().chain(jobs).filter(|name| !NOT_REACHED.contains(&name.as_str())) {
        assert!(total.get(&name).is_some_and(|count| *count > 0), "no file reaches {name}: {total:#?}");
    }
}

#[test]
fn every_target_has_a_test_and_a_corpus() {
    let mut folders: Vec<String> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus"))
        .expect("the corpora are in the repository")
        .map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.'))
        .collect();
    folders.sort();
    let mut names: Vec<&str> = targets::TARGETS.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    assert_eq!(folders, names);
}
