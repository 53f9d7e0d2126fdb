//! The health of the dependencies and of the gateway itself, and the resulting decisions.

pub mod advice;
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
pub mod outages;
pub mod report;
mod schedule;
pub mod snapshot;
pub mod template;
mod window;
