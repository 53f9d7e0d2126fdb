//! The servers that other tests stand on do what they say.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and reads the clock")]

#[path = "mod.rs"]
mod servers;
mod tests;
