//! The store in PostgreSQL, against a real server that is killed, stopped and cut off.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and reads the clock")]

mod contract;
mod faults;
mod instances;
mod rig;
#[path = "../servers/mod.rs"]
mod servers;
#[path = "../e2e/support/wait.rs"]
mod wait;
