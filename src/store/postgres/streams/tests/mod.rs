//! Tests of the calls on a real PostgreSQL.

mod changes;
mod deadlines;
mod ends;
mod fence;
mod races;
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
