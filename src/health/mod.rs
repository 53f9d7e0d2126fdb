//! What is known of the process and what it stands on, and what follows from it. Decisions only.

pub mod admission;
pub mod capacity;
pub mod finding;
pub mod report;
pub mod snapshot;
