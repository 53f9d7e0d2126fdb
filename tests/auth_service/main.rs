//! The gateway beside a real auth service: introspection, a key set, and what people see when it is gone.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and reads the clock")]
#![allow(dead_code, unused_imports, reason = "not every test needs every tool")]

mod answers;
mod issuer;
mod key_set;
mod outage;
#[path = "../servers/mod.rs"]
mod servers;
#[path = "../e2e/support/mod.rs"]
mod support;
#[path = "../support_schema/mod.rs"]
mod support_schema;
