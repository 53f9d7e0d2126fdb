//! Properties that must hold for any bytes: one function for each input of the gateway.
//!
//! Each target is `check(bytes)`: it panics if a property is violated and returns otherwise. The same function is run by
//! libFuzzer (`fuzz_targets/`) and, over the named corpus, by `cargo test` (`tests/pure/fuzz_corpus.rs` includes this file).
//! `docs/fuzzing.md` says what each one checks.
//!
//! A target depends only on its bytes: no clock, no randomness, no file, so that an input that failed once always fails.

pub mod admin;
pub mod api;
pub mod command;
pub mod config;
pub mod envelope;
pub mod frames;
pub mod head;
pub mod introspection;
pub mod key_set;
pub mod operations;
pub mod parts;
pub mod permission;
pub mod postgres;
pub mod proxy;
pub mod reader;
pub mod redis;
pub mod relay;
pub mod segment;
pub mod token;

/// A target's name, which is also the name of its corpus folder, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 18] = [
    ("head", head::check),
    ("proxy", proxy::check),
    ("frames", frames::check),
    ("command", command::check),
    ("config", config::check),
    ("operations", operations::check),
    ("envelope", envelope::check),
    ("postgres", postgres::check),
    ("redis", redis::check),
    ("segment", segment::check),
    ("admin", admin::check),
    ("api", api::check),
    ("relay", relay::check),
    ("parts", parts::check),
    ("permission", permission::check),
    ("introspection", introspection::check),
    ("key_set", key_set::check),
    ("token", token::check),
];
