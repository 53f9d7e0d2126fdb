//! The watch: probes each dependency on its own schedule, takes evidence from the workers, and publishes the judgement.
//!
//! One thread owns the board. Each dependency has a thread that waits for its probe, so that a hanging probe delays no other.
//! The board schedules one look at a time per dependency.

mod log;
mod looker;
mod news;
mod own;
mod revise;
mod reviser;
mod revision;
mod serve;
mod start;
mod thread;

pub use own::{OwnSources, board as own_board};
pub use reviser::Reviser;
pub use revision::{Revised, Revision, Unrevised};
pub use start::{RunningWatch, WatchSetup};
