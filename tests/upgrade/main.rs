//! An upgrade and a roll-back under load: the previous program and this one on one PostgreSQL and one Redis, with clients on both.
//!
//! `tests/upgrade/previous` names the commit of the previous program, and `tools/previous` builds it.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and reads the clock")]
#![allow(dead_code, unused_imports, reason = "not every test needs every tool")]

mod checks;
mod clients;
mod embedded;
mod mixed;
mod previous;
mod release;
mod rolling;
#[path = "../servers/mod.rs"]
mod servers;
mod shared;
#[path = "../e2e/support/mod.rs"]
mod support;
#[path = "../support_schema/mod.rs"]
mod support_schema;
