//! A gateway as its supervisor and the network before it see it: reloads, systemd's protocol, a successor at the same port.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and reads the clock")]
#![allow(dead_code, unused_imports, reason = "not every test needs every tool")]

mod proxies;
mod reload;
mod reload_dependencies;
mod reload_incomplete;
#[path = "../servers/mod.rs"]
mod servers;
#[path = "../e2e/support/mod.rs"]
mod support;
#[path = "../support_schema/mod.rs"]
mod support_schema;
mod systemd;
mod takeover;
