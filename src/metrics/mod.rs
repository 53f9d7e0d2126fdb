//! What is observed: cells that one thread writes and a scrape sums.

pub mod auth;
pub mod store;
