//! Properties that must hold for any bytes: one function for each input of the gateway.
//!
//! Each target is `check(bytes)`: it panics if a property is violated and returns otherwise. The same function is run by
//! libFuzzer (`fuzz_targets/`) and, over the named corpus, by `cargo test` (`tests/fuzz_corpus.rs` includes this file).
//! `docs/fuzzing.md` says what each one checks.
//!
//! A target depends only on its bytes: no clock, no randomness, no file, so that an input that failed once always fails.

pub mod command;
pub mod config;
pub mod envelope;
pub mod frames;
pub mod head;
pub mod operations;
pub mod proxy;

/// A target's name, which is also the name of its corpus folder, and its function.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: [Target; 7] = [
    ("head", head::check),
    ("proxy", proxy::check),
    ("frames", frames::check),
    ("command", command::check),
    ("config", config::check),
    ("operations", operations::check),
    ("envelope", envelope::check),
];
