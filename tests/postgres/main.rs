//! The store in PostgreSQL, against a real server that is killed, stopped and cut off.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and reads the clock")]

mod contract;
mod epoch;
mod faults;
mod hold_ups;
mod hosts;
mod instances;
mod pooler;
mod retention;
mod rig;
mod security;
#[path = "../servers/mod.rs"]
mod servers;
mod source;
#[allow(clippy::duplicate_mod, dead_code, reason = "the servers have it as well, and no state is in it")]
#[path = "../e2e/support/wait.rs"]
mod wait;
mod work;
