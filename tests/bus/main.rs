//! Two gateways on one PostgreSQL and one Redis, all of it real: what is published on one reaches the other, whatever the bus does.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and reads the clock")]
#![allow(dead_code, unused_imports, reason = "not every test needs every tool")]

mod calm;
mod faults;
mod rig;
#[path = "../servers/mod.rs"]
mod servers;
#[path = "../e2e/support/mod.rs"]
mod support;
#[path = "../support_schema/mod.rs"]
mod support_schema;
