//! Acknowledged publications, and what streams acknowledged or showed, survive a power loss. Afterwards the store's
//! files hold what was synced, and of the rest whatever the disk happened to write.
//!
//! The gateway with SQLite, and PostgreSQL behind a gateway, run under the library of `tools/power-loss`. `SEED`
//! repeats the draws of a run, though not its timing; `SEAWALL_TEST_LOSSES` sets the number of losses in each test.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and reads the clock")]
#![allow(dead_code, unused_imports, reason = "not every test needs every tool")]

mod losses;
mod machine;
#[path = "../servers/mod.rs"]
mod servers;
mod streams;
#[path = "../e2e/support/mod.rs"]
mod support;
#[path = "../support_schema/mod.rs"]
mod support_schema;
