//! Decisions of the relay, which sends the publications of some channels to backends over HTTP.
//!
//! The log is the queue: a channel's row in the store says how far its backend got. Nothing waits for a backend before a commit.

pub mod answer;
pub mod attempt;
mod parts;
pub mod response;
pub mod retry;
pub mod route;
pub mod schedule;
pub mod share;
