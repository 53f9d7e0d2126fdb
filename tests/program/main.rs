//! Tests of the gateway's binary alone: its behaviour over sockets, its configuration, and its operation.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and reads the clock")]
#![allow(dead_code, unused_imports, reason = "not every test needs every tool")]

#[path = "../configuration/mod.rs"]
mod configuration;
#[path = "../e2e/mod.rs"]
mod e2e;
#[path = "../operations/mod.rs"]
mod operations;
#[path = "../servers/mod.rs"]
mod servers;
#[path = "../e2e/support/mod.rs"]
mod support;
#[path = "../support_schema/mod.rs"]
mod support_schema;
