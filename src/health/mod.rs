//! What is known of the process and what it stands on, and what follows from it. Decisions only.

pub mod board;
pub mod breaker;
pub mod capacity;
pub mod definition;
pub mod delivery;
pub mod dependency;
pub mod draw;
pub mod finding;
pub mod judge;
pub mod latency;
pub mod outage;
pub mod report;
mod schedule;
pub mod snapshot;
pub mod template;
mod window;
