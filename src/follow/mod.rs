//! Decisions about following channels over a bus: what to say to its server, and when to look at the logs instead.

pub mod routing;
pub mod slot_map;
pub mod subscriptions;
pub mod survey;
