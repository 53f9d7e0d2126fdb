//! What is known of the process and what it stands on, and what follows from it. Decisions only.

pub mod admission;
pub mod breaker;
pub mod definition;
pub mod draw;
pub mod finding;
pub mod judge;
pub mod latency;
pub mod report;
pub mod snapshot;
mod window;
