//! Each probe against a real server: healthy, stopped, frozen, full, read-only, and against a peer of another kind.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and reads the clock")]
#![allow(clippy::duplicate_mod, reason = "the servers keep their way of waiting to themselves")]

mod http;
mod postgres;
mod redis;
#[path = "../servers/mod.rs"]
mod servers;
mod support;
mod tcp;
#[path = "../e2e/support/wait.rs"]
#[allow(dead_code, reason = "other tests wait in other ways")]
mod wait;
