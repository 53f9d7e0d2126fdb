//! Proof from outside: the real binary, real sockets, one behaviour a file.
//!
//! Tests run side by side, so each has a gateway of its own on a free port and a folder of its own.
//! Nothing sleeps: a test waits for a condition, with a deadline.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and reads the clock")]
#![allow(dead_code, reason = "not every run of a behaviour needs every tool")]

mod support;
