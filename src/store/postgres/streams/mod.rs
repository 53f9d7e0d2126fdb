//! Streams in PostgreSQL, which several instances may write at once (`sql/13_streams.sql`). Each call here is one statement, one
//! transaction and one round trip.
//!
//! The append worker begins streams with the batch of publications, and writes everything else with [`flush()`]. It loads a stream that
//! it takes over from another instance, and [looks](look()) at the progress of the ones it has.

mod flush;
mod load;
mod look;
mod lost;
mod options;
mod params;
mod reap;
mod sweep;
#[cfg(test)]
mod tests;

pub(super) use flush::{StoredFlush, flush};
pub(super) use load::{load, loads_at_once, read_one, read_open};
pub(super) use look::{look, touch};
pub(super) use lost::{LOST_PAGE, LostPage, OpenPlace, lost_questions, still_lost};
pub(super) use options::options_column;
pub(super) use reap::{Reaped, forget_parts, reap_parts};
pub(super) use sweep::{FoundSilent, close, find_silent};
