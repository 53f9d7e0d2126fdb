//! Runs the server side of the wire against the examples in `tests/vectors/`, which the client also reads.
//!
//! The examples are the contract: a change of the wire changes them first. Every entry is used, and an unknown key in an entry is
//! an error.

mod client;
mod closes;
mod commands;
mod errors;
mod flags;
mod presence;
mod pushes;
mod schemas;
mod stream;
mod stream_values;

use serde::de::DeserializeOwned;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

const FILES: [&str; 10] = [
    "backoff.json",
    "closes.json",
    "commands.json",
    "cursor.json",
    "errors.json",
    "flags.json",
    "personal.json",
    "presence.json",
    "pushes.json",
    "stream.json",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

fn read<T: DeserializeOwned>(file: &str) -> T {
    assert!(FILES.contains(&file), "{file} is not listed");
    let path = folder().join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn names_differ<'a>(names: impl Iterator<Item = &'a str>) {
    let mut seen = HashSet::new();
    for name in names {
        assert!(seen.insert(name), "two cases are named {name:?}");
    }
    assert!(!seen.is_empty(), "no cases");
}

/// The payload of a single text frame.
fn payload(frame: &[u8]) -> &str {
    assert_eq!(frame[0], 0x81, "a final text frame");
    let (header, length) = match frame[1] {
        126 => (4, u64::from(u16::from_be_bytes([frame[2], frame[3]]))),
        127 => (10, u64::from_be_bytes(frame[2..10].try_into().expect("eight bytes"))),
        short => (2, u64::from(short)),
    };
    assert_eq!((frame.len() - header) as u64, length, "one whole frame");
    std::str::from_utf8(&frame[header..]).expect("UTF-8")
}

#[test]
fn every_file_of_examples_is_read() {
    let found = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name());
    let found = found.map(|name| name.into_string().unwrap()).filter(|name| name.ends_with(".json"));
    let mut found: Vec<_> = found.collect();
    found.sort();
    assert_eq!(found, FILES);
}
