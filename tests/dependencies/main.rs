//! The gateway and what it stands on, all of it real, with a fault proxy before each.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and reads the clock")]
#![allow(dead_code, unused_imports, reason = "not every test needs every tool")]

mod disk_full;
mod draining;
mod flapping;
mod instances;
mod matrix;
mod newcomers;
mod one_database;
mod operators;
mod outage;
#[path = "../servers/mod.rs"]
mod servers;
mod side_by_side;
mod stand;
#[path = "../e2e/support/mod.rs"]
mod support;
#[path = "../support_schema/mod.rs"]
mod support_schema;
mod unsure_client;
