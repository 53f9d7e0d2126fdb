//! Faults for tests: a TCP proxy that fails on command, and ports that stay one's own.

mod port;

pub use port::HeldPort;
