//! Tests of the relay on a real PostgreSQL.

mod appends;
mod claims;
mod races;
#[allow(clippy::duplicate_mod, reason = "the tests of streams have them, too")]
#[path = "../../../../../tests/servers/mod.rs"]
mod servers;
mod support;
#[allow(
    clippy::disallowed_methods,
    clippy::duplicate_mod,
    dead_code,
    reason = "a test may wait; the servers have it, too"
)]
#[path = "../../../../../tests/e2e/support/wait.rs"]
mod wait;
