//! What must hold for any bytes at all: one function a door that bytes come in by.
//!
//! Each target is `check(bytes)`: it panics when a property is broken and returns otherwise. The same
//! function is run by libFuzzer (`fuzz_targets/`) and, over the named corpus, by `cargo test`
//! (`tests/fuzz_corpus.rs` includes this file). `docs/fuzzing.md` says what each one checks.
//!
//! A target is a function of its bytes alone: no clock, no randomness, no file, so that an input that once
//! failed fails for ever.

pub mod command;
pub mod config;
pub mod envelope;
pub mod frames;
pub mod head;
pub mod operations;
pub mod proxy;

/// A target's name, which is also that of its corpus folder, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 7] = [
    ("head", head::check),
    ("proxy", proxy::check),
    ("frames", frames::check),
    ("command", command::check),
    ("config", config::check),
    ("operations", operations::check),
    ("envelope", envelope::check),
];
