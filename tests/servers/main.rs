//! Tests with real servers: PostgreSQL, Redis and HTTP services, alone and with gateways that depend on them.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and reads the clock")]
#![allow(dead_code, unused_imports, reason = "not every test needs every tool")]

#[path = "../auth_service/mod.rs"]
mod auth_service;
#[path = "../bus/mod.rs"]
mod bus;
#[path = "../cluster/mod.rs"]
mod cluster;
#[path = "../dependencies/mod.rs"]
mod dependencies;
#[path = "../postgres/mod.rs"]
mod postgres;
#[path = "mod.rs"]
mod servers;
#[path = "../e2e/support/mod.rs"]
mod support;
#[path = "../support_schema/mod.rs"]
mod support_schema;
mod tests;
